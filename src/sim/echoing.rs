//! Echo in other ways than at once: what comes is kept, and sent back when there is room, or when the
//! service is woken. The bytes must be the same.

use crate::conn::slab::ConnId;
use crate::link::faults::Random;
use crate::service::Context;
use crate::time::{Duration, Instant};
use std::collections::HashMap;

/// How echo answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// At once, and it consumes no more than it can send back.
    AtOnce,
    /// At once, and the rest as there is room.
    ByRoom,
    /// A little each time that there is room.
    ByLittle,
    /// When it is woken, and the rest as there is room.
    ByWake,
}

impl Habit {
    pub(super) const ALL: [Habit; 4] =
        [Habit::AtOnce, Habit::ByRoom, Habit::ByLittle, Habit::ByWake];
}

/// What is to be sent back on a connection.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether room was asked for, and has not been offered since.
    wants_room: bool,
    /// When it is woken.
    wake: Option<Instant>,
    peer_closed: bool,
}

/// The service.
pub(super) struct Echoing {
    habit: Habit,
    kept: HashMap<ConnId, Kept>,
    random: Random,
}

impl Echoing {
    pub(super) fn new(habit: Habit, random: Random) -> Echoing {
        Echoing { habit, kept: HashMap::new(), random }
    }

    /// Whether echo is not at once.
    pub(super) fn takes_its_time(&self) -> bool {
        self.habit != Habit::AtOnce
    }

    pub(super) fn on_data(&mut self, conn: &mut Context<'_>, bytes: &[u8]) -> usize {
        let kept = self.kept.entry(conn.id()).or_default();
        kept.bytes.extend_from_slice(bytes);
        match self.habit {
            Habit::ByWake if kept.wake.is_none() => {
                let at = conn.now() + Duration::from_millis(1 + self.random.below(3_000));
                kept.wake = Some(at);
                conn.wake_at(at);
            }
            Habit::ByWake => {}
            _ if !kept.wants_room => self.go_on(conn),
            _ => {}
        }
        bytes.len()
    }

    pub(super) fn on_wake(&mut self, conn: &mut Context<'_>) {
        let kept = self.kept.get_mut(&conn.id()).expect("it has asked for it");
        let asked = kept.wake.take().expect("it is woken as often as it asks");
        assert!(conn.now() >= asked, "never early");
        if !kept.wants_room {
            self.go_on(conn);
        }
    }

    pub(super) fn on_room(&mut self, conn: &mut Context<'_>) {
        let kept = self.kept.get_mut(&conn.id()).expect("it has asked for it");
        assert!(core::mem::take(&mut kept.wants_room), "it is offered as often as it asks");
        assert!(conn.room() > 0, "there is some");
        self.go_on(conn);
    }

    pub(super) fn on_peer_close(&mut self, conn: &mut Context<'_>) {
        let kept = self.kept.entry(conn.id()).or_default();
        kept.peer_closed = true;
        if kept.sent == kept.bytes.len() {
            conn.close();
        }
    }

    pub(super) fn on_close(&mut self, id: ConnId) {
        self.kept.remove(&id);
    }

    fn go_on(&mut self, conn: &mut Context<'_>) {
        let kept = self.kept.get_mut(&conn.id()).expect("something was kept");
        let mut left = &kept.bytes[kept.sent..];
        if self.habit == Habit::ByLittle {
            // Enough that a long conversation comes to an end.
            let most = 1 + self.random.below(200) + left.len() as u64 / 20;
            left = &left[..left.len().min(usize::try_from(most).expect("a part of it"))];
        }
        kept.sent += conn.send(left);
        if kept.sent < kept.bytes.len() {
            kept.wants_room = true;
            conn.want_room();
        } else if kept.peer_closed {
            conn.close();
        }
    }
}
