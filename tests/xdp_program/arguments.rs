//! What the program may be asked to take, and how much of it.

use std::net::{IpAddr, Ipv4Addr};

use tenmil::link::af_xdp::program::{SteerError, SteerProgram};

use crate::load;
use crate::verdicts::PORT;

#[test]
fn what_cannot_be_meant_is_refused() {
    let Some(mut program) = load("refused_arguments") else {
        return;
    };
    let own = |program: &mut SteerProgram, prefix: &str, len| {
        program.own(prefix.parse::<IpAddr>().expect("an address"), len)
    };
    for (prefix, len) in [("10.0.0.0", 33), ("fd77::", 129), ("::", 255)] {
        let refused = own(&mut program, prefix, len);
        assert!(matches!(refused, Err(SteerError::PrefixTooLong { .. })), "{prefix}/{len}");
    }
    for (prefix, len) in
        [("0.0.0.0", 0), ("10.0.0.0", 0), ("::", 0), ("fd77::", 0), ("::", 80), ("::ffff:0:0", 96)]
    {
        let refused = own(&mut program, prefix, len);
        assert!(matches!(refused, Err(SteerError::PrefixTooWide { .. })), "{prefix}/{len}");
    }
    for (prefix, len) in [("128.0.0.0", 1), ("fd77::", 8), ("::", 96), ("::1:0:0", 96)] {
        own(&mut program, prefix, len).unwrap_or_else(|error| panic!("{error}"));
    }
    for wildcard in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        let refused = program.listen(wildcard.parse().expect("an address"), PORT);
        assert!(matches!(refused, Err(SteerError::Unspecified { .. })), "{wildcard}");
    }
    let no_socket = std::fs::File::open("/dev/null").expect("the file");
    let refused = program.set_socket(256, &no_socket).unwrap_err().to_string();
    assert_eq!(refused, "queue 256: the XDP program serves queues 0 to 255; use fewer queues");
    let refused = program.set_socket(0, &no_socket).unwrap_err();
    assert!(matches!(refused, SteerError::Refused { on: "xsks", .. }), "{refused}");
    assert!(!refused.to_string().contains('\n'), "{refused}");
}

#[test]
fn a_full_map_says_so() {
    let Some(mut program) = load("full_map") else {
        return;
    };
    let address = |i: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + i));
    let full = (0..10_000).find_map(|i| program.own(address(i), 32).err().map(|error| (i, error)));
    assert!(matches!(full, Some((1024, SteerError::Full { map: "owned" }))), "{full:?}");
    let full = (1..10_000).find_map(|i| program.listen(address(i), PORT).err());
    assert!(matches!(full, Some(SteerError::Full { map: "listeners" })), "{full:?}");
}
