//! Kernel sockets, and the bytes that they send.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::network::PATIENCE;

/// The services of `Server::start`.
pub(crate) const ECHO: [&str; 2] = ["10.77.0.1:7", "[fd77::1]:7"];
pub(crate) const LINE: [&str; 2] = ["10.77.0.1:7000", "[fd77::1]:7000"];
pub(crate) const DISCARD: &str = "10.77.0.1:9";

/// Connects from the calling thread's namespace; no read or write of the stream blocks for long.
#[track_caller]
pub(crate) fn connect(to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().expect("an endpoint");
    let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("an open socket");
    stream
}

/// Sends `bytes` while reading as many back, which must be the same.
#[track_caller]
pub(crate) fn assert_echo(stream: &TcpStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    thread::scope(|scope| {
        let writing = scope.spawn(|| (&*stream).write_all(bytes));
        (&*stream).read_exact(&mut back).expect("everything comes back");
        writing.join().expect("no panic").expect("everything is taken");
    });
    assert!(back == bytes, "{} bytes came back changed", bytes.len());
}

/// Closes the client's direction; the server must close its own, without another byte.
#[track_caller]
pub(crate) fn assert_closes(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("an open socket");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end");
    assert_eq!(rest, b"");
}

/// Bytes that look random, and differ for each seed (splitmix64).
pub(crate) fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) + 1;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    });
    words.flatten().take(len).collect()
}
