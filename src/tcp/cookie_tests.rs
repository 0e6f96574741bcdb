//! Cookies, made and checked.

use super::*;
use crate::wire::addr::{Address, Endpoint};
use proptest::prelude::*;

fn flow(v4: bool, host: u16, port: u16) -> FlowKey {
    let [a, b] = host.to_be_bytes();
    let mut wide = [0xfd; 16];
    (wide[14], wide[15]) = (a, b);
    let addr = if v4 { Address::v4([10, 77, a, b]) } else { Address(wide) };
    let local = Endpoint { addr, port: 7 };
    FlowKey { remote: Endpoint { addr, port }, local }
}

const SECRET: Secret = Secret([3; 16]);

proptest! {
    #[test]
    fn what_was_made_is_accepted_in_its_step_and_the_next(
        v4: bool, host: u16, port: u16, irs: u32, mss: u16, made in 0u64..1 << 40, age in 0u64..300_000,
    ) {
        let jar = CookieJar::new(SECRET);
        let (flow, irs) = (flow(v4, host, port), SeqNumber(irs));
        let cookie = jar.make(&flow, irs, mss, Instant::from_millis(made));
        let checked = jar.check(&flow, irs, cookie, Instant::from_millis(made + age));
        if age <= 64_000 {
            prop_assert_eq!(checked, Some(kept_mss(mss)));
        }
        if age >= 128_000 {
            prop_assert_eq!(checked, None);
        }
    }

    #[test]
    fn the_size_kept_is_never_larger_than_what_is_believed_of_the_peers(mss: u16) {
        prop_assert!(kept_mss(mss) <= mss.max(MSS_MIN));
    }
}

#[test]
fn a_cookie_is_good_for_one_flow_one_syn_and_one_secret() {
    let jar = CookieJar::new(SECRET);
    let (now, irs) = (Instant::from_millis(1_000_000), SeqNumber(5));
    let flow = flow(true, 1, 1);
    let cookie = jar.make(&flow, irs, 1460, now);
    assert_eq!(jar.check(&flow, irs, cookie, now), Some(1460));
    let remote = Endpoint { port: 2, ..flow.remote };
    assert_eq!(jar.check(&FlowKey { remote, ..flow }, irs, cookie, now), None);
    let local = Endpoint { port: 8, ..flow.local };
    assert_eq!(jar.check(&FlowKey { local, ..flow }, irs, cookie, now), None);
    assert_eq!(jar.check(&flow, irs + 1, cookie, now), None);
    assert_eq!(CookieJar::new(Secret([4; 16])).check(&flow, irs, cookie, now), None);
    for bit in 0..32 {
        assert_eq!(jar.check(&flow, irs, SeqNumber(cookie.0 ^ 1 << bit), now), None, "bit {bit}");
    }
}

#[test]
fn guesses_are_not_accepted() {
    let jar = CookieJar::new(SECRET);
    let (now, flow) = (Instant::from_millis(1_000_000), flow(true, 1, 1));
    let guesses = (0..100_000u32).map(|n| SeqNumber(n.wrapping_mul(0x9e37_79b9)));
    let hits = guesses.filter(|guess| jar.check(&flow, SeqNumber(5), *guess, now).is_some());
    assert_eq!(hits.count(), 0, "the chance of even one is 1 in 2,684");
}

#[test]
fn nothing_is_accepted_from_before_the_clock_began() {
    let jar = CookieJar::new(SECRET);
    assert_eq!(jar.check(&flow(true, 1, 1), SeqNumber(5), SeqNumber(1), Instant::ZERO), None);
}
