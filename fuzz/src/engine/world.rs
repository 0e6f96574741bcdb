//! The engine under test at one end of a link, and everybody else at the other.

use super::super::allocations::allocations;
use super::super::frames::{MAC, Sent};
use super::peer::{LOCALS, PEERS, PORTS, Peer, Victim};
use super::pushes::Pushes;
use super::service::{CONNECTIONS_MAX, Checked, ERRATIC};
use tenmil::conn::outbox;
use tenmil::conn::prefix::PrefixLimit;
use tenmil::conn::slab::ConnId;
use tenmil::engine::config::Config;
use tenmil::engine::locals::{Listener, Owned};
use tenmil::engine::{BATCH_MAX, Engine};
use tenmil::frame::{Frame, FramePool};
use tenmil::link::Link;
use tenmil::link::memory::{MemoryLink, pair};
use tenmil::tcp::keepalive::Profile;
use tenmil::tcp::promoted::pool::BUFFER_MIN;
use tenmil::time::{Duration, Instant};
use tenmil::wire::addr::{Endpoint, FlowKey, Secret};
use tenmil::wire::ethernet::EthernetHeader;
use tenmil::wire::packet::{Packet, Segment, SynOptions, parse};
use tenmil::wire::seq::SeqNumber;

/// Frames of the engine's link: few, so that they run out.
const FRAMES: usize = 16;
const FRAME_LEN: usize = 2048;

/// What a promoted connection holds for each direction, in bytes: the least that it can.
const BUFFER: u16 = BUFFER_MIN;

/// What differs from input to input.
pub(super) struct Limits {
    pub(super) half_open_max: u32,
    pub(super) flights_max: u32,
    /// Connections of each address.
    pub(super) prefix_max: Option<u32>,
    pub(super) promoted_max: u32,
    pub(super) promote_always: bool,
    pub(super) park_after: Duration,
    pub(super) mtu: u16,
    /// Of the listeners that the fuzzer's peers connect to.
    pub(super) profile: Option<Profile>,
    /// Connection requests accepted a second.
    pub(super) accept_rate: Option<u32>,
    pub(super) has_small_outbox: bool,
    pub(super) start: Instant,
}

pub(super) struct World {
    pub(super) engine: Engine<Checked>,
    near: MemoryLink,
    far: MemoryLink,
    rx: Vec<Frame>,
    tx: Vec<Frame>,
    pub(super) now: Instant,
    pub(super) victim: Victim,
    pub(super) pushes: Pushes,
    pub(super) peers: [Peer; PEERS],
    mtu: u16,
}

impl World {
    /// A host with the victim's connection, and an idle network.
    pub(super) fn new(limits: &Limits) -> World {
        let (near, far) = pair(FRAMES, FRAME_LEN, FRAMES);
        let mut world = World {
            engine: Engine::new(config(limits), Checked::default(), limits.start),
            near,
            far,
            rx: Vec::with_capacity(BATCH_MAX),
            tx: Vec::with_capacity(FRAMES),
            now: limits.start,
            victim: Victim::new(),
            pushes: Pushes::default(),
            peers: core::array::from_fn(Peer::new),
            mtu: limits.mtu,
        };
        world.inject(&world.victim.syn());
        world.settle();
        assert!(world.victim.is_connected(), "the victim's handshake");
        let id = world.engine.connection_from(&mut 0);
        assert_eq!(world.engine.counters().established, 1);
        world.engine.service_mut().victim = id;
        world
    }

    /// Puts a frame onto the engine's wire. What does not fit is cut off.
    pub(super) fn inject(&mut self, bytes: &[u8]) {
        let mut frame = self.far.take().expect("the network takes back what it received");
        let room = self.far.room(&mut frame);
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        frame.set_len(len);
        let mut batch = vec![frame];
        self.far.transmit(&mut batch).expect("memory does not fail");
        self.far.flush().expect("memory does not fail");
    }

    /// Whether a frame of the fuzzer's would do what only the victim itself may: speak on its
    /// connection with the right numbers. Whoever knows them can close any TCP connection.
    pub(super) fn is_the_victims(&self, bytes: &[u8]) -> bool {
        let Peer { flow, seq, ack, .. } = *self.victim.peer();
        let flow = FlowKey { remote: flow.local, local: flow.remote };
        match parse(bytes, MAC) {
            Ok(Packet::Tcp(segment)) if segment.flow == flow => {
                // RCV.NXT may be past what the victim knows to be acknowledged.
                let may_be_next = segment.seq.within(seq, self.victim.outstanding() + 1);
                !(segment.flags.syn || (segment.flags.rst && !may_be_next))
            }
            // More is never in flight.
            Ok(Packet::IcmpError(error)) if error.flow == flow => {
                error.seq.within(ack - u32::from(BUFFER), 2 * u32::from(BUFFER))
            }
            _ => false,
        }
    }

    /// One turn of a run loop; `sends` is whether the link takes what is to be sent. Returns whether
    /// anything moved.
    pub(super) fn round(&mut self, sends: bool) -> bool {
        let received = self.near.receive(&mut self.rx, BATCH_MAX).expect("memory does not fail");
        let World { engine, near, rx, tx, now, .. } = self;
        let counted = allocations(|| {
            engine.handle_frames(*now, near, rx, tx);
            engine.handle_timers(*now, near, tx);
        });
        assert_eq!(counted, 0, "the frame path allocates nothing");
        assert!(self.rx.is_empty(), "all were taken");
        self.check();
        let queued = self.tx.len();
        if sends {
            self.near.transmit(&mut self.tx).expect("memory does not fail");
            self.near.flush().expect("memory does not fail");
            self.listen();
        }
        received > 0 || (sends && queued > 0)
    }

    /// A command to the engine, with its pool and its queue.
    pub(super) fn command<R>(
        &mut self,
        command: impl FnOnce(&mut Engine<Checked>, Instant, &mut MemoryLink, &mut Vec<Frame>) -> R,
    ) -> R {
        let World { engine, near, tx, now, .. } = self;
        let mut result = None;
        let counted = allocations(|| result = Some(command(engine, *now, near, tx)));
        assert_eq!(counted, 0, "commands allocate nothing");
        self.check();
        result.expect("it was run")
    }

    /// Rounds until nothing moves.
    pub(super) fn settle(&mut self) {
        for _ in 0..1_000 {
            if !self.round(true) {
                return;
            }
        }
        panic!("it goes on for ever: {:?}", self.engine.counters());
    }

    /// Lets time pass until the next timer, or for `most`; returns false if that was the end of it.
    pub(super) fn pass(&mut self, most: Duration) -> bool {
        let end = self.now + most;
        let due = self.engine.next_timer(self.now).filter(|due| *due < end);
        self.now = due.unwrap_or(end).max(self.now);
        due.is_some()
    }

    /// The connection in slot `n` or after it, or the first; never the victim's.
    pub(super) fn connection(&self, n: u8) -> Option<ConnId> {
        let victim = self.engine.service().victim;
        [u32::from(n) % CONNECTIONS_MAX, 0].into_iter().find_map(|mut cursor| {
            core::iter::from_fn(|| self.engine.connection_from(&mut cursor))
                .find(|id| Some(*id) != victim)
        })
    }

    /// What holds between any two calls.
    fn check(&self) {
        let census = self.near.census();
        assert_eq!(census.total(), FRAMES, "frames are conserved");
        assert_eq!(census.engine, self.tx.len(), "between calls the engine owns no frame");
        assert_eq!(self.near.stats().invalid_descriptors, 0);
        let counters = self.engine.counters();
        let open = self.engine.service().open_count;
        assert!(counters.established <= open && open <= counters.connections, "{counters:?}");
        assert!(counters.half_open <= counters.connections);
        assert!(counters.connections <= u64::from(CONNECTIONS_MAX));
        assert!(self.engine.service().victim.is_none() || counters.established >= 1);
        let [pushes, broadcasts] = self.pushes.open();
        assert!(pushes <= u64::from(OUTBOX.deliveries_max), "{pushes} deliveries");
        assert!(broadcasts <= u64::from(OUTBOX.broadcasts_max), "{broadcasts} broadcasts");
    }

    /// The other hosts receive what was sent. All of it must be well formed.
    fn listen(&mut self) {
        let mut received = Vec::new();
        while self.far.receive(&mut received, FRAMES).expect("memory does not fail") > 0 {
            for frame in received.drain(..) {
                let bytes = self.far.bytes(&frame).to_vec();
                self.far.give(frame);
                if let Some(answer) = self.hear(&bytes) {
                    self.inject(&answer);
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let header = EthernetHeader::parse(bytes).expect("a header");
        assert_eq!(header.src(), MAC);
        let packet = parse(bytes, header.dst());
        let Ok(Packet::Tcp(segment)) = packet else {
            assert!(packet.is_ok(), "{packet:?} was sent");
            return None;
        };
        let Segment { flow, payload, .. } = &segment;
        assert!(LOCALS.contains(&flow.remote.addr), "{flow:?} speaks for another");
        let ip_len = usize::from(payload.end) - header.len();
        assert!(ip_len <= usize::from(self.mtu), "{ip_len} bytes in a packet");
        assert_eq!(usize::from(payload.end), bytes.len(), "nothing behind the packet");
        let payload = &bytes[usize::from(payload.start)..usize::from(payload.end)];
        if flow.local == self.victim.peer().flow.local {
            let expected = EthernetHeader::new(self.victim.peer().mac, MAC, header.ethertype());
            assert_eq!(header, expected, "the victim's way was changed");
            return self.victim.take(&segment, payload);
        }
        let theirs = FlowKey { remote: flow.remote, local: flow.local };
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.flow == theirs) {
            peer.learn(&segment);
        }
        None
    }
}

/// What is to be pushed, at most; and less than that.
const OUTBOX: outbox::Limits = outbox::Limits {
    deliveries_max: 80,
    payload_bytes_max: 1 << 16,
    broadcasts_max: 4,
    underway_max: 2_048,
    wait: Duration::from_secs(10),
};
const SMALL_OUTBOX: outbox::Limits = outbox::Limits {
    deliveries_max: 5,
    payload_bytes_max: 1 << 13,
    broadcasts_max: 2,
    underway_max: 1,
    ..OUTBOX
};

fn config(limits: &Limits) -> Config {
    let owned = LOCALS.map(|addr| match addr.is_v4() {
        true => Owned { addr, range_len: 32, link_len: 16 },
        false => Owned { addr, range_len: 128, link_len: 64 },
    });
    let listener = |addr, tag| {
        let port = PORTS[usize::from(tag)];
        let endpoint = Endpoint { addr, port };
        // The victim's has none: it is probed by nobody, and lives by itself.
        let profile = if tag == 0 { None } else { limits.profile };
        Listener { endpoint, tag, profile }
    };
    let listeners =
        LOCALS.iter().flat_map(|&addr| (0..=ERRATIC).map(move |tag| listener(addr, tag)));
    Config {
        mtu: limits.mtu,
        owned: owned.to_vec(),
        listeners: listeners.collect(),
        connections_max: CONNECTIONS_MAX,
        half_open_max: limits.half_open_max,
        flights_max: limits.flights_max,
        promoted_max: limits.promoted_max,
        promoted_buffer: BUFFER,
        promote_always: limits.promote_always,
        park_after: limits.park_after,
        prefix_limit: limits.prefix_max.map(PrefixLimit::new),
        accept_rate: limits.accept_rate,
        outbox: if limits.has_small_outbox { SMALL_OUTBOX } else { OUTBOX },
        resets_per_second: 8,
        challenges_per_second: 8,
        pings_per_second: 8,
        ..Config::new(MAC, Secret([1; 16]), Secret([2; 16]))
    }
}

/// An empty segment of `peer` with the right numbers.
pub(super) fn sent_by<'a>(peer: &Peer, payload: &'a [u8]) -> Sent<'a> {
    Sent {
        from: peer.mac,
        flow: peer.flow,
        seq: peer.seq,
        ack: peer.ack,
        flags: 0,
        window: 0,
        options: SynOptions::default(),
        payload,
    }
}

/// `seq`, `by` bytes later or earlier.
pub(super) fn shifted(seq: SeqNumber, by: u16) -> SeqNumber {
    SeqNumber(seq.0.wrapping_add_signed(i32::from(by.cast_signed())))
}
