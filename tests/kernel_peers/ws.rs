//! WebSocket as Python's `websockets` speaks it, and as nobody should.

use crate::network::Network;
use crate::push::Control;
use crate::python::{PYTHON, assert_silence, python};
use crate::server::Server;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use tenmil::service::ws::handshake::Refusal;

const ARGS: &[&str] = &[
    "--address",
    "10.77.0.1/16",
    "fd77::1/64",
    "--listen",
    "ws://10.77.0.1:80",
    "ws://[fd77::1]:80",
    "ws://10.77.0.1:81?heartbeat=500ms&message-max=1000",
];

#[test]
fn python_websockets_gets_every_message_back() {
    let test = "python_websockets_gets_every_message_back";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    for url in ["ws://10.77.0.1/", "ws://[fd77::1]/chat?room=1"] {
        assert_eq!(python(&network, MESSAGES, &[url]), "all came back\n", "{url}");
    }
    let status = server.settled();
    let closed: Vec<_> = status.closed.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(closed, [("closed_by_us", 2)], "section 7.1.1: the server closes TCP first");
    server.stop();
}

/// Messages of every length and form, and a close with a code of its own.
const MESSAGES: &str = r#"
import asyncio, random, sys, websockets
async def main(url):
    async with websockets.connect(url, max_size=None, ping_interval=None, compression=None) as ws:
        for length in [0, 1, 125, 126, 1000, 1454, 5000, 65535, 65536, 1 << 20]:
            message = random.randbytes(length)
            await ws.send(message)
            assert await ws.recv() == message, length
            text = "\u00e9\u20ac\U0001f980x"[: length] * (length // 4)
            await ws.send(text)
            assert await ws.recv() == text, length
        parts = ["one ", "", "two \u20ac", " three " * 1000]
        await ws.send(parts)
        assert await ws.recv() == "".join(parts)
        # A ping in the middle of a message is answered before its end.
        async def slowly():
            yield b"begun"
            await (await ws.ping(b"still there?"))
            yield b"ended"
        await ws.send(slowly())
        assert await ws.recv() == b"begunended"
        many = [random.randbytes(random.randrange(3000)) for _ in range(300)]
        sending = asyncio.create_task(send_all(ws, many))
        for message in many:
            assert await ws.recv() == message
        await sending
        for payload in [b"", b"x" * 125]:
            await asyncio.wait_for(await ws.ping(payload), 20)
        await ws.close(3456, "enough")
        assert (ws.close_code, ws.close_reason) == (3456, ""), (ws.close_code, ws.close_reason)
    print("all came back")
async def send_all(ws, messages):
    for message in messages:
        await ws.send(message)
asyncio.run(asyncio.wait_for(main(sys.argv[1]), 60))
"#;

#[test]
fn an_operator_is_heard_as_messages_and_not_within_others() {
    let test = "an_operator_is_heard_as_messages_and_not_within_others";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let control = Control::make();
    let others: &[&str] = &["line://10.77.0.1:7000", "dubbo://10.77.0.1:20880"];
    let mut server = Server::start_with(&network, &[ARGS, others, &control.arg()].concat());
    let mut command = Command::new(PYTHON);
    command.args(["-c", HEARD, "ws://10.77.0.1/"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = network.in_client(|| command.spawn().expect("it is installed"));
    let mut said = BufReader::new(client.stdout.take().expect("it is piped")).lines();
    let mut next = || said.next().expect("it goes on").expect("text");
    let port = next();
    let listener = "ws://10.77.0.1:80";
    let broadcast = ["broadcast", "--listener", listener, "news \u{20ac}"];
    let (code, stdout, _) = thread::scope(|scope| {
        let broadcast = scope.spawn(|| control.tenmil(&broadcast, b""));
        // Every connection was looked at, and the one that is in a message waits.
        server.wait_until("it is under way", |status| status.events.contains_key("broadcasts"));
        let mut stdin = client.stdin.take().expect("it is piped");
        stdin.write_all(b"go on\n").expect("it reads");
        broadcast.join().expect("no panic")
    });
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("sent 1, queued 0, full 0, gone 0, in "), "{stdout}");
    assert_eq!(next(), "in order");
    let peer = format!("10.77.0.2:{port}");
    let push = ["push", "--listener", listener, "--peer", &peer];
    assert_eq!(control.tenmil(&push, "x".repeat(70_000).as_bytes()).0, Some(1), "too long");
    let (code, stdout, _) = control.tenmil(&push, "x".repeat(60_000).as_bytes());
    assert!(code == Some(0) && ["sent\n", "queued\n"].contains(&stdout.as_str()), "{stdout}");
    assert_eq!(next(), "60000");
    let status = client.wait().expect("it ends");
    assert!(status.success(), "{status}");
    let to_dubbo = ["broadcast", "--listener", "dubbo://10.77.0.1:20880", "x"];
    control.refuses(&to_dubbo, "dubbo://10.77.0.1:20880: dubbo has no message for a text");
    control.refuses(&["broadcast", "x"], "name another --listener");
    server.stop();
}

/// Is sent something while it is in the middle of a message, and then a long one alone.
const HEARD: &str = r#"
import asyncio, sys, websockets
async def main(url):
    async with websockets.connect(url, max_size=None, ping_interval=None, compression=None) as ws:
        async def slowly():
            yield "one "
            await (await ws.ping(b"it has come"))
            print(ws.local_address[1], flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            yield "two"
        await ws.send(slowly())
        assert await ws.recv() == "one two"
        assert await ws.recv() == "news \u20ac"
        print("in order", flush=True)
        print(len(await ws.recv()), flush=True)
asyncio.run(asyncio.wait_for(main(sys.argv[1]), 60))
"#;

#[test]
fn clients_that_answer_pings_stay_and_others_are_given_up() {
    let test = "clients_that_answer_pings_stay_and_others_are_given_up";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    let said = python(&network, SILENCE, &["10.77.0.1", "81"]);
    assert_silence(&said);
    let status = server.settled();
    assert_eq!(status.closed["heartbeat_missed"], 1, "{status:?}");
    assert_eq!(status.closed["protocol_error"], 1, "too long a message: {status:?}");
    server.stop();
}

/// One client that never answers, but whose TCP does, and one that answers and says nothing else.
const SILENCE: &str = r#"
import asyncio, socket, sys, time, websockets
address, port = sys.argv[1], int(sys.argv[2])
request = (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
with socket.create_connection((address, port), timeout=20) as s:
    s.sendall(request)
    began, got = time.monotonic(), b""
    try:
        while (more := s.recv(4096)):
            got += more
        raise SystemExit("closed in order")
    except ConnectionResetError:
        silent = time.monotonic() - began
    pings = got.partition(b"\r\n\r\n")[2]
    assert pings == b"\x89\x00" * (len(pings) // 2), pings
class Counting(websockets.WebSocketClientProtocol):
    pinged = 0
    async def pong(self, data=b""):
        Counting.pinged += 1
        await super().pong(data)
async def main():
    async with websockets.connect(f"ws://{address}:{port}/", ping_interval=None,
                                  create_protocol=Counting) as ws:
        await asyncio.sleep(2.7)
        await ws.send("alive")
        assert await ws.recv() == "alive"
        try:
            await ws.send(b"x" * 1001)
            await ws.recv()
            raise SystemExit("no limit")
        except websockets.ConnectionClosedError as error:
            assert error.rcvd.code == 1009, error
asyncio.run(asyncio.wait_for(main(), 20))
print(silent, len(pings) // 2, Counting.pinged)
"#;

#[test]
fn whoever_breaks_the_rules_is_told_and_closed() {
    let test = "whoever_breaks_the_rules_is_told_and_closed";
    let Some(network) = Network::make(test, &[PYTHON]) else { return };
    let mut server = Server::start_with(&network, ARGS);
    assert_eq!(python(&network, RULES, &["10.77.0.1", "80"]), "12 told\n");
    let refusals = [
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::NoUpgrade),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", Refusal::BadRequest),
        ("\u{16}\u{3}\u{1}\0\r\n\r\n", Refusal::BadRequest),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 7\r\n\r\n",
            Refusal::Version,
        ),
    ];
    for (request, refusal) in refusals {
        let told = network.run(&["nc", "-w", "20", "10.77.0.1", "80"], request.as_bytes());
        assert_eq!(String::from_utf8_lossy(&told.stdout), refusal.answer(), "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9_000));
    let told = network.run(&["nc", "-w", "20", "10.77.0.1", "80"], long.as_bytes());
    assert_eq!(String::from_utf8_lossy(&told.stdout), Refusal::TooLarge.answer());
    let status = server.settled();
    assert_eq!(status.closed.get("protocol_error"), Some(&(12 + 6)), "{status:?}");
    for (event, count) in [("ws_accepted", 12), ("ws_1002", 10), ("ws_400", 2), ("ws_431", 1)] {
        assert_eq!(status.events.get(event), Some(&count), "{event}: {status:?}");
    }
    server.stop();
}

/// Frames against the rules, each cut in every way; the code that must come back, and the end.
const RULES: &str = r#"
import socket, sys
address, port = sys.argv[1], int(sys.argv[2])
request = (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
mask = b"\0\0\0\0"
told = 0
for frames, code in [
    (b"\x81\x05Hello", 1002),                            # not masked
    (b"\xc1\x80" + mask, 1002),                          # a reserved bit
    (b"\x83\x80" + mask, 1002),                          # a reserved opcode
    (b"\x8b\x80" + mask, 1002),
    (b"\x09\x80" + mask, 1002),                          # a fragmented ping
    (b"\x89\xfe\x00\x7e" + mask + b"x" * 126, 1002),     # a long ping
    (b"\x82\xfe\x00\x01" + mask + b"x", 1002),           # a length in too many bytes
    (b"\x80\x80" + mask, 1002),                          # what continues nothing
    (b"\x01\x80" + mask + b"\x81\x80" + mask, 1002),     # a message in a message
    (b"\x81\x81" + mask + b"\xff", 1007),                # no UTF-8
    (b"\x88\x82" + mask + b"\x03\xed", 1002),            # 1005 in a close frame
    (b"\x82\xff\x00\x00\x00\x00\x7f\xff\xff\xff" + mask, 1009),
]:
    with socket.create_connection((address, port), timeout=20) as s:
        s.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += s.recv(4096)
        assert answer.endswith(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), answer
        s.sendall(frames)
        got = b""
        while (more := s.recv(4096)):
            got += more
        assert got == b"\x88\x02" + code.to_bytes(2, "big"), (frames, got)
        told += 1
print(told, "told")
"#;
