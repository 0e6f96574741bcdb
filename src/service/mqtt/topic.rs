//! Topic names and topic filters (section 4.7 of both).

/// What separates levels.
const SEPARATOR: char = '/';
/// The filter level that stands for any one level.
pub(super) const ANY_LEVEL: &str = "+";
/// The last filter level that stands for any further levels, and for none.
pub(super) const ANY_REST: &str = "#";
/// How a filter of a shared subscription begins (5.0 section 4.8.2).
const SHARED_PREFIX: &str = "$share/";

/// How many levels a name or a filter has at most. The protocol sets no limit, but what is built from
/// each level is memory.
pub(super) const LEVELS_MAX: usize = 128;

/// The levels of a name or a filter; there is at least one, which may be empty.
pub(super) fn levels(topic: &str) -> core::str::Split<'_, char> {
    topic.split(SEPARATOR)
}

/// Whether messages can be published to `name`: not empty (MQTT-4.7.3-1), without wildcards
/// (MQTT-4.7.0-1), and not of more than [`LEVELS_MAX`] levels.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#']) && levels(name).count() <= LEVELS_MAX
}

/// Whether `filter` can be subscribed to: not empty, with each wildcard alone in its level
/// (MQTT-4.7.1-2; 3.1.1: -3), `#` only as the last one (MQTT-4.7.1-1; 3.1.1: -2), and not of more than
/// [`LEVELS_MAX`] levels.
pub(super) fn is_filter(filter: &str) -> bool {
    let mut levels = levels(filter);
    let well_placed = |level: &str| match level {
        ANY_LEVEL | ANY_REST => true,
        _ => !level.contains(['+', '#']),
    };
    let before_last = filter.rsplit_once(SEPARATOR).map_or("", |(before, _)| before);
    !filter.is_empty()
        && levels.clone().count() <= LEVELS_MAX
        && levels.all(well_placed)
        && self::levels(before_last).all(|level| level != ANY_REST)
}

/// Whether `filter` is one of a shared subscription.
pub(super) fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARED_PREFIX)
}

/// Whether a name begins with `$`, so that it is the server's, and no filter that begins with a
/// wildcard matches it (MQTT-4.7.2-1).
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with('$')
}

/// Whether `filter` matches `name`, without any table: what the tables are checked against.
#[cfg(test)]
pub(super) fn matches(filter: &str, name: &str) -> bool {
    if is_reserved(name) && filter.starts_with(['+', '#']) {
        return false;
    }
    let (filter, name): (Vec<_>, Vec<_>) = (levels(filter).collect(), levels(name).collect());
    match filter.split_last() {
        Some((&ANY_REST, before)) => {
            name.len() >= before.len()
                && before.iter().zip(&name).all(|(&f, &n)| level_matches(f, n))
        }
        _ => {
            filter.len() == name.len()
                && filter.iter().zip(&name).all(|(&f, &n)| level_matches(f, n))
        }
    }
}

#[cfg(test)]
fn level_matches(filter: &str, name: &str) -> bool {
    filter == ANY_LEVEL || filter == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_alone_and_the_rest_last() {
        for filter in
            ["#", "+", "sport/tennis/#", "+/tennis/#", "sport/+/player1", "/+", "+/+", "/", "a//b"]
        {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "#/a", "a/+b", "##"]
        {
            assert!(!is_filter(filter), "{filter}");
        }
        assert!(is_filter(&"/".repeat(LEVELS_MAX - 1)) && is_name(&"/".repeat(LEVELS_MAX - 1)));
        assert!(!is_filter(&"/".repeat(LEVELS_MAX)) && !is_name(&"/".repeat(LEVELS_MAX)));
        assert!(is_name("a/b") && is_name("/") && is_name(" "));
        assert!(!is_name("") && !is_name("a/+") && !is_name("#"));
    }

    #[test]
    fn the_examples_of_the_specification() {
        // Section 4.7.1.2.
        for name in
            ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/x"]
        {
            assert!(matches("sport/tennis/player1/#", name), "{name}");
        }
        assert!(matches("sport/#", "sport") && matches("#", "a/b"));
        // Section 4.7.1.3.
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport") && matches("sport/+", "sport/"));
        assert!(
            matches("+/+", "/finance") && matches("/+", "/finance") && !matches("+", "/finance")
        );
        // Section 4.7.2.
        assert!(!matches("#", "$SYS/x") && !matches("+/monitor/Clients", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/#", "$SYS/x") && matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
    }
}
