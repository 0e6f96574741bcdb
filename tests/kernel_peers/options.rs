//! Clients whose TCP is set up otherwise: a small segment size, no SACK, no window scale.

use crate::client::{ECHO, LINE, assert_closes, assert_echo, connect, noise};
use crate::network::Network;
use crate::server::Server;

#[test]
fn a_client_with_small_segments_gets_everything() {
    let test = "a_client_with_small_segments_gets_everything";
    let Some(network) = Network::make(test, &["python3"]) else { return };
    let server = Server::start(&network);
    for address in ["10.77.0.1", "fd77::1"] {
        for mss in ["88", "536", "1200"] {
            let output = network.run(&["python3", "-c", SMALL_SEGMENTS, address, mss], b"");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"the same\n", "{address} mss {mss}: {said}");
        }
    }
    server.stop();
}

/// Echo with TCP_MAXSEG set before the SYN, which the standard library cannot. What the kernel then
/// takes for the other side's segment size, at least 536, stands in TCP_INFO (`tcpi_rcv_mss`, the fourth u32
/// after 8 bytes): no segment that came back was larger.
const SMALL_SEGMENTS: &str = r#"
import os, socket, struct, sys, threading
address, mss = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sent = os.urandom(60000)
with socket.socket(family, socket.SOCK_STREAM) as s:
    s.settimeout(20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    s.connect((address, 7))
    writer = threading.Thread(target=s.sendall, args=(sent,))
    writer.start()
    back = b""
    while len(back) < len(sent):
        got = s.recv(65536)
        assert got, "closed too early"
        back += got
    writer.join()
    info = struct.unpack_from("8B24I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
    rcv_mss = info[8 + 3]
    assert rcv_mss <= max(mss, 536), f"segments of {rcv_mss}"
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b"" and back == sent, "not the same"
print("the same")
"#;

#[test]
fn clients_without_sack_and_window_scale_get_everything() {
    let test = "clients_without_sack_and_window_scale_get_everything";
    let Some(network) = Network::make(test, &[]) else { return };
    let server = Server::start(&network);
    for option in ["tcp_sack", "tcp_window_scaling", "tcp_timestamps"] {
        // One more is off each time; in the end all of them.
        let set = format!("echo 0 >/proc/sys/net/ipv4/{option}");
        assert!(network.run(&["sh", "-c", &set], b"").status.success(), "{option}");
        network.in_client(|| {
            for to in ECHO {
                let stream = connect(to);
                assert_echo(&stream, &noise(1, 200_000));
                assert_closes(stream);
            }
            LINE.map(connect).iter().for_each(|stream| assert_echo(stream, b"a line\n"));
        });
    }
    server.stop();
}
