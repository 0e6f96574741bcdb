//! SYN cookies: a connection request kept in the sequence number of its answer
//! (RFC 4987 section 3.6).
//!
//! The 32 bits are, from the top: 28 of a keyed hash, 3 that index a table of segment sizes, and the
//! lowest bit of a counter that steps every 64 seconds.

use super::handshake::MSS_MIN;
use crate::time::{Duration, Instant};
use crate::wire::addr::{FlowKey, Secret};
use crate::wire::seq::SeqNumber;
use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher24;

/// How long one step of the counter takes, in seconds.
const STEP_SECONDS: u64 = 64;

/// The longest that a cookie is good: it is taken in its own step of the counter and in the next,
/// so for 64 to 128 seconds.
pub const LIFETIME: Duration = Duration::from_secs(2 * STEP_SECONDS);

/// The segment sizes that a cookie can say, in bytes: the least that is believed, the defaults of
/// both families (536 and 1220), some tunnels, and Ethernet with IPv6 (1440) and IPv4 (1460).
const SIZES: [u16; 8] = [MSS_MIN, 216, 536, 1220, 1300, 1400, 1440, 1460];

/// The bits that are not hash: the index into [`SIZES`] and the counter's lowest bit.
const PLAIN_BITS: u32 = 4;

const _: () = assert!(SIZES.len() == 1 << (PLAIN_BITS - 1));

/// Makes and checks cookies that nobody who lacks the secret can forge, but with a chance of 2^-28
/// for each try.
#[derive(Clone, Copy, Debug)]
pub struct CookieJar(SipHasher24);

impl CookieJar {
    /// A jar under `secret`. The secret may be that of the initial sequence numbers: what is hashed
    /// here begins with a label and is longer, so neither tells anything about the other.
    pub fn new(secret: Secret) -> CookieJar {
        let mut hasher = SipHasher24::new_with_key(&secret.0);
        hasher.write(b"SYN cookie");
        CookieJar(hasher)
    }

    /// The initial sequence number that answers the SYN of `flow` with number `irs`, and keeps a
    /// segment size of [`kept_mss`] of `mss` bytes.
    pub fn make(&self, flow: &FlowKey, irs: SeqNumber, mss: u16, now: Instant) -> SeqNumber {
        self.cookie(flow, irs, size_index(mss), step(now))
    }

    /// The segment size, in bytes, that `cookie` keeps, if it was made for this SYN and is not older
    /// than the counter's last step.
    pub fn check(
        &self,
        flow: &FlowKey,
        irs: SeqNumber,
        cookie: SeqNumber,
        now: Instant,
    ) -> Option<u16> {
        let index = cookie.0 >> 1 & 0b111;
        // The lowest bit tells the current step from the one before it.
        let age = (step(now) ^ u64::from(cookie.0)) & 1;
        let made = step(now).checked_sub(age)?;
        let size = SIZES[index as usize];
        (self.cookie(flow, irs, index, made) == cookie).then_some(size)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a hash cut to 32 bits, and one bit")]
    fn cookie(&self, flow: &FlowKey, irs: SeqNumber, index: u32, step: u64) -> SeqNumber {
        let mut hasher = self.0;
        flow.remote.hash(&mut hasher);
        flow.local.hash(&mut hasher);
        irs.hash(&mut hasher);
        hasher.write_u32(index);
        hasher.write_u64(step);
        let hash = hasher.finish() as u32;
        SeqNumber(hash << PLAIN_BITS | index << 1 | (step & 1) as u32)
    }
}

/// The segment size that a cookie keeps of `mss`, in bytes: the largest in its table that is not
/// larger.
pub fn kept_mss(mss: u16) -> u16 {
    SIZES[size_index(mss) as usize]
}

fn size_index(mss: u16) -> u32 {
    let not_larger = SIZES.iter().skip(1).filter(|&&size| size <= mss);
    not_larger.fold(0, |index, _| index + 1)
}

/// The counter at `now`.
fn step(now: Instant) -> u64 {
    now.millis() / (1_000 * STEP_SECONDS)
}

#[cfg(test)]
#[path = "cookie_tests.rs"]
mod tests;
