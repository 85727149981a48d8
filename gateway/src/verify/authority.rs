//! The names under which a certificate authority is known: to revocation lists, and, as a trust anchor, to whoever
//! remembers a verdict.
//!
//! They are made of what chains are checked against, not of a certificate's bytes, and do not say whether the authority is
//! trusted.

use aws_lc_rs::digest;

/// Names a certificate authority: SHA-256 over its subject and public key; the same key under a new certificate is the
/// same authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthorityId([u8; 32]);

impl AuthorityId {
    /// The authority called `subject` with the key `public_key`: the contents of the DER encodings of `Name` and
    /// `SubjectPublicKeyInfo`, without their outer SEQUENCE headers. Length prefixes keep two different pairs from
    /// having one encoding.
    pub fn new(subject: &[u8], public_key: &[u8]) -> Self {
        Self(hash(&[subject, public_key]))
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Names a trust anchor by the authority that it is and by what it may vouch for. Renewed for another period it is the same
/// anchor; with other constraints it is another, and what was verified with it is verified again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnchorId([u8; 32]);

impl AnchorId {
    /// The anchor that is `authority`, with the contents of its name constraints and the number of intermediates that may
    /// follow it, where it has such bounds (RFC 5280, 4.2.1.9 and 4.2.1.10).
    pub fn new(
        authority: &AuthorityId,
        name_constraints: Option<&[u8]>,
        path_length: Option<usize>,
    ) -> Self {
        let length = path_length.map(|length| (length as u64).to_be_bytes());
        // An absent bound is not an empty one.
        let bounds = [name_constraints, length.as_ref().map(<[u8; 8]>::as_slice)];
        let present = bounds.map(|bound| u8::from(bound.is_some()));
        let [names, length] = bounds.map(Option::unwrap_or_default);
        Self(hash(&[authority.as_bytes(), &present, names, length]))
    }
}

/// SHA-256 over `parts`, each with its length before it.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::{AnchorId, AuthorityId};

    #[test]
    fn every_bound_of_an_anchor_counts() {
        let authority = AuthorityId::new(b"ab", b"c");
        let ids = [
            (None, None),
            (Some(&b""[..]), None),
            (Some(b"names"), None),
            (None, Some(0)),
            (None, Some(1)),
            (Some(b"names"), Some(1)),
        ]
        .map(|(names, length)| AnchorId::new(&authority, names, length));
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(ids.iter().position(|other| other == id), Some(index));
        }
        let other = AuthorityId::new(b"ab", b"d");
        assert_ne!(ids[0], AnchorId::new(&other, None, None));
    }

    #[test]
    fn both_parts_count_and_their_border_too() {
        let id = AuthorityId::new(b"ab", b"c");
        assert_eq!(id, AuthorityId::new(b"ab", b"c"));
        for (subject, key) in [
            (&b"a"[..], &b"bc"[..]),
            (b"ab", b"d"),
            (b"x", b"c"),
            (b"", b"abc"),
        ] {
            assert_ne!(id, AuthorityId::new(subject, key));
        }
    }
}
