//! ARP, NDP and ICMP messages: answered, learned from, or taken for a conflict.

use super::Engine;
use super::claims::{Claim, Conflict, Message};
use super::output::Output;
use crate::drops::DropReason;
use crate::frame::{Frame, FramePool};
use crate::service::Service;
use crate::time::Instant;
use crate::wire::addr::Address;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::neighbor;
use crate::wire::packet::{Control, ControlKind};

/// How a message is answered.
enum Answer {
    /// By what the control plane has made.
    Made,
    /// It is a probe: somebody has the address, says a frame with this header.
    Probed(EthernetHeader),
    /// It claims an owned address, which is announced once more.
    Defended(Conflict),
}

impl<S: Service> Engine<S> {
    /// ARP, NDP and ICMP.
    pub(super) fn on_control<P: FramePool>(
        &mut self,
        frame: Frame,
        message: &Control,
        now: Instant,
        output: &mut Output<'_, P>,
    ) -> Result<(), DropReason> {
        let answer = self.answer_control(output.bytes(&frame), message, now);
        output.reuse(frame);
        match answer? {
            Answer::Made => {
                output.frame(&mut self.counters, |room| {
                    let answer = self.control.answered();
                    room.get_mut(..answer.len())?.copy_from_slice(answer);
                    Some(answer.len())
                });
                Ok(())
            }
            Answer::Probed(header) => {
                output.frame(&mut self.counters, |room| {
                    neighbor::answer_probe(room, &header, message.target)
                });
                Ok(())
            }
            Answer::Defended(Conflict { addr, .. }) => {
                self.announce(addr, output);
                Err(DropReason::OwnSource)
            }
        }
    }

    /// Decides about an answer, and lets the control plane make it.
    fn answer_control(
        &mut self,
        frame: &[u8],
        message: &Control,
        now: Instant,
    ) -> Result<Answer, DropReason> {
        let header = EthernetHeader::parse(frame)?;
        if let Some(conflict) = self.conflict(message, &header) {
            self.counters.address_conflicts += 1;
            self.counters.conflict = Some(conflict);
            return match self.claims.on_conflict(conflict, now) {
                true => Ok(Answer::Defended(conflict)),
                false => Err(DropReason::OwnSource),
            };
        }
        if self.claims.claim() != Claim::Held {
            return Err(DropReason::Unclaimed);
        }
        self.check_source(&message.source)?;
        match message.kind {
            ControlKind::NeighborIsAt { mac, overrides } => {
                self.neighbors.learn(message.source, mac, overrides, now);
                return Err(DropReason::ControlIgnored);
            }
            // RFC 826, "Packet Reception": who asks tells where it is, too.
            ControlKind::ArpRequest(mac) if !message.source.is_unspecified() => {
                self.neighbors.learn(message.source, mac, true, now);
            }
            _ => {}
        }
        self.check_target(&message.target)?;
        self.locals.owned(&message.target).ok_or(DropReason::NotOurs)?;
        if message.source.is_unspecified() {
            return Ok(Answer::Probed(header.reply().with_src(self.config.mac)));
        }
        if message.kind == ControlKind::Icmp && !self.pings.take(now) {
            return Err(DropReason::PingLimited);
        }
        self.control.answer(frame, message).ok_or(DropReason::ControlIgnored)?;
        Ok(Answer::Made)
    }

    /// Who else has an owned address, if `message` says so: RFC 5227 sections 2.1.1 and 2.4, RFC 4862
    /// sections 5.4.3 and 5.4.4. While an address is being probed, that is also who probes it too.
    fn conflict(&self, message: &Control, header: &EthernetHeader) -> Option<Conflict> {
        let Control { kind, source, target, .. } = message;
        let (addr, mac) = match *kind {
            ControlKind::ArpRequest(mac) if source.is_unspecified() => {
                (self.claims.is_probing(target).then_some(*target)?, mac)
            }
            ControlKind::NeighborSolicit if source.is_unspecified() => {
                (self.claims.is_probing(target).then_some(*target)?, header.src())
            }
            ControlKind::ArpRequest(mac) | ControlKind::NeighborIsAt { mac, .. } => (*source, mac),
            ControlKind::NeighborSolicit | ControlKind::Icmp => return None,
        };
        let is_other = mac != self.config.mac && self.locals.owned(&addr).is_some();
        is_other.then_some(Conflict { addr, mac })
    }

    /// Sends what is due about owned addresses.
    pub(super) fn claim_addresses<P: FramePool>(
        &mut self,
        now: Instant,
        output: &mut Output<'_, P>,
    ) {
        let mac = self.config.mac;
        while self.claims.due().is_some_and(|due| due <= now)
            && output.is_ready()
            && let Some(message) = self.claims.next(now)
        {
            match message {
                Message::Probe(addr) => {
                    output.frame(&mut self.counters, |room| {
                        neighbor::ask(room, mac, addr.unspecified(), addr)
                    });
                }
                Message::Announce(addr) => self.announce(addr, output),
            }
        }
    }

    /// Tells everyone that `addr` is here.
    fn announce<P: FramePool>(&mut self, addr: Address, output: &mut Output<'_, P>) {
        let mac = self.config.mac;
        let sent = output.frame(&mut self.counters, |room| neighbor::announce(room, mac, addr));
        self.counters.announcements += u64::from(sent);
    }
}
