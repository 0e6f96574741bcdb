//! What bytes cost: no connection is looked up, nothing is decided.
//!
//! - `parse`: one frame, from bytes to a segment, checksums verified; with a heartbeat, and full
//! - `emit`: the same frames written, checksums computed
//! - `flow_hash`: the keyed hash by which a connection is found
//!
//! What a full frame takes longer in `parse` is the checksum of its payload; in `emit` that and the copy.

mod common;

use common::cycles::Cycles;
use common::world::{ACK, CLIENT_MAC, Client, SERVER, SERVER_MAC, World, write};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tenmil::service::line::PING;
use tenmil::wire::addr::{FlowHasher, FlowKey, Secret};
use tenmil::wire::emit::{Outgoing, emit};
use tenmil::wire::ethernet::{self, EthernetHeader};
use tenmil::wire::packet::{self, SynOptions};

const FRAME: usize = 1514;

/// A heartbeat, and what fills a segment.
const PAYLOADS: [&[u8]; 2] = [PING, &[7; 1460]];

fn parse(criterion: &mut Criterion<Cycles>) {
    let mut group = criterion.benchmark_group("parse");
    for payload in PAYLOADS {
        let mut frame = [0; FRAME];
        let len = write(&mut frame, World::endpoint(7), Client::default(), ACK, payload);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(payload.len()), |bencher| {
            bencher.iter(|| packet::parse(black_box(&frame[..len]), SERVER_MAC));
        });
    }
    group.finish();
}

fn emit_segment(criterion: &mut Criterion<Cycles>) {
    let mut group = criterion.benchmark_group("emit");
    let Client { seq, ack } = Client::default();
    let ethernet = EthernetHeader::new(SERVER_MAC, CLIENT_MAC, ethernet::IPV4);
    for payload in PAYLOADS {
        let segment = Outgoing {
            ethernet: &ethernet,
            flow: FlowKey { remote: SERVER, local: World::endpoint(7) },
            seq,
            ack,
            flags: ACK,
            window: 65_535,
            options: SynOptions::default(),
            payload,
        };
        let mut frame = [0; FRAME];
        let len = emit(&mut frame, &segment).expect("room for a frame");
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(payload.len()), |bencher| {
            bencher.iter(|| emit(black_box(&mut frame), black_box(&segment)));
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
    targets = parse, emit_segment, flow_hash
}
criterion_main!(benches);
