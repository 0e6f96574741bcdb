//! A file over HTTP to a peer that loses frames: in flights, one after the other, and by a socket.

use super::*;
use crate::engine::config::Config;
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::service::http::Files;
use crate::service::http::memory_files::MemoryFiles;
use crate::time::Duration;
use crate::wire::addr::Secret;
use core::convert::Infallible;
use siphasher::sip::SipHasher13;

const LEN: usize = 100_000;

/// A host that serves a file of these bytes.
fn serving(config: Config, bytes: &[u8]) -> Host<Builtins> {
    let files = MemoryFiles::new(&[("file", bytes)]);
    let open = |_: &_| Ok::<_, Infallible>(Box::new(files.clone()) as Box<dyn Files + Send>);
    let Ok(builtins) = Builtins::with_files(&Builtin::ALL.map(Setup::of), Secret([5; 16]), open);
    Host::new(config, builtins)
}

#[test]
fn a_file_arrives_whole_however_many_frames_are_lost() {
    let bytes: Vec<u8> = (0..LEN).map(|at| (at * 31 + at / 251) as u8).collect();
    let sockets = Config { promoted_max: 2, ..config() };
    let seeds = (0..10u64).flat_map(|seed| [(seed, config()), (seed, sockets.clone())]);
    for (seed, config) in seeds {
        let draws = (seed << 32..).map(|n| SipHasher13::new().hash(&n.to_le_bytes()));
        let mut draws = draws.map(|draw| draw % (3 + seed));
        let mut host = serving(config, &bytes);
        let mut peer = Peer::opened(&mut host, "10.77.0.1:80");
        let get = b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut seen = peer.tell(&mut host, ACK, get);
        let (mut got, mut is_over) = (Vec::new(), false);
        let began = host.now;
        while !is_over {
            if seen.is_empty() {
                seen = peer.read_all(host.pass(Duration::from_millis(100)));
            }
            for segment in seen.drain(..) {
                if draws.next() != Some(0) && segment.seq == peer.ack {
                    peer.take(&segment);
                    got.extend(segment.payload);
                    is_over |= segment.flags.fin;
                }
            }
            if draws.next() != Some(0) {
                seen = peer.tell(&mut host, ACK, b"");
            }
            assert!(host.now.since(began) < Duration::from_secs(3_600), "{} bytes", got.len());
        }
        assert!(got.ends_with(&bytes) && got.len() < LEN + 512, "{} bytes", got.len());
        let seen = peer.tell(&mut host, FIN, b"");
        peer.assert_ack(&seen);
        assert_eq!(host.engine.counters().promoted, 0);
    }
}
