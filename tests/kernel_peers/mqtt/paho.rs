//! paho's client for Python.

use super::ARGS;
use crate::network::Network;
use crate::python::PYTHON;
use crate::server::Server;

#[test]
fn paho_talks_to_itself_in_both_versions() {
    let Some(network) = Network::make("paho_talks_to_itself_in_both_versions", &[PYTHON]) else {
        return;
    };
    let mut server = Server::start_with(&network, ARGS);
    for address in ["10.77.0.1", "fd77::1"] {
        for version in ["4", "5"] {
            let output = network.run(&[PYTHON, "-c", SCRIPT, address, version], b"");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{address}, version {version}: {error}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "as it should be\n");
        }
    }
    server.wait_until("all have gone", |status| status.established == 0);
    server.stop();
}

/// Own messages, a thousand of them, a takeover, a will, a session taken up with what was not
/// acknowledged, retained messages, and in 5.0 properties.
const SCRIPT: &str = r#"
import queue, sys
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
address, version = sys.argv[1], int(sys.argv[2])
is5 = version == 5

class Client:
    def __init__(self, name, persistent=False, will=None):
        self.events, self.persistent = queue.Queue(), persistent
        more = {} if is5 else {"clean_session": not persistent}
        self.c = c = mqtt.Client(name, protocol=version, **more)
        c.on_connect = lambda c, u, flags, rc, p=None: self.events.put(("connect", flags["session present"], int(getattr(rc, "value", rc))))
        c.on_message = lambda c, u, m: self.events.put(("message", m.topic, m.payload, m.qos, m.retain, m))
        c.on_subscribe = lambda c, u, mid, codes, p=None: self.events.put(("granted", [int(getattr(q, "value", q)) for q in codes]))
        c.on_disconnect = lambda c, u, rc, p=None: self.events.put(("gone", getattr(rc, "value", rc)))
        c.reconnect_delay_set(100, 100)
        if will:
            c.will_set(*will)

    def connect(self):
        more = {}
        if is5:
            expiry = Properties(PacketTypes.CONNECT)
            expiry.SessionExpiryInterval = 60 if self.persistent else 0
            more = {"clean_start": not self.persistent, "properties": expiry}
        self.c.connect(address, 1883, 30, **more)
        self.c.loop_start()
        return self.next()

    def next(self):
        return self.events.get(timeout=20)

    def stop(self):
        self.c.disconnect()
        self.c.loop_stop()

    def cut(self):
        self.c.loop_stop()
        self.c.socket().close()

a = Client("a")
assert a.connect() == ("connect", 0, 0)
a.c.subscribe([("own/+", 1), ("will/#", 2)])
assert a.next() == ("granted", [1, 1])
for qos in (0, 1):
    a.c.publish("own/x", b"hello", qos)
    assert a.next()[:5] == ("message", "own/x", b"hello", qos, 0)
for n in range(1000):
    a.c.publish("own/n", str(n), 1)
for n in range(1000):
    assert a.next()[1:4] == ("own/n", str(n).encode(), 1), n

if is5:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "answers"
    properties.CorrelationData = b"\x00\xff"
    properties.UserProperty = [("k", "1"), ("k", "2")]
    properties.MessageExpiryInterval = 60
    a.c.publish("own/p", b"p", 1, properties=properties)
    got = a.next()[5].properties
    assert got.ContentType == "text/plain" and got.ResponseTopic == "answers"
    assert got.CorrelationData == b"\x00\xff" and got.UserProperty == [("k", "1"), ("k", "2")]
    assert 58 <= got.MessageExpiryInterval <= 60

b = Client("b", will=("will/b", "b died", 1, False))
assert b.connect() == ("connect", 0, 0)
other = Client("b")
assert other.connect() == ("connect", 0, 0)
# paho 1.6 reads the reason of a DISCONNECT only if properties follow it: 7 is a lost connection.
assert b.next() == ("gone", 7), "taken over"
b.c.loop_stop()
assert a.next()[1:4] == ("will/b", b"b died", 1)
other.stop()

p = Client("p", persistent=True)
assert p.connect() == ("connect", 0, 0)
p.c.subscribe("kept/#", 1)
assert p.next() == ("granted", [1])
p.cut()
for n in range(10):
    a.c.publish("kept/n", str(n), 1).wait_for_publish()
p = Client("p", persistent=True)
assert p.connect() == ("connect", 1, 0)
for n in range(10):
    assert p.next()[1:3] == ("kept/n", str(n).encode()), n
p.stop()
a.c.publish("own/r", b"kept", 1, retain=True)
assert a.next()[:5] == ("message", "own/r", b"kept", 1, 0)
late = Client("late")
late.connect()
late.c.subscribe("own/r", 0)
assert late.next() == ("granted", [0])
assert late.next()[:5] == ("message", "own/r", b"kept", 0, 1)
a.c.publish("own/r", b"", 1, retain=True)
assert late.next()[2] == b""
late.stop()
assert a.next()[1:3] == ("own/r", b"")
a.stop()
assert a.next() == ("gone", 0)
# The session of "p" is of no use any more.
p = Client("p")
assert p.connect() == ("connect", 0, 0)
p.stop()
print("as it should be")
"#;
