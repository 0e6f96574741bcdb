//! Attaching, on veth pairs in network namespaces of their own.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tenmil::link::af_xdp::program::{AttachError, AttachedMode, SteerProgram, XdpMode};

use crate::common::skip;
use crate::load;

/// A network namespace, deleted on drop, with the test's thread in it.
struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace with a veth pair `a0` and `b0`, and moves this thread into it; `None`
    /// where the test has to be skipped.
    fn enter(test: &str, a_queues: u32, b_queues: u32) -> Option<Namespace> {
        load(test)?;
        let namespace = Namespace { name: format!("tenmil-xdp-{}-{test}", std::process::id()) };
        if let Err(reason) = namespace.make(a_queues, b_queues) {
            skip(test, &reason);
            return None;
        }
        let file = File::open(format!("/run/netns/{}", namespace.name)).expect("the namespace");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("setns of this thread");
        Some(namespace)
    }

    fn make(&self, a_queues: u32, b_queues: u32) -> Result<(), String> {
        ip(&format!("netns add {}", self.name))?;
        // Both numbers have to be given, or the device starts with one active tx queue.
        let a = format!("numrxqueues {a_queues} numtxqueues {a_queues}");
        let b = format!("numrxqueues {b_queues} numtxqueues {b_queues}");
        ip(&format!("-n {} link add a0 {a} type veth peer name b0 {b}", self.name))?;
        ip(&format!("-n {} link set a0 up", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The test has failed for another reason if it has, and there is nobody to tell.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// Runs ip(8).
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| format!("ip: {error}; apt-get install iproute2"))?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {message}")) }
}

/// What `ip link` says of an interface.
fn link(interface: &str) -> String {
    let output = Command::new("ip").args(["link", "show", interface]).output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_one_line(error: &AttachError, start: &str, remedy: &str) {
    let line = error.to_string();
    assert!(line.starts_with(start) && line.contains(remedy) && !line.contains('\n'), "{line}");
}

#[test]
fn attaches_natively_and_is_gone_when_dropped() {
    let Some(_namespace) = Namespace::enter("native", 2, 2) else {
        return;
    };
    let mut program = SteerProgram::load("a0").expect("load");
    assert!(!link("a0").contains("xdp"), "loading attaches nothing");
    assert_eq!(program.mode(), None);

    assert_eq!(program.attach(XdpMode::Auto).expect("attach"), AttachedMode::Native);
    assert_eq!(program.mode(), Some(AttachedMode::Native));
    assert_eq!(program.fallback_reason(), None);
    assert!(link("a0").contains("prog/xdp"), "{}", link("a0"));

    let again = program.attach(XdpMode::Auto).unwrap_err();
    assert!(matches!(again, AttachError::Occupied { .. }), "{again}");
    drop(program);
    assert!(!link("a0").contains("xdp"), "{}", link("a0"));
}

#[test]
fn attaches_in_generic_mode_where_asked() {
    let Some(_namespace) = Namespace::enter("generic", 1, 1) else {
        return;
    };
    let mut program = SteerProgram::load("a0").expect("load");
    assert_eq!(program.attach(XdpMode::Skb).expect("attach").to_string(), "skb");
    assert!(link("a0").contains("xdpgeneric"), "{}", link("a0"));
}

#[test]
fn falls_back_to_generic_mode_and_says_why() {
    let Some(_namespace) = Namespace::enter("fallback", 1, 4) else {
        return;
    };
    let mut program = SteerProgram::load("a0").expect("load");
    let refused = program.attach(XdpMode::Native).unwrap_err();
    assert_one_line(&refused, "a0: native XDP refused (ENOSPC)", "create the pair with equal");
    assert!(!link("a0").contains("xdp"), "{}", link("a0"));

    assert_eq!(program.attach(XdpMode::Auto).expect("attach"), AttachedMode::Skb);
    let reason = program.fallback_reason().expect("a reason");
    assert!(reason.contains("ENOSPC") && !reason.contains('\n'), "{reason}");
}

#[test]
fn a_large_mtu_is_named_as_the_reason() {
    let Some(_namespace) = Namespace::enter("mtu", 1, 1) else {
        return;
    };
    ip("link set b0 mtu 9000").expect("ip");
    ip("link set a0 mtu 9000").expect("ip");
    let mut program = SteerProgram::load("a0").expect("load");
    let refused = program.attach(XdpMode::Native).unwrap_err();
    assert_one_line(&refused, "a0: native XDP refused (ERANGE)", "3506");
}

#[test]
fn leaves_another_program_alone() {
    let Some(_namespace) = Namespace::enter("occupied", 1, 1) else {
        return;
    };
    for owner_mode in [XdpMode::Native, XdpMode::Skb] {
        let mut owner = SteerProgram::load("a0").expect("load");
        owner.attach(owner_mode).expect("attach");
        for mode in [XdpMode::Auto, XdpMode::Native, XdpMode::Skb] {
            let refused = SteerProgram::load("a0").expect("load").attach(mode).unwrap_err();
            assert!(matches!(refused, AttachError::Occupied { .. }), "{refused:?}");
            assert_one_line(&refused, "a0: another XDP program", "ip link set dev a0 xdp off");
        }
        assert!(link("a0").contains("prog/xdp"), "the owner's is still there");
    }
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    for name in ["nosuchif0", "", "a name that is far too long for an interface"] {
        let error = SteerProgram::load(name).unwrap_err();
        assert!(matches!(error, AttachError::NoSuchInterface { .. }), "{error:?}");
        assert_one_line(&error, &format!("{name}: no such network interface"), "ip link");
    }
}

#[test]
fn an_interface_that_went_away_is_named() {
    let Some(_namespace) = Namespace::enter("gone", 1, 1) else {
        return;
    };
    let mut program = SteerProgram::load("a0").expect("load");
    ip("link del a0").expect("ip");
    let error = program.attach(XdpMode::Auto).unwrap_err();
    assert!(matches!(error, AttachError::NoSuchInterface { .. }), "{error:?}");
}

#[test]
fn a_lack_of_privilege_is_named() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    if load("privilege").is_none() {
        return;
    }
    // Capabilities belong to the thread, and so to this test alone.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).expect("giving up is always allowed");
    let error = SteerProgram::load("lo").unwrap_err();
    assert!(matches!(error, AttachError::NotPermitted { .. }), "{error:?}");
    assert_one_line(&error, "lo: ", "run as root or with CAP_NET_ADMIN");
}
