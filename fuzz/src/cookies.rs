//! SYN cookies: taken back while they are good, and nothing else is.

use super::bytes::Bytes;
use tenmil::tcp::cookie::{CookieJar, kept_mss};
use tenmil::time::Instant;
use tenmil::wire::addr::{Address, Endpoint, FlowKey, Secret};
use tenmil::wire::seq::SeqNumber;

/// How long a cookie is good at least, and at most, in milliseconds.
const GOOD_MS: core::ops::Range<u64> = 64_000..128_000;

/// Past this many milliseconds clocks are not tried: 34 years.
const CLOCK_MS: u64 = 1 << 40;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let jars = [input.array(), input.array()].map(|key| CookieJar::new(Secret(key)));
    let (flow, irs, mss) = (flow(&mut input), SeqNumber(input.u32()), input.u16());
    let made_ms = input.u64() % CLOCK_MS;
    let age_ms = u64::from(input.u32()) % (2 * GOOD_MS.end);
    let (made, now) = (Instant::from_millis(made_ms), Instant::from_millis(made_ms + age_ms));
    assert!(kept_mss(mss) <= mss.max(kept_mss(0)), "never larger than what was offered");
    for jar in &jars {
        let cookie = jar.make(&flow, irs, mss, made);
        let checked = jar.check(&flow, irs, cookie, now);
        if age_ms <= GOOD_MS.start {
            assert_eq!(checked, Some(kept_mss(mss)));
        } else if age_ms >= GOOD_MS.end {
            assert_eq!(checked, None);
        } else {
            assert!(checked.is_none_or(|size| size == kept_mss(mss)));
        }
    }
    // Another SYN, another connection, another cookie. Chance takes one in 2^28, and a fuzzer tries
    // many; but not the same one under two secrets.
    let (other, other_irs) = (self::flow(&mut input), SeqNumber(input.u32()));
    if (other, other_irs) != (flow, irs) {
        let taken = |jar: &CookieJar| {
            jar.check(&other, other_irs, jar.make(&flow, irs, mss, made), now).is_some()
        };
        assert!(!jars.iter().all(taken), "{other:?} {other_irs:?} for {flow:?} {irs:?}");
    }
    let flipped = input.u32();
    if flipped != 0 {
        let taken = |jar: &CookieJar| {
            let cookie = SeqNumber(jar.make(&flow, irs, mss, made).0 ^ flipped);
            jar.check(&flow, irs, cookie, now).is_some()
        };
        assert!(!jars.iter().all(taken), "{flipped:#x} for {flow:?} {irs:?}");
    }
}

/// Two endpoints of one family.
fn flow(input: &mut Bytes<'_>) -> FlowKey {
    let v4 = input.bool();
    let mut endpoint = || {
        let addr = if v4 { Address::v4(input.array()) } else { Address(input.array()) };
        Endpoint { addr, port: input.u16() }
    };
    FlowKey { remote: endpoint(), local: endpoint() }
}
