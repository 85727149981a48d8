//! Whether this program, and the gateway in it, was built to be measured.

/// What a reader of figures must know about a build without optimization.
pub(crate) fn note() -> Option<String> {
    cfg!(debug_assertions).then(|| {
        "This is a development build: the gateway is not optimized, and its figures are not those of a release. `cargo lab` builds a release."
            .to_owned()
    })
}
