//! A file over HTTP to a peer that loses frames: in flights, one after the other, and by a socket.

use super::*;
use crate::engine::config::Config;
use crate::service::builtin::{Builtin, Builtins, Setup};
use crate::service::http::memory_files::MemoryFiles;
use crate::service::http::{self, Files};
use crate::tcp::CloseReason;
use crate::time::Duration;
use crate::wire::addr::Secret;
use core::convert::Infallible;

const LEN: usize = 100_000;

const HOUR: Duration = Duration::from_secs(3_600);

/// A host that serves a file of these bytes.
fn serving(config: Config, bytes: &[u8]) -> Host<Builtins> {
    serving_files(config, &MemoryFiles::new(&[("file", bytes)]))
}

fn serving_files(config: Config, files: &MemoryFiles) -> Host<Builtins> {
    // However often the same segment is lost, nobody gives up.
    serving_with(config, &http::Setup { request_timeout: HOUR, ..http::Setup::default() }, files)
}

fn serving_with(config: Config, setup: &http::Setup, files: &MemoryFiles) -> Host<Builtins> {
    let open = |_: &_| Ok::<_, Infallible>(Box::new(files.clone()) as Box<dyn Files + Send>);
    let setups = Builtin::ALL.map(|service| match service {
        Builtin::Http => Setup::Http(setup.clone()),
        other => Setup::of(other),
    });
    let Ok(builtins) = Builtins::with_files(&setups, Secret([5; 16]), open);
    Host::new(config, builtins)
}

#[test]
fn a_file_arrives_whole_however_many_frames_are_lost() {
    let bytes: Vec<u8> = (0..LEN).map(|at| (at * 31 + at / 251) as u8).collect();
    let sockets = Config { promoted_max: 2, ..config() };
    let seeds = (0..10_u64).flat_map(|seed| [(seed, config()), (seed, sockets.clone())]);
    for (seed, config) in seeds {
        // A linear congruence is random enough.
        let mut number = seed;
        let mut arrives = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            !(number >> 33).is_multiple_of(3 + seed)
        };
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
                if arrives() && segment.seq == peer.ack {
                    peer.take(&segment);
                    got.extend(segment.payload);
                    is_over |= segment.flags.fin;
                }
            }
            if arrives() {
                seen = peer.tell(&mut host, ACK, b"");
            }
            assert!(host.now.since(began) < HOUR, "{} bytes", got.len());
        }
        assert!(got.ends_with(&bytes) && got.len() < LEN + 512, "{} bytes", got.len());
        let seen = peer.tell(&mut host, FIN, b"");
        peer.assert_ack(&seen);
        assert_eq!(host.engine.counters().promoted, 0);
    }
}

#[test]
fn requests_behind_a_file_that_is_late_are_answered_though_the_peer_has_closed() {
    for promoted_max in [0, 1] {
        let files = MemoryFiles::new(&[("file", b"late"), ("other", b"behind it")]);
        files.be_late(4);
        let mut host = serving_files(Config { promoted_max, ..config() }, &files);
        let mut peer = Peer::opened(&mut host, "10.77.0.1:80");
        let both = b"GET /file HTTP/1.1\r\nHost: a\r\n\r\nGET /other HTTP/1.1\r\nHost: a\r\n\r\n";
        let (start, mut got) = (peer.seq, Vec::new());
        let mut is_over = false;
        for _ in 0..100 {
            // What was not taken is repeated.
            peer.seq = start;
            let mut seen = peer.tell(&mut host, ACK, both);
            seen.extend(peer.tell(&mut host, FIN, b""));
            seen.extend(peer.tell(&mut host, ACK, b""));
            seen.extend(peer.read_all(host.pass(Duration::from_millis(100))));
            for segment in seen {
                if segment.seq == peer.ack {
                    peer.take(&segment);
                    got.extend(segment.payload);
                    is_over |= segment.flags.fin;
                }
            }
            if is_over {
                break;
            }
        }
        let got = String::from_utf8(got).unwrap();
        let is_all = got.contains("\r\n\r\nlate") && got.ends_with("behind it");
        assert!(is_all, "{promoted_max} places, {is_over}: {got}");
        assert_eq!(files.open_len(), 0);
    }
}

#[test]
fn who_sends_or_takes_a_byte_now_and_then_is_given_up_and_counted() {
    for promoted_max in [0, 1] {
        let files = MemoryFiles::new(&[("file", &[7; 100_000])]);
        let serving = || {
            let config = Config { promoted_max, ..config() };
            serving_with(config, &http::Setup::default(), &files)
        };
        let too_slow = |host: &Host<Builtins>| host.engine.counters().closed(CloseReason::TooSlow);
        // A byte of a content every 20 s.
        let mut host = serving();
        let mut peer = Peer::opened(&mut host, "10.77.0.1:80");
        let post = b"POST /file HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n";
        peer.tell(&mut host, ACK, post);
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.extend(peer.read_all(host.seconds(20)));
            answers.extend(peer.tell(&mut host, ACK, b"x"));
        }
        let refusal = answers.iter().find(|seen| !seen.payload.is_empty()).expect("an answer");
        assert!(refusal.payload.starts_with(b"HTTP/1.1 408 ") && refusal.flags.fin);
        peer.take(refusal);
        peer.tell(&mut host, FIN, b"");
        assert_eq!(too_slow(&host), 1, "{promoted_max}");
        // A byte of a file every second.
        let mut host = serving();
        let mut peer = Peer::opened(&mut host, "10.77.0.1:80");
        peer.tell(&mut host, ACK, b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut seconds = 0;
        while too_slow(&host) == 0 {
            host.seconds(1);
            peer.ack += 1;
            peer.window = 1;
            peer.tell(&mut host, ACK, b"");
            seconds += 1;
            assert!(seconds < 70, "{promoted_max}");
        }
        assert!(seconds > 50, "{promoted_max}: {seconds}");
        assert_eq!((files.open_len(), host.engine.counters().connections), (0, 0));
    }
}
