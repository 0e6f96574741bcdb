//! Two shards on a link in memory, and threads that give one of them commands.

use super::*;
use crate::engine::config::Config;
use crate::engine::locals::{Listener, Owned};
use crate::frame::Frame;
use crate::link::memory::{MemoryLink, pair};
use crate::link::{Link, LinkError};
use crate::service::{Context, ServiceState};
use crate::shard::clock::Clock;
use crate::shard::{Answering, Driver, Next, Shard, Shared};
use crate::tcp::CloseReason;
use crate::tcp::keepalive::Keepalive;
use crate::wire::addr::{Address, Endpoint, Secret};
use std::collections::HashMap;
use std::sync::mpsc;
use std::thread::{self, ScopedJoinHandle};

const SERVER: Endpoint = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7 };
const CLIENT: Address = Address::v4([10, 77, 0, 2]);

/// How long something that happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a connection of the server is asked for first, so that both sides know it by its port.
struct Introduced(mpsc::Sender<(u16, ConnId)>);

impl Service for Introduced {
    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let port = u16::from_be_bytes(bytes.try_into().expect("two bytes"));
        self.0.send((port, conn.id())).expect("the test listens");
        bytes.len()
    }
}

/// What each connection of the client heard, and why it ended.
#[derive(Default)]
struct Heard {
    bytes: HashMap<ConnId, Vec<u8>>,
    ports: HashMap<ConnId, u16>,
    closed: Vec<CloseReason>,
}

impl Service for Heard {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        conn.send(&self.ports[&conn.id()].to_be_bytes());
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        self.bytes.entry(conn.id()).or_default().extend(bytes);
        bytes.len()
    }

    fn on_close(&mut self, _: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        self.closed.push(reason);
    }
}

/// Opens connections from these ports.
struct Opening(core::ops::Range<u16>);

impl Driver<Heard> for Opening {
    fn poll<L: Link>(
        &mut self,
        now: Instant,
        engine: &mut Engine<Heard>,
        link: &mut L,
        tx: &mut Vec<Frame>,
    ) -> Next {
        while !self.0.is_empty() && tx.len() < 64 {
            let local = Endpoint { addr: CLIENT, port: self.0.start };
            // The first attempt asks for the server's hardware address.
            let Ok(id) = engine.connect(local, SERVER, 0, now, link, tx) else {
                return Next::At(now + Duration::from_millis(1));
            };
            engine.service_mut().ports.insert(id, local.port);
            self.0.start += 1;
        }
        Next::Received
    }
}

fn config(mac: u8, addr: Address) -> Config {
    let mut config = Config::new([2, 0, 0, 0, 0, mac], Secret([mac; 16]), Secret([mac; 16]));
    config.owned = vec![Owned { addr, range_len: 32, link_len: 16 }];
    (config.connections_max, config.flights_max, config.promoted_max) = (1_000, 1_000, 16);
    config
}

type Running<'scope, S, D> = ScopedJoinHandle<'scope, Shard<MemoryLink, S, D>>;

fn start<'scope, S: Service + Send + 'scope, D: Driver<S> + Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    mut shard: Shard<MemoryLink, S, D>,
    clock: Clock,
    shared: &'scope Shared,
) -> Running<'scope, S, D> {
    scope.spawn(move || {
        shard.run(&clock, shared).unwrap_or_else(|error: LinkError| panic!("{error}"));
        shard
    })
}

/// Has `count` connections open, and gives `work` the handle of their server with their ports and names
/// there. Returns what the client heard by port, and how connections ended.
fn with_connections(
    count: u16,
    work: impl FnOnce(&Handle, &HashMap<u16, ConnId>, &Shared),
) -> (HashMap<u16, Vec<u8>>, Vec<CloseReason>) {
    let clock = Clock::start();
    let (server_link, client_link) = pair(4096, 2048, 2048);
    let (sender, introduced) = mpsc::channel();
    let mut server = config(1, SERVER.addr);
    server.listeners = vec![Listener { endpoint: SERVER, tag: 3, profile: None }];
    let engine = Engine::new(server, Introduced(sender), clock.now());
    let server = Shard { link: server_link, engine, driver: Answering };
    let engine = Engine::new(config(2, CLIENT), Heard::default(), clock.now());
    let client = Shard { link: client_link, engine, driver: Opening(10_000..10_000 + count) };
    let (at_server, at_client) = (Shared::default(), Shared::default());
    let heard = thread::scope(|scope| {
        let running = start(scope, server, clock, &at_server);
        let client = start(scope, client, clock, &at_client);
        let names: HashMap<u16, ConnId> = (0..count)
            .map(|_| introduced.recv_timeout(PATIENCE).expect("a connection opens"))
            .collect();
        work(&at_server.handle(), &names, &at_server);
        // A shard ends when it looks up; what it has in its outbox was settled by then.
        at_server.stop.store(true, Ordering::Relaxed);
        running.join().expect("no panic");
        at_client.stop.store(true, Ordering::Relaxed);
        client.join().expect("no panic").engine
    });
    let Heard { bytes, ports, closed } = heard.service();
    (bytes.iter().map(|(id, bytes)| (ports[id], bytes.clone())).collect(), closed.clone())
}

/// Closes every connection, and waits until that is over: everything has arrived then.
fn until_acknowledged(handle: &Handle, names: &HashMap<u16, ConnId>, shared: &Shared) {
    // A close comes behind everything, and its FIN is acknowledged behind it.
    for id in names.values() {
        let closed = handle.close(*id).expect("room");
        assert!(matches!(closed.wait(PATIENCE), Some(Outcome::Sent | Outcome::Queued)));
    }
    let closed = || shared.snapshot().engine.closed(CloseReason::ClosedByUs);
    while closed() < names.len() as u64 {
        thread::yield_now();
    }
}

#[test]
fn what_threads_push_arrives_once_and_in_order_and_each_learns_what_became_of_it() {
    const THREADS: u32 = 3;
    const EACH: u32 = 4_000;
    let mut outcomes: Vec<(u16, u32, u32, Option<Outcome>)> = Vec::new();
    let (heard, _) = with_connections(20, |handle, names, shared| {
        outcomes = thread::scope(|scope| {
            let pushing = |thread: u32| {
                let handle = handle.clone();
                scope.spawn(move || {
                    let mut receipts = Vec::new();
                    for (n, (port, id)) in (0..EACH).zip(names.iter().cycle()) {
                        let text = [thread.to_be_bytes(), n.to_be_bytes()].concat();
                        let receipt = loop {
                            match handle.push(*id, &text[..]) {
                                Ok(receipt) => break receipt,
                                Err(Full) => thread::yield_now(),
                            }
                        };
                        receipts.push((*port, thread, n, receipt));
                    }
                    receipts
                })
            };
            let threads: Vec<_> = (0..THREADS).map(pushing).collect();
            let receipts = threads.into_iter().flat_map(|thread| thread.join().expect("no panic"));
            let told = receipts
                .map(|(port, thread, n, receipt)| (port, thread, n, receipt.wait(PATIENCE)));
            told.collect()
        });
        until_acknowledged(handle, names, shared);
    });
    assert_eq!(outcomes.len(), (THREADS * EACH) as usize);
    for (port, bytes) in &heard {
        let said: Vec<(u32, u32)> = bytes
            .chunks(8)
            .map(|words| {
                let (thread, n) = words.split_at(4);
                let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four"));
                (number(thread), number(n))
            })
            .collect();
        for thread in 0..THREADS {
            let mine: Vec<u32> = said.iter().filter(|s| s.0 == thread).map(|s| s.1).collect();
            let taken = |outcome| matches!(outcome, Some(Outcome::Sent | Outcome::Queued));
            let promised = outcomes.iter().filter(|o| o.0 == *port && o.1 == thread && taken(o.3));
            assert_eq!(mine, promised.map(|o| o.2).collect::<Vec<_>>(), "at {port} from {thread}");
        }
    }
    let all: usize = heard.values().map(|bytes| bytes.len() / 8).sum();
    assert!(all >= EACH as usize, "most are taken: {all}");
}

#[test]
fn a_broadcast_from_another_thread_says_how_far_it_is_and_when_it_is_done() {
    let (heard, _) = with_connections(300, |handle, names, shared| {
        let others = handle.broadcast(Audience::Tag(2), &b"others"[..]).expect("room");
        let all = handle.broadcast(Audience::Tag(3), vec![7; 200]).expect("room");
        let too_long = handle.broadcast(Audience::All, vec![7; 100_000]).expect("room");
        let none = others.wait(PATIENCE).expect("it is done");
        assert_eq!((none.looked_at, none.sent), (300, 0));
        let done = all.wait(PATIENCE).expect("it is done");
        assert_eq!((done.looked_at, done.sent + done.queued, done.is_done), (300, 300, true));
        assert_eq!((all.newest(), all.answer()), (done, Some(done)));
        assert!(too_long.wait(PATIENCE).expect("it is done").is_refused);
        until_acknowledged(handle, names, shared);
    });
    assert_eq!(heard.len(), 300);
    assert!(heard.values().all(|bytes| *bytes == [7; 200]));
}

#[test]
fn profiles_and_closes_are_for_a_living_connection() {
    let (_, closed) = with_connections(1, |handle, names, shared| {
        let id = names[&10_000];
        let second = Duration::from_secs(1);
        let keepalive = Keepalive::new(second, second, 1).expect("within limits");
        let profile = Profile { keepalive: Some(keepalive), ..Profile::default() };
        let set = handle.set_profile(id, profile).expect("room");
        assert_eq!(set.wait(PATIENCE), Some(Ok(())));
        while shared.snapshot().engine.probes == 0 {
            thread::yield_now();
        }
        let closed = handle.close(id).expect("room");
        assert_eq!(closed.wait(PATIENCE), Some(Outcome::Sent));
        let again = handle.close(id).expect("room");
        assert_eq!(again.wait(PATIENCE), Some(Outcome::Gone));
        let set = handle.set_profile(id, profile).expect("room");
        assert_eq!(set.wait(PATIENCE), Some(Err(CommandError::Gone)));
        while shared.snapshot().engine.closed(CloseReason::ClosedByUs) == 0 {
            thread::yield_now();
        }
    });
    assert_eq!(closed, [CloseReason::ClosedByPeer]);
}

#[test]
fn a_full_mailbox_says_so_at_once_and_one_without_a_shard_in_the_end() {
    let shared = Shared::default();
    let handle = shared.handle();
    let mut slab = crate::conn::slab::Slab::new(1).expect("room for one");
    slab.insert().expect("it is empty");
    let id = slab.id(0);
    let receipts: Vec<_> =
        (0..COMMANDS_MAX).map(|_| handle.push(id, &b"news"[..]).expect("room")).collect();
    assert_eq!(handle.push(id, &b"news"[..]).err(), Some(Full));
    assert_eq!(receipts[0].answer(), None);
    assert_eq!(receipts[0].wait(Duration::from_millis(1)), None);
    shared.mailbox.end();
    assert!(receipts.iter().all(|receipt| receipt.answer() == Some(Outcome::Gone)));
    let late = handle.push(id, &b"news"[..]).expect("there is room again");
    assert_eq!(late.answer(), Some(Outcome::Gone));
    let broadcast = handle.broadcast(Audience::All, &b"news"[..]).expect("room");
    assert_eq!(broadcast.answer().map(|progress| progress.is_done), Some(false));
}

#[test]
fn who_sleeps_is_woken_by_the_first_command_and_not_by_those_behind_it() {
    let shared = Shared::default();
    let (mut link, _peer) = pair(8, 2048, 8);
    let wakes = Arc::new(Mutex::new(0));
    let (counted, waker) = (wakes.clone(), link.waker());
    shared.mailbox.attach(Waker::new(move || {
        *counted.lock().unwrap() += 1;
        waker.wake();
    }));
    let handle = shared.handle();
    let mut slab = crate::conn::slab::Slab::new(1).expect("room for one");
    slab.insert().expect("it is empty");
    let id = slab.id(0);
    thread::scope(|scope| {
        let (sleeping, told) = mpsc::channel();
        let (mailbox, link) = (&shared.mailbox, &mut link);
        let shard = scope.spawn(move || {
            let engine = Engine::new(config(1, SERVER.addr), Heard::default(), Instant::ZERO);
            mailbox.while_empty(&engine, || {
                sleeping.send(()).expect("the test listens");
                link.wait(Duration::from_secs(600)).expect("memory does not fail");
            })
        });
        told.recv_timeout(PATIENCE).expect("it sleeps");
        for _ in 0..3 {
            handle.push(id, &b"news"[..]).expect("room");
        }
        assert!(shard.join().expect("no panic").is_some());
    });
    assert_eq!(*wakes.lock().unwrap(), 1);
    let engine = Engine::new(config(1, SERVER.addr), Heard::default(), Instant::ZERO);
    let slept = shared.mailbox.while_empty(&engine, || panic!("there are commands"));
    assert!(slept.is_none());
}
