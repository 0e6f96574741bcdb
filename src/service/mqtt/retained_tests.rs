//! The tree of retained messages against a map.

use super::super::codec::property::Properties;
use super::super::message::{Account, Content};
use super::super::subscriptions::tests::{any_filter, any_name};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { len_max: 1_000, bytes_max: 1 << 20 };

fn message(topic: &str, payload: &[u8], expiry_s: Option<u32>) -> Arc<Message> {
    let content = Content {
        topic,
        properties: Properties::default().forwarded(),
        payload,
        qos: 0,
        retain: true,
        expiry_s,
        publisher: 0,
    };
    Message::keep(&content, Instant::ZERO, &Account::default())
}

fn found(retained: &Retained, filter: &str, now: Instant) -> Vec<String> {
    let mut topics = Vec::new();
    retained.matching(filter, now, &mut usize::MAX.clone(), |message| {
        topics.push(message.topic().to_owned());
        true
    });
    topics.sort_unstable();
    topics
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_look_at_each_topic_finds(
        acts in proptest::collection::vec((any_name(), any::<bool>()), 0..40),
        filters in proptest::collection::vec(any_filter(), 1..12),
    ) {
        let mut retained = Retained::new(LIMITS, Secret([7; 16]));
        let mut model = BTreeMap::new();
        for (topic, keep) in acts {
            if keep {
                retained.insert(message(&topic, b"x", None), Instant::ZERO).unwrap();
                model.insert(topic, ());
            } else {
                retained.remove(&topic);
                model.remove(&topic);
            }
            prop_assert_eq!(retained.len(), model.len());
        }
        for filter in &filters {
            let matching = model.keys().filter(|topic| topic::matches(filter, topic));
            let expected: Vec<_> = matching.cloned().collect();
            prop_assert_eq!(found(&retained, filter, Instant::ZERO), expected, "{}", filter);
        }
        for topic in model.keys() {
            retained.remove(topic);
        }
        prop_assert_eq!((retained.len(), retained.topics.len(), retained.bytes), (0, 0, 0));
    }
}

#[test]
fn the_last_message_of_a_topic_is_the_one_kept() {
    let mut retained = Retained::new(LIMITS, Secret([7; 16]));
    retained.insert(message("a", b"old", None), Instant::ZERO).unwrap();
    retained.insert(message("a", b"new", None), Instant::ZERO).unwrap();
    let mut payloads = Vec::new();
    retained.matching("a", Instant::ZERO, &mut 10, |message| {
        payloads.push(message.payload().to_vec());
        true
    });
    assert_eq!(payloads, [b"new"]);
    assert!(retained.memory() > 3);
}

#[test]
fn what_has_expired_is_not_found_and_makes_room() {
    let limits = Limits { len_max: 2, ..LIMITS };
    let mut retained = Retained::new(limits, Secret([7; 16]));
    let at = |millis| Instant::from_millis(millis);
    retained.insert(message("short", b"x", Some(5)), at(0)).unwrap();
    retained.insert(message("long", b"x", None), at(0)).unwrap();
    assert_eq!(retained.insert(message("more", b"x", None), at(4_900)), Err(Full));
    assert_eq!(found(&retained, "#", at(4_999)), ["long", "short"]);
    assert_eq!(found(&retained, "#", at(5_000)), ["long"]);
    let more = || message("more", b"x", None);
    assert_eq!(retained.insert(more(), at(5_500)), Err(Full), "looked for a moment ago");
    assert_eq!(retained.insert(more(), at(6_000)), Ok(()));
    assert_eq!(found(&retained, "#", at(6_000)), ["long", "more"]);
    let full = Limits { bytes_max: 10, ..LIMITS };
    assert_eq!(Retained::new(full, Secret([7; 16])).insert(more(), at(0)), Err(Full));
}

#[test]
fn a_search_ends_when_it_has_looked_enough_or_found_enough() {
    let mut retained = Retained::new(LIMITS, Secret([7; 16]));
    for n in 0..100 {
        retained.insert(message(&format!("a/{n}"), b"x", None), Instant::ZERO).unwrap();
    }
    let (mut looks, mut count) = (10, 0);
    retained.matching("a/+", Instant::ZERO, &mut looks, |_| {
        count += 1;
        true
    });
    assert_eq!((looks, count), (0, 8), "the root and the first level are looked at too");
    let mut count = 0;
    retained.matching("#", Instant::ZERO, &mut 1_000, |_| {
        count += 1;
        count < 3
    });
    assert_eq!(count, 3);
}

#[test]
fn one_that_takes_the_place_of_another_needs_room_for_the_difference_only() {
    let bytes_max = message("a", &[b'x'; 10], None).len() + tree::cost_of("a");
    let limits = Limits { len_max: 1, bytes_max };
    let mut retained = Retained::new(limits, Secret([7; 16]));
    for (len, is_kept) in [(10, true), (3, true), (10, true), (11, false)] {
        let result = retained.insert(message("a", &vec![b'x'; len], None), Instant::ZERO);
        assert_eq!((result.is_ok(), retained.len()), (is_kept, 1), "{len}");
    }
    let mut lens = Vec::new();
    retained.matching("#", Instant::ZERO, &mut 10, |message| {
        lens.push(message.payload().len());
        true
    });
    assert_eq!(lens, [10], "what there is no room for changes nothing");
    retained.remove("a");
    assert_eq!((retained.len(), retained.bytes, retained.topics.len()), (0, 0, 0));
}
