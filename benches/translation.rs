//! Whether huge pages are huge all the way down: in a virtual machine the host translates every address once
//! more, and may do so in pages of 4 KiB whatever pages the guest has.
//!
//! Each load waits for the one before. `near` are cache lines side by side, `far` as many of them, of which
//! each lies in 4 KiB of its own. Where the processor holds translations of huge pages, both cost the same
//! as long as their lines are in a cache. Where it does not, `far` costs the search of the second buffer
//! of translations from some hundred lines on, and a walk through the tables from some thousand on.

mod common;

use common::cycles::Cycles;
use common::world::Order;
use std::hint::black_box;
use tenmil::memory::array::Array;

/// As large as the records of ten million connections.
const BYTES: usize = 640_000_000;

/// What the processor moves at once.
const LINE: usize = 64;

/// Lines in a small page.
const PAGE: usize = 4_096 / LINE;

/// The index of the line that is next, and nothing else.
#[derive(Clone, Copy, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line {
    next: usize,
}

/// What a load of a chain of `lines` costs, as little as was found in five runs.
fn cycles(memory: &mut Array<Line>, lines: &[usize], clock: &Cycles) -> f64 {
    const LOADS: u32 = 1_000_000;
    for pair in lines.windows(2) {
        memory[pair[0]].next = pair[1];
    }
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    memory[last].next = first;
    let mut at = first;
    let mut run = || {
        let began = clock.now();
        for _ in 0..LOADS {
            at = memory[at].next;
        }
        let took = clock.now() - began;
        black_box(at);
        took as f64 / f64::from(LOADS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let clock = Cycles::calibrated();
    let mut memory = Array::<Line>::zeroed(BYTES / LINE).expect("address space");
    for line in memory.iter_mut().step_by(PAGE) {
        // Every page is there before anything is measured.
        line.next = 1;
    }
    println!("{}; cycles for a load that waits for the one before", memory.kind());
    println!("{:>8} {:>10} {:>8} {:>8}", "lines", "KB", "near", "far");
    for count in [64, 256, 1_024, 4_096, 16_384, 131_072] {
        let mut order = Order::of(count);
        let shuffled: Vec<usize> = (0..count).map(|_| order.next()).collect();
        let near = cycles(&mut memory, &shuffled, &clock);
        // Which line of its page is by chance: the same one of each would share few sets of a cache.
        let mut which = Order::of(1 << 20);
        let spread: Vec<usize> =
            shuffled.iter().map(|page| page * PAGE + which.next() % PAGE).collect();
        let far = cycles(&mut memory, &spread, &clock);
        println!("{count:>8} {:>10} {near:>8.1} {far:>8.1}", count * LINE / 1_000);
    }
}
