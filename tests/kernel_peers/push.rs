//! What other threads push to kernel sockets, through a shard on a real queue.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use tenmil::conn::broadcast::Audience;
use tenmil::conn::delivery::Outcome;
use tenmil::conn::slab::ConnId;
use tenmil::engine::Engine;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::link::af_xdp::attachment::{Request, attach};
use tenmil::link::af_xdp::program::XdpMode;
use tenmil::service::{Context, Service};
use tenmil::shard::clock::Clock;
use tenmil::shard::mailbox::Handle;
use tenmil::shard::{Answering, Shard, Shared, Snapshot};
use tenmil::wire::addr::{Address, Endpoint, Secret};

use crate::capture::TempDir;
use crate::client::{ECHO, LINE, assert_echo, connect, noise};
use crate::network::{Network, PATIENCE, SERVER_INTERFACE, feed};
use crate::server::{DEFAULT_ARGS, Server, TENMIL};

const SERVER: Address = Address::v4([10, 77, 0, 1]);
const TO: &str = "10.77.0.1:7";

/// Connections say who they are in a byte; nothing is answered.
struct Register(mpsc::Sender<(u8, ConnId)>);

impl Service for Register {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        if conn.state()[0] == 0 {
            conn.state()[0] = 1;
            self.0.send((bytes[0], conn.id())).expect("the test listens");
        }
        bytes.len()
    }
}

/// Serves while `work` is done with the handle and the names of connections; returns what was counted.
fn serving(
    network: &Network,
    work: impl FnOnce(&Handle, mpsc::Receiver<(u8, ConnId)>, &Shared) + Send,
) -> Snapshot {
    let (sender, names) = mpsc::channel();
    let shared = Shared::default();
    let handle = shared.handle();
    thread::scope(|scope| {
        let shard = scope.spawn(|| network.in_server(|| serve(sender, &shared)));
        let worked = scope.spawn(|| work(&handle, names, &shared)).join();
        shared.stop.store(true, Ordering::Relaxed);
        shard.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    shared.snapshot()
}

fn serve(sender: mpsc::Sender<(u8, ConnId)>, shared: &Shared) {
    let (attachment, mut links) = attach(&Request {
        interface: SERVER_INTERFACE.to_owned(),
        queues: Some(1),
        mode: XdpMode::Auto,
        owned: vec![(SERVER.to_ip(), 32)],
        listeners: Vec::new(),
    })
    .expect("nothing is attached");
    let clock = Clock::start();
    let mut config = Config::new(attachment.interface().mac, Secret([1; 16]), Secret([2; 16]));
    config.owned = vec![Owned { addr: SERVER, range_len: 32, link_len: 16 }];
    let endpoint = Endpoint { addr: SERVER, port: 7 };
    config.listeners = vec![Listener { endpoint, tag: 1, profile: None }];
    let engine = Engine::new(config, Register(sender), clock.now());
    let link = links.pop().expect("one queue");
    let mut shard = Shard { link, engine, driver: Answering };
    shard.run(&clock, shared).expect("the link works");
}

/// Connects as `number`, once somebody listens.
fn introduce(number: u8) -> TcpStream {
    let mut stream = connect(TO);
    stream.write_all(&[number]).expect("an open socket");
    stream
}

fn taken(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Sent | Outcome::Queued))
}

#[test]
fn what_threads_push_reaches_kernel_sockets_in_order_and_a_broadcast_all_of_them() {
    let test = "what_threads_push_reaches_kernel_sockets_in_order_and_a_broadcast_all_of_them";
    let Some(network) = Network::make(test, &[]) else { return };
    const CLIENTS: u8 = 20;
    let news = noise(7, 200);
    let counted = serving(&network, |handle, names, _| {
        let mut streams: Vec<TcpStream> =
            network.in_client(|| (0..CLIENTS).map(introduce).collect());
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (number, id) = names.recv_timeout(PATIENCE).expect("a connection opens");
                let handle = handle.clone();
                scope.spawn(move || {
                    // More than a window of the kernel's: it has to be waited for, and none is lost.
                    let bytes = noise(usize::from(number), 500_000);
                    for piece in bytes.chunks(5_000) {
                        loop {
                            let receipt = handle.push(id, piece).expect("room");
                            if taken(receipt.wait(PATIENCE)) {
                                break;
                            }
                        }
                    }
                });
            }
            for (number, stream) in streams.iter_mut().enumerate() {
                let mut got = vec![0; 500_000];
                stream.read_exact(&mut got).expect("everything comes");
                assert!(got == noise(number, 500_000), "client {number}");
            }
        });
        let receipt = handle.broadcast(Audience::Tag(1), &news[..]).expect("room");
        let done = receipt.wait(PATIENCE).expect("it is done");
        assert_eq!(done.sent + done.queued, u32::from(CLIENTS), "{done:?}");
        for stream in &mut streams {
            let mut got = vec![0; 200];
            stream.read_exact(&mut got).expect("it comes");
            assert_eq!(got, news);
        }
    });
    assert_eq!((counted.engine.pushes_full, counted.engine.pushes_gone), (0, 0));
    assert_eq!(counted.engine.broadcasts, 1);
}

#[test]
fn who_does_not_read_is_full_in_the_end_and_others_are_served_and_closed() {
    let test = "who_does_not_read_is_full_in_the_end_and_others_are_served_and_closed";
    let Some(network) = Network::make(test, &[]) else { return };
    serving(&network, |handle, names, shared| {
        let [deaf, mut reader] = network.in_client(|| [introduce(0), introduce(1)]);
        let mut ids = [None; 2];
        for _ in 0..2 {
            let (number, id) = names.recv_timeout(PATIENCE).expect("a connection opens");
            ids[usize::from(number)] = Some(id);
        }
        let [deaf_id, reader_id] = ids.map(|id| id.expect("both have one"));
        let piece = noise(1, 50_000);
        let receipts: Vec<_> =
            (0..400).map(|_| handle.push(deaf_id, &piece[..]).expect("room")).collect();
        let receipt = handle.push(reader_id, &b"hello"[..]).expect("room");
        assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Sent));
        let mut got = [0; 5];
        reader.read_exact(&mut got).expect("it comes");
        assert_eq!(&got, b"hello");
        let outcomes: Vec<_> = receipts.iter().map(|receipt| receipt.wait(PATIENCE)).collect();
        let full = outcomes.iter().filter(|outcome| **outcome == Some(Outcome::Full)).count();
        assert!(full > 0 && outcomes.iter().all(Option::is_some), "{full} of 400");
        // It gets as many as were taken, whole, once it reads.
        let taken = outcomes.iter().filter(|outcome| taken(**outcome)).count();
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            (&deaf).read_to_end(&mut all).map(|_| all)
        });
        let closed = handle.close(deaf_id).expect("room");
        assert!(closed.wait(PATIENCE).is_some_and(|outcome| outcome != Outcome::Gone));
        let all = reading.join().expect("no panic").expect("an orderly end");
        assert_eq!(all.len(), taken * piece.len());
        assert!(all.chunks(piece.len()).all(|got| got == piece));
        // One that has gone.
        drop(reader);
        while shared.snapshot().engine.established > 0 {
            thread::yield_now();
        }
        let receipt = handle.push(reader_id, &b"hello"[..]).expect("room");
        assert_eq!(receipt.wait(PATIENCE), Some(Outcome::Gone));
    });
}

#[test]
fn a_shard_that_sleeps_is_woken() {
    let Some(network) = Network::make("a_shard_that_sleeps_is_woken", &[]) else { return };
    serving(&network, |handle, names, _| {
        let mut stream = network.in_client(|| introduce(1));
        let (_, id) = names.recv_timeout(PATIENCE).expect("a connection opens");
        let clock = Clock::start();
        let mut quick = 0;
        for _ in 0..20 {
            // Nothing is to be done meanwhile: it sleeps, for 50 ms if nobody wakes it.
            stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("open");
            let error = stream.read(&mut [0; 1]).expect_err("nothing comes");
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
            stream.set_read_timeout(Some(PATIENCE)).expect("open");
            let asked = clock.now();
            handle.push(id, &b"!"[..]).expect("room");
            stream.read_exact(&mut [0; 1]).expect("it comes");
            quick += u32::from(clock.now().since(asked).as_millis() < 10);
        }
        // Without being woken it would be one in five. Some may be slow on a busy machine.
        assert!(quick >= 10, "{quick} of 20 came within 10 ms");
    });
}

/// Where a server's control socket is.
pub(crate) struct Control {
    path: String,
    _directory: TempDir,
}

impl Control {
    pub(crate) fn make() -> Control {
        let directory = TempDir::make("control");
        let path = directory.path().join("control").to_str().expect("text").to_owned();
        Control { path, _directory: directory }
    }

    /// The server's argument.
    pub(crate) fn arg(&self) -> [&str; 2] {
        ["--control", &self.path]
    }

    /// Has the server do what `args` say, with `input` on the standard input; returns the exit code, and
    /// what was said.
    pub(crate) fn tenmil(&self, args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
        let (verb, args) = args.split_first().expect("a verb");
        let child = Command::new(TENMIL)
            .arg(verb)
            .args(self.arg())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is built");
        let output = feed(child, input);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// As [`Control::tenmil`]; it is refused with a line that says `why`.
    #[track_caller]
    pub(crate) fn refuses(&self, args: &[&str], why: &str) {
        let (code, stdout, stderr) = self.tenmil(args, b"");
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
        assert!(stderr.starts_with("tenmil: the server refused: "), "{stderr}");
        assert!(stderr.contains(why) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn the_command_line_pushes_to_one_client_and_broadcasts_to_those_of_a_listener() {
    let test = "the_command_line_pushes_to_one_client_and_broadcasts_to_those_of_a_listener";
    let Some(network) = Network::make(test, &[]) else { return };
    let control = Control::make();
    let server = Server::start_with(&network, &[DEFAULT_ARGS, &control.arg()].concat());
    let tenmil = |args: &[&str], input: &[u8]| control.tenmil(args, input);
    let mut clients = network.in_client(|| [LINE[0], LINE[0], ECHO[0], ECHO[1]].map(connect));
    clients.iter().for_each(|client| assert_echo(client, b"hello\n"));
    let listener = "line://10.77.0.1:7000";
    let peer = clients[1].local_addr().expect("an open socket").to_string();
    let mut heard = |client: usize, expected: &[u8]| {
        let mut got = vec![0; expected.len()];
        clients[client].read_exact(&mut got).expect("it comes");
        assert_eq!(got, expected, "client {client}");
    };

    let push = ["push", "--listener", listener, "--peer", &peer];
    let (code, stdout, stderr) = tenmil(&[&push[..], &["to you\n"]].concat(), b"");
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "sent\n", ""));
    heard(1, b"to you\n");
    let (code, _, _) = tenmil(&push, &[b'x'; 10_000]);
    assert_eq!(code, Some(0), "from the standard input, and more than a flight");
    heard(1, &[b'x'; 10_000]);
    let nobody = ["push", "--listener", listener, "--peer", "10.77.0.9:9", "to nobody"];
    let (code, stdout, stderr) = tenmil(&nobody, b"");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "tenmil: nothing was sent: gone\n");

    let (code, stdout, stderr) = tenmil(&["broadcast", "--listener", listener, "to some\n"], b"");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("sent 2, queued 0, full 0, gone 0, in "), "{stdout}");
    let (code, stdout, _) = tenmil(&["broadcast"], b"to all\n");
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("sent 4, queued 0, full 0, gone 0, in "), "{stdout}");
    for client in 0..4 {
        let expected: &[u8] = if client < 2 { b"to some\nto all\n" } else { b"to all\n" };
        heard(client, expected);
    }
    let (code, _, stderr) = tenmil(&["broadcast"], &[b'x'; 70_000]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("tenmil: the server refused: too many broadcasts"), "{stderr}");

    server.stop();
    let (code, _, stderr) = tenmil(&["broadcast", "x"], b"");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no server listens on") && stderr.lines().count() == 1, "{stderr}");
}
