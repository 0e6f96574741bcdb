//! One connection of a script: what its relative sequence numbers count from, and what was sent.

use std::collections::BTreeMap;

use tenmil::conn::slab::ConnId;

use crate::host::PORT;
use crate::options::{self, TcpOption};
use crate::script::{Content, Isn, Said};
use crate::segment::{self, ACK, FIN, SYN, Segment};

/// A connection, from the peer's point of view.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) local_port: u16,
    pub(crate) peer_port: u16,
    /// The stack's first sequence number, once it is known; till then numbers are absolute.
    pub(crate) local_isn: Option<u32>,
    peer_isn: u32,
    /// The connection's name in the stack, once it is open, or was opened by the stack.
    pub(crate) id: Option<ConnId>,
    /// The relative number after the last that the stack sent.
    local_next: u32,
    /// What the peer sent first under each relative number.
    peer_bytes: BTreeMap<u32, u8>,
    /// What the stack is to send under each relative number.
    local_bytes: BTreeMap<u32, u8>,
    echoes: bool,
}

impl Flow {
    /// Connection `conn` of a script whose peer starts from `peer_isn`; with `echoes` the stack sends
    /// back what it receives.
    pub(crate) fn new(conn: u16, peer_isn: u32, echoes: bool) -> Flow {
        Flow {
            local_port: PORT,
            peer_port: 40_000 + conn,
            local_isn: None,
            peer_isn,
            id: None,
            local_next: 1,
            peer_bytes: BTreeMap::new(),
            local_bytes: BTreeMap::new(),
            echoes,
        }
    }

    /// It is the stack that opens the connection.
    pub(crate) fn open_actively(&mut self) {
        self.local_port = 10_000 + self.peer_port;
    }

    /// The segment that the peer sends when a script has it say `said`.
    pub(crate) fn segment(&mut self, said: &Said, mss_own: u16) -> Segment {
        let payload = match &said.text {
            Some(text) => text.clone(),
            None => (0..said.len).map(|at| pattern(said.seq.wrapping_add(at))).collect(),
        };
        for (at, byte) in (said.seq..).zip(&payload) {
            self.peer_bytes.entry(at).or_insert(*byte);
        }
        if said.flags & SYN != 0 {
            self.peer_bytes.retain(|at, _| *at > said.seq);
        }
        let local_isn = self.local_isn.unwrap_or(0);
        let options = shifted(&said.options, local_isn);
        Segment {
            source_port: said.source_port.unwrap_or(self.peer_port),
            target_port: said.target_port.unwrap_or(self.local_port),
            seq: self.peer_isn.wrapping_add(said.seq),
            ack: said.ack.map_or(0, |ack| local_isn.wrapping_add(ack)),
            flags: said.flags,
            reserved: said.reserved,
            window: said.window.unwrap_or(65_535),
            urgent: said.urgent,
            options: options::to_bytes(&options, mss_own),
            payload,
        }
    }

    /// What the service sends of `content`; noted as the stack's next bytes if `taken`.
    pub(crate) fn outgoing(&mut self, content: &Content, taken: bool) -> Vec<u8> {
        let next = self.local_bytes.last_key_value().map_or(1, |(at, _)| at + 1);
        let bytes: Vec<u8> = match content {
            Content::Text(text) => text.clone(),
            Content::Pattern(len) => (next..next + len).map(pattern).collect(),
        };
        if taken {
            self.local_bytes.extend((next..).zip(bytes.iter().copied()));
        }
        bytes
    }

    /// The first `len` bytes that the peer sent.
    pub(crate) fn incoming(&self, len: u32) -> Vec<u8> {
        (1..=len).map(|at| *self.peer_bytes.get(&at).unwrap_or(&0)).collect()
    }

    /// Learns or checks the stack's first sequence number.
    pub(crate) fn learn(&mut self, said: &Said, segment: &Segment) -> Result<(), String> {
        if segment.flags & SYN == 0 {
            return Ok(());
        }
        let isn = segment.seq.wrapping_sub(said.seq);
        let Some(before) = self.local_isn else {
            self.local_isn = Some(isn);
            return Ok(());
        };
        let ahead = isn.wrapping_sub(before);
        let is_so = match said.isn {
            Isn::Same => return Ok(()),
            Isn::Higher => {
                (isn.wrapping_sub(before.wrapping_add(self.local_next))).cast_signed() >= 0
            }
            Isn::Plus(plus) => ahead == plus,
        };
        self.local_isn = Some(isn);
        self.local_next = 1;
        self.local_bytes.clear();
        is_so.then_some(()).ok_or(format!("the initial sequence number is {ahead} ahead"))
    }

    /// Notes what the stack has sent.
    pub(crate) fn sent(&mut self, segment: &Segment) {
        let len = segment.payload.len() + usize::from(segment.flags & (SYN | FIN) != 0);
        let next =
            self.local_offset(segment.seq).wrapping_add(u32::try_from(len).expect("a frame"));
        if next.wrapping_sub(self.local_next).cast_signed() > 0 {
            self.local_next = next;
        }
    }

    /// What of `segment`, which the stack sent, is not as `said`; `None` if all is.
    ///
    /// # Errors
    ///
    /// When its options cannot be read.
    pub(crate) fn differs(
        &self,
        said: &Said,
        segment: &Segment,
        mss_own: u16,
    ) -> Result<Option<String>, String> {
        let source_port = said.source_port.unwrap_or(self.local_port);
        let target_port = said.target_port.unwrap_or(self.peer_port);
        if (segment.source_port, segment.target_port) != (source_port, target_port) {
            return Ok(Some(format!(
                "the ports {} and {}",
                segment.source_port, segment.target_port
            )));
        }
        if segment.flags != said.flags {
            return Ok(Some("the flags".to_owned()));
        }
        if (self.local_offset(segment.seq), segment.payload.len()) != (said.seq, said.len as usize)
        {
            return Ok(Some("the sequence numbers".to_owned()));
        }
        let ack = (segment.flags & ACK != 0).then(|| self.peer_offset(segment.ack));
        if ack != said.ack || (ack.is_none() && segment.ack != 0) {
            return Ok(Some("the acknowledgment".to_owned()));
        }
        if said.window.is_some_and(|window| window != segment.window) {
            return Ok(Some("the window".to_owned()));
        }
        let options = options::parse(&segment.options)?;
        let expected = shifted(&said.options, self.peer_isn);
        let own = |option: TcpOption| match option {
            TcpOption::MssOwn => TcpOption::Mss(mss_own),
            other => other,
        };
        if options != expected.into_iter().map(own).collect::<Vec<_>>() {
            return Ok(Some("the options".to_owned()));
        }
        match &said.text {
            Some(text) if *text != segment.payload => Ok(Some("the payload".to_owned())),
            Some(_) => Ok(None),
            None => Ok(self.wrong_byte(said.seq, &segment.payload)),
        }
    }

    /// Compares a payload with what the service sent, or with what the peer sent if that is echoed.
    fn wrong_byte(&self, seq: u32, payload: &[u8]) -> Option<String> {
        let bytes = if self.echoes { &self.peer_bytes } else { &self.local_bytes };
        // What a script has the service itself send comes first.
        let expected = |at| self.local_bytes.get(&at).or_else(|| bytes.get(&at));
        let wrong = (seq..)
            .zip(payload)
            .find(|(at, byte)| expected(*at).is_some_and(|known| known != *byte));
        wrong.map(|(at, _)| format!("byte {at} of the payload"))
    }

    /// A segment as a script would say it; `incoming` if it is the peer's.
    pub(crate) fn describe(&self, segment: &Segment, incoming: bool) -> String {
        let (seq, ack) = match incoming {
            true => (self.peer_offset(segment.seq), self.local_offset(segment.ack)),
            false => (self.local_offset(segment.seq), self.peer_offset(segment.ack)),
        };
        let len = segment.payload.len();
        let end = seq.wrapping_add(u32::try_from(len).expect("a frame"));
        let mut text = format!("{} {seq}:{end}({len})", segment::letters(segment.flags));
        if segment.flags & ACK != 0 {
            text += &format!(" ack {ack}");
        }
        text += &format!(" win {}", segment.window);
        match options::parse(&segment.options) {
            Ok(options) if options.is_empty() => {}
            Ok(options) => {
                let base = if incoming { self.local_isn.unwrap_or(0) } else { self.peer_isn };
                let relative = shifted(&options, base.wrapping_neg());
                let list: Vec<String> = relative.iter().map(ToString::to_string).collect();
                text += &format!(" <{}>", list.join(","));
            }
            Err(_) => text += &format!(" <{}>", TcpOption::Hex(segment.options.clone())),
        }
        if (1..=32).contains(&len) {
            text += &format!(" \"{}\"", segment.payload.escape_ascii());
        }
        text
    }

    fn local_offset(&self, seq: u32) -> u32 {
        seq.wrapping_sub(self.local_isn.unwrap_or(0))
    }

    fn peer_offset(&self, seq: u32) -> u32 {
        seq.wrapping_sub(self.peer_isn)
    }
}

/// The byte that the pattern has at a relative sequence number.
fn pattern(at: u32) -> u8 {
    // 251 is a prime: no two places less than that apart have the same byte.
    u8::try_from(at % 251).expect("below 251")
}

/// Options with the sequence numbers in them moved by `base`.
fn shifted(options: &[TcpOption], base: u32) -> Vec<TcpOption> {
    let shift = |option: &TcpOption| match option {
        TcpOption::Sack(blocks) => {
            let moved = |(from, to): &(u32, u32)| (from.wrapping_add(base), to.wrapping_add(base));
            TcpOption::Sack(blocks.iter().map(moved).collect())
        }
        other => other.clone(),
    };
    options.iter().map(shift).collect()
}
