//! The tree of filters against a matcher that looks at each filter by itself.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const OPTIONS: Options = Options {
    qos: 1,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::Send,
};

/// Names of few and short levels, so that they meet often.
pub(in super::super) fn any_name() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just("$x"), Just("")];
    let levels = proptest::collection::vec(level, 1..5);
    levels.prop_map(|levels| levels.join("/")).prop_filter("a name", |name| topic::is_name(name))
}

/// Filters of the same levels and wildcards.
pub(in super::super) fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        2 => Just("a"),
        2 => Just("b"),
        1 => Just("$x"),
        1 => Just(""),
        3 => Just("+"),
    ];
    let levels = prop_oneof![
        9 => proptest::collection::vec(level.clone(), 0..4),
        1 => proptest::collection::vec(level, 9..12),
    ];
    let last = prop_oneof![Just("a"), Just("b"), Just("+"), Just("#"), Just("")];
    (levels, last)
        .prop_map(|(mut levels, last)| {
            levels.push(last);
            levels.join("/")
        })
        .prop_filter("a filter", |filter| topic::is_filter(filter))
}

const LIMITS: Limits = Limits {
    len_max: 1_000,
    bytes_max: usize::MAX,
    session_len_max: 1_000,
    session_bytes_max: u32::MAX,
    shapes_max: 4_096,
};

fn subscriptions(limits: Limits) -> Subscriptions {
    Subscriptions::new(limits, Secret([7; 16]))
}

#[derive(Clone, Debug)]
enum Act {
    Subscribe(usize, String, u32),
    Unsubscribe(usize, String),
    Leave(usize),
}

fn any_act() -> impl Strategy<Value = Act> {
    let session = 0..4usize;
    prop_oneof![
        6 => (session.clone(), any_filter(), 1..9u32)
            .prop_map(|(session, filter, id)| Act::Subscribe(session, filter, id)),
        3 => (session.clone(), any_filter()).prop_map(|(s, filter)| Act::Unsubscribe(s, filter)),
        1 => session.prop_map(Act::Leave),
    ]
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_look_at_each_filter_finds(
        acts in proptest::collection::vec(any_act(), 0..60),
        names in proptest::collection::vec(any_name(), 1..12),
    ) {
        let mut subscriptions = subscriptions(LIMITS);
        let mut lists = [SessionList::EMPTY; 4];
        let mut model: BTreeMap<(usize, String), u32> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Subscribe(session, filter, id) => {
                    let list = &mut lists[session];
                    let number = u32::try_from(session).unwrap();
                    let existed =
                        subscriptions.subscribe(list, number, &filter, OPTIONS, id).unwrap();
                    prop_assert_eq!(existed, model.insert((session, filter), id).is_some());
                }
                Act::Unsubscribe(session, filter) => {
                    let number = u32::try_from(session).unwrap();
                    let existed = subscriptions.unsubscribe(&mut lists[session], number, &filter);
                    prop_assert_eq!(existed, model.remove(&(session, filter)).is_some());
                }
                Act::Leave(session) => {
                    subscriptions.unsubscribe_all(&mut lists[session]);
                    model.retain(|&(other, _), _| other != session);
                }
            }
            prop_assert_eq!(subscriptions.len() as usize, model.len());
            for (session, list) in lists.iter().enumerate() {
                let of_session = model.keys().filter(|(other, _)| *other == session);
                let bytes: usize = of_session.map(|(_, filter)| tree::cost_of(filter)).sum();
                prop_assert_eq!(list.bytes as usize, bytes);
            }
        }
        for name in &names {
            let mut found = Vec::new();
            let filters =
                subscriptions.matching(name, |found_one| {
                    found.push((found_one.session as usize, found_one.identifier));
                });
            found.sort_unstable();
            let matching = |&(entry, _): &(&(usize, String), &u32)| topic::matches(&entry.1, name);
            let of_model = model.iter().filter(matching);
            let mut expected: Vec<_> =
                of_model.clone().map(|(&(session, _), &id)| (session, id)).collect();
            expected.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", name);
            let mut distinct: Vec<_> = of_model.map(|((_, filter), _)| filter).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(filters, distinct.len(), "{}", name);
        }
        for list in &mut lists {
            subscriptions.unsubscribe_all(list);
        }
        prop_assert_eq!((subscriptions.len(), subscriptions.filters.len()), (0, 0));
        prop_assert_eq!(subscriptions.shapes.len(), 0);
        prop_assert_eq!(subscriptions.cost(), 0);
    }
}

#[test]
fn each_limit_refuses_and_replacing_is_always_possible() {
    let mut subscriptions = subscriptions(Limits { len_max: 3, session_len_max: 2, ..LIMITS });
    let mut lists = [SessionList::EMPTY; 2];
    let mut subscribe = |session: usize, filter: &str| {
        let number = u32::try_from(session).unwrap();
        subscriptions.subscribe(&mut lists[session], number, filter, OPTIONS, 0)
    };
    assert_eq!(subscribe(0, "a"), Ok(false));
    assert_eq!(subscribe(0, "b"), Ok(false));
    assert_eq!(subscribe(0, "c"), Err(Full), "its own limit");
    assert_eq!(subscribe(1, "a"), Ok(false));
    assert_eq!(subscribe(1, "b"), Err(Full), "the limit of all");
    assert_eq!(subscribe(1, "a"), Ok(true));
    assert_eq!(subscribe(0, "b"), Ok(true));
    subscriptions.unsubscribe_all(&mut lists[0]);
    assert_eq!(subscriptions.filters.len(), 1, "what nobody subscribed to is forgotten");
    assert!(subscriptions.memory() > 0);
}

/// The worst filters for a message to `a/a/a/...` of 128 levels: each has it looked for in another place,
/// and none matches. This is the one with number `n`.
fn worst(n: u32) -> String {
    let level = |at: u32| if at < 32 && n >> at & 1 == 1 { "+" } else { "a" };
    let levels: Vec<&str> = (0..127).map(level).collect();
    format!("{}/no", levels.join("/"))
}

#[test]
fn what_is_looked_at_for_a_message_is_bounded_whatever_was_subscribed_to() {
    let name = ["a"; 128].join("/");
    let most = 511 + 120;
    for (shapes_max, granted_max) in [(4_096, 1_000), (100, 100), (0, 1)] {
        let limits = Limits { len_max: u32::MAX, session_len_max: u32::MAX, shapes_max, ..LIMITS };
        let mut subscriptions = subscriptions(limits);
        let mut list = SessionList::EMPTY;
        let mut granted = 0;
        // Numbers whose bits are spread, so that all parts of a filter differ.
        for n in (0..3_000u32).map(|n| n.wrapping_mul(0x9e37_79b9)) {
            let result = subscriptions.subscribe(&mut list, 1, &worst(n), OPTIONS, 0);
            granted += usize::from(result.is_ok());
        }
        let looks = subscriptions.looks(&name);
        assert!(looks <= most + shapes_max, "{looks} looks, with {shapes_max} shapes");
        assert!((1..=granted_max).contains(&granted), "{granted}");
        // Those of the usual depth are always granted, and so are those without `+`.
        let mut others = SessionList::EMPTY;
        for n in 0..256u32 {
            let filter: Vec<&str> = (0..8).map(|at| ["+", "b"][(n >> at & 1) as usize]).collect();
            let filter = format!("{}/#", filter.join("/"));
            assert_eq!(subscriptions.subscribe(&mut others, 2, &filter, OPTIONS, 0), Ok(false));
        }
        assert_eq!(subscriptions.subscribe(&mut others, 2, &name, OPTIONS, 0), Ok(false));
        // What is given back can be used.
        let refused = worst(u32::MAX - 1);
        assert_eq!(subscriptions.subscribe(&mut others, 2, &refused, OPTIONS, 0), Err(Full));
        subscriptions.unsubscribe_all(&mut list);
        let granted = subscriptions.subscribe(&mut others, 2, &refused, OPTIONS, 0);
        assert_eq!(granted.is_ok(), shapes_max > 120);
    }
}

#[test]
fn a_thousand_filters_of_one_shape_are_one() {
    let mut subscriptions = subscriptions(Limits { shapes_max: 4, ..LIMITS });
    let mut list = SessionList::EMPTY;
    for n in 0..900 {
        let filter = format!("plant/+/line/{n}/cell/7/robot/4/axis/6/+/raw");
        assert_eq!(subscriptions.subscribe(&mut list, 1, &filter, OPTIONS, 0), Ok(false));
    }
    let name = "plant/a/line/77/cell/7/robot/4/axis/6/b/raw";
    let mut found = 0;
    assert_eq!((subscriptions.matching(name, |_| found += 1), found), (1, 1));
    assert!(subscriptions.looks(name) <= 13);
}
