//! Conversations of HTTP: requests one behind the other, and what a server that has all of them at once
//! answers.

use super::scenario::pick;
use super::talk::{Ending, Roles, Talk, below};
use crate::link::faults::Random;
use crate::service::builtin::Builtin;
use crate::service::by_hand::ByHand;
use crate::service::http::memory_files::MemoryFiles;
use crate::service::http::{Http, Setup};
use crate::time::{Duration, Instant};

/// How long the largest file is, in bytes.
const BIG: usize = 60_000;

/// The smallest buffer of a client, in bytes.
const BUFFER_MIN: usize = 1_000;

/// What may be said or heard where nothing else limits it, in bytes.
const LEN_MAX: usize = 150_000;

/// What the server has.
pub(super) fn files() -> MemoryFiles {
    let bytes: Vec<u8> = (0..BIG).map(|at| (at * 7 + at / 251).to_le_bytes()[0]).collect();
    MemoryFiles::new(&[
        ("index.html", b"<p>root\n"),
        ("small", b"0123456789"),
        ("page", &bytes[..3_000]),
        ("dir/x", b"x"),
        ("big", &bytes),
    ])
}

/// The service, which waits for as long as it takes.
pub(super) fn service(files: MemoryFiles) -> Http {
    let setup = Setup {
        idle_timeout: None,
        request_timeout: Duration::from_secs(1 << 20),
        requests_max: 0,
        echo: true,
        ..Setup::default()
    };
    Http::new(&setup, Box::new(files))
}

/// Makes a talk with the engine one of HTTP.
pub(super) fn ask(talk: &mut Talk, random: &mut Random) {
    if talk.roles == Roles::EngineToReference {
        return;
    }
    talk.service = Builtin::Http;
    if talk.ending == Ending::ClientCloses && random.below(3) == 0 {
        talk.ending = Ending::ServerCloses;
    }
    let closes = talk.ending == Ending::ServerCloses;
    // Where none is promoted, an answer's head is sent whole or not at all.
    talk.buffer = talk.buffer.max(BUFFER_MIN);
    // Nor is half a head acknowledged there, so it must be whole before its client gives up.
    talk.pause = talk.pause.min(Duration::from_secs(3));
    // Small buffers take many round trips, and scripted clients many events.
    let len_max = match talk.roles {
        Roles::ScriptedToEngine => 8_000,
        _ => LEN_MAX.min(40 * talk.read_max.min(talk.buffer)),
    };
    (talk.request, talk.response) = exchange(random, talk.number, len_max, closes);
    // A stock socket never sends what lies across the end of its ring in one segment, so where none is
    // promoted a head there would never be whole.
    talk.buffer = talk.buffer.max(talk.request.len() + 1);
    talk.piece_max = match talk.pause.is_zero() {
        true => pick(random, [30, 1_460, 4_000, 4_000]).max(talk.request.len() / 200),
        false => 1 + talk.request.len() / 5,
    };
    let heard = below(random, talk.response.len() + 1);
    match &mut talk.ending {
        Ending::Aborts(after) | Ending::Vanishes(after) => *after = heard,
        _ => {}
    }
}

/// Requests of talk `number`, which no other has, and the answers to them.
fn exchange(random: &mut Random, number: u16, len_max: usize, closes: bool) -> (Vec<u8>, Vec<u8>) {
    let most = pick(random, [1, 5, 40]);
    let count = 1 + below(random, most);
    let mut http = service(files());
    let mut hand = ByHand::new(Instant::ZERO);
    hand.call(65_535, |conn| crate::service::Service::on_open(&mut http, conn));
    let mut requests = Vec::new();
    for _ in 0..count {
        let request = request(random, number);
        if hand.sent().len() + requests.len() + BIG > len_max
            && request.windows(4).any(|w| w == b"/big")
        {
            continue;
        }
        hand.receive(&mut http, &request, 65_535);
        requests.extend(request);
        if hand.sent().len() + requests.len() > len_max {
            break;
        }
    }
    if closes || requests.is_empty() {
        let option = if closes { "Connection: close\r\n" } else { "" };
        let last = format!("GET /small HTTP/1.1\r\nHost: talk-{number}\r\n{option}\r\n");
        hand.receive(&mut http, last.as_bytes(), 65_535);
        requests.extend(last.into_bytes());
    }
    assert!(hand.unread().is_empty() && hand.is_closing() == closes, "all were answered");
    (requests, hand.sent().to_vec())
}

/// One request.
fn request(random: &mut Random, number: u16) -> Vec<u8> {
    let head = |line: &str, fields: &str| {
        format!("{line} HTTP/1.1\r\nHost: talk-{number}\r\n{fields}\r\n")
    };
    let body: Vec<u8> =
        (0..below(random, 3_000)).map(|at| b'a' + (at % 26).to_le_bytes()[0]).collect();
    let length = format!("Content-Length: {}\r\n", body.len());
    let with_body = |head: String| [head.into_bytes(), body.clone()].concat();
    match random.below(16) {
        0..3 => head("GET /small", "").into_bytes(),
        3 => head("GET /page", "").into_bytes(),
        4 => head("GET /big", "").into_bytes(),
        5 => head("HEAD /big", "").into_bytes(),
        6 => {
            let first = random.below(BIG as u64);
            let last = first + random.below(4_000);
            head("GET /big", &format!("Range: bytes={first}-{last}\r\n")).into_bytes()
        }
        7 => head("GET /missing", "").into_bytes(),
        8 => with_body(head("POST /echo", &length)),
        9 => with_body(head("POST /small", &length)),
        10 => with_body(head("GET /page", &length)),
        11 => {
            let mut request = head("GET /page", "Transfer-Encoding: chunked\r\n").into_bytes();
            for chunk in body.chunks(1 + below(random, 700)) {
                request.extend(format!("{:x};a=\"b\"\r\n", chunk.len()).into_bytes());
                request.extend(chunk);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\nTrailer: x\r\n\r\n");
            request
        }
        12 => {
            let old = "GET /small HTTP/1.0\r\nConnection: keep-alive\r\nHost: talk-";
            format!("{old}{number}\r\n\r\n").into_bytes()
        }
        13 => head("OPTIONS *", "").into_bytes(),
        14 => [b"\r\n\r\n".to_vec(), head("GET /", "").into_bytes()].concat(),
        _ => head("GET /healthz", "").into_bytes(),
    }
}
