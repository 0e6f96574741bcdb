//! An end of the test network, taken into use by a benchmark.

#[path = "../../tests/kernel_peers/network.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
pub(crate) mod network;

use std::net::{IpAddr, Ipv4Addr};
use tenmil::link::af_xdp::AfXdpLink;
use tenmil::link::af_xdp::attachment::{self, Attachment, Request};
use tenmil::link::af_xdp::program::XdpMode;
use tenmil::wire::ethernet::Mac;

/// The address of every server here.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// One end: its link, its hardware address, and the program, attached until it is dropped.
pub(crate) struct End {
    pub(crate) link: AfXdpLink,
    pub(crate) mac: Mac,
    pub(crate) attachment: Attachment,
}

/// Takes `interface` of this thread's namespace into use, and these prefixes whole.
pub(crate) fn take(interface: &str, owned: &[(IpAddr, u8)]) -> End {
    let request = Request {
        interface: interface.into(),
        queues: None,
        mode: XdpMode::Native,
        owned: owned.to_vec(),
        listeners: Vec::new(),
    };
    let (attachment, mut links) = attachment::attach(&request).expect("attached");
    End { link: links.remove(0), mac: attachment.interface().mac, attachment }
}
