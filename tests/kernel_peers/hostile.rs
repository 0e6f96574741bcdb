//! Frames that no honest peer sends: each is counted under its reason, gets no answer, and harms no
//! connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream};

use crate::client::{ECHO, assert_closes, assert_echo, connect, noise};
use crate::frames::{
    ACK, FIN, FORGER_MAC, Forger, IP, RST, SYN, Segment, TCP, TCP_IN_IPV6, fix_ip,
};
use crate::network::Network;
use crate::server::{Server, Status};

/// A server with an established connection of each family, and who sends the frames.
struct Attacked {
    server: Server,
    streams: Vec<TcpStream>,
    forger: Forger,
    before: Status,
}

impl Attacked {
    fn new(network: &Network) -> Attacked {
        let mut server = Server::start(network);
        let mac = server.mac().map(|octet| format!("{octet:02x}")).join(":");
        // So that the kernel asks for the server's hardware address neither now nor later.
        for address in ["10.77.0.1", "fd77::1"] {
            network.ip_client(&format!(
                "neigh replace {address} lladdr {mac} dev tm-client0 nud permanent"
            ));
        }
        let streams: Vec<TcpStream> = network.in_client(|| ECHO.map(connect).into());
        streams.iter().for_each(|stream| assert_echo(stream, &noise(1, 1000)));
        let forger = network.in_client(Forger::open);
        // Each of its addresses, twice.
        server.wait_until("the announcements", |status| {
            status.events.get("announcements") == Some(&4)
        });
        let before = server.settled();
        assert_eq!((before.connections, &before.dropped), (2, &BTreeMap::new()));
        Attacked { server, streams, forger, before }
    }

    /// A segment that is right, from an address that nobody has.
    fn segment(&self) -> Segment {
        Segment {
            to_mac: self.server.mac(),
            from: "10.77.5.5".parse().expect("an address"),
            to: "10.77.0.1".parse().expect("an address"),
            ports: (5555, 7),
            seq: 1,
            ack: 0,
            flags: SYN,
            payload: b"",
        }
    }

    /// Waits until so many frames are dropped for these reasons, holds that to be all that has
    /// happened, and that the connections are as they were.
    #[track_caller]
    fn assert_dropped(mut self, expected: &BTreeMap<String, u64>) {
        let total: u64 = expected.values().sum();
        self.server
            .wait_until("the frames", |status| status.dropped.values().sum::<u64>() >= total);
        let after = self.server.settled();
        assert_eq!(&after.dropped, expected);
        assert_eq!(after.tx, self.before.tx, "no answer");
        assert_eq!(after.rx, self.before.rx + total, "each is counted once");
        assert_eq!((after.connections, after.established), (2, 2));
        for stream in self.streams {
            assert_echo(&stream, &noise(2, 10_000));
            assert_closes(stream);
        }
        self.server.wait_until("no connection", |status| status.connections == 0);
        self.server.stop();
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The frame of `segment`, changed, with the IPv4 header's checksum set right again.
fn changed(segment: &Segment, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = segment.build();
    change(&mut frame);
    fix_ip(&mut frame);
    frame
}

/// IPv4 frames, with the reason for which each is dropped.
fn bad_ipv4(good: &Segment, established: (u16, u16)) -> Vec<(&'static str, Vec<u8>)> {
    let with = |change: &dyn Fn(&mut Segment)| {
        let mut segment = *good;
        change(&mut segment);
        segment.build()
    };
    let mut bad = vec![
        (
            "truncated",
            changed(good, |frame| {
                frame.truncate(TCP + 10);
                frame[IP + 3] = 30;
            }),
        ),
        (
            "truncated",
            changed(good, |frame| {
                frame.truncate(TCP);
                frame[IP + 3] = 20;
            }),
        ),
        // A header of 60 bytes in a packet of 40.
        ("truncated", changed(good, |frame| frame[IP] = 0x4f)),
        // Four words of header, where five are the least; and no IPv4 at all.
        ("header_length", changed(good, |frame| frame[IP] = 0x44)),
        ("header_length", changed(good, |frame| frame[IP] = 0x65)),
        ("length_mismatch", changed(good, |frame| frame[IP + 3] = 41)),
        ("length_mismatch", changed(good, |frame| frame[IP + 2] = 0xff)),
        ("length_mismatch", changed(good, |frame| frame[IP + 3] = 19)),
        ("length_mismatch", changed(good, |frame| frame.truncate(TCP + 10))),
        ("header_length", changed(good, |frame| frame[TCP + 12] = 4 << 4)),
        ("header_length", changed(good, |frame| frame[TCP + 12] = 0)),
        ("header_length", changed(good, |frame| frame[TCP + 12] = 15 << 4)),
        ("fragment", changed(good, |frame| frame[IP + 6] = 0x20)),
        ("fragment", changed(good, |frame| frame[IP + 7] = 1)),
        ("source_address", with(&|segment| segment.from = address("224.0.0.1"))),
        ("source_address", with(&|segment| segment.from = address("255.255.255.255"))),
        ("source_address", with(&|segment| segment.from = address("127.0.0.1"))),
        ("source_address", with(&|segment| segment.from = address("0.0.0.0"))),
        ("source_address", with(&|segment| segment.from = address("10.77.255.255"))),
        ("source_address", changed(good, |frame| frame[6] |= 1)),
        // The land attack: from itself, even from the port it listens on.
        (
            "own_source",
            with(&|segment| {
                segment.from = segment.to;
                segment.ports = (7, 7);
            }),
        ),
        ("flags", with(&|segment| segment.flags = SYN | FIN)),
        ("flags", with(&|segment| segment.flags = SYN | RST)),
        ("flags", with(&|segment| segment.flags = 0xff)),
        ("flags", with(&|segment| segment.ports.0 = 0)),
        ("flags", with(&|segment| segment.ports.1 = 0)),
        ("not_ours", with(&|segment| segment.to_mac = [2, 0, 0, 0, 0, 0x77])),
        ("not_ours", with(&|segment| segment.to_mac = [0xff; 6])),
        ("stray_reset", with(&|segment| segment.flags = RST)),
        ("stray_reset", with(&|segment| segment.flags = RST | ACK)),
    ];
    let mut frame = good.build();
    frame[IP + 10] ^= 1;
    bad.push(("ip_checksum", frame));
    // On the connection that is established, from its peer's address.
    let theirs = Segment { from: address("10.77.0.2"), ports: established, flags: ACK, ..*good };
    let data = Segment { payload: b"forged", ..theirs };
    bad.push(("tcp_checksum", changed(&data, |frame| frame[TCP + 20] ^= 1)));
    bad.push(("tcp_checksum", changed(&data, |frame| frame[TCP + 13] = FIN)));
    bad.push(("fragment", changed(&data, |frame| frame[IP + 6] = 0x20)));
    bad.push(("header_length", changed(&data, |frame| frame[TCP + 12] = 15 << 4)));
    bad
}

/// IPv6 frames, with the reason for which each is dropped.
fn bad_ipv6(good: &Segment, established: (u16, u16)) -> Vec<(&'static str, Vec<u8>)> {
    let good = Segment { from: address("fd77::5:5"), to: address("fd77::1"), ..*good };
    let with = |change: &dyn Fn(&mut Segment), edit: &dyn Fn(&mut Vec<u8>)| {
        let mut segment = good;
        change(&mut segment);
        let mut frame = segment.build();
        edit(&mut frame);
        frame
    };
    let as_is = |_: &mut Vec<u8>| {};
    let data = |segment: &mut Segment| {
        *segment = Segment {
            from: address("fd77::2"),
            ports: established,
            flags: ACK,
            payload: b"forged",
            ..*segment
        };
    };
    vec![
        ("length_mismatch", with(&|_| {}, &|frame| frame[IP + 5] = 21)),
        ("length_mismatch", with(&|_| {}, &|frame| frame.truncate(TCP_IN_IPV6 + 10))),
        ("truncated", with(&|_| {}, &|frame| frame[IP + 5] = 19)),
        ("header_length", with(&|_| {}, &|frame| frame[TCP_IN_IPV6 - 40] = 0x40)),
        ("header_length", with(&|_| {}, &|frame| frame[TCP_IN_IPV6 + 12] = 4 << 4)),
        ("header_length", with(&|_| {}, &|frame| frame[TCP_IN_IPV6 + 12] = 15 << 4)),
        ("tcp_checksum", with(&data, &|frame| frame[TCP_IN_IPV6 + 20] ^= 1)),
        ("source_address", with(&|segment| segment.from = address("ff02::1"), &as_is)),
        ("source_address", with(&|segment| segment.from = address("::"), &as_is)),
        ("source_address", with(&|segment| segment.from = address("::1"), &as_is)),
        ("source_address", with(&|segment| segment.from = address("::ffff:10.77.5.5"), &as_is)),
        ("own_source", with(&|segment| segment.from = segment.to, &as_is)),
        ("flags", with(&|segment| segment.flags = SYN | FIN, &as_is)),
        ("not_ours", with(&|segment| segment.to_mac = [2, 0, 0, 0, 0, 0x77], &as_is)),
        ("not_ours", with(&|segment| segment.to_mac = [0x33, 0x33, 0, 0, 0, 1], &as_is)),
    ]
}

#[test]
fn each_bad_frame_is_counted_under_its_reason_and_not_answered() {
    let test = "each_bad_frame_is_counted_under_its_reason_and_not_answered";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut attacked = Attacked::new(&network);
    let good = attacked.segment();
    let port = |number: usize| attacked.streams[number].local_addr().expect("bound").port();
    let mut bad = bad_ipv4(&good, (port(0), 7));
    bad.extend(bad_ipv6(&good, (port(1), 7)));
    // What the XDP program leaves to the kernel, which drops it: it is not counted here.
    let passed = [
        changed(&good, |frame| frame[IP + 9] = 17),
        good.build()[..TCP - 1].to_vec(),
        good.build()[..14].to_vec(),
    ];
    let mut expected = BTreeMap::new();
    for (reason, frame) in &bad {
        attacked.forger.send(frame);
        *expected.entry((*reason).to_owned()).or_insert(0) += 1;
    }
    passed.iter().for_each(|frame| attacked.forger.send(frame));
    attacked.assert_dropped(&expected);
}

#[test]
fn garbage_is_dropped() {
    let Some(network) = Network::make("garbage_is_dropped", &[]) else { return };
    let mut attacked = Attacked::new(&network);
    let good = attacked.segment();
    let header = good.build()[..TCP].to_vec();
    let mut expected = BTreeMap::new();
    for seed in 0..300 {
        // Noise behind the server's address; then noise behind an IPv4 header that is right.
        let noise = noise(seed, 20 + seed * 4);
        attacked.forger.send(&[&good.to_mac[..], &FORGER_MAC, &noise].concat());
        let mut frame = [&header[..], &noise].concat();
        let len = u16::try_from(20 + noise.len()).expect("short");
        frame[IP + 2..IP + 4].copy_from_slice(&len.to_be_bytes());
        fix_ip(&mut frame);
        attacked.forger.send(&frame);
        // The data offset is noise too, and comes first.
        let header_len = usize::from(noise[12] >> 4) * 4;
        let fits = (20..=noise.len()).contains(&header_len);
        let reason = if fits { "tcp_checksum" } else { "header_length" };
        *expected.entry(reason.to_owned()).or_insert(0) += 1;
    }
    attacked.assert_dropped(&expected);
}

#[test]
fn a_blind_reset_or_syn_does_not_end_a_connection() {
    let test = "a_blind_reset_or_syn_does_not_end_a_connection";
    let Some(network) = Network::make(test, &[]) else { return };
    let mut attacked = Attacked::new(&network);
    let good = attacked.segment();
    let port = attacked.streams[0].local_addr().expect("bound").port();
    let theirs = Segment { from: address("10.77.0.2"), ports: (port, 7), ..good };
    // The window is at most 64 KiB, so at most one of these numbers is in it, and none exactly
    // where it begins but for one chance in 4 billion.
    for round in 0..100_u32 {
        let seq = round.wrapping_mul(0x028f_5c29);
        attacked.forger.send(&Segment { seq, flags: RST, ..theirs }.build());
        attacked.forger.send(&Segment { seq, flags: RST | ACK, ..theirs }.build());
        attacked.forger.send(&Segment { seq, flags: SYN, ..theirs }.build());
        let data = Segment { seq, ack: seq, flags: ACK, payload: b"forged", ..theirs };
        attacked.forger.send(&data.build());
    }
    attacked.server.wait_until("the frames", |status| status.rx >= attacked.before.rx + 400);
    let status = attacked.server.settled();
    assert_eq!((status.connections, status.established), (2, 2), "{status:?}");
    for stream in attacked.streams {
        assert_echo(&stream, &noise(2, 10_000));
        assert_closes(stream);
    }
    attacked.server.stop();
}
