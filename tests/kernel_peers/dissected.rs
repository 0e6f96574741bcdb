//! What is said on each protocol, as tshark's dissectors read it in a capture of a real client's session.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::capture::Capture;
use crate::network::{Network, wait_for};
use crate::python::{PYTHON, python};
use crate::server::{Server, Status};

/// Every client is ended, and nothing is left to be sent.
fn finish(mut server: Server, capture: &mut Capture) {
    // What it says from now on.
    server.settled();
    server.wait_until("all have gone", |status| status.established == 0);
    capture.finish();
    server.stop();
}

fn set(values: &[String]) -> BTreeSet<&str> {
    values.iter().map(String::as_str).collect()
}

#[test]
fn mqtt_is_mqtt() {
    let tools = ["mosquitto_pub", "mosquitto_sub", "tcpdump", "tshark"];
    let Some(network) = Network::make("mqtt_is_mqtt", &tools) else { return };
    let listen = ["--address", "10.77.0.1/16", "--listen", "mqtt://10.77.0.1:1883"];
    let mut server = Server::start_with(&network, &listen);
    let mut capture = Capture::start(&network);
    for version in ["mqttv311", "mqttv5"] {
        // Long enough for a ping: five seconds is the shortest keep alive that it takes.
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "10.77.0.1", "-V", version, "-q", "1", "-t", "news/#"]);
        command.args(["-k", "5", "-W", "7"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut subscriber = network.in_client(|| command.spawn().expect("it is installed"));
        server.wait_until("it has subscribed", |status| {
            status.keeps.get("mqtt_subscriptions") == Some(&1)
        });
        let publish = ["mosquitto_pub", "-h", "10.77.0.1", "-V", version, "-q", "1", "-t"];
        let output = network.run(&[&publish[..], &["news/today", "-m", "rain"]].concat(), b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        wait_for("its end", || subscriber.try_wait().expect("it is our child"));
        server.settled();
        let is_forgotten = |status: &Status| !status.keeps.contains_key("mqtt_subscriptions");
        server.wait_until("it is forgotten", is_forgotten);
    }
    finish(server, &mut capture);
    capture.assert_clean(1883);
    let said = capture.values("mqtt.msgtype", "tcp.srcport == 1883");
    // CONNACK, PUBLISH, PUBACK, SUBACK and PINGRESP.
    assert_eq!(set(&said), BTreeSet::from(["2", "3", "4", "9", "13"]), "{said:?}");
    assert_eq!(said.iter().filter(|kind| *kind == "2").count(), 4, "{said:?}");
    let topics = capture.values("mqtt.topic", "tcp.srcport == 1883");
    assert_eq!(topics, ["news/today"; 2]);
    let texts = capture.values("mqtt.msg", "tcp.srcport == 1883");
    assert_eq!(texts, ["7261696e"; 2], "rain");
    let codes = capture.values("mqtt.conack.val", "tcp.srcport == 1883");
    let codes5 = capture.values("mqtt.connack.reason_code", "tcp.srcport == 1883");
    assert!(codes.iter().chain(&codes5).all(|code| code == "0"), "{codes:?} {codes5:?}");
}

#[test]
fn http_is_http() {
    let Some(network) = Network::make("http_is_http", &["curl", "tcpdump", "tshark"]) else {
        return;
    };
    let listen =
        ["--address", "10.77.0.1/16", "--listen", "http://10.77.0.1:80?echo=on&requests=3"];
    let server = Server::start_with(&network, &listen);
    let mut capture = Capture::start(&network);
    let url = "http://10.77.0.1";
    let asked = |args: &[&str], input: &[u8]| {
        let fixed = ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"];
        let output = network.run(&[&fixed, args].concat(), input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let (healthy, missing) = (format!("{url}/healthz"), format!("{url}/missing"));
    let echo = format!("{url}/echo");
    // Three on one connection, the last of which the server closes after.
    asked(&[&healthy, &missing, &healthy], b"");
    asked(&["--head", &healthy], b"");
    asked(&["-X", "DELETE", &healthy], b"");
    let long = [b'x'; 50_000];
    assert_eq!(
        asked(&["--data-binary", "@-", "-H", "Transfer-Encoding: chunked", &echo], &long),
        long
    );
    finish(server, &mut capture);
    capture.assert_clean(80);
    let codes = capture.values("http.response.code", "tcp.srcport == 80");
    let finals: Vec<_> = codes.iter().filter(|code| *code != "100").collect();
    assert_eq!(finals, ["200", "404", "200", "200", "405", "200"], "{codes:?}");
    let closed = capture.values("http.connection", "tcp.srcport == 80");
    assert_eq!(closed, ["close"], "the third of a connection");
    let chunks = capture.values("http.chunk_size", "tcp.srcport == 80");
    let len: u32 = chunks.iter().map(|size| size.parse::<u32>().expect("a number")).sum();
    assert_eq!(len, 50_000, "{chunks:?}");
}

#[test]
fn ws_is_websocket() {
    let Some(network) = Network::make("ws_is_websocket", &[PYTHON, "tcpdump", "tshark"]) else {
        return;
    };
    let listen = ["--address", "10.77.0.1/16", "--listen", "ws://10.77.0.1:80?heartbeat=500ms"];
    let server = Server::start_with(&network, &listen);
    let mut capture = Capture::start(&network);
    python(&network, WEBSOCKET, &[]);
    finish(server, &mut capture);
    capture.assert_clean(80);
    let said = capture.values("websocket.opcode", "tcp.srcport == 80");
    // Continuation, text, bytes, close, ping and pong.
    assert_eq!(set(&said), BTreeSet::from(["0", "1", "2", "8", "9", "10"]), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("8"), "the last one: {said:?}");
    let masked = |filter: &str| capture.values("websocket.mask", filter);
    assert_eq!(set(&masked("tcp.srcport == 80")), BTreeSet::from(["0"]));
    assert_eq!(set(&masked("tcp.dstport == 80")), BTreeSet::from(["1"]));
    let codes = capture.values("websocket.payload.close.status_code", "websocket");
    assert_eq!(codes, ["1000"; 2]);
    assert_eq!(capture.values("http.response.code", "tcp.srcport == 80"), ["101"]);
}

const WEBSOCKET: &str = r#"
import asyncio, websockets
async def main():
    url = "ws://10.77.0.1/"
    async with websockets.connect(url, max_size=None, ping_interval=None, compression=None) as ws:
        for message in ["text \u20ac", b"bytes", b"x" * 100000]:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["one ", "two"])
        assert await ws.recv() == "one two"
        await (await ws.ping(b"there?"))
        await asyncio.sleep(0.8)
asyncio.run(asyncio.wait_for(main(), 60))
"#;

/// tshark has no dissector for Dubbo: its frames are read here, from the bytes that tshark puts in order.
#[test]
fn dubbo_is_dubbo() {
    let Some(network) = Network::make("dubbo_is_dubbo", &[PYTHON, "tcpdump", "tshark"]) else {
        return;
    };
    let listen =
        ["--address", "10.77.0.1/16", "--listen", "dubbo://10.77.0.1:20880?heartbeat=500ms"];
    let server = Server::start_with(&network, &listen);
    let mut capture = Capture::start(&network);
    python(&network, DUBBO, &[]);
    finish(server, &mut capture);
    capture.assert_clean(20880);
    let pieces = capture.values("tcp.payload", "tcp.srcport == 20880 && tcp.len > 0");
    let bytes: Vec<u8> = pieces.iter().flat_map(|hex| decode(hex)).collect();
    let mut rest = &bytes[..];
    let mut kinds = Vec::new();
    while let Some((header, body)) = rest.split_first_chunk::<16>() {
        let [0xda, 0xbb, flags, status, .., a, b, c, d] = *header else { panic!("{header:x?}") };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        assert!(body.len() >= len, "{header:x?}");
        kinds.push((flags, status));
        rest = &body[len..];
    }
    assert_eq!(rest, b"");
    // The answers to a heartbeat and to a call, and then a heartbeat of its own.
    assert_eq!(kinds, [(0x22, 20), (0x02, 40), (0xe2, 0)]);
}

fn decode(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

const DUBBO: &str = r#"
import socket, struct
def frame(flags, status, number, body):
    return struct.pack(">HBBQI", 0xdabb, flags, status, number, len(body)) + body
with socket.create_connection(("10.77.0.1", 20880), timeout=20) as s:
    def heard():
        header = s.recv(16, socket.MSG_WAITALL)
        length = struct.unpack(">I", header[12:])[0]
        return header[:2], header[2], header[3], struct.unpack(">Q", header[4:12])[0], \
            s.recv(length, socket.MSG_WAITALL)
    s.sendall(frame(0xe2, 0, 1, b"N"))
    assert heard()[1:] == (0x22, 20, 1, b"N")
    s.sendall(frame(0xc2, 0, 2, b"x" * 5000))
    assert heard()[1:4] == (0x02, 40, 2)
    _, flags, _, number, body = heard()
    assert (flags, body) == (0xe2, b"N")
    s.sendall(frame(0x22, 20, number, body))
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b""
"#;
