//! What a run's clients were pushed: the broadcast of `demo`, and what came of it.

use super::summary::Latency;
use crate::client::exchange::PUSHED;
use crate::conn::broadcast::{Audience, Progress};
use crate::control::ask::ask;
use crate::control::message::Reached;
use crate::control::{Answer, Request};
use crate::load::heartbeat::Heartbeat;
use crate::service::builtin::Builtin;
use crate::service::unasked::{Published, unasked};
use crate::shard::clock::Clock;
use crate::shard::mailbox::Handle;
use crate::time::Duration;
use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::thread::{Scope, ScopedJoinHandle};

/// A broadcast that the demo's server was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// How many bytes it is for each connection.
    pub(super) bytes: u16,
    /// What the server said of it.
    pub(super) reached: Reached,
    /// The server's resident memory before it and after it, in bytes.
    pub(super) server_memory: Option<(u64, u64)>,
}

/// A broadcast that is asked for when connections are held.
pub(super) struct Asking<'scope> {
    /// How many bytes for each connection, if any.
    bytes: Option<u16>,
    thread: Option<ScopedJoinHandle<'scope, anyhow::Result<Reached>>>,
    /// The server's memory when it was asked for, and when it was done.
    before: Option<u64>,
    after: Option<u64>,
}

impl<'scope> Asking<'scope> {
    /// Of lines of `bytes` bytes; `None` for none.
    pub(super) fn new(bytes: Option<u16>) -> Asking<'scope> {
        Asking { bytes, thread: None, before: None, after: None }
    }

    /// Connections are held: `ask` is called with the line, once, on a thread of its own, and `memory`
    /// tells the server's before and after it, if that is known.
    pub(super) fn look(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        ask: impl FnOnce(String) -> anyhow::Result<Reached> + Send + 'scope,
        memory: impl FnOnce() -> anyhow::Result<Option<u64>>,
    ) -> anyhow::Result<()> {
        let Some(bytes) = self.bytes else { return Ok(()) };
        match &self.thread {
            None => {
                self.before = memory()?;
                self.thread = Some(scope.spawn(move || ask(line(bytes))));
            }
            Some(thread) if thread.is_finished() && self.after.is_none() => {
                self.after = memory()?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Waits for the end of it, if it was begun.
    pub(super) fn finish(self) -> anyhow::Result<Option<Asked>> {
        let (Some(bytes), Some(thread)) = (self.bytes, self.thread) else { return Ok(None) };
        let reached = thread.join().map_err(|_| anyhow!("the broadcast's thread panicked"))??;
        Ok(Some(Asked { bytes, reached, server_memory: self.before.zip(self.after) }))
    }
}

/// Has the server that listens on `control` broadcast `line`, or publish it to `topic`.
pub(super) fn ask_for(
    control: &Path,
    topic: Option<String>,
    line: String,
) -> anyhow::Result<Reached> {
    match ask(control, &Request::Broadcast { local: None, topic, text: line }, |_| {})? {
        Answer::Progress(reached) => Ok(reached),
        other => bail!("the server answered {other:?}"),
    }
}

/// Has the shard behind `handle`, which serves `service` alone, broadcast `line`.
pub(super) fn ask_shard(
    handle: &Handle,
    clock: Clock,
    service: Builtin,
    line: String,
) -> anyhow::Result<Reached> {
    let began = clock.now();
    let receipt = handle.broadcast(Audience::All, &*unasked(service, &line)?)?;
    loop {
        if let Some(progress) = receipt.wait(Duration::from_secs(1)) {
            let micros = clock.now().since(began).as_micros();
            return Ok(Reached::of(&progress, u64::try_from(micros)?));
        }
    }
}

/// Has the shard behind `handle` publish `line` to `topic`.
pub(super) fn publish_on_shard(
    handle: &Handle,
    clock: Clock,
    topic: &str,
    line: &str,
) -> anyhow::Result<Reached> {
    let began = clock.now();
    let receipt = handle.publish(None, topic, line.as_bytes())?;
    let published = receipt.wait(Duration::from_secs(10));
    let Published { queued, full } = published.context("the server does not answer")??;
    let progress = Progress { queued, full, is_done: true, ..Progress::default() };
    Ok(Reached::of(&progress, u64::try_from(clock.now().since(began).as_micros())?))
}

/// What the clients were pushed. Fields about the broadcast are `null` where none was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Pushes {
    /// Messages that clients received without asking.
    pub(super) received: u64,
    /// Their bytes.
    pub(super) received_bytes: u64,
    /// Messages that differ from the first one, of WebSocket and MQTT.
    pub(super) different: u64,
    /// From the first of them until the last.
    pub(super) seconds: f64,
    /// From the start of the clients' program until the last of them.
    pub(super) until_seconds: f64,
    /// The bytes of the broadcast, for each connection.
    pub(super) bytes: Option<u16>,
    /// Connections that it was sent to, or queued for, as the server says.
    pub(super) sent: Option<u64>,
    /// Connections that it was not sent to.
    pub(super) not_sent: Option<u64>,
    /// How long the server took until TCP had it for all of them.
    pub(super) server_seconds: Option<f64>,
    /// How much the server's resident memory grew by it.
    pub(super) server_memory_bytes: Option<u64>,
    /// From when a heartbeat was due to its answer, of those answered while pushes came.
    pub(super) latency_us: Latency,
}

/// A line of `len` bytes that the clients know for one that was pushed.
pub(super) fn line(len: u16) -> String {
    let mut line = String::from(char::from(PUSHED));
    line.extend(('a'..='z').cycle().take(usize::from(len).saturating_sub(2)));
    line.push('\n');
    line
}

impl Pushes {
    /// What came of a run: `None` if nothing was asked for and nothing came.
    pub(super) fn of(heartbeat: &Heartbeat, asked: Option<&Asked>) -> Option<Pushes> {
        if asked.is_none() && heartbeat.pushed.messages == 0 {
            return None;
        }
        let seconds = |micros: u64| micros as f64 / 1e6;
        let reached = asked.map(|asked| asked.reached);
        let (messages, bytes) = (heartbeat.pushed.messages, heartbeat.pushed.bytes);
        Some(Pushes {
            received: messages,
            received_bytes: bytes,
            different: heartbeat.pushed.different,
            seconds: heartbeat.pushed.span().as_secs_f64(),
            until_seconds: heartbeat.pushed.last().unwrap_or_default().nanos() as f64 / 1e9,
            bytes: asked.map(|asked| asked.bytes),
            sent: reached.map(|reached| u64::from(reached.sent) + u64::from(reached.queued)),
            not_sent: reached.map(|reached| u64::from(reached.full) + u64::from(reached.gone)),
            server_seconds: reached.map(|reached| seconds(reached.micros)),
            server_memory_bytes: asked
                .and_then(|asked| asked.server_memory)
                .map(|(before, after)| after.saturating_sub(before)),
            latency_us: Latency::of(&heartbeat.pushed.latency),
        })
    }

    /// Whether everybody that something was sent to has received all of it.
    pub(super) fn is_clean(&self) -> bool {
        let Pushes { received, received_bytes, different, bytes, sent, not_sent, .. } = *self;
        let (Some(bytes), Some(sent)) = (bytes, sent) else { return true };
        different == 0
            && received == sent
            && received_bytes == sent * u64::from(bytes)
            && not_sent == Some(0)
    }
}

impl fmt::Display for Pushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pushes { received, received_bytes, seconds, latency_us, .. } = self;
        write!(f, "pushes       {received} received, {received_bytes} bytes, in {seconds:.2} s")?;
        if self.different > 0 {
            write!(f, ", {} other than the first", self.different)?;
        }
        if let (Some(sent), Some(not_sent)) = (self.sent, self.not_sent) {
            write!(f, "; {sent} sent")?;
            if not_sent > 0 {
                write!(f, ", {not_sent} not")?;
            }
        }
        if let Some(seconds) = self.server_seconds {
            write!(f, ", in {seconds:.2} s")?;
        }
        if let Some(bytes) = self.server_memory_bytes {
            write!(f, "; {:.1} MB more at the server", bytes as f64 / 1e6)?;
        }
        let Latency { p50, p99, p999, max } = latency_us;
        write!(f, "\nmeanwhile    {p50} us median, {p99} p99, {p999} p99.9, {max} at most")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_line_is_as_long_as_it_is_to_be() {
        for len in [2, 3, 200, 2_900] {
            let line = line(len);
            assert_eq!(line.len(), usize::from(len));
            assert!(line.starts_with('*') && line.ends_with('\n'));
        }
    }
}
