//! HKDF for the TLS 1.3 key schedule, on top of HMAC.
//!
//! The provider's own HKDF goes through a generic interface at nearly twice the cost of two HMAC calls, and a handshake
//! makes some thirty of them. The construction is RFC 5869 either way; only the route to the hash differs.

use aws_lc_rs::hmac;
use rustls::crypto::hmac::{Hmac, Key, Tag};

/// HMAC with one hash algorithm, as the key schedule wants it.
#[derive(Debug)]
pub(super) struct AwsLcHmac {
    pub(super) algorithm: fn() -> hmac::Algorithm,
}

struct AwsLcHmacKey(hmac::Key);

impl Hmac for AwsLcHmac {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(AwsLcHmacKey(hmac::Key::new((self.algorithm)(), key)))
    }

    fn hash_output_len(&self) -> usize {
        (self.algorithm)().digest_algorithm().output_len()
    }
}

impl Key for AwsLcHmacKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().digest_algorithm().output_len()
    }
}
