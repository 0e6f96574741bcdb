//! The other end as a stock smoltcp stack: clients of the engine, and an echo for it to call.
//!
//! This is smoltcp as its documentation shows it, on an Ethernet of its own, and not as the engine
//! uses it: two wrongs of the engine's would otherwise agree.

use super::services::{REFERENCE, address, endpoints};
use super::talk::{Conversation, Wish};
use crate::link::faults::Random;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::Mac;
use crate::wire::packet::smoltcp_address;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::{Duration as SmolDuration, Instant as SmolInstant};
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::collections::VecDeque;

/// An Ethernet frame with an MTU of 1500.
const FRAME_MAX: usize = 1514;

/// A client of the engine's.
struct Client {
    talk: Conversation,
    socket: Option<SocketHandle>,
    /// Whether it was seen established, whether the peer's end was, and whether it was reset.
    is_open: bool,
    heard_end: bool,
    is_reset: bool,
    /// When it reads again.
    reads_at: Instant,
    /// When it has waited long enough for its close to be answered.
    leaves_at: Option<Instant>,
}

/// How long a client that has closed waits. smoltcp forgets a FIN in flight after three duplicate ACKs,
/// as its fast retransmission looks for data.
const CLOSES_FOR: Duration = Duration::from_secs(600);

/// The stack.
pub(super) struct Reference {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    clients: Vec<Client>,
    /// With the port that each listens on.
    echoes: Vec<(u16, SocketHandle)>,
    random: Random,
}

impl Reference {
    /// A stack with these conversations to begin, and an echo for each of these ports, one connection
    /// at a time with buffers of so many bytes.
    pub(super) fn new(
        mac: Mac,
        talks: Vec<Conversation>,
        echoes: &[(u16, usize)],
        random: Random,
        now: Instant,
    ) -> Reference {
        let mut queues = Queues::default();
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = random.clone().word();
        let mut interface = Interface::new(config, &mut queues, smoltcp_instant(now));
        interface.update_ip_addrs(|addrs| {
            for (is_v4, prefix_len) in [(true, 16), (false, 64)] {
                let addr = smoltcp_address(&address(REFERENCE, is_v4));
                addrs.push(IpCidr::new(addr, prefix_len)).expect("room for two");
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let echo = |&(port, buffer): &(u16, usize)| {
            let mut echo = socket(buffer);
            // For a client whose last reset was lost.
            echo.set_keep_alive(Some(SmolDuration::from_secs(20)));
            (port, sockets.add(echo))
        };
        let echoes = echoes.iter().map(echo).collect();
        let client = |talk| Client {
            talk,
            socket: None,
            is_open: false,
            heard_end: false,
            is_reset: false,
            reads_at: Instant::ZERO,
            leaves_at: None,
        };
        let clients = talks.into_iter().map(client).collect();
        Reference { interface, sockets, queues, clients, echoes, random }
    }

    /// Receives what arrives at `now`, and goes on. Returns what is sent, the ports that vanish, and
    /// when to come back at the latest.
    pub(super) fn step(
        &mut self,
        now: Instant,
        arriving: Vec<Vec<u8>>,
    ) -> (Vec<Vec<u8>>, Vec<u16>, Option<Instant>) {
        self.queues.rx.extend(arriving);
        let at = smoltcp_instant(now);
        let (mut gone, mut next) = (Vec::new(), None);
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
        for &(port, handle) in &self.echoes {
            echo(self.sockets.get_mut(handle), port);
        }
        for index in 0..self.clients.len() {
            let again = self.drive(index, now, &mut gone);
            next = [next, again].into_iter().flatten().min();
        }
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
        let poll = self.interface.poll_at(at, &self.sockets);
        let poll = poll.map(|at| {
            Instant::from_nanos(u64::try_from(at.total_micros()).unwrap_or_default() * 1_000)
        });
        (self.queues.tx.drain(..).collect(), gone, [next, poll].into_iter().flatten().min())
    }

    /// The conversations.
    pub(super) fn talks(&self) -> impl Iterator<Item = &Conversation> {
        self.clients.iter().map(|client| &client.talk)
    }

    /// Has a client do what it wants. Returns when it wants something else.
    fn drive(&mut self, index: usize, now: Instant, gone: &mut Vec<u16>) -> Option<Instant> {
        let Reference { interface, sockets, clients, random, .. } = self;
        let client = &mut clients[index];
        if client.talk.end.is_some() {
            return None;
        }
        let Some(handle) = client.socket else {
            let begins = client.talk.begins_at();
            if begins > now {
                return Some(begins);
            }
            let mut socket = socket(client.talk.talk.buffer);
            // For when a server that had another take its place said so in vain.
            socket.set_keep_alive(Some(SmolDuration::from_secs(20)));
            socket.set_nagle_enabled(random.below(2) == 0);
            let ack_delay = (random.below(2) == 0).then(|| SmolDuration::from_millis(10));
            socket.set_ack_delay(ack_delay);
            let [local, remote] = endpoints(&client.talk);
            let to = (smoltcp_address(&remote.addr), remote.port);
            let from = (smoltcp_address(&local.addr), local.port);
            socket.connect(interface.context(), to, from).expect("a new socket");
            client.socket = Some(sockets.add(socket));
            return None;
        };
        let socket = sockets.get_mut::<Socket<'_>>(handle);
        client.is_open |= socket.may_send();
        if !client.is_open {
            if socket.state() == State::Closed {
                sockets.remove(handle);
                client.socket = None;
                client.talk.try_again(now);
                return Some(client.talk.begins_at());
            }
            return None;
        }
        let reads = client.read(socket, now);
        let wants = client.speak(socket, random, now, gone);
        if socket.state() == State::FinWait1 && client.talk.is_complete() {
            let leaves_at = *client.leaves_at.get_or_insert(now + CLOSES_FOR);
            if now >= leaves_at {
                socket.abort();
                client.talk.finish(true, "closed");
            } else {
                return [reads, wants, Some(leaves_at)].into_iter().flatten().min();
            }
        }
        let is_closed = matches!(socket.state(), State::Closed | State::TimeWait);
        if client.is_reset || (client.heard_end && is_closed) || client.talk.end.is_some() {
            client.talk.finish(client.heard_end, "reset");
            // One in TIME-WAIT still answers; others are gone, and resets are answered for them.
            if socket.state() != State::TimeWait && !socket.is_active() {
                sockets.remove(handle);
            }
        }
        [reads, wants].into_iter().flatten().min()
    }

    /// Whether nothing is left to do.
    pub(super) fn is_quiet(&self) -> bool {
        let is_over = |(_, handle): &(u16, SocketHandle)| {
            let state = self.sockets.get::<Socket<'_>>(*handle).state();
            matches!(state, State::Listen | State::Closed | State::TimeWait)
        };
        self.clients.iter().all(|client| client.talk.end.is_some())
            && self.echoes.iter().all(is_over)
    }
}

impl Client {
    /// Reads what came, in its own time. Returns when it reads on.
    fn read(&mut self, socket: &mut Socket<'_>, now: Instant) -> Option<Instant> {
        while self.reads_at <= now {
            let mut piece = vec![0; self.talk.talk.read_max];
            match socket.recv_slice(&mut piece) {
                Ok(0) => return None,
                Ok(len) => {
                    self.talk.hear(&piece[..len], now);
                    self.reads_at = now + self.talk.talk.read_pause;
                }
                Err(RecvError::Finished) => {
                    self.heard_end = true;
                    match self.talk.is_complete() {
                        true => socket.close(),
                        false => self.talk.finish(true, "closed early"),
                    }
                    return None;
                }
                Err(RecvError::InvalidState) => {
                    self.is_reset = true;
                    return None;
                }
            }
        }
        Some(self.reads_at)
    }

    /// Does what the conversation wants of its own direction.
    fn speak(
        &mut self,
        socket: &mut Socket<'_>,
        random: &mut Random,
        now: Instant,
        gone: &mut Vec<u16>,
    ) -> Option<Instant> {
        loop {
            match self.talk.wish(now) {
                Wish::Say => {}
                Wish::WaitUntil(at) => return Some(at),
                Wish::Close => socket.close(),
                Wish::Abort => {
                    socket.abort();
                    self.talk.finish(false, "aborted");
                }
                Wish::Vanish => {
                    gone.push(self.talk.port());
                    socket.abort();
                    self.talk.finish(false, "vanished");
                }
                Wish::Hear => {}
            }
            if self.talk.wish(now) != Wish::Say {
                return None;
            }
            let piece = self.talk.next_piece(usize::MAX, random);
            let sent = socket.send_slice(&self.talk.talk.request[piece]).unwrap_or_default();
            if sent == 0 {
                return None;
            }
            self.talk.say(sent, now);
        }
    }
}

/// A new socket with buffers of `buffer` bytes.
fn socket(buffer: usize) -> Socket<'static> {
    let bytes = || SocketBuffer::new(vec![0; buffer]);
    Socket::new(bytes(), bytes())
}

/// Serves the echo at `port` on `socket`, one connection after the other.
fn echo(socket: &mut Socket<'_>, port: u16) {
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let mut piece = vec![0; room];
        let len = socket.recv_slice(&mut piece).expect("it can receive");
        socket.send_slice(&piece[..len]).expect("it can send");
    }
    match socket.state() {
        State::Closed | State::TimeWait => {
            socket.abort();
            socket.listen(port).expect("a port");
        }
        State::CloseWait if !socket.can_recv() => socket.close(),
        _ => {}
    }
}

fn smoltcp_instant(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(now.micros()).expect("not so long"))
}

/// Frames that arrived, and frames to send.
#[derive(Default)]
struct Queues {
    rx: VecDeque<Vec<u8>>,
    tx: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Arrived, Leaving<'_>)> {
        Some((Arrived(self.rx.pop_front()?), Leaving(&mut self.tx)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }
}
