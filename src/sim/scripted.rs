//! Clients that keep to TCP's letter, and to nothing else: they send their bytes in pieces that
//! overlap and come in any order, change their window at will, shrink it, close it, and answer late.
//!
//! They check what the engine may not do: send past the window that they ever offered, or bytes other
//! than before.

use super::services::endpoints;
use super::talk::{Conversation, Wish, below};
use crate::link::faults::{Chance, Random};
use crate::service::builtin::Builtin;
use crate::time::{Duration, Instant};
use crate::wire::addr::FlowKey;
use crate::wire::emit::{Outgoing, emit};
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use crate::wire::packet::{Flags, Packet, Segment, SynOptions, parse};
use crate::wire::seq::SeqNumber;

const NONE: Flags = Flags { fin: false, syn: false, rst: false, ack: false };
const ACK: Flags = Flags { ack: true, ..NONE };

/// How long a client waits before it sends again what was not acknowledged.
const RETRANSMIT: Duration = Duration::from_millis(900);

/// How long a client that has said everything hears nothing before it asks whether the peer is there.
const PATIENCE: Duration = Duration::from_secs(300);

/// How many bytes past the peer's acknowledgment it sends at most.
const AHEAD_MAX: usize = 6_000;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Closed,
    SynSent,
    Open,
    /// It answers everything with a reset.
    Aborted,
    /// It is not on the network any more.
    Gone,
}

/// One client.
struct Client {
    talk: Conversation,
    stage: Stage,
    iss: SeqNumber,
    /// How much of the request was acknowledged, and whether the FIN was.
    acked: usize,
    fin_acked: bool,
    /// How much was sent, the FIN included, and whether that was.
    sent: usize,
    fin_sent: bool,
    rcv_nxt: SeqNumber,
    irs: SeqNumber,
    heard_end: bool,
    /// When a segment last came.
    heard_at: Instant,
    /// The peer's window.
    snd_wnd: u32,
    /// This side's window as it stands in the header, and the end of the largest offered.
    window: u16,
    scale: u8,
    offered: SeqNumber,
    /// What the SYN says.
    options: SynOptions,
    wakes_at: Instant,
    owes_ack: bool,
}

/// All of them, on one host.
pub(super) struct Scripted {
    clients: Vec<Client>,
    macs: [Mac; 2],
    random: Random,
    /// Whether windows may be closed.
    is_rude: bool,
}

impl Scripted {
    /// Clients at `macs[0]` with these conversations, with a server at `macs[1]`.
    pub(super) fn new(talks: Vec<Conversation>, macs: [Mac; 2], mut random: Random) -> Scripted {
        let clients = talks.into_iter().map(|talk| Client::new(talk, &mut random)).collect();
        Scripted { clients, macs, random, is_rude: true }
    }

    /// From now on every client keeps its window open.
    pub(super) fn heal(&mut self) {
        self.is_rude = false;
    }

    /// The conversations.
    pub(super) fn talks(&self) -> impl Iterator<Item = &Conversation> {
        self.clients.iter().map(|client| &client.talk)
    }

    /// Receives what arrives at `now`, and goes on. Returns what is sent, the ports that vanish, and
    /// when to come back at the latest.
    pub(super) fn step(
        &mut self,
        now: Instant,
        arriving: &[Vec<u8>],
    ) -> (Vec<Vec<u8>>, Vec<u16>, Option<Instant>) {
        let Scripted { clients, macs, random, is_rude } = self;
        let mut sent = Sent { macs: *macs, frames: Vec::new() };
        let mut gone = Vec::new();
        for frame in arriving {
            let Ok(Packet::Tcp(segment)) = parse(frame, macs[0]) else { continue };
            let port = segment.flow.local.port;
            let client = clients.iter_mut().find(|client| client.talk.port() == port);
            match client.filter(|client| client.stage != Stage::Closed) {
                Some(client) => {
                    let payload =
                        usize::from(segment.payload.start)..usize::from(segment.payload.end);
                    client.receive(now, &segment, &frame[payload], random, &mut sent);
                }
                // An earlier attempt.
                None => sent.reset(segment.flow, &segment),
            }
        }
        for client in clients.iter_mut().filter(|client| client.wakes_at <= now) {
            client.wake(now, *is_rude, random, &mut sent, &mut gone);
        }
        let next = clients.iter().filter(|client| client.is_awake()).map(|client| client.wakes_at);
        (sent.frames, gone, next.min())
    }
}

impl Client {
    fn new(talk: Conversation, random: &mut Random) -> Client {
        let wscale = (random.below(2) == 0).then(|| u8::try_from(random.below(8)).expect("small"));
        // Where none is promoted, the head of an answer of HTTP is sent whole or not at all, and so an initial
        // window must hold it; a cookie keeps this size.
        let mss_min = if talk.talk.service == Builtin::Http { 216 } else { 88 };
        let options = SynOptions {
            mss: Some(mss_min + u16::try_from(random.below(1_400)).expect("small")),
            wscale,
            sack_permitted: random.below(2) == 0,
        };
        Client {
            stage: Stage::Closed,
            iss: SeqNumber(0),
            acked: 0,
            fin_acked: false,
            sent: 0,
            fin_sent: false,
            rcv_nxt: SeqNumber(0),
            irs: SeqNumber(0),
            heard_end: false,
            heard_at: talk.begins_at(),
            snd_wnd: 0,
            window: 0,
            scale: 0,
            offered: SeqNumber(0),
            options,
            wakes_at: talk.begins_at(),
            owes_ack: false,
            talk,
        }
    }

    /// Whether it does anything by itself.
    fn is_awake(&self) -> bool {
        self.talk.end.is_none() || self.owes_ack
    }

    fn flow(&self) -> FlowKey {
        let [local, remote] = endpoints(&self.talk);
        FlowKey { local, remote }
    }

    /// The number of byte `at` of the request.
    fn seq(&self, at: usize) -> SeqNumber {
        self.iss + 1 + u32::try_from(at).expect("a request is short")
    }

    fn receive(
        &mut self,
        now: Instant,
        segment: &Segment,
        payload: &[u8],
        random: &mut Random,
        sent: &mut Sent,
    ) {
        let flags = segment.flags;
        self.heard_at = now;
        match self.stage {
            Stage::Gone | Stage::Closed => {}
            // RFC 5961 section 3.2: a challenge ACK tells which number a reset needs.
            Stage::Aborted if flags.rst => {}
            Stage::Aborted => sent.reset(self.flow(), segment),
            Stage::SynSent if flags.rst => {
                if flags.ack && segment.ack == self.iss + 1 {
                    self.stage = Stage::Closed;
                    self.talk.try_again(now);
                    self.wakes_at = self.talk.begins_at();
                }
            }
            Stage::SynSent if flags.syn && flags.ack && segment.ack == self.iss + 1 => {
                self.stage = Stage::Open;
                (self.irs, self.rcv_nxt) = (segment.seq, segment.seq + 1);
                self.offered = self.rcv_nxt + u32::from(self.window);
                self.snd_wnd = u32::from(segment.window);
                let both = segment.options.wscale.and(self.options.wscale);
                self.scale = both.unwrap_or(0);
                assert_eq!(
                    segment.options.wscale.unwrap_or(0),
                    0,
                    "the engine's windows are plain"
                );
                self.owes_ack = true;
                self.wakes_at = now;
            }
            Stage::SynSent => sent.reset(self.flow(), segment),
            Stage::Open if flags.rst => {
                if segment.seq == self.rcv_nxt {
                    self.talk.finish(false, "reset");
                    self.stage = Stage::Gone;
                    self.owes_ack = false;
                } else if segment.seq.since(self.rcv_nxt) < self.offered.since(self.rcv_nxt) {
                    // The challenge ACK for it: data that was lost stands before the reset.
                    self.owes_ack = true;
                    self.wakes_at = self.wakes_at.min(now);
                }
            }
            Stage::Open => self.take(now, segment, payload, random),
        }
    }

    /// A segment for an open connection.
    fn take(&mut self, now: Instant, segment: &Segment, payload: &[u8], random: &mut Random) {
        if segment.flags.syn {
            // The SYN-ACK again: the ACK was lost.
            self.owes_ack = true;
            self.wakes_at = self.wakes_at.min(now);
            return;
        }
        let acked = segment.ack.since(self.iss + 1) as usize;
        let len = self.talk.talk.request.len();
        assert!(acked <= len + usize::from(self.fin_sent), "an ACK of what was never sent");
        if acked >= self.acked {
            self.acked = acked.min(len);
            self.fin_acked |= acked > len;
            self.snd_wnd = u32::from(segment.window);
        }
        let end = segment.seq + segment.len();
        // A probe of a closed window, or the FIN, may stand past it, as far as a scaled window can
        // tell.
        let past = end.since(self.irs).saturating_sub(self.offered.since(self.irs));
        let allowed = (1 << self.scale) + u32::from(segment.flags.fin);
        assert!(past <= allowed, "{past} bytes past the window");
        // One that begins with what was had is a keepalive probe, and is answered.
        if segment.is_empty() && !segment.seq.before(self.rcv_nxt) {
            return;
        }
        self.owes_ack = true;
        let skip = self.rcv_nxt.since(segment.seq) as usize;
        let is_next = !segment.seq.after(self.rcv_nxt) && end.after(self.rcv_nxt);
        // A closed window takes nothing, not even a probe.
        let is_open = self.window > 0 || payload.is_empty();
        if is_next && is_open && !self.heard_end {
            let fresh = payload.get(skip..).unwrap_or_default();
            self.talk.hear(fresh, now);
            self.rcv_nxt = end;
            self.heard_end = segment.flags.fin;
        }
        let prompt = random.below(3) > 0;
        self.wakes_at = match prompt {
            true => self.wakes_at.min(now),
            false => self.wakes_at.min(now + Duration::from_millis(random.below(300))),
        };
    }

    /// Does what it does by itself, and says when to be woken again.
    fn wake(
        &mut self,
        now: Instant,
        is_rude: bool,
        random: &mut Random,
        sent: &mut Sent,
        gone: &mut Vec<u16>,
    ) {
        if self.talk.end.is_some() && !self.owes_ack {
            return;
        }
        self.wakes_at = now + RETRANSMIT;
        match self.stage {
            Stage::Gone | Stage::Aborted => {}
            Stage::Closed => {
                if self.talk.begins_at() > now {
                    self.wakes_at = self.talk.begins_at();
                    return;
                }
                self.iss = SeqNumber(u32::try_from(random.below(1 << 32)).expect("32 bits"));
                self.window = 1 + u16::try_from(random.below(65_535)).expect("16 bits");
                self.stage = Stage::SynSent;
                self.send_syn(sent);
            }
            Stage::SynSent => self.send_syn(sent),
            Stage::Open => self.go_on(now, is_rude, random, sent, gone),
        }
    }

    fn send_syn(&self, sent: &mut Sent) {
        let (flow, options) = (self.flow(), self.options);
        sent.segment(
            flow,
            self.iss,
            SeqNumber(0),
            Flags { syn: true, ..NONE },
            self.window,
            options,
            b"",
        );
    }

    fn go_on(
        &mut self,
        now: Instant,
        is_rude: bool,
        random: &mut Random,
        sent: &mut Sent,
        gone: &mut Vec<u16>,
    ) {
        self.choose_window(is_rude, random);
        let is_over = self.talk.end.is_some();
        while !is_over && self.talk.wish(now) == Wish::Say {
            // What is said becomes part of what may be sent.
            let piece = self.talk.next_piece(AHEAD_MAX, random);
            if self.talk.said + piece.len() > self.acked + AHEAD_MAX {
                break;
            }
            self.talk.say(piece.len(), now);
        }
        match self.talk.wish(now) {
            Wish::Abort if !is_over => {
                let (seq, ack) = (self.seq(self.acked), self.rcv_nxt);
                let flags = Flags { rst: true, ..ACK };
                sent.segment(self.flow(), seq, ack, flags, 0, SynOptions::default(), b"");
                self.talk.finish(false, "aborted");
                self.stage = Stage::Aborted;
                self.owes_ack = false;
                return;
            }
            Wish::Vanish if !is_over => {
                gone.push(self.talk.port());
                self.talk.finish(false, "vanished");
                self.stage = Stage::Gone;
                self.owes_ack = false;
                return;
            }
            Wish::WaitUntil(at) => {
                self.wakes_at = self.wakes_at.min(at.max(now + Duration::from_millis(1)))
            }
            _ => {}
        }
        self.send_some(now, random, sent);
        if self.fin_acked && self.heard_end {
            self.talk.finish(true, "closed");
        }
        if core::mem::take(&mut self.owes_ack) {
            self.send_piece(self.sent, self.sent, false, sent);
        }
    }

    /// Another window: smaller, larger, closed, open.
    fn choose_window(&mut self, is_rude: bool, random: &mut Random) {
        let most = u64::from(u16::MAX >> self.scale.min(8));
        let window = match random.below(5) {
            0 if is_rude => 0,
            1 if is_rude => 1 + random.below(20),
            2 => most,
            _ => ((1_500 + random.below(4_000)) >> self.scale).clamp(1, most),
        };
        self.window = u16::try_from(window).expect("16 bits");
        let end = self.rcv_nxt + (u32::from(self.window) << self.scale);
        if end.since(self.irs) > self.offered.since(self.irs) {
            self.offered = end;
        }
    }

    /// Sends what is not acknowledged, in a few pieces that need not fit together.
    fn send_some(&mut self, now: Instant, random: &mut Random, sent: &mut Sent) {
        let said = self.talk.said;
        let wnd = usize::try_from(self.snd_wnd).expect("a window");
        let end = said.min(self.acked + wnd.max(1));
        let closes = self.wants_close(now) && end == said;
        let mss = 1_000;
        if end > self.acked {
            let mut pieces: Vec<(usize, usize)> = Vec::new();
            for _ in 0..below(random, 3) {
                // Old bytes and early ones, too.
                let from = self.acked.saturating_sub(below(random, 500));
                let start = from + below(random, end - from);
                pieces.push((start, end.min(start + 1 + below(random, mss))));
            }
            let mut at = self.acked;
            while at < end && pieces.len() < 12 {
                let len = 1 + below(random, mss);
                pieces.insert(below(random, pieces.len() + 1), (at, end.min(at + len)));
                at += len;
            }
            for (start, end) in pieces {
                let fin = closes && end == said && random.below(2) == 0;
                self.send_piece(start, end, fin, sent);
            }
        } else if closes && !self.fin_acked {
            self.send_piece(said, said, true, sent);
        } else if self.fin_acked && now >= self.heard_at + PATIENCE {
            // The peer may have reset the connection, and the reset been lost.
            self.send_piece(self.acked - 1, self.acked - 1, false, sent);
        } else if !closes && self.acked > 0 && random.happens(Chance::percent(10)) {
            // A keepalive probe, with or without a byte of garbage (RFC 1122 section 4.2.3.6).
            let at = self.acked - 1;
            let garbage = [b'?'; 1];
            let payload = &garbage[..below(random, 2)];
            let (flow, seq) = (self.flow(), self.seq(at));
            sent.segment(flow, seq, self.rcv_nxt, ACK, self.window, SynOptions::default(), payload);
        }
    }

    /// Whether the FIN is due.
    fn wants_close(&self, now: Instant) -> bool {
        self.fin_sent
            || self.talk.wish(now) == Wish::Close
            || (self.heard_end && self.talk.is_complete())
    }

    fn send_piece(&mut self, start: usize, end: usize, fin: bool, sent: &mut Sent) {
        self.fin_sent |= fin;
        self.sent = self.sent.max(end + usize::from(fin));
        self.owes_ack = false;
        let payload = self.talk.talk.request.get(start..end).unwrap_or_default();
        let (flow, seq) = (self.flow(), self.seq(start));
        let flags = Flags { fin, ..ACK };
        sent.segment(flow, seq, self.rcv_nxt, flags, self.window, SynOptions::default(), payload);
    }
}

/// Frames to send.
struct Sent {
    macs: [Mac; 2],
    frames: Vec<Vec<u8>>,
}

impl Sent {
    #[expect(clippy::too_many_arguments, reason = "a segment has that many fields")]
    fn segment(
        &mut self,
        flow: FlowKey,
        seq: SeqNumber,
        ack: SeqNumber,
        flags: Flags,
        window: u16,
        options: SynOptions,
        payload: &[u8],
    ) {
        let ethertype = if flow.local.addr.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
        let ethernet = EthernetHeader::new(self.macs[1], self.macs[0], ethertype);
        let outgoing =
            Outgoing { ethernet: &ethernet, flow, seq, ack, flags, window, options, payload };
        let mut room = vec![0; 2048];
        let len = emit(&mut room, &outgoing).expect("there is room");
        room.truncate(len);
        self.frames.push(room);
    }

    /// The reset that answers `segment` (RFC 9293 section 3.10.7.1).
    fn reset(&mut self, flow: FlowKey, segment: &Segment) {
        if segment.flags.rst {
            return;
        }
        let rst = Flags { rst: true, ..NONE };
        let (seq, ack, flags) = match segment.flags.ack {
            true => (segment.ack, SeqNumber(0), rst),
            false => (SeqNumber(0), segment.seq + segment.len(), Flags { ack: true, ..rst }),
        };
        self.segment(flow, seq, ack, flags, 0, SynOptions::default(), b"");
    }
}
