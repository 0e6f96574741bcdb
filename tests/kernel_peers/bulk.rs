//! Bulk transfers: a kernel's client of a server's echo, and the engine as the client of a kernel's.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use tenmil::conn::slab::ConnId;
use tenmil::engine::counters::Counters;
use tenmil::engine::{CommandError, ConnectError, Engine};
use tenmil::frame::Frame;
use tenmil::link::Link;
use tenmil::service::{Context, Service, ServiceState};
use tenmil::shard::clock::Clock;
use tenmil::shard::{Driver, Next, Shard, Shared};
use tenmil::tcp::CloseReason;
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::Endpoint;

use crate::client::{connect, noise};
use crate::network::PATIENCE;

/// How much is sent at once.
const PIECE: usize = 16 * 1024;

/// Bytes at `at` of a stream, at most `len`. The stream repeats itself after a prime number of
/// bytes, far more than any window, so nothing that is lost or doubled goes unseen.
fn piece(at: usize, len: usize) -> &'static [u8] {
    const PERIOD: usize = 1_000_003;
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| noise(64, PERIOD));
    let start = at % PERIOD;
    &noise[start..PERIOD.min(start + len)]
}

/// Fails if `bytes` are not what stands at `at` of the stream.
#[track_caller]
fn assert_piece(at: usize, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        let expected = piece(at + done, bytes.len() - done);
        let got = &bytes[done..done + expected.len()];
        assert!(got == expected, "wrong bytes after {} bytes", at + done);
        done += expected.len();
    }
}

/// Sends `total` bytes from a kernel socket, in the calling thread's namespace, to an echo service;
/// what comes back must be the same, and then the end.
#[track_caller]
pub(crate) fn assert_bulk_echo(to: &str, total: usize) {
    let mut stream = connect(to);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut sent = 0;
            while sent < total {
                let bytes = piece(sent, PIECE.min(total - sent));
                (&stream).write_all(bytes).expect("it is taken");
                sent += bytes.len();
            }
            stream.shutdown(Shutdown::Write).expect("an open socket");
        });
        let (mut room, mut received) = (vec![0; 4 * PIECE], 0);
        loop {
            let len = (&stream).read(&mut room).expect("more, or an orderly end");
            if len == 0 {
                break;
            }
            assert_piece(received, &room[..len]);
            received += len;
        }
        assert_eq!(received, total, "everything comes back");
        writing.join().expect("no panic");
    });
    assert_eq!(stream.read(&mut [0]).expect("still the end"), 0);
}

/// A kernel's echo for one connection at `addr`, in the calling thread's namespace; its end says how
/// many bytes it echoed.
pub(crate) fn kernel_echo(addr: SocketAddr) -> JoinHandle<usize> {
    let listener = TcpListener::bind(addr).expect("the address is here");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("an open socket");
        let (mut room, mut echoed) = (vec![0; PIECE], 0);
        loop {
            let len = stream.read(&mut room).expect("more, or an orderly end");
            if len == 0 {
                return echoed;
            }
            stream.write_all(&room[..len]).expect("it is taken");
            echoed += len;
        }
    })
}

/// A connection that the engine opens, for [`run_client`].
struct Bulk {
    local: Endpoint,
    remote: Endpoint,
    total: usize,
    sent: usize,
    id: Option<ConnId>,
    is_closing: bool,
    /// How much had come back when that last changed, and when it did.
    moved: (usize, Instant),
}

/// What its service hears.
#[derive(Default)]
pub(crate) struct Heard {
    is_open: bool,
    received: usize,
    closed: Option<CloseReason>,
}

impl Service for Heard {
    fn on_open(&mut self, _: &mut Context<'_>) {
        self.is_open = true;
    }

    fn on_data(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> usize {
        assert_piece(self.received, bytes);
        self.received += bytes.len();
        bytes.len()
    }

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        self.closed = Some(reason);
    }
}

impl Bulk {
    /// Opens the connection, sends what can be sent, and closes after the last byte came back.
    fn go_on<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heard>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) {
        let Some(id) = self.id else {
            match engine.connect(self.local, self.remote, 0, now, link, tx) {
                Ok(id) => self.id = Some(id),
                Err(error) => assert_eq!(error, ConnectError::Resolving),
            }
            return;
        };
        if !engine.service().is_open || self.is_closing {
            return;
        }
        while self.sent < self.total {
            let bytes = piece(self.sent, PIECE.min(self.total - self.sent));
            match engine.send(id, bytes, now, link, tx) {
                Ok(()) => self.sent += bytes.len(),
                Err(error) => return assert_eq!(error, CommandError::Busy),
            }
        }
        if engine.service().received == self.total {
            self.is_closing = engine.close(id, now, link, tx).is_ok();
        }
    }
}

impl Driver<Heard> for Bulk {
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heard>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        let received = engine.service().received;
        if self.moved.0 != received {
            self.moved = (received, now);
        }
        assert!(now.since(self.moved.1) < PATIENCE, "nothing comes back after {received} bytes");
        self.go_on(now, engine, link, tx);
        match engine.service().closed {
            Some(_) => Next::Done,
            None => Next::At(now + Duration::from_millis(10)),
        }
    }
}

/// Has `engine` send `total` bytes from `local` to an echo at `remote`, which must come back, and
/// close. Returns what it counted.
pub(crate) fn run_client(
    link: impl Link,
    engine: Engine<Heard>,
    clock: Clock,
    [local, remote]: [Endpoint; 2],
    total: usize,
) -> Counters {
    let moved = (0, clock.now());
    let driver = Bulk { local, remote, total, sent: 0, id: None, is_closing: false, moved };
    let mut shard = Shard { link, engine, driver };
    shard.run(&clock, &Shared::default()).expect("the link stays");
    let heard = shard.engine.service();
    assert_eq!((heard.received, heard.closed), (total, Some(CloseReason::ClosedByUs)));
    shard.engine.counters()
}
