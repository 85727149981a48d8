//! `/`: a page that shows the gateway at work, in any browser, from this listener alone.
//!
//! One document with its style and its script in it, and a policy that lets a browser load or ask nothing else, nowhere else.
//! It holds no figures itself: its script asks `/stats` for them.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use super::answer::Answer;

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

static PAGE: LazyLock<(Bytes, HeaderValue)> = LazyLock::new(|| {
    let html = DOCUMENT
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let policy = HeaderValue::from_str(&policy);
    let nothing = HeaderValue::from_static("default-src 'none'");
    (Bytes::from(html), policy.unwrap_or(nothing))
});

/// The page.
pub(super) fn page() -> Answer {
    let (html, policy) = &*PAGE;
    Answer::page(html.clone(), policy.clone())
}

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn the_page_is_whole_and_names_nothing_elsewhere() {
        let (html, policy) = &*PAGE;
        let html = std::str::from_utf8(html).unwrap();
        assert!(!html.contains("{style}") && !html.contains("{script}"));
        let namespace = "http://www.w3.org/2000/svg";
        assert!(!html.replace(namespace, "").contains("://"));
        assert!(!html.contains(" style=") && !html.contains(" onclick="));
        assert!(policy.to_str().unwrap().contains("script-src 'sha256-"));
    }
}
