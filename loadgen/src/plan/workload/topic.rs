//! MQTT topic names and filters (MQTT 5 section 4.7).

/// Most bytes that a text may have in MQTT (MQTT 5 section 1.5.4).
const LONGEST: usize = 65_535;

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains('\0')
}

/// Whether something can be published there.
pub(super) fn is_name(topic: &str) -> bool {
    is_text(topic) && !topic.contains(['#', '+'])
}

/// Whether it can be subscribed to: a wildcard stands alone in its level, and `#` in the last one.
pub(super) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').rev();
    let last = levels.next().unwrap_or_default();
    let alone = |level: &str| level == "+" || !level.contains(['#', '+']);
    is_text(filter) && (last == "#" || alone(last)) && levels.all(alone)
}

/// Whether what is published to `topic` reaches a subscription of `filter`.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    // Topics of the broker's own are not matched by a leading wildcard.
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_filters_are_as_mqtt_has_them() {
        assert!(is_name("devices/{device}/telemetry") && is_name("/"));
        for name in ["", "a/#", "a/+/b", "a\0"] {
            assert!(!is_name(name), "{name}");
        }
        for filter in ["#", "+", "a/+/b", "a/#", "/", "+/+/#"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "#/a", "a#", "a+/b", "a/b#"] {
            assert!(!is_filter(filter), "{filter}");
        }
        assert!(!is_name(&"a".repeat(65_536)));
    }

    #[test]
    fn a_filter_matches_what_the_standard_says() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("a/+", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("#", "a"),
            ("+/b/#", "a/b"),
            ("+", ""),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/b", "a/b/c"),
            ("a/+", "a"),
            ("a/b/c", "a/b"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
