//! Dubbo as its Java clients speak it, byte for byte, from Python's sockets.

use crate::network::Network;
use crate::python::{PYTHON, assert_silence, python};
use crate::server::Server;

const ARGS: &[&str] = &[
    "--address",
    "10.77.0.1/16",
    "fd77::1/64",
    "--listen",
    "dubbo://10.77.0.1:20880",
    "dubbo://[fd77::1]:20880",
    "dubbo://10.77.0.1:20881?heartbeat=500ms&payload=1000",
];

#[test]
fn heartbeats_are_answered_and_calls_refused() {
    let test = "heartbeats_are_answered_and_calls_refused";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    for address in ["10.77.0.1", "fd77::1"] {
        assert_eq!(python(&network, FRAMES, &[address, "20880"]), "as expected\n", "{address}");
    }
    let status = server.settled();
    assert_eq!(status.closed["closed_by_peer"], 2, "{status:?}");
    server.stop();
}

/// Heartbeats in both serializations, whole and a byte at a time; a call, a one-way call and an
/// event; a body of 300,000 bytes; and a line of telnet in between.
const FRAMES: &str = r#"
import socket, struct, sys, time
address, port = sys.argv[1], int(sys.argv[2])
def frame(flags, status, number, body):
    return struct.pack(">HBBQI", 0xdabb, flags, status, number, len(body)) + body
def string(text):
    return bytes([len(text)]) + text.encode()
call = b"".join(map(string, ["2.0.2", "DemoService", "0.0.0", "sayHello", "Ljava/lang/String;",
    "dubbo"])) + b"HZ"
reason = b"Fail to decode request due to: Service not found: there is none"
refused = lambda number: frame(0x02, 40, number, b"\x30" + bytes([len(reason)]) + reason)
json = b"\0\0\0\x01\xaf"
exchange = [
    (frame(0xe2, 0, 1, b"N"), frame(0x22, 20, 1, b"N")),
    (frame(0xf7, 0, 2, json), frame(0x37, 20, 2, json)),
    (frame(0xa2, 0, 3, b"N"), b""),                      # a heartbeat that wants no answer
    (frame(0xc2, 0, 4, call), refused(4)),
    (frame(0x82, 0, 5, call), b""),
    (frame(0xe2, 0, 6, b"\x01R"), b""),                  # read-only for a while
    (frame(0x22, 20, 7, b"N"), b""),                     # an answer that nobody waits for
    (b"status -l\r\n", b""),
    (frame(0xc2, 0, 8, b"x" * 300000), refused(8)),
    (frame(0xe2, 0, (1 << 64) - 1, b"N"), frame(0x22, 20, (1 << 64) - 1, b"N")),
]
with socket.create_connection((address, port), timeout=20) as s:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def expect(wanted):
        got = b""
        while len(got) < len(wanted):
            more = s.recv(len(wanted) - len(got))
            assert more, "closed"
            got += more
        assert got == wanted, (got, wanted)
    for asked, answer in exchange:
        s.sendall(asked)
        expect(answer)
    s.sendall(b"".join(asked for asked, _ in exchange))
    expect(b"".join(answer for _, answer in exchange))
    for asked, answer in exchange:
        for at in range(len(asked) if len(asked) < 1000 else 0):
            s.send(asked[at:at + 1])
            if at % 5 == 0:
                time.sleep(0.001)
        expect(answer if len(asked) < 1000 else b"")
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b"", "more than was asked for"
print("as expected")
"#;

#[test]
fn clients_that_answer_heartbeats_stay_and_others_are_given_up() {
    let test = "clients_that_answer_heartbeats_stay";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    let said = python(&network, SILENCE, &["10.77.0.1", "20881"]);
    assert_silence(&said);
    let status = server.settled();
    assert_eq!(status.closed["heartbeat_missed"], 1, "{status:?}");
    assert_eq!(status.closed["protocol_error"], 3, "{status:?}");
    server.stop();
}

/// A client that never answers, but whose TCP does; one that answers and says nothing else; and some
/// that say what ends a connection.
const SILENCE: &str = r#"
import socket, struct, sys, time
address, port = sys.argv[1], int(sys.argv[2])
connect = lambda: socket.create_connection((address, port), timeout=20)
with connect() as s:
    began, got = time.monotonic(), b""
    try:
        while (more := s.recv(4096)):
            got += more
        raise SystemExit("closed in order")
    except ConnectionResetError:
        silent = time.monotonic() - began
    asked = [got[at:at + 17] for at in range(0, len(got), 17)]
    for heartbeat in asked:
        assert heartbeat[:4] == b"\xda\xbb\xe2\0" and heartbeat[12:] == b"\0\0\0\x01N", heartbeat
with connect() as s:
    answered, end = 0, time.monotonic() + 2.7
    while time.monotonic() < end:
        s.settimeout(max(end - time.monotonic(), 0.01))
        try:
            heartbeat = s.recv(17)
        except TimeoutError:
            break
        assert len(heartbeat) == 17, "closed"
        s.sendall(b"\xda\xbb\x22\x14" + heartbeat[4:])
        answered += 1
for said, answer_len in [
    (b"GET / HTTP/1.1\r\n\r\n", 0),
    (struct.pack(">HBBQI", 0xdabb, 0x82, 0, 1, 1001), 0),
    (struct.pack(">HBBQI", 0xdabb, 0xc2, 0, 1, 1001), 16 + 2 + 52),
]:
    with connect() as s:
        s.sendall(said)
        got = b""
        while (more := s.recv(4096)):
            got += more
        assert len(got) == answer_len, (said, got)
print(silent, len(asked), answered)
"#;
