//! The clients' side: opens connections, then keeps a window of frames on its way to the server and
//! counts what comes back.

use crate::frames::{Answer, Place, Template};
use crate::veth::End;
use crate::{Answerer, Work};
use tenmil::engine::BATCH_MAX;
use tenmil::frame::{Frame, FramePool as _};
use tenmil::link::Link as _;
use tenmil::link::af_xdp::AfXdpLink;
use tenmil::link::af_xdp::attachment::Attachment;
use tenmil::service::line::{PING, PONG};
use tenmil::shard::clock::Clock;
use tenmil::time::Duration;
use tenmil::wire::addr::Endpoint;
use tenmil::wire::ethernet::Mac;

/// How long nothing may come back before what is on its way counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// The octet that a keepalive probe may carry (RFC 9293 section 3.8.4). Those without one the server
/// answers twice a second on a connection, and no oftener, since nobody who is well probes oftener.
const OCTET: &[u8] = &[0];

/// The length of a heartbeat, and of its answer.
const PING_LEN: u32 = 5;
const _: () = assert!(PING.len() == PING_LEN as usize && PONG.len() == PING_LEN as usize);

/// What a client knows of its connection.
#[derive(Clone, Copy, Default)]
struct Client {
    place: Place,
    /// SND.NXT.
    seq: u32,
    /// RCV.NXT, from when the server's SYN has come.
    ack: u32,
    is_open: bool,
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Frames that ask for an answer.
    asked: u64,
    /// Answers.
    answered: u64,
    /// Acknowledgments of answers.
    acknowledged: u64,
    /// Answers that were not what they should be.
    pub(crate) wrong: u64,
    /// Frames whose answer never came.
    pub(crate) lost: u64,
    /// How long all this took.
    pub(crate) took: Duration,
}

impl Tally {
    /// Frames both ways.
    pub(crate) fn frames(&self) -> f64 {
        (self.asked + self.answered + self.acknowledged) as f64
    }

    fn outstanding(&self) -> u64 {
        self.asked.saturating_sub(self.answered)
    }
}

/// The clients, on one link.
pub(crate) struct Source {
    link: AfXdpLink,
    /// Keeps frames coming.
    _attached: Attachment,
    mac: Mac,
    syn: Template,
    ack: Template,
    probe: Template,
    ping: Template,
    clients: Vec<Client>,
    /// Whose turn it is.
    turn: usize,
    window: u64,
    clock: Clock,
    rx: Vec<Frame>,
    tx: Vec<Frame>,
}

impl Source {
    /// The clients of `server`, on `end`, of whose frames `window` wait for an answer at any time.
    pub(crate) fn new(end: End, server: (Mac, Endpoint), clients: u32, window: u16) -> Source {
        let template =
            |flags, payload: &[u8]| Template::new((end.mac, server.0), server.1, flags, payload);
        let client = |client| {
            let place = Place::of(client);
            Client { place, seq: place.iss(), ack: 0, is_open: false }
        };
        Source {
            mac: end.mac,
            syn: template((true, false), &[]),
            ack: template((false, true), &[]),
            probe: template((false, true), OCTET),
            ping: template((false, true), PING),
            clients: (0..clients).map(client).collect(),
            turn: 0,
            window: window.into(),
            clock: Clock::start(),
            rx: Vec::with_capacity(BATCH_MAX),
            tx: Vec::with_capacity(usize::from(window) + BATCH_MAX),
            link: end.link,
            _attached: end.attachment,
        }
    }

    /// Opens all connections, and has their turns in random order from then on.
    pub(crate) fn open(&mut self) -> Tally {
        let mut tally = self.exchange(Work::Open, Answerer::Tenmil, Duration::MAX);
        while !self.clients.iter().all(|client| client.is_open) {
            tally = self.exchange(Work::Open, Answerer::Tenmil, Duration::MAX);
        }
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for last in (1..self.clients.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let other = usize::try_from(random % (last as u64 + 1)).expect("an index");
            self.clients.swap(last, other);
        }
        tally
    }

    /// Does `work` for `time`, or until it is done, and then waits for the last answers.
    pub(crate) fn exchange(&mut self, work: Work, by: Answerer, time: Duration) -> Tally {
        let began = self.clock.now();
        let (mut tally, mut measured) = (Tally::default(), None::<Tally>);
        let mut moved = began;
        loop {
            let received = self.receive(work, by, &mut tally);
            let asked = if measured.is_none() { self.ask(work, by, &mut tally) } else { 0 };
            let now = self.clock.now();
            let queued = self.tx.len();
            self.link.transmit(&mut self.tx).expect("the link stays");
            self.link.flush().expect("the link stays");
            if received + asked > 0 {
                moved = now;
            } else if queued == 0 {
                self.link.wait(Duration::from_millis(1)).expect("the link stays");
            }
            let is_done = work == Work::Open && self.turn == self.clients.len();
            if is_done || now.since(began) >= time {
                let took = now.since(began);
                measured.get_or_insert(Tally { took, ..tally });
            }
            let is_over = measured.is_some() && tally.outstanding() == 0 && self.tx.is_empty();
            if is_over || now.since(moved) > PATIENCE {
                self.turn %= self.clients.len();
                self.settle();
                let Tally { wrong, .. } = tally;
                let measured = measured.unwrap_or(Tally { took: now.since(began), ..tally });
                return Tally { wrong, lost: tally.outstanding(), ..measured };
            }
        }
    }

    /// Waits until the last frames are sent, and taken by the server.
    fn settle(&mut self) {
        while self.link.census().tx > 0 {
            self.link.flush().expect("the link stays");
            self.link.wait(Duration::from_millis(1)).expect("the link stays");
        }
        self.link.wait(Duration::from_millis(20)).expect("the link stays");
    }

    /// Takes a batch of answers, and acknowledges what is to be; returns how many frames came.
    fn receive(&mut self, work: Work, by: Answerer, tally: &mut Tally) -> usize {
        self.link.receive(&mut self.rx, BATCH_MAX).expect("the link stays");
        let received = self.rx.len();
        let mut rx = std::mem::take(&mut self.rx);
        for mut frame in rx.drain(..) {
            let answer = Answer::read(self.link.bytes(&frame), self.mac, by == Answerer::Bare);
            let Some(answer) = answer else {
                self.link.give(frame);
                continue;
            };
            tally.answered += 1;
            if by == Answerer::Tenmil {
                tally.wrong += u64::from(!self.is_right(work, &answer));
            }
            if work == Work::Probes {
                self.link.give(frame);
                continue;
            }
            let (seq, ack) = match by {
                Answerer::Bare => (answer.seq, answer.ack),
                Answerer::Tenmil => (answer.ack, answer.seq.wrapping_add(answer.len())),
            };
            let len = self.ack.write(self.link.room(&mut frame), answer.place, seq, ack);
            frame.set_len(len);
            self.tx.push(frame);
            tally.acknowledged += 1;
        }
        self.rx = rx;
        received
    }

    /// Checks an answer of tenmil's.
    fn is_right(&mut self, work: Work, answer: &Answer) -> bool {
        let acknowledged = answer.ack.wrapping_sub(answer.place.iss());
        match work {
            Work::Open => {
                let Some(client) = self.clients.get_mut(answer.place.client()) else {
                    return false;
                };
                *client = Client {
                    place: answer.place,
                    seq: answer.ack,
                    ack: answer.seq.wrapping_add(1),
                    is_open: true,
                };
                answer.is_syn && acknowledged == 1
            }
            Work::Probes => answer.payload_len == 0 && acknowledged % PING_LEN == 1,
            Work::Heartbeats => answer.payload_len == PONG.len() && acknowledged % PING_LEN == 1,
        }
    }

    /// Fills the window, by at most a batch; returns how many frames those are.
    fn ask(&mut self, work: Work, by: Answerer, tally: &mut Tally) -> usize {
        let room = self.window.saturating_sub(tally.outstanding());
        let room = usize::try_from(room).expect("a window").min(BATCH_MAX);
        for asked in 0..room {
            while work == Work::Open && self.clients.get(self.turn).is_some_and(|c| c.is_open) {
                self.turn += 1;
            }
            if work != Work::Open && self.turn == self.clients.len() {
                self.turn = 0;
            }
            let Some(client) = self.clients.get_mut(self.turn) else { return asked };
            let Some(mut frame) = self.link.take() else { return asked };
            self.turn += 1;
            let Client { place, seq, ack, .. } = *client;
            let bytes = self.link.room(&mut frame);
            let len = match work {
                Work::Open => self.syn.write(bytes, place, seq, ack),
                Work::Probes => self.probe.write(bytes, place, seq.wrapping_sub(1), ack),
                Work::Heartbeats => {
                    if by == Answerer::Tenmil {
                        client.seq = seq.wrapping_add(PING_LEN);
                        client.ack = ack.wrapping_add(PING_LEN);
                    }
                    self.ping.write(bytes, place, seq, ack)
                }
            };
            frame.set_len(len);
            self.tx.push(frame);
            tally.asked += 1;
        }
        room
    }
}
