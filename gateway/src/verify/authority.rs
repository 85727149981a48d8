//! The name under which a certificate authority is known, to caches, tickets and revocation sets alike.
//!
//! It is made of what a signature is checked against, not of a certificate: it does not say whether the authority is
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
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [subject, public_key] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Self(id)
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::AuthorityId;

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
