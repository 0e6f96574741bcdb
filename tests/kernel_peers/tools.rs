//! `ping`, `nc` and Python, as people use them.

use crate::client::noise;
use crate::network::Network;
use crate::server::Server;

#[test]
fn pings_are_answered_whole() {
    let Some(network) = Network::make("pings_are_answered_whole", &["ping"]) else { return };
    let mut server = Server::start(&network);
    for (family, address, len_max) in [("-4", "10.77.0.1", 1472), ("-6", "fd77::1", 1452)] {
        // 1472 and 1452 bytes fill a frame of 1500; ping compares what comes back, byte for byte.
        for len in [0, 56, len_max] {
            let len = len.to_string();
            let command = ["ping", family, "-c", "5", "-i", "0.05", "-W", "5", "-s", &len, address];
            let output = network.run(&command, b"");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(" 0% packet loss"), "{said}");
            assert!(!said.contains("wrong data") && !said.contains("DUP"), "{said}");
        }
    }
    // One that takes two fragments is not put together.
    let output = network.run(&["ping", "-c", "1", "-W", "1", "-s", "2000", "10.77.0.1"], b"");
    assert!(!output.status.success());
    let status = server.wait_until("the fragments", |status| !status.dropped.is_empty());
    assert_eq!(status.dropped, [("fragment".to_owned(), 2)].into());
    server.stop();
}

#[test]
fn nc_gets_a_file_back_and_a_conversation_by_lines() {
    let test = "nc_gets_a_file_back_and_a_conversation_by_lines";
    let Some(network) = Network::make(test, &["nc", "timeout"]) else { return };
    let mut server = Server::start(&network);
    let file = noise(1, 300_000);
    for address in ["10.77.0.1", "fd77::1"] {
        // -N closes nc's direction at the end of its input, and the server then closes its own.
        let output = network.run(&["timeout", "20", "nc", "-N", address, "7"], &file);
        assert!(output.status.success() && output.stdout == file, "{address}");

        // Without -N nothing but the server ends the conversation.
        let lines = b"PING\nhello\nPING\nQUIT\n";
        let output = network.run(&["timeout", "20", "nc", address, "7000"], lines);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "PONG\nhello\nPONG\n", "{address}");
        assert!(output.status.success());
    }
    let output = network.run(&["timeout", "20", "nc", "-N", "10.77.0.1", "9"], &file);
    assert!(output.status.success() && output.stdout.is_empty());
    let output = network.run(&["timeout", "20", "nc", "-zv", "10.77.0.1", "8"], b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Connection refused"), "{said}");
    // Only those that the server closed first stay, in TIME-WAIT.
    server.wait_until("two connections", |status| status.connections == 2);
    server.stop();
}

#[test]
fn python_sockets_get_everything_back() {
    let Some(network) = Network::make("python_sockets_get_everything_back", &["python3"]) else {
        return;
    };
    let server = Server::start(&network);
    for address in ["10.77.0.1", "fd77::1"] {
        for len in ["1", "1000", "200000"] {
            let output = network.run(&["python3", "-c", PYTHON, address, len], b"");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"the same\n", "{address}, {len} bytes: {said}");
        }
    }
    server.stop();
}

/// An echo client with `select`, and a check of the heartbeat by lines.
const PYTHON: &str = r#"
import os, select, socket, sys
address, length = sys.argv[1], int(sys.argv[2])
sent = os.urandom(length)
with socket.create_connection((address, 7), timeout=20) as s:
    s.setblocking(False)
    back, out = b"", sent
    while len(back) < length:
        readable, writable, _ = select.select([s], [s] if out else [], [], 20)
        assert readable or writable, "nothing happens"
        if writable:
            out = out[s.send(out):]
        if readable:
            got = s.recv(65536)
            assert got, "closed too early"
            back += got
    s.setblocking(True)
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b"", "more than was sent"
    assert back == sent, "not the same"
with socket.create_connection((address, 7000), timeout=20) as s, s.makefile("rwb") as lines:
    for said, answer in [(b"PING\n", b"PONG\n"), (b"PINGS\n", b"PINGS\n"), (b"PING\n", b"PONG\n")]:
        lines.write(said)
        lines.flush()
        assert lines.readline() == answer, said
    lines.write(b"QUIT\n")
    lines.flush()
    assert lines.read() == b"", "closed"
print("the same")
"#;
