//! Ticket nonces of eight bytes instead of rustls's thirty-two.
//!
//! RFC 8446 (4.6.1) lets a ticket's nonce be up to 255 bytes long, and rustls sends 32. wolfSSL takes at most 8 as it is
//! commonly built, and ends the connection when the ticket arrives; devices carry such builds for a decade. The nonce only
//! has to differ between the tickets of one connection, so the first 8 of rustls's 32 random bytes do as well.
//!
//! Both ends of the nonce leave rustls through the cipher suite: the key schedule derives the ticket's secret from it
//! ([`ShortNonceHkdf`]), and the record layer seals the message that tells it to the device ([`ShortNonceAead`]). The two
//! must agree, or a device would be failed when it comes back. So the first always shortens, and a message in which the
//! second cannot is not sent at all: that device has no ticket, and makes a full handshake. (An error is no way out; rustls
//! panics when a record cannot be sealed.)
//!
//! This is for a server's configuration. It decides nothing about tickets, and touches no other message and no other secret.

use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundOpaqueMessage,
    OutboundPlainMessage, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::{ConnectionTrafficSecrets, ContentType, Error};

/// The longest nonce that every device takes, in bytes.
const NONCE_LEN: usize = 8;

/// HKDF that derives a ticket's secret from the first [`NONCE_LEN`] bytes of its nonce.
pub(super) struct ShortNonceHkdf(pub(super) &'static dyn Hkdf);

struct ShortNonceExpander(Box<dyn HkdfExpander>);

impl Hkdf for ShortNonceHkdf {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    /// The resumption master secret reaches its expander this way and no other.
    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(ShortNonceExpander(self.0.expander_for_okm(okm)))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl HkdfExpander for ShortNonceExpander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        with_short_nonce(info, |info| self.0.expand_slice(info, output))
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        with_short_nonce(info, |info| self.0.expand_block(info))
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}

/// Expands with `info`, an HkdfLabel (RFC 8446, 7.1) in the parts in which rustls gives it: the output's length, the label's
/// length, its prefix and the label, the context's length and the context, which here is the nonce.
fn with_short_nonce<T>(info: &[&[u8]], expand: impl FnOnce(&[&[u8]]) -> T) -> T {
    let [length, label_length, b"tls13 ", b"resumption", [_], nonce] = info else {
        return expand(info);
    };
    let Some(short) = nonce.get(..NONCE_LEN) else {
        return expand(info);
    };
    let short_length = [NONCE_LEN as u8];
    expand(&[
        length,
        label_length,
        b"tls13 ",
        b"resumption",
        &short_length,
        short,
    ])
}

/// The suite's AEAD, sealing tickets with the first [`NONCE_LEN`] bytes of their nonce.
pub(super) struct ShortNonceAead(pub(super) &'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for ShortNonceAead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(ShortNonceEncrypter {
            inner: self.0.encrypter(key, iv),
            sealed: Sealed::Nothing,
        })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct ShortNonceEncrypter {
    inner: Box<dyn MessageEncrypter>,
    sealed: Sealed,
}

/// What handshake messages one key has sealed so far. There is one key for the handshake and another after it, and only
/// under the second are there tickets.
#[derive(Debug, PartialEq, Eq)]
enum Sealed {
    Nothing,
    /// The server's part of the handshake; a later record of it may start anywhere in a message.
    Flight,
    /// Messages after the handshake, the last of which has this many bytes yet to come.
    Messages {
        missing: usize,
    },
    /// Something that is not understood, and was not sent.
    Unknown,
}

impl MessageEncrypter for ShortNonceEncrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ != ContentType::Handshake || self.sealed == Sealed::Flight {
            return self.inner.encrypt(message, sequence);
        }
        let payload = message.payload.to_vec();
        match self.sealed.next(&payload) {
            Next::AsItIs => self.inner.encrypt(message, sequence),
            Next::Instead(shorter) => {
                let payload = OutboundChunks::from(shorter.as_slice());
                let message = OutboundPlainMessage { payload, ..message };
                self.inner.encrypt(message, sequence)
            }
            // The record has its sequence number and must go out: empty application data says nothing (RFC 8446, 5.1).
            Next::Withheld => {
                let nothing = OutboundPlainMessage {
                    typ: ContentType::ApplicationData,
                    version: message.version,
                    payload: OutboundChunks::new_empty(),
                };
                self.inner.encrypt(nothing, sequence)
            }
        }
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.inner.encrypted_payload_len(payload_len)
    }
}

/// How a record of handshake messages is sealed.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    AsItIs,
    Instead(Vec<u8>),
    Withheld,
}

/// The message types (RFC 8446, B.3) that a server sends after the handshake.
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

impl Sealed {
    fn next(&mut self, payload: &[u8]) -> Next {
        let missing = match (&self, payload.first()) {
            (Self::Nothing, Some(&(NEW_SESSION_TICKET | KEY_UPDATE))) => 0,
            (Self::Messages { missing }, _) => *missing,
            (Self::Nothing | Self::Flight, _) => {
                *self = Self::Flight;
                return Next::AsItIs;
            }
            (Self::Unknown, _) => return Next::Withheld,
        };
        match shortened(payload, missing) {
            Some((shorter, missing)) => {
                *self = Self::Messages { missing };
                Next::Instead(shorter)
            }
            None => {
                *self = Self::Unknown;
                Next::Withheld
            }
        }
    }
}

/// The messages of a record with short nonces, and how many bytes of the last one come in later records. The first `missing`
/// bytes belong to the message before. `None` if a message is not as expected.
fn shortened(payload: &[u8], missing: usize) -> Option<(Vec<u8>, usize)> {
    let mut shorter = Vec::with_capacity(payload.len());
    let (mut missing, mut rest) = (missing, payload);
    while !rest.is_empty() {
        if missing == 0 {
            let (head, head_len, body_missing) = short_head(rest)?;
            shorter.extend_from_slice(&head);
            rest = rest.get(head_len..)?;
            missing = body_missing;
        }
        let (here, next) = rest.split_at(missing.min(rest.len()));
        shorter.extend_from_slice(here);
        missing -= here.len();
        rest = next;
    }
    Some((shorter, missing))
}

/// A message's beginning with a short nonce, how many bytes that stands for, and how many follow them in the message.
fn short_head(message: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let (&[kind, a, b, c], body) = message.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    match kind {
        KEY_UPDATE => Some((vec![kind, a, b, c], 4, length)),
        NEW_SESSION_TICKET => {
            let body = body.get(..length).unwrap_or(body);
            let (lifetime_and_age, after) = body.split_first_chunk::<8>()?;
            let (&nonce_len, after) = after.split_first()?;
            let nonce = after.get(..usize::from(nonce_len))?;
            let short = nonce.get(..NONCE_LEN).unwrap_or(nonce);
            let short_length = length - (nonce.len() - short.len());
            let [_, a, b, c] = u32::try_from(short_length).ok()?.to_be_bytes();
            let head = [
                &[kind, a, b, c][..],
                lifetime_and_age,
                &[u8::try_from(short.len()).ok()?],
                short,
            ];
            let head_len = 4 + lifetime_and_age.len() + 1 + nonce.len();
            Some((head.concat(), head_len, length + 4 - head_len))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
