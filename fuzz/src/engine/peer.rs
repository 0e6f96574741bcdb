//! The hosts on the link: many whom the fuzzer speaks for, and the one whom it must not harm.

use super::super::frames::{ACK, SYN, Sent};
use tenmil::wire::addr::{Address, Endpoint, FlowKey};
use tenmil::wire::ethernet::Mac;
use tenmil::wire::packet::{Segment, SynOptions};
use tenmil::wire::seq::SeqNumber;

/// The addresses of the host under test.
pub(super) const LOCALS: [Address; 2] =
    [Address::v4([10, 77, 0, 1]), Address([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])];

/// The ports that it listens on: echo, discard, line, and the erratic service.
pub(super) const PORTS: [u16; 4] = [7, 9, 7000, 8000];

/// How many different connections the fuzzer speaks for: over both families, four to each service
/// and four from the host under test.
pub(super) const PEERS: usize = 2 * 4 * (PORTS.len() + 1);

/// One end of one connection: what it would send next, and what it has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) mac: Mac,
    /// From this end's point of view: local is the peer.
    pub(super) flow: FlowKey,
    pub(super) seq: SeqNumber,
    pub(super) ack: SeqNumber,
}

impl Peer {
    /// Peer `n` of [`PEERS`].
    pub(super) fn new(n: usize) -> Peer {
        let host = u8::try_from(n / 2 % 4).expect("below 4");
        let mut addr = LOCALS[n % 2];
        addr.0[15] = 2 + host;
        let low = u16::try_from(n).expect("few");
        let (local_port, remote_port) = match PORTS.get(n / 8) {
            Some(port) => (1_000 + low, *port),
            None => (80, 20_000 + low),
        };
        Peer {
            mac: [2, 0, 0, 0, 1, host],
            flow: FlowKey {
                remote: Endpoint { addr: LOCALS[n % 2], port: remote_port },
                local: Endpoint { addr, port: local_port },
            },
            seq: SeqNumber(0x0fff_ff00 + 0x1000_0000 * u32::from(host)),
            ack: SeqNumber(0),
        }
    }

    /// Believes what the host under test says about both directions.
    pub(super) fn learn(&mut self, segment: &Segment) {
        if segment.flags.rst {
            return;
        }
        if segment.flags.ack {
            self.seq = segment.ack;
        }
        self.ack = segment.seq + segment.len();
    }
}

/// A client of the echo service that behaves, and that the fuzzer does not speak for.
pub(super) struct Victim {
    peer: Peer,
    /// What it said, what of it was acknowledged, and what came back.
    said: Vec<u8>,
    acked: usize,
    heard: Vec<u8>,
    is_connected: bool,
}

impl Victim {
    pub(super) fn new() -> Victim {
        let addr = Address::v4([10, 77, 9, 9]);
        let peer = Peer {
            mac: [2, 0, 0, 0, 9, 9],
            flow: FlowKey {
                remote: Endpoint { addr: LOCALS[0], port: PORTS[0] },
                local: Endpoint { addr, port: 9_999 },
            },
            seq: SeqNumber(u32::MAX - 20),
            ack: SeqNumber(0),
        };
        Victim { peer, said: Vec::new(), acked: 0, heard: Vec::new(), is_connected: false }
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether all that it said has come back.
    pub(super) fn is_content(&self) -> bool {
        self.heard == self.said && self.acked == self.said.len()
    }

    /// How many bytes of what it said were not acknowledged.
    pub(super) fn outstanding(&self) -> u32 {
        u32::try_from(self.said.len() - self.acked).expect("little")
    }

    /// The connection request.
    pub(super) fn syn(&self) -> Vec<u8> {
        let options = SynOptions { mss: Some(1460), wscale: Some(7), sack_permitted: true };
        Sent { options, flags: SYN, ack: SeqNumber(0), ..self.sent(&[]) }.frame()
    }

    /// Says `bytes`, after what it said before.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    /// What was not acknowledged, as much as a segment holds, once more.
    pub(super) fn again(&self) -> Vec<u8> {
        let rest = &self.said[self.acked..];
        self.sent(&rest[..rest.len().min(1_200)]).frame()
    }

    /// Takes a segment from the host under test, and returns the answer if one is due.
    pub(super) fn take(&mut self, segment: &Segment, payload: &[u8]) -> Option<Vec<u8>> {
        let flags = segment.flags;
        assert!(!flags.rst && !flags.fin, "the victim's connection is ended: {segment:?}");
        assert!(flags.ack, "{segment:?}");
        if flags.syn {
            assert!(!self.is_connected, "the victim's connection is opened again");
            self.is_connected = true;
            (self.peer.seq, self.peer.ack) = (segment.ack, segment.seq + 1);
            return Some(self.sent(&[]).frame());
        }
        let acked = segment.ack.since(self.peer.seq) as usize;
        assert!(acked <= self.said.len() - self.acked, "what was never said is acknowledged");
        self.acked += acked;
        self.peer.seq = segment.ack;
        let had = self.peer.ack.since(segment.seq) as usize;
        assert!(had <= self.heard.len() + 1, "sequence numbers leap: {segment:?}");
        let news = payload.get(had..).unwrap_or_default();
        self.heard.extend_from_slice(news);
        assert!(self.said.starts_with(&self.heard), "the echo is what was said");
        self.peer.ack += u32::try_from(news.len()).expect("at most a segment");
        // Data is acknowledged, and so is a probe, which is below what is expected.
        (!payload.is_empty() || had > 0).then(|| self.sent(&[]).frame())
    }

    fn sent<'a>(&self, payload: &'a [u8]) -> Sent<'a> {
        let Peer { mac, flow, seq, ack } = self.peer;
        let options = SynOptions::default();
        Sent { from: mac, flow, seq, ack, flags: ACK, window: 0xffff, options, payload }
    }
}
