//! The other end of a connection, scripted segment by segment.

use super::harness::{Host, MAC, endpoint};
use crate::service::Service;
use crate::wire::addr::{Endpoint, FlowKey};
use crate::wire::emit::{Outgoing, emit};
use crate::wire::ethernet::{self, EthernetHeader, Mac};
use crate::wire::packet::{Flags, Packet, Segment, SynOptions, parse};
use crate::wire::seq::SeqNumber;

pub(super) const PEER_MAC: Mac = [2, 0, 0, 0, 0, 2];

const NONE: Flags = Flags { fin: false, syn: false, rst: false, ack: false };
pub(super) const ACK: Flags = Flags { ack: true, ..NONE };
pub(super) const FIN: Flags = Flags { fin: true, ..ACK };
pub(super) const RST: Flags = Flags { rst: true, ..NONE };
pub(super) const SYN: Flags = Flags { syn: true, ..NONE };
pub(super) const SYN_ACK: Flags = Flags { syn: true, ..ACK };

/// A segment that the engine sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) seq: SeqNumber,
    pub(super) ack: SeqNumber,
    pub(super) flags: Flags,
    pub(super) window: u16,
    pub(super) options: SynOptions,
    pub(super) payload: Vec<u8>,
}

/// The only one of `things`.
#[track_caller]
pub(super) fn only<T: core::fmt::Debug>(mut things: Vec<T>) -> T {
    assert_eq!(things.len(), 1, "{things:?}");
    things.remove(0)
}

/// One end of one connection: what it would send next, and what it has seen.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// From the peer's point of view: local is the peer.
    pub(super) flow: FlowKey,
    pub(super) seq: SeqNumber,
    pub(super) ack: SeqNumber,
    pub(super) window: u16,
    pub(super) options: SynOptions,
    pub(super) mac: Mac,
    pub(super) tags: Vec<[u8; 4]>,
}

impl Peer {
    /// A peer that will speak to `target` from `port`.
    pub(super) fn to(target: &str, port: u16) -> Peer {
        let remote = endpoint(target);
        let local = match remote.addr.is_v4() {
            true => endpoint(&format!("10.77.0.2:{port}")),
            false => endpoint(&format!("[fd77::2]:{port}")),
        };
        Peer {
            flow: FlowKey { remote, local },
            seq: SeqNumber(0xffff_fff0),
            ack: SeqNumber(0),
            window: 65_535,
            options: SynOptions { mss: Some(1460), ..SynOptions::default() },
            mac: PEER_MAC,
            tags: Vec::new(),
        }
    }

    /// The frame of a segment with these numbers.
    pub(super) fn raw(
        &self,
        flags: Flags,
        seq: SeqNumber,
        ack: SeqNumber,
        payload: &[u8],
    ) -> Vec<u8> {
        let ethertype = if self.flow.local.addr.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
        let mut header = [MAC, self.mac].concat();
        self.tags.iter().for_each(|tag| header.extend(tag));
        header.extend(ethertype.to_be_bytes());
        let outgoing = Outgoing {
            ethernet: &EthernetHeader::parse(&header).expect("a header"),
            flow: self.flow,
            seq,
            ack,
            flags,
            window: self.window,
            options: if flags.syn { self.options } else { SynOptions::default() },
            payload,
        };
        let mut room = vec![0; 2048];
        let len = emit(&mut room, &outgoing).expect("there is room");
        room.truncate(len);
        room
    }

    /// The next segment; what it takes of sequence numbers is used up.
    pub(super) fn next(&mut self, flags: Flags, payload: &[u8]) -> Vec<u8> {
        let frame = self.raw(flags, self.seq, self.ack, payload);
        let len = payload.len() + usize::from(flags.syn) + usize::from(flags.fin);
        self.seq += u32::try_from(len).expect("one frame");
        frame
    }

    /// What a frame of the engine says, which must be one for this peer.
    #[track_caller]
    pub(super) fn read(&self, frame: &[u8]) -> Seen {
        let Ok(Packet::Tcp(segment)) = parse(frame, self.mac) else {
            panic!("not a segment for the peer: {:?}", parse(frame, self.mac));
        };
        let Segment { flow, seq, ack, flags, window, options, payload } = segment;
        assert_eq!(flow, self.flow, "endpoints are turned around");
        let payload = frame[usize::from(payload.start)..usize::from(payload.end)].to_vec();
        Seen { seq, ack, flags, window, options, payload }
    }

    #[track_caller]
    pub(super) fn read_all(&self, frames: Vec<Vec<u8>>) -> Vec<Seen> {
        frames.iter().map(|frame| self.read(frame)).collect()
    }

    /// Sends the next segment and returns the answers.
    #[track_caller]
    pub(super) fn tell<S: Service>(
        &mut self,
        host: &mut Host<S>,
        flags: Flags,
        payload: &[u8],
    ) -> Vec<Seen> {
        let frame = self.next(flags, payload);
        self.read_all(host.receive(&[frame]))
    }

    /// Sends a segment with these numbers and returns the answers.
    #[track_caller]
    pub(super) fn say<S: Service>(
        &self,
        host: &mut Host<S>,
        flags: Flags,
        seq: SeqNumber,
        ack: SeqNumber,
        payload: &[u8],
    ) -> Vec<Seen> {
        self.read_all(host.receive(&[self.raw(flags, seq, ack, payload)]))
    }

    /// Takes what `seen` carries, which must continue what came before.
    #[track_caller]
    pub(super) fn take(&mut self, seen: &Seen) {
        assert_eq!(seen.seq, self.ack, "in order");
        self.ack += u32::try_from(seen.payload.len()).expect("one frame");
        self.ack += u32::from(seen.flags.fin) + u32::from(seen.flags.syn);
    }

    /// Sends a SYN, and returns the SYN-ACK.
    #[track_caller]
    pub(super) fn syn<S: Service>(&mut self, host: &mut Host<S>) -> Seen {
        let seen = only(self.tell(host, SYN, b""));
        assert_eq!((seen.flags, seen.ack), (SYN_ACK, self.seq));
        self.ack = seen.seq + 1;
        seen
    }

    /// A handshake with `host`, at whose end nothing is sent.
    #[track_caller]
    pub(super) fn open<S: Service>(&mut self, host: &mut Host<S>) {
        self.syn(host);
        assert_eq!(self.tell(host, ACK, b""), [], "the handshake's last segment gets no answer");
    }

    /// A connection to `target` that is open.
    #[track_caller]
    pub(super) fn opened<S: Service>(host: &mut Host<S>, target: &str) -> Peer {
        let mut peer = Peer::to(target, 40_000);
        peer.open(host);
        peer
    }

    /// The peer's end from the engine's point of view.
    pub(super) fn endpoint(&self) -> Endpoint {
        self.flow.local
    }

    /// Checks that `seen` is an ACK of all that the peer sent, and nothing else.
    #[track_caller]
    pub(super) fn assert_ack(&self, seen: &[Seen]) {
        let expected = (ACK, self.seq, self.ack, Vec::new());
        let got: Vec<_> = seen.iter().map(|s| (s.flags, s.ack, s.seq, s.payload.clone())).collect();
        assert_eq!(got, [expected], "one ACK");
    }
}
