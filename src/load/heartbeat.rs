//! The client's side of the services: checks every answer byte for byte.

use super::flows::Target;
use super::pushed::Pushed;
use super::state::{Client, low_micros};
use super::subscription::{self, Subscription};
use crate::client::exchange::{self, PUSHED, Unasked};
use crate::client::greeting::{self, KEEP_ALIVE_MAX, Welcome};
use crate::client::judge_response;
use crate::client::reasons::Reasons;
use crate::client::seats::Seats;
use crate::conn::slab::ConnId;
use crate::service::builtin::Builtin;
use crate::service::{Context, Service, ServiceState};
use crate::tcp::CloseReason;
use crate::time::{Duration, Instant};
use crate::wire::addr::Endpoint;
use hdrhistogram::Histogram;
use std::collections::VecDeque;

/// Latencies up to an hour are told apart, to three digits.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Connections that wait to be opened anew at most. Past that they are left out.
const PARTED_MAX: usize = 65_536;

/// A connection that the server closes.
#[derive(Clone, Copy, Debug)]
pub struct Parted {
    /// This side's endpoint.
    pub local: Endpoint,
    /// The server's.
    pub target: Target,
}

/// How long a server may take to close that has said that it does.
const PARTING: Duration = Duration::from_secs(1);

/// Counts what happens to the connections, and how long answers take.
pub struct Heartbeat {
    /// Connections that were established.
    pub opened: u64,
    /// Connections that were not established when they ended, by reason; those that were still being
    /// opened when the run was over are not among them.
    pub failed: Reasons,
    /// Connections that this side was told to close, and that have ended since.
    pub ended: u64,
    /// Established connections that ended otherwise than this side was told to, by reason; a server that
    /// leaves a goodbye unanswered has broken the protocol.
    pub lost: Reasons,
    /// Established connections that the server closed, as it had announced in its protocol.
    pub retired: u64,
    /// Those that are to be opened anew for that, the first of them first; at most so many.
    pub parted: VecDeque<Parted>,
    /// Heartbeats that were sent and neither answered nor given up.
    pub awaited: u64,
    /// Heartbeats answered, rightly.
    pub answered: u64,
    /// Answers that were not what they should be, and data that nobody asked for, but for lines that
    /// begin with [`PUSHED`] and messages of MQTT that were subscribed to.
    pub wrong: u64,
    /// Those lines and messages.
    pub pushed: Pushed,
    /// Microseconds from when a heartbeat was due to its answer.
    pub latency: Histogram<u64>,
    /// The same, of those answered while others were lost and not back.
    pub storm_latency: Histogram<u64>,
    /// Microseconds from when a connection was to be opened until it was established.
    pub connect_latency: Histogram<u64>,
    /// Where connections are opened again: whose they are.
    pub seats: Option<Seats>,
    /// What clients of MQTT subscribe to before they count as open.
    pub subscription: Option<Subscription>,
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        let histogram = || {
            let made = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3);
            made.expect("the bounds and the number of digits are valid")
        };
        Heartbeat {
            opened: 0,
            failed: Reasons::default(),
            ended: 0,
            lost: Reasons::default(),
            retired: 0,
            parted: VecDeque::with_capacity(PARTED_MAX),
            awaited: 0,
            answered: 0,
            wrong: 0,
            pushed: Pushed::new(histogram()),
            latency: histogram(),
            storm_latency: histogram(),
            connect_latency: histogram(),
            seats: None,
            subscription: None,
        }
    }
}

impl Heartbeat {
    /// What to send as the heartbeat due at `due` on the connection in `slot`; empty for nothing.
    pub(super) fn request(service: Builtin, slot: u32, due: Instant) -> exchange::Message {
        exchange::request(service, slot, low_micros(due))
    }

    /// Notes that a heartbeat which was due at `due` was sent on a connection.
    pub(super) fn expect_answer(&mut self, client: Client, due: Instant) -> Client {
        self.awaited += 1;
        Client { due_us: low_micros(due), matched: 0, awaiting: true, ..client }
    }

    /// Takes what there is of a pushed line at the beginning of `bytes`; returns how many bytes that are.
    fn take_pushed(&mut self, client: &mut Client, bytes: &[u8], now: Instant) -> usize {
        let end = bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        let len = end.unwrap_or(bytes.len());
        self.pushed.bytes += len as u64;
        client.pushed = end.is_none();
        if !client.pushed {
            self.pushed.end_message(now);
        }
        len
    }

    /// Connections that were established and have ended, one way or another.
    pub(super) fn over(&self) -> u64 {
        self.ended + self.lost.total() + self.retired
    }

    /// The answer to a heartbeat has come, or never will.
    fn settle(&mut self, client: &mut Client) {
        self.awaited -= u64::from(client.awaiting);
        client.awaiting = false;
    }
}

impl Heartbeat {
    /// The connection is ready for heartbeats.
    fn open(&mut self, client: &mut Client, slot: u32, now: Instant) {
        self.opened += 1;
        if let Some(seats) = &mut self.seats {
            seats.opened(slot, now);
        }
        self.connect_latency.saturating_record(client.latency_us(now));
        client.open_at(now);
    }

    /// Says what is said first, and asks for room if there is too little.
    fn greet(&mut self, conn: &mut Context<'_>) {
        let mut client = Client::load(*conn.state());
        let (service, slot) = (Builtin::of_tag(conn.tag()), conn.id().index());
        let greeting = greeting::greeting(service, KEEP_ALIVE_MAX, slot, client.due_us);
        if greeting.is_empty() {
            self.open(&mut client, slot, conn.now());
            *conn.state() = client.store();
        } else if conn.room() >= greeting.len() {
            conn.send(&greeting);
        } else {
            conn.want_room();
        }
    }

    /// Takes what comes before the connection is open; returns how many bytes that were.
    fn take_welcome(
        &mut self,
        conn: &mut Context<'_>,
        client: &mut Client,
        bytes: &[u8],
    ) -> Option<usize> {
        let (service, slot) = (Builtin::of_tag(conn.tag()), conn.id().index());
        let subscription = self.subscription.as_ref().filter(|_| service == Builtin::Mqtt);
        let welcome = match subscription {
            Some(_) if client.subscribing => match subscription::message(bytes) {
                Unasked::Message { len, text_len } => {
                    self.pushed.note(&bytes[..len], text_len, conn.now());
                    return Some(len);
                }
                Unasked::Wait => return None,
                _ => subscription::granted(bytes),
            },
            _ => greeting::welcome(service, slot, client.due_us, bytes),
        };
        match (welcome, subscription) {
            (Welcome::Came(len), Some(subscription)) if !client.subscribing => {
                if conn.room() < subscription.request().len() {
                    return None;
                }
                conn.send(subscription.request());
                client.subscribing = true;
                return Some(len);
            }
            _ => {}
        }
        match welcome {
            Welcome::Wait => None,
            Welcome::Came(len) => {
                self.open(client, slot, conn.now());
                Some(len)
            }
            Welcome::Wrong => {
                self.wrong += 1;
                match self.seats {
                    None => conn.close_for(CloseReason::ProtocolError),
                    // No TIME-WAIT, which would keep the record from the next attempt.
                    Some(_) => conn.abort_for(CloseReason::ProtocolError),
                }
                Some(bytes.len())
            }
        }
    }

    /// The server has said that it closes. If it does not, this side does (RFC 9112 section 9.6).
    fn part(&mut self, client: &mut Client, conn: &mut Context<'_>) {
        client.parted = true;
        if client.closing {
            return;
        }
        conn.wake_after(PARTING);
        // A seat is taken again by itself.
        if self.seats.is_none() && self.parted.len() < PARTED_MAX {
            let (local, remote) = (conn.local(), conn.remote());
            let service = Builtin::of_tag(conn.tag());
            self.parted.push_back(Parted { local, target: Target { service, endpoint: remote } });
        }
    }

    /// Answers what the server says unasked at the beginning of `bytes`; returns how many bytes that
    /// was, none if that cannot be said yet.
    fn reply(
        &mut self,
        conn: &mut Context<'_>,
        client: &mut Client,
        bytes: &[u8],
    ) -> Option<usize> {
        let unasked = match Builtin::of_tag(conn.tag()) {
            Builtin::Mqtt if client.subscribing => subscription::message(bytes),
            service => exchange::unasked(service, bytes),
        };
        match unasked {
            Unasked::Nothing => Some(0),
            // RFC 6455 section 5.5.1: nothing is said after a goodbye, which this has crossed.
            Unasked::Heartbeat(len, _) if client.closing => Some(len),
            Unasked::Heartbeat(len, reply) if conn.room() >= reply.len() => {
                conn.send(&reply);
                Some(len)
            }
            Unasked::Message { len, text_len } => {
                self.pushed.note(&bytes[..len], text_len, conn.now());
                Some(len)
            }
            Unasked::Goodbye(len, reply) if client.closing || conn.room() >= reply.len() => {
                if !client.closing {
                    conn.send(&reply);
                }
                self.part(client, conn);
                Some(len)
            }
            Unasked::Wait | Unasked::Heartbeat(..) | Unasked::Goodbye(..) => None,
        }
    }

    /// Compares `bytes` with the answer that is awaited; returns how many of them it took, none if that
    /// cannot be said yet.
    fn compare(
        &mut self,
        conn: &mut Context<'_>,
        client: &mut Client,
        bytes: &[u8],
    ) -> Option<usize> {
        let service = Builtin::of_tag(conn.tag());
        if service == Builtin::Http {
            return self.judge(conn, client, bytes);
        }
        let answer = exchange::answer(service, conn.id().index(), client.due_us);
        let missing = answer.get(usize::from(client.matched)..).unwrap_or_default();
        let len = missing.len().min(bytes.len());
        if !client.awaiting || missing[..len] != bytes[..len] {
            self.wrong += 1;
            self.settle(client);
            return Some(bytes.len());
        }
        client.matched += u8::try_from(len).unwrap_or(0);
        if usize::from(client.matched) == answer.len() {
            client.matched = 0;
            self.answer(client, conn.now());
        }
        Some(len)
    }

    /// The same for an answer of HTTP's, which is taken when it is whole.
    fn judge(
        &mut self,
        conn: &mut Context<'_>,
        client: &mut Client,
        bytes: &[u8],
    ) -> Option<usize> {
        match judge_response(bytes) {
            (Welcome::Wait, _) if client.awaiting => None,
            (Welcome::Came(len), is_last) if client.awaiting => {
                self.answer(client, conn.now());
                if is_last {
                    self.part(client, conn);
                }
                Some(len)
            }
            _ => {
                self.wrong += 1;
                self.settle(client);
                Some(bytes.len())
            }
        }
    }

    /// The answer has come, and is the right one.
    fn answer(&mut self, client: &mut Client, now: Instant) {
        self.settle(client);
        (client.proved, client.missed) = (true, 0);
        self.answered += 1;
        let latency_us = client.latency_us(now);
        self.latency.saturating_record(latency_us);
        if self.seats.as_ref().is_some_and(Seats::has_outage) {
            self.storm_latency.saturating_record(latency_us);
        }
        self.pushed.note_answer(latency_us, now);
    }
}

impl Service for Heartbeat {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        self.greet(conn);
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        if !Client::load(*conn.state()).open {
            self.greet(conn);
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut client = Client::load(*conn.state());
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let step = match (client.open, client.matched) {
                (false, _) => self.take_welcome(conn, &mut client, rest),
                (true, at) if client.pushed || at == 0 && rest[0] == PUSHED => {
                    Some(self.take_pushed(&mut client, rest, conn.now()))
                }
                (true, 0) => match self.reply(conn, &mut client, rest) {
                    Some(0) => self.compare(conn, &mut client, rest),
                    replied => replied,
                },
                (true, _) => self.compare(conn, &mut client, rest),
            };
            match step {
                Some(len) => taken += len,
                None => break,
            }
        }
        *conn.state() = client.store();
        taken
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        conn.close();
        let (slot, now, client) = (conn.id().index(), conn.now(), Client::load(*conn.state()));
        if let Some(seats) = &mut self.seats {
            seats.closing(slot, now, client.proved);
        }
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        match &self.seats {
            _ if !Client::load(*conn.state()).parted => {}
            None => conn.close(),
            // No TIME-WAIT, which would keep the record from the next attempt.
            Some(_) => conn.abort(),
        }
    }

    fn on_close(&mut self, id: ConnId, tag: u8, state: ServiceState, reason: CloseReason) {
        let mut client = Client::load(state);
        self.settle(&mut client);
        if let Some(seats) = &mut self.seats {
            seats.ended(id.index(), client.proved);
        }
        self.ended += u64::from(client.closing);
        let in_order = matches!(reason, CloseReason::ClosedByUs | CloseReason::ClosedByPeer);
        match (client.open, client.closing) {
            // The driver had no more time for it.
            (false, _) if reason == CloseReason::Evicted => {}
            (false, _) => self.failed.count(reason),
            (true, true) if in_order => {
                if exchange::server_closes_first(Builtin::of_tag(tag)) && !client.parted {
                    self.lost.count(CloseReason::ProtocolError);
                }
            }
            (true, false) if in_order && client.parted && self.seats.is_none() => self.retired += 1,
            (true, _) => self.lost.count(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::by_hand::ByHand;

    /// A heartbeat of the server's that crossed a close frame was answered behind it, and the server, which
    /// had closed, answered that with a reset.
    #[test]
    fn nothing_is_said_after_a_goodbye() {
        let ping_and_close = b"\x89\x00\x88\x02\x03\xe8";
        let pong_and_close = b"\x8a\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8";
        for (closing, answer) in [(true, &b""[..]), (false, pong_and_close)] {
            let mut heartbeat = Heartbeat::default();
            let mut hand = ByHand::new(Instant::ZERO).with_tag(Builtin::Ws.tag());
            hand.state = Client { open: true, closing, ..Client::default() }.store();
            hand.receive(&mut heartbeat, ping_and_close, 100);
            assert_eq!((hand.sent(), hand.unread()), (answer, &b""[..]));
            assert!(Client::load(hand.state()).parted);
            assert_eq!((heartbeat.wrong, heartbeat.parted.len()), (0, usize::from(!closing)));
            assert_eq!(
                hand.wake_at().is_some(),
                !closing,
                "this side closes if the server does not"
            );
        }
    }
}
