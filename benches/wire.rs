//! What bytes cost: no connection is looked up, nothing is decided.
//!
//! - `parse`: one frame with a heartbeat, from bytes to a segment, checksums verified
//! - `emit`: the same frame written, checksums computed
//! - `checksum`: that of a whole segment and of a heartbeat alone, as the other two have it
//! - `flow_hash`: the keyed hash by which a connection is found

mod common;

use common::cycles::Cycles;
use common::world::{ACK, CLIENT_MAC, Client, SERVER, SERVER_MAC, World, write};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smoltcp::wire::{IpAddress, Ipv4Address, TcpPacket};
use std::hint::black_box;
use tenmil::service::line::PING;
use tenmil::wire::addr::{FlowHasher, FlowKey, Secret};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader};
use tenmil::wire::packet::{self, SynOptions};

const FRAME: usize = 1514;

fn parse(criterion: &mut Criterion<Cycles>) {
    let mut frame = [0; FRAME];
    let len = write(&mut frame, World::endpoint(7), Client::default(), ACK, PING);
    criterion.bench_function("parse", |bencher| {
        bencher.iter(|| packet::parse(black_box(&frame[..len]), SERVER_MAC));
    });
}

fn emit_segment(criterion: &mut Criterion<Cycles>) {
    let mut frame = [0; FRAME];
    let Client { seq, ack } = Client::default();
    let ethernet = EthernetHeader::new(SERVER_MAC, CLIENT_MAC, ethernet::IPV4);
    let segment = Outgoing {
        ethernet: &ethernet,
        flow: FlowKey { remote: SERVER, local: World::endpoint(7) },
        seq,
        ack,
        flags: ACK,
        window: 65_535,
        options: SynOptions::default(),
        payload: PING,
    };
    criterion.bench_function("emit", |bencher| {
        bencher.iter(|| emit(black_box(&mut frame), black_box(&segment)));
    });
}

fn checksum(criterion: &mut Criterion<Cycles>) {
    const TCP: usize = 14 + 20;
    let mut group = criterion.benchmark_group("checksum");
    for payload in [PING, &[7; 1460]] {
        let mut frame = [0; FRAME];
        let len = write(&mut frame, World::endpoint(7), Client::default(), ACK, payload);
        let [source, target] = [World::endpoint(7), SERVER]
            .map(|endpoint| IpAddress::Ipv4(Ipv4Address::from(endpoint.addr.v4_octets())));
        let segment = TcpPacket::new_unchecked(&frame[TCP..len]);
        group.throughput(Throughput::Bytes((len - TCP) as u64));
        group.bench_function(BenchmarkId::from_parameter(payload.len()), |bencher| {
            bencher.iter(|| assert!(black_box(&segment).verify_checksum(&source, &target)));
        });
    }
    group.finish();
}

fn flow_hash(criterion: &mut Criterion<Cycles>) {
    let hasher = FlowHasher::new(Secret([1; 16]));
    let flow = FlowKey { remote: World::endpoint(7), local: SERVER };
    criterion.bench_function("flow_hash", |bencher| {
        bencher.iter(|| hasher.hash(black_box(&flow)));
    });
}

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = parse, emit_segment, checksum, flow_hash
}
criterion_main!(benches);
