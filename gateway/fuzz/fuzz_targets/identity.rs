//! Any bytes as a device certificate, and every identity rule: an id is either refused, or fit for a header and a log line.

#![no_main]

use std::sync::LazyLock;

use gateway::identity::{MAX_DEVICE_ID, Pattern, Rule, Source, unverified_device_id};
use http::HeaderValue;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let patterns = [None, Some("(?:.*[:/])?(?P<id>[^:/]+)"), Some("d.*")];
    let sources = [
        Source::CommonName,
        Source::SanUri,
        Source::SanDns,
        Source::Serial,
        Source::Fingerprint,
    ];
    let rule = |source, pattern: Option<&str>| Rule {
        source,
        pattern: pattern.map(|pattern| Pattern::new(pattern).expect("a pattern")),
    };
    sources
        .into_iter()
        .flat_map(|source| patterns.map(|pattern| rule(source, pattern)))
        .collect()
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    gateway_fuzz::mutate::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    for rule in RULES.iter() {
        let Ok(id) = unverified_device_id(data, rule) else {
            continue;
        };
        assert!(!id.is_empty() && id.len() <= MAX_DEVICE_ID, "{id:?}");
        assert!(id.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{id:?}");
        assert_eq!(id.trim(), id);
        let value = HeaderValue::from_str(&id).expect("an id is fit for a header");
        assert_eq!(value.to_str().ok(), Some(id.as_str()));
        if matches!(rule.source, Source::SanDns) {
            assert!(!id.contains('*') && id == id.to_ascii_lowercase(), "{id:?}");
        }
        if rule.pattern.is_some() && !matches!(rule.source, Source::SanDns | Source::SanUri) {
            let whole = Rule {
                source: rule.source,
                pattern: None,
            };
            if let Ok(text) = unverified_device_id(data, &whole) {
                assert!(text.contains(&id), "{id:?} was not in {text:?}");
            }
        }
    }
});
