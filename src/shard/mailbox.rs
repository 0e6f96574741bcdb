//! Commands from other threads to a shard.
//!
//! A bounded queue that any thread puts commands into, and the shard takes them out of, a piece in each
//! round. Putting one in never blocks. A shard that sleeps is woken.

use crate::conn::broadcast::{Audience, Progress, Report};
use crate::conn::delivery::{Full, Notice, Outcome};
use crate::conn::slab::ConnId;
use crate::engine::{CommandError, Engine};
use crate::link::Waker;
use crate::service::Service;
use crate::service::unasked::{Published, Unpublished};
use crate::tcp::keepalive::Profile;
use crate::time::{Duration, Instant};
use crate::wire::addr::FlowKey;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use crossbeam::queue::ArrayQueue;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// Commands that wait for a shard at most.
pub const COMMANDS_MAX: usize = 4_096;

/// Commands that a shard takes in one round at most.
const COMMANDS_PER_ROUND: usize = 256;

/// What is to be done.
enum Command {
    Push { to: Whom, bytes: Arc<[u8]>, notice: Notice },
    Close { to: ConnId, notice: Notice },
    SetProfile { of: ConnId, profile: Profile, told: Teller<Result<(), CommandError>> },
    Broadcast { audience: Audience, bytes: Arc<[u8]>, report: Report },
    Publish { tag: Option<u8>, topic: Arc<str>, message: Arc<[u8]>, told: Teller<Publication> },
}

/// For how many, or why for nobody.
pub type Publication = Result<Published, Unpublished>;

/// A connection.
#[derive(Clone, Copy)]
enum Whom {
    Named(ConnId),
    /// Between these endpoints, if there is one when the command is taken.
    Between(FlowKey),
}

/// A shard's commands.
pub(super) struct Mailbox {
    commands: ArrayQueue<Command>,
    /// Whether the shard sleeps, or is about to.
    sleeps: AtomicBool,
    /// Whether the shard has ended.
    ended: AtomicBool,
    waker: OnceLock<Waker>,
}

impl Default for Mailbox {
    fn default() -> Mailbox {
        Mailbox {
            commands: ArrayQueue::new(COMMANDS_MAX),
            sleeps: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("commands", &self.commands.len()).finish_non_exhaustive()
    }
}

impl Mailbox {
    /// The shard is woken by `waker`.
    pub(super) fn attach(&self, waker: Waker) {
        // A shard that runs a second time has the same link.
        let _ = self.waker.set(waker);
    }

    /// Gives `engine` commands, as far as it has room for what they ask.
    pub(super) fn carry_out<S: Service>(&self, engine: &mut Engine<S>, now: Instant) {
        for _ in 0..COMMANDS_PER_ROUND {
            if !engine.has_room_for_pushes() {
                return;
            }
            let Some(command) = self.commands.pop() else { return };
            // Who asked is told of what there is no room for.
            let _ = match command {
                Command::Push { to, bytes, notice } => {
                    let found = match to {
                        Whom::Named(id) => Some(id),
                        Whom::Between(flow) => engine.connection_between(&flow),
                    };
                    match found {
                        Some(id) => engine.push(id, &bytes, Some(notice), now),
                        None => {
                            notice(Outcome::Gone);
                            Ok(())
                        }
                    }
                }
                Command::Close { to, notice } => engine.close_behind(to, Some(notice), now),
                Command::Broadcast { audience, bytes, report } => {
                    engine.broadcast(audience, &bytes, Some(report))
                }
                Command::Publish { tag, topic, message, told } => {
                    told.tell(|answer| *answer = engine.publish(tag, &topic, &message, now));
                    Ok(())
                }
                Command::SetProfile { of, profile, told } => {
                    told.tell(|answer| *answer = engine.set_profile(of, profile, now));
                    Ok(())
                }
            };
        }
    }

    /// Has `sleep` done, unless there are commands that `engine` has room for; whoever puts one in
    /// meanwhile wakes the shard.
    pub(super) fn while_empty<S, R>(
        &self,
        engine: &Engine<S>,
        sleep: impl FnOnce() -> R,
    ) -> Option<R>
    where
        S: Service,
    {
        // Either this sees the command, or who put it in sees this.
        self.sleeps.store(true, Ordering::SeqCst);
        let is_due = !self.commands.is_empty() && engine.has_room_for_pushes();
        let slept = (!is_due).then(sleep);
        self.sleeps.store(false, Ordering::Relaxed);
        slept
    }

    /// The shard has ended: what is left is not done, and those who asked are told.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.forget();
    }

    fn forget(&self) {
        while self.commands.pop().is_some() {}
    }

    fn put(&self, command: Command) -> Result<(), Full> {
        self.commands.push(command).map_err(|_| Full)?;
        if self.ended.load(Ordering::SeqCst) {
            self.forget();
        } else if self.sleeps.swap(false, Ordering::SeqCst)
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
        Ok(())
    }
}

/// Sends commands to one shard, from any thread.
///
/// Commands of one thread are carried out in order. The names of connections are those that the shard's
/// service was told.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Mailbox>);

impl Handle {
    /// Has `bytes` sent to connection `to`, all or nothing, behind those pushed to it before. The receipt
    /// may be dropped: it is sent all the same.
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait. That of the receipt has other reasons, too: the connection
    /// takes no more, or `bytes` are more than one could.
    pub fn push(&self, to: ConnId, bytes: impl Into<Arc<[u8]>>) -> Result<Receipt<Outcome>, Full> {
        self.push_to_whom(Whom::Named(to), bytes.into())
    }

    /// The same to the connection between two endpoints, `flow`, if this shard has it.
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait.
    pub fn push_to_flow(
        &self,
        flow: FlowKey,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Receipt<Outcome>, Full> {
        self.push_to_whom(Whom::Between(flow), bytes.into())
    }

    fn push_to_whom(&self, to: Whom, bytes: Arc<[u8]>) -> Result<Receipt<Outcome>, Full> {
        let (notice, receipt) = noticed();
        self.0.put(Command::Push { to, bytes, notice })?;
        Ok(receipt)
    }

    /// Closes this host's direction of connection `to`, behind what was pushed to it before.
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait.
    pub fn close(&self, to: ConnId) -> Result<Receipt<Outcome>, Full> {
        let (notice, receipt) = noticed();
        self.0.put(Command::Close { to, notice })?;
        Ok(receipt)
    }

    /// Changes how connection `of` finds out that its peer has gone: [`Engine::set_profile`].
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait.
    pub fn set_profile(
        &self,
        of: ConnId,
        profile: Profile,
    ) -> Result<Receipt<Result<(), CommandError>>, Full> {
        let (told, receipt) = Receipt::new(Err(CommandError::Gone));
        self.0.put(Command::SetProfile { of, profile, told })?;
        Ok(receipt)
    }

    /// Has `bytes` sent to all connections of `audience`, behind the broadcasts before it; the bytes are
    /// kept once. What is returned may be dropped: it goes on all the same.
    ///
    /// The bytes are sent as they are. What a text is in the words of a built-in service says
    /// [`unasked`](crate::service::unasked::unasked).
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait. When too many broadcasts do, or `bytes` are too many, the
    /// progress says so: [`Progress::is_refused`].
    pub fn broadcast(
        &self,
        audience: Audience,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Receipt<Progress>, Full> {
        let (told, receipt) = Receipt::new(Progress::default());
        let report: Report = Box::new(move |progress| match progress.is_done {
            true => told.tell(|newest| *newest = *progress),
            false => told.note(|newest| *newest = *progress),
        });
        self.0.put(Command::Broadcast { audience, bytes: bytes.into(), report })?;
        Ok(receipt)
    }

    /// Has `message` published to `topic`, at the service with `tag` or at all that have topics, for those
    /// who have subscribed to it: [`Engine::publish`].
    ///
    /// # Errors
    ///
    /// [`Full`], when too many commands wait.
    pub fn publish(
        &self,
        tag: Option<u8>,
        topic: impl Into<Arc<str>>,
        message: impl Into<Arc<[u8]>>,
    ) -> Result<Receipt<Publication>, Full> {
        let (told, receipt) = Receipt::new(Err(Unpublished::Ended));
        let (topic, message) = (topic.into(), message.into());
        self.0.put(Command::Publish { tag, topic, message, told })?;
        Ok(receipt)
    }
}

fn noticed() -> (Notice, Receipt<Outcome>) {
    let (told, receipt) = Receipt::new(Outcome::Gone);
    (Box::new(move |outcome| told.tell(|answer| *answer = outcome)), receipt)
}

/// What a shard answers to a command, in the end.
#[derive(Debug)]
pub struct Receipt<T>(Arc<Answer<T>>);

#[derive(Debug)]
struct Answer<T> {
    /// The newest that is known, and whether that is the end of it.
    newest: Mutex<(T, bool)>,
    ended: Condvar,
}

impl<T: Copy> Receipt<T> {
    /// What tells, and who is told; `forgotten` is the answer when nobody tells any more.
    fn new(forgotten: T) -> (Teller<T>, Receipt<T>) {
        let newest = Mutex::new((forgotten, false));
        let answer = Arc::new(Answer { newest, ended: Condvar::new() });
        (Teller(answer.clone()), Receipt(answer))
    }

    /// The newest that is known, the end or not: of a broadcast, how far it is.
    pub fn newest(&self) -> T {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The answer, if there is one yet. Of a shard that has ended, it is that of a connection that has.
    pub fn answer(&self) -> Option<T> {
        let newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.1.then_some(newest.0)
    }

    /// Waits for the answer, for as long as `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<T> {
        let newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.ended.wait_timeout_while(newest, timeout, |(_, ended)| !*ended);
        let (newest, _) = waited.unwrap_or_else(PoisonError::into_inner);
        newest.1.then_some(newest.0)
    }
}

/// Who answers a command: at the latest, when it is dropped.
struct Teller<T>(Arc<Answer<T>>);

impl<T> Teller<T> {
    /// This is not the end yet.
    fn note(&self, set: impl FnOnce(&mut T)) {
        set(&mut self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).0);
    }

    /// This is the answer.
    fn tell(&self, set: impl FnOnce(&mut T)) {
        self.note(set);
        self.end();
    }

    fn end(&self) {
        let was_ended = {
            let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
            core::mem::replace(&mut newest.1, true)
        };
        if !was_ended {
            self.0.ended.notify_all();
        }
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
