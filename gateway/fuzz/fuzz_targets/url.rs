//! Any text as a URL in a certificate, and as the host of a request: a URL says the same when it is written out and read
//! again, and a host belongs to one trust domain at the most.

#![no_main]

use std::sync::LazyLock;

use gateway::fetch::HttpUrl;
use gateway::trust::names::{NamePattern, Names};
use libfuzzer_sys::fuzz_target;

/// The longest URL that is taken, in bytes.
const LONGEST: usize = 2048;

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let pattern = |text: &str| text.parse::<NamePattern>().expect("a pattern");
    let patterns = [pattern("a.example"), pattern("*.a.example"), pattern("b")];
    Names::new(
        patterns
            .iter()
            .enumerate()
            .map(|(index, name)| (index + 1, name)),
    )
});

fuzz_target!(|text: &str| {
    if let Ok(url) = text.parse::<HttpUrl>() {
        let written = url.to_string();
        assert!(written.starts_with("http://"), "{written}");
        assert!(!written.contains(['\r', '\n', ' ', '#']), "{written:?}");
        // The path of a URL without one is written out, and may be the byte too much.
        if written.len() <= LONGEST {
            assert_eq!(written.parse::<HttpUrl>().as_ref(), Ok(&url), "{written}");
        }
    }
    let index = NAMES.lookup(Some(text));
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let expected = match name.split_once('.') {
        _ if name == "a.example" => 1,
        _ if name == "b" => 3,
        Some((label, "a.example")) if !label.is_empty() => 2,
        _ => 0,
    };
    assert_eq!(index, expected, "{text:?}");
    if let Ok(pattern) = text.parse::<NamePattern>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
});
