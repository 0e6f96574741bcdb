//! The XDP program: its verdict on every kind of frame, run in the kernel by BPF_PROG_TEST_RUN, and
//! how it is attached to a veth.
//!
//! No socket is set, so a frame that is taken is dropped, which tells it from one that passes.
//! These tests need root; without it they say SKIPPED, or fail if TENMIL_REQUIRE_PRIVILEGED=1.

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod attach;
mod frames;
mod malformed;
mod verdicts;

use tenmil::link::af_xdp::program::{AttachError, SteerProgram, Verdict, XdpAction};

use common::skip;

/// The program, loaded and with nothing owned, or `None` where the test has to be skipped.
fn load(test: &str) -> Option<SteerProgram> {
    match SteerProgram::load_detached() {
        Ok(program) => Some(program),
        Err(error @ (AttachError::NotPermitted { .. } | AttachError::Unsupported { .. })) => {
            skip(test, &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Runs the program on a frame and holds it to a verdict: action, counter, and no other counter.
#[track_caller]
fn expect(program: &SteerProgram, verdict: Verdict, frame: &[u8], what: &str) {
    let taken = verdict <= Verdict::TakenFragment;
    let before = program.counters().expect("counters");
    let action = program.test_run(frame).expect("the kernel runs the program");
    let after = program.counters().expect("counters");

    let moved: Vec<Verdict> =
        Verdict::ALL.into_iter().filter(|&v| after.get(v) != before.get(v)).collect();
    let mut expected = vec![verdict];
    expected.extend(taken.then_some(Verdict::DroppedNoSocket));
    assert_eq!(moved, expected, "{what}");
    for verdict in moved {
        assert_eq!(after.get(verdict), before.get(verdict) + 1, "{what}");
    }
    assert_eq!(action, if taken { XdpAction::Drop } else { XdpAction::Pass }, "{what}");
}

#[test]
fn verdicts_have_the_names_and_the_order_of_the_c_source() {
    let source = include_str!("../../xdp/steer.bpf.c");
    let body = source.split("enum verdict {").nth(1).and_then(|rest| rest.split('}').next());
    let names: Vec<String> = body
        .expect("the enum is there")
        .lines()
        .filter(|line| !line.contains('='))
        .filter_map(|line| line.trim().strip_suffix(','))
        .map(str::to_lowercase)
        .collect();
    let mut mirrored: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    mirrored.push("verdicts");
    assert_eq!(names, mirrored);
}
