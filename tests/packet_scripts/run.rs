//! Runs a script, line by line, against a fresh stack.

use std::collections::BTreeMap;
use std::time::Duration;

use tenmil::conn::slab::ConnId;
use tenmil::engine::ConnectError;
use tenmil::service::builtin::Builtin;
use tenmil::tcp::CloseReason;
use tenmil::time::Instant;

use crate::flow::Flow;
use crate::host::{GRAIN, Host};
use crate::packet::{self, Family, Wrapping};
use crate::script::{Action, Content, IcmpError, IcmpKind, Line, STATES, Said, Script, counter};
use crate::segment::Segment;

/// Where and how a script failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The number of the line.
    pub(crate) line: usize,
    /// What was expected, and what came instead.
    pub(crate) what: String,
    /// Every frame so far, as a script would say it.
    pub(crate) trace: Vec<String>,
}

/// Runs `script` over `family`.
///
/// # Errors
///
/// The first line that is not what happens, or that leaves something that happened unsaid.
pub(crate) fn run(script: &Script, family: Family) -> Result<(), Failure> {
    let mut run = Run {
        host: Host::new(&script.settings, family),
        script,
        family,
        flows: BTreeMap::new(),
        unread: Vec::new(),
        named: [0; CloseReason::ALL.len()],
        trace: Vec::new(),
    };
    for line in &script.lines {
        run.step(line).map_err(|what| run.failure(line, what))?;
    }
    if let Some(last) = script.lines.last() {
        run.is_quiet().map_err(|what| run.failure(last, what))?;
    }
    Ok(())
}

struct Run<'a> {
    host: Host,
    script: &'a Script,
    family: Family,
    flows: BTreeMap<u16, Flow>,
    /// Frames that were sent and not yet expected.
    unread: Vec<Vec<u8>>,
    /// How many ends of connections the script has named, by reason.
    named: [u64; CloseReason::ALL.len()],
    trace: Vec<Traced>,
}

/// A frame, when it was seen.
struct Traced {
    clock: String,
    frame: Seen,
}

enum Seen {
    /// Sent to the stack.
    Said(String),
    /// Sent by the stack: what its numbers count from may not be known yet.
    Sent(Vec<u8>),
}

impl Run<'_> {
    fn failure(&self, line: &Line, what: String) -> Failure {
        let what = format!("{}\n{what}", line.text);
        let text = |traced: &Traced| match &traced.frame {
            Seen::Said(text) => format!("{} < {text}", traced.clock),
            Seen::Sent(frame) => format!("{} > {}", traced.clock, self.describe(frame)),
        };
        Failure { line: line.number, what, trace: self.trace.iter().map(text).collect() }
    }

    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.action {
            Action::Expect(said) => {
                self.wait_for(line.after, |run| !run.unread.is_empty())?;
                if self.unread.is_empty() {
                    return Err("nothing was sent".to_owned());
                }
                let frame = self.unread.remove(0);
                self.expect(line.conn, said, &frame)
            }
            Action::Closed(reason) => {
                self.wait_for(line.after, |run| run.unnamed_end().is_some())?;
                match self.unnamed_end() {
                    Some(ended) if ended == *reason => {
                        self.named[*reason as usize] += 1;
                        Ok(())
                    }
                    Some(other) => Err(format!("it ended with {other:?}")),
                    None => Err("it has not ended".to_owned()),
                }
            }
            action => {
                self.pass(line.after)?;
                self.act(line.conn, action)
            }
        }
    }

    /// Does what an action says, or looks whether it is so.
    fn act(&mut self, conn: u16, action: &Action) -> Result<(), String> {
        match action {
            Action::Wait => Ok(()),
            Action::Inject(said, wrapping) => {
                self.is_quiet()?;
                self.inject(conn, said, wrapping);
                Ok(())
            }
            Action::InjectIcmp(error, wrapping) => {
                self.is_quiet()?;
                self.inject_icmp(conn, error, wrapping);
                Ok(())
            }
            Action::Connect => self.connect(conn),
            Action::ConnectRefused(addr) => {
                let (opened, frames) = self.host.connect(50_000, *addr, 7);
                self.note(frames);
                is(&opened.err(), &Some(ConnectError::NotUnicast))
            }
            Action::Send(content, outcome) => {
                let id = self.id(conn)?;
                let bytes = self.flow(conn).outgoing(content, outcome.is_ok());
                let (done, frames) = self.host.send(id, &bytes);
                self.note(frames);
                is(&done, outcome)
            }
            Action::Close(outcome) => {
                let id = self.id(conn)?;
                let (done, frames) = self.host.close(id);
                self.note(frames);
                is(&done, outcome)
            }
            Action::Abort(outcome) => {
                let id = self.id(conn)?;
                let (done, frames) = self.host.abort(id);
                self.note(frames);
                is(&done, outcome)
            }
            Action::SetProfile(profile) => {
                let id = self.id(conn)?;
                is(&self.host.set_profile(id, *profile), &Ok(()))
            }
            Action::State(state) => match self.host.state() {
                Some(found) if found == *state => Ok(()),
                Some(found) => Err(format!("it is in {}", state_name(found))),
                None => Err("there are several connections".to_owned()),
            },
            Action::Drops(reason, count) => {
                is(&self.host.engine.counters().drops.of(*reason), count)
            }
            Action::Count(name, count) => {
                let read = counter(name).expect("the parser knows it");
                is(&read(&self.host.engine.counters()), count)
            }
            Action::Received(content) => {
                let expected = match content {
                    Content::Text(text) => text.clone(),
                    Content::Pattern(len) => self.flow(conn).incoming(*len),
                };
                let received = &self.host.engine.service().received;
                match *received == expected {
                    true => Ok(()),
                    false => Err(format!(
                        "{} bytes were received: \"{}\"",
                        received.len(),
                        received.escape_ascii()
                    )),
                }
            }
            Action::Expect(_) | Action::Closed(_) => unreachable!("they wait for what they name"),
        }
    }

    /// Everything that happened was said: no frame is left, and no end of a connection.
    fn is_quiet(&self) -> Result<(), String> {
        if let Some(frame) = self.unread.first() {
            return Err(format!("unexpected:\n    {}", self.describe(frame)));
        }
        match self.unnamed_end() {
            Some(reason) => Err(format!("a connection ended with {reason:?}, which is not said")),
            None => Ok(()),
        }
    }

    /// Lets `span` pass, in which nothing may happen.
    fn pass(&mut self, span: Duration) -> Result<(), String> {
        if span.is_zero() {
            return Ok(());
        }
        self.is_quiet()?;
        let end = self.host.now + span;
        while !self.host.has_passed(end) {
            self.tick(end);
            self.is_quiet().map_err(|what| format!("too early, {what}"))?;
        }
        Ok(())
    }

    /// Lets `span` pass, in which nothing may happen, and then as much as a timer may be late, until
    /// something has `happened`.
    fn wait_for(&mut self, span: Duration, happened: impl Fn(&Self) -> bool) -> Result<(), String> {
        if span.is_zero() {
            return Ok(());
        }
        self.pass(span.saturating_sub(GRAIN))?;
        let end = self.host.now + 3 * GRAIN;
        while !happened(self) && !self.host.has_passed(end) {
            self.tick(end);
        }
        Ok(())
    }

    fn tick(&mut self, end: Instant) {
        let frames = self.host.pass(end);
        self.note(frames);
    }

    /// Takes frames that were sent.
    fn note(&mut self, frames: Vec<Vec<u8>>) {
        for frame in frames {
            let clock = self.clock();
            self.trace.push(Traced { clock, frame: Seen::Sent(frame.clone()) });
            self.unread.push(frame);
        }
    }

    fn clock(&self) -> String {
        let millis = self.host.now.millis() - 10_000;
        format!("{:6}.{:03}", millis / 1_000, millis % 1_000)
    }

    /// The first reason for which more connections have ended than were named.
    fn unnamed_end(&self) -> Option<CloseReason> {
        let counters = self.host.engine.counters();
        let unnamed =
            |reason: &CloseReason| counters.closed(*reason) > self.named[*reason as usize];
        CloseReason::ALL.into_iter().find(unnamed)
    }

    fn flow(&mut self, conn: u16) -> &mut Flow {
        let (isn, service) = (self.script.settings.isn, self.script.settings.service);
        self.flows.entry(conn).or_insert_with(|| Flow::new(conn, isn, service == Builtin::Echo))
    }

    /// The connection's name.
    fn id(&mut self, conn: u16) -> Result<ConnId, String> {
        self.flow(conn).id.ok_or("the connection was never open".to_owned())
    }

    fn inject(&mut self, conn: u16, said: &Said, wrapping: &Wrapping) {
        let mss_own = self.mss_own();
        let segment = self.flow(conn).segment(said, mss_own);
        let frame = packet::tcp(self.family, wrapping, &segment);
        let text = self.flow(conn).describe(&segment, true);
        self.receive(text, &frame);
        if let Some(id) = self.host.engine.service_mut().opened.take() {
            self.flow(conn).id = Some(id);
        }
    }

    fn inject_icmp(&mut self, conn: u16, error: &IcmpError, wrapping: &Wrapping) {
        let flow = self.flow(conn);
        let quoted = Segment {
            source_port: flow.local_port,
            target_port: flow.peer_port,
            seq: flow.local_isn.unwrap_or(0).wrapping_add(error.seq),
            ..Segment::default()
        };
        let word = match error.kind {
            IcmpKind::TooBig(mtu) => u32::from(mtu),
            _ => 0,
        };
        let kind = error.kind.type_and_code(self.family);
        let frame = packet::icmp_error(self.family, wrapping, kind, word, &quoted);
        self.receive(format!("icmp {:?} seq {}", error.kind, error.seq), &frame);
    }

    /// Sends `frame`, which says `text`, to the stack.
    fn receive(&mut self, text: String, frame: &[u8]) {
        self.trace.push(Traced { clock: self.clock(), frame: Seen::Said(text) });
        let sent = self.host.receive(frame);
        self.note(sent);
    }

    fn connect(&mut self, conn: u16) -> Result<(), String> {
        self.is_quiet()?;
        let flow = self.flow(conn);
        flow.open_actively();
        let (local, remote) = (flow.local_port, flow.peer_port);
        let peer = self.family.peer();
        let (mut opened, mut frames) = self.host.connect(local, peer, remote);
        if opened == Err(ConnectError::Resolving) {
            // The question for the peer's hardware address is answered here, out of the script.
            self.host.receive(&packet::neighbor_is_here(self.family));
            (opened, frames) = self.host.connect(local, peer, remote);
        }
        self.note(frames);
        self.flow(conn).id = Some(opened.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Compares a frame that was sent with what is expected.
    fn expect(&mut self, conn: u16, said: &Said, frame: &[u8]) -> Result<(), String> {
        let segment = packet::read_tcp(self.family, frame)?;
        let mss_own = self.mss_own();
        let flow = self.flow(conn);
        flow.learn(said, &segment)?;
        let differs = flow.differs(said, &segment, mss_own);
        match differs? {
            None => {
                flow.sent(&segment);
                Ok(())
            }
            Some(what) => {
                let text = flow.describe(&segment, false);
                Err(format!("{what} in:\n    {text}"))
            }
        }
    }

    /// What the stack announces as its largest segment.
    fn mss_own(&self) -> u16 {
        self.family.mss_of(self.script.settings.mtu.unwrap_or(1500))
    }

    /// A frame that was sent, as a script would say it.
    fn describe(&self, frame: &[u8]) -> String {
        match packet::read_tcp(self.family, frame) {
            Ok(segment) => {
                let ours =
                    self.flows.iter().find(|(_, flow)| flow.peer_port == segment.target_port);
                match ours {
                    Some((1, flow)) => flow.describe(&segment, false),
                    Some((conn, flow)) => format!("[{conn}] {}", flow.describe(&segment, false)),
                    None => format!("{segment:?}"),
                }
            }
            Err(what) => format!("{what}: {frame:02x?}"),
        }
    }
}

fn is<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("it is {found:?}")),
    }
}

fn state_name(state: tenmil::conn::record::State) -> &'static str {
    STATES.iter().find(|(_, known)| *known == state).map_or("no state", |(name, _)| name)
}
