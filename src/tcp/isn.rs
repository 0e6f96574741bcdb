//! Initial sequence numbers (RFC 6528).

use crate::time::Instant;
use crate::wire::addr::{FlowKey, Secret};
use crate::wire::seq::SeqNumber;
use siphasher::sip::SipHasher24;

/// Makes initial sequence numbers that nobody who lacks the secret can predict.
#[derive(Clone, Copy, Debug)]
pub struct IsnGenerator(SipHasher24);

impl IsnGenerator {
    /// A generator under `secret`.
    pub fn new(secret: Secret) -> IsnGenerator {
        IsnGenerator(SipHasher24::new_with_key(&secret.0))
    }

    /// RFC 6528 section 3: `ISN = M + F(localip, localport, remoteip, remoteport, secretkey)`,
    /// where M counts about every 4 microseconds (here 4.096) and F is SipHash-2-4.
    #[expect(clippy::cast_possible_truncation, reason = "both terms are modulo 2^32")]
    pub fn isn(&self, flow: &FlowKey, now: Instant) -> SeqNumber {
        let offset = flow.hashed(|bytes| self.0.hash(bytes));
        SeqNumber(offset as u32) + (now.nanos() >> 12) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::addr::{Address, Endpoint};

    #[test]
    fn the_number_of_one_flow_rises_with_the_clock_and_others_are_unrelated() {
        let isns = IsnGenerator::new(Secret([3; 16]));
        let local = Endpoint { addr: Address::v4([10, 77, 0, 1]), port: 7 };
        let flow = |port| FlowKey { remote: Endpoint { port, ..local }, local };
        let at = |port, millis| isns.isn(&flow(port), Instant::from_millis(millis));
        assert_eq!(at(1, 4096).since(at(1, 0)), 1_000_000);
        assert_ne!(at(1, 0), at(2, 0));
        let other = IsnGenerator::new(Secret([4; 16]));
        assert_ne!(at(1, 0), other.isn(&flow(1), Instant::ZERO));
    }
}
