//! The services of the engine under test, and a check on how they are called.

use tenmil::conn::broadcast::Audience;
use tenmil::conn::delivery::Outcome;
use tenmil::conn::slab::ConnId;
use tenmil::service::builtin::Builtins;
use tenmil::service::{Context, Pushed, Service, ServiceState};
use tenmil::tcp::CloseReason;
use tenmil::tcp::keepalive::{Keepalive, Profile};
use tenmil::time::{Duration, Instant};

/// Connections at once, at most.
pub(super) const CONNECTIONS_MAX: u32 = 12;

/// The tag of connections whose service does what the peer's bytes say: leaves some unread, answers
/// more than it got, closes, or stays when the peer has closed; waits for room, wants to be woken, or
/// ends the connection.
pub(super) const ERRATIC: u8 = 3;

/// Pushes that are noted at once, at most.
const PUSHED_MAX: usize = 4_096;

/// The built-in services and an erratic one.
pub(super) struct Checked {
    builtins: Builtins,
    /// The connections that were opened and not yet closed, by their slots.
    open: [Option<ConnId>; CONNECTIONS_MAX as usize],
    /// How many there are.
    pub(super) open_count: u64,
    /// What was pushed: its number, to whom, and whether it was told to be queued.
    pushed: Vec<(u64, ConnId, bool)>,
    /// How often something was.
    noted: u64,
    /// The connection that nothing may close.
    pub(super) victim: Option<ConnId>,
}

impl Default for Checked {
    fn default() -> Checked {
        Checked {
            builtins: Builtins::default(),
            open: [None; CONNECTIONS_MAX as usize],
            open_count: 0,
            pushed: Vec::with_capacity(PUSHED_MAX),
            noted: 0,
            victim: None,
        }
    }
}

impl Checked {
    /// What one byte of the peer's has the service ask for.
    fn ask(&mut self, conn: &mut Context<'_>, byte: u8) {
        conn.state()[1] = byte;
        if byte & 1 != 0 {
            conn.want_room();
        }
        match byte >> 1 & 3 {
            0 => {}
            1 => conn.wake_after(Duration::from_millis(u64::from(byte) * 50)),
            2 => conn.wake_at(Instant::ZERO),
            _ => conn.no_wake(),
        }
        match byte >> 3 {
            1 => conn.abort(),
            2 => conn.close_for(CloseReason::Idle),
            3 => conn.abort_for(CloseReason::ProtocolError),
            4..8 => {
                let seconds = Duration::from_secs(u64::from(byte >> 3));
                let keepalive = Keepalive::new(seconds, seconds, 2).ok();
                conn.set_keepalive(Profile { keepalive, user_timeout: None });
            }
            // What cannot be noted is not pushed.
            8 | 9 if self.pushed.len() + CONNECTIONS_MAX as usize > PUSHED_MAX => {}
            8 => {
                let to = conn.id();
                if conn.push(to, &[byte; 700], self.noted).is_ok() {
                    self.note([to].into_iter());
                }
            }
            // Some of them have ended, perhaps.
            9 => {
                let accepted = conn.push_all(self.others(), &[byte; 100], self.noted);
                self.note(self.others().take(accepted));
            }
            10 => drop(conn.broadcast(Audience::Tag(ERRATIC), &[byte; 1_500], 0)),
            11 => drop(self.others().next().map(|other| conn.invite(other))),
            12 => conn.close_and_linger(),
            _ => {}
        }
    }

    /// Something was pushed to these.
    fn note(&mut self, to: impl Iterator<Item = ConnId>) {
        let note = self.noted;
        self.pushed.extend(to.map(|to| (note, to, false)));
        self.noted += 1;
    }

    /// Connections but the victim.
    fn others(&self) -> impl Iterator<Item = ConnId> + use<> {
        let victim = self.victim;
        self.open.into_iter().flatten().filter(move |id| Some(*id) != victim)
    }

    /// The service is woken, or offered room: it sends, and asks for the same again, for a while.
    fn go_on(&mut self, conn: &mut Context<'_>) {
        assert!(self.is_open(conn.id()), "no call outside of a connection's life");
        if conn.tag() != ERRATIC {
            // Another connection has invited it.
            return self.builtins.on_room(conn);
        }
        let [_, byte, left, ..] = *conn.state();
        conn.send(&[b'g'; 500][..usize::from(byte) * 2 % 500]);
        if left > 0 {
            conn.state()[2] = left - 1;
            self.ask(conn, byte);
        }
    }

    fn is_open(&self, id: ConnId) -> bool {
        self.open[id.index() as usize] == Some(id)
    }
}

impl Service for Checked {
    fn on_open(&mut self, conn: &mut Context<'_>) {
        let open = &mut self.open[conn.id().index() as usize];
        assert_eq!(*open, None, "a slot holds one connection");
        *open = Some(conn.id());
        self.open_count += 1;
        if conn.tag() == ERRATIC {
            conn.send(b"hello");
        }
    }

    fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        assert!(self.is_open(conn.id()), "no data outside of a connection's life");
        assert!(!bytes.is_empty(), "data is something");
        if conn.tag() != ERRATIC {
            return self.builtins.on_data(conn, bytes);
        }
        let first = bytes[0];
        conn.state()[0] = first;
        (0..first >> 4).for_each(|_| {
            conn.send(&[b'e'; 300]);
        });
        if let Some(&second) = bytes.get(1) {
            // How often it may still go on.
            conn.state()[2] = 20;
            self.ask(conn, second);
        }
        if first & 1 != 0 {
            conn.close();
        }
        match first >> 1 & 3 {
            0 => 0,
            1 => bytes.len() / 2,
            // More than there is, which the engine does not believe.
            2 => usize::MAX,
            _ => bytes.len(),
        }
    }

    fn on_wake(&mut self, conn: &mut Context<'_>) {
        assert_eq!(conn.tag(), ERRATIC, "who has not asked is not woken");
        self.go_on(conn);
    }

    fn on_room(&mut self, conn: &mut Context<'_>) {
        assert!(conn.room() > 0, "there is room");
        self.go_on(conn);
    }

    fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        assert!(self.is_open(conn.id()), "the peer of a connection that is open closes");
        if conn.tag() != ERRATIC || conn.state()[0] & 8 == 0 {
            conn.close();
        }
    }

    fn on_close(&mut self, id: ConnId, _: u8, _: ServiceState, reason: CloseReason) {
        assert_ne!(self.victim, Some(id), "the victim was closed: {reason:?}");
        // One that this host tried to open may end without having been.
        if self.is_open(id) {
            self.open[id.index() as usize] = None;
            self.open_count -= 1;
        }
        // What was queued is acknowledged, or was told to be lost.
        self.pushed.retain(|&(_, to, queued)| to != id || !queued);
    }

    fn on_pushed(&mut self, pushed: Pushed) {
        let Pushed { note, to, outcome, .. } = pushed;
        let known = self.pushed.iter().position(|&(number, whom, _)| (number, whom) == (note, to));
        let at = known.expect("what is told was pushed, and was not told before");
        let queued = &mut self.pushed[at].2;
        assert!(
            !*queued || outcome == Outcome::Gone,
            "what was queued is lost, or nothing is said"
        );
        match outcome {
            Outcome::Queued => *queued = true,
            Outcome::Sent | Outcome::Full | Outcome::Gone => {
                self.pushed.swap_remove(at);
            }
        }
    }

    fn is_subscribed(&self, topic: u64, id: ConnId, tag: u8, _: &ServiceState) -> bool {
        assert!(self.is_open(id) && tag == ERRATIC, "who is asked about is there");
        u64::from(id.index()) & topic != 0
    }

    /// For a while, after some of what the peer said, not.
    fn takes_pushes(&self, tag: u8, state: &ServiceState) -> bool {
        tag != ERRATIC || state[0] & 0x0c != 0x0c
    }

    fn receive_window(&self, tag: u8) -> u16 {
        if tag == ERRATIC { 6_000 } else { self.builtins.receive_window(tag) }
    }
}
