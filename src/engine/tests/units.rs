//! Services that take a message whole or not at all.

use super::*;
use crate::engine::config::Config;
use crate::service::{Context, Service};

/// Takes units of so many bytes, and answers each with its first byte.
struct Units {
    len: usize,
    received: Vec<u8>,
}

impl Service for Units {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let units = bytes.chunks_exact(self.len);
        let len = bytes.len() - units.remainder().len();
        units.for_each(|unit| assert_eq!(conn.send(&unit[..1]), 1));
        self.received.extend_from_slice(&bytes[..len]);
        len
    }
}

#[test]
fn a_unit_across_the_end_of_the_receive_buffer_is_taken_whole() {
    const BUFFER: u16 = 4096;
    for len in [7, 100, 1000, 3000] {
        let config = Config { promoted_max: 1, promoted_buffer: BUFFER, ..config() };
        let mut host = Host::new(config, Units { len, received: Vec::new() });
        let mut peer = Peer::opened(&mut host, "10.77.0.1:7");
        // Many times around the buffer.
        let bytes: Vec<_> =
            (0..len * (100_000 / len)).map(|at| (at * 31 + at / 251) as u8).collect();
        let mut answers = Vec::new();
        for piece in bytes.chunks(900) {
            let mut seen = peer.tell(&mut host, ACK, piece);
            while !seen.is_empty() {
                seen.iter().for_each(|seen| peer.take(seen));
                let data: Vec<u8> = seen.iter().flat_map(|seen| seen.payload.clone()).collect();
                seen = if data.is_empty() { vec![] } else { peer.tell(&mut host, ACK, b"") };
                answers.extend(data);
            }
        }
        assert!(host.engine.service().received == bytes, "units of {len}");
        let firsts: Vec<_> = bytes.chunks(len).map(|unit| unit[0]).collect();
        assert_eq!(answers, firsts, "units of {len}");
    }
}
