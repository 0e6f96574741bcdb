//! smoltcp's view of the link: one packet in, or any number of packets out into frames.
//!
//! Packets start at the IP header. Checksums of received packets were verified when they were parsed;
//! those of sent packets are computed here, once their numbers are final.

use super::numbers::{self, Numbers};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Where a promoted connection sends its packets.
pub trait Transmit {
    /// Whether there is room for a packet.
    fn is_ready(&mut self) -> bool;

    /// Room for a packet of `len` bytes; `None` loses it.
    fn room(&mut self, len: usize) -> Option<&mut [u8]>;

    /// Sends what was written into the first `len` bytes of the room.
    fn send(&mut self, len: usize);
}

/// Sends nothing: for packets that were sent before, or are nobody's business.
pub(super) struct Discard;

impl Transmit for Discard {
    fn is_ready(&mut self) -> bool {
        true
    }

    fn room(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }

    fn send(&mut self, _: usize) {}
}

/// What every device here is to smoltcp: IP packets of at most `mtu` bytes.
pub(super) fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut checksum = ChecksumCapabilities::ignored();
    checksum.ipv4 = Checksum::Tx;
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    capabilities.checksum = checksum;
    capabilities
}

/// The way in: gives one packet to smoltcp, and takes the answer to it, if there is one.
pub(super) struct Ingress<'a> {
    pub(super) mtu: usize,
    pub(super) packet: Option<&'a [u8]>,
    pub(super) answer: Answer<'a>,
}

/// The answer to a received packet.
pub(super) struct Answer<'a> {
    pub(super) room: &'a mut [u8],
    pub(super) len: usize,
    pub(super) numbers: &'a mut Numbers,
}

impl Device for Ingress<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = AnswerToken<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, AnswerToken<'_>)> {
        let packet = self.packet.take()?;
        let Answer { room, len, numbers } = &mut self.answer;
        Some((Received(packet), AnswerToken { room, len, numbers }))
    }

    fn transmit(&mut self, _: Instant) -> Option<AnswerToken<'_>> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

pub(super) struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

pub(super) struct AnswerToken<'a> {
    room: &'a mut [u8],
    len: &'a mut usize,
    numbers: &'a mut Numbers,
}

impl phy::TxToken for AnswerToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let packet = &mut self.room[..len];
        let result = write(packet);
        *self.len = self.numbers.on_sent(packet);
        numbers::fill_checksum(&mut packet[..*self.len]);
        result
    }
}

/// The way out: as many packets as there is room for.
pub(super) struct Egress<'a, T> {
    pub(super) mtu: usize,
    pub(super) transmit: &'a mut T,
    /// Where packets are written that get no room.
    pub(super) scratch: &'a mut [u8],
    pub(super) numbers: &'a mut Numbers,
}

impl<T: Transmit> Device for Egress<'_, T> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outlet<'t, T>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Outlet<'_, T>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Outlet<'_, T>> {
        let Egress { transmit, scratch, numbers, .. } = self;
        transmit.is_ready().then_some(Outlet { transmit, scratch, numbers })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

pub(super) struct Outlet<'a, T> {
    transmit: &'a mut T,
    scratch: &'a mut [u8],
    numbers: &'a mut Numbers,
}

impl<T: Transmit> phy::TxToken for Outlet<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let room = self.transmit.room(len);
        let is_lost = room.is_none();
        let packet = room.unwrap_or(&mut self.scratch[..len]);
        let result = write(packet);
        let len = self.numbers.on_sent(packet);
        if !is_lost {
            numbers::fill_checksum(&mut packet[..len]);
            self.transmit.send(len);
        }
        result
    }
}
