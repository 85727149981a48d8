//! A short-lived signed statement of who the device is, for upstreams that want proof instead of trust in the network
//! between them and the gateway: a JWT (RFC 7519) in compact JWS form (RFC 7515), signed with ES256 (RFC 7518, 3.4).
//!
//! Pure but for the signature's nonce: the time is an argument, and nothing is read or published here. It does not verify
//! tokens, and it does not say who may be served; a token is made for a device that `authorize` has let in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderName, HeaderValue};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use crate::identity::Identified;

/// The field that carries the token unless the operator names another.
pub const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-device-token");

/// The longest that a token may live, in seconds. A token outlives the connection that it was made for.
pub const MAX_LIFETIME: u32 = 24 * 3600;

/// Bytes of one coordinate of a P-256 point.
const COORDINATE: usize = 32;

/// What tokens say besides who the device is, and where they are put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// The field that carries the token. Inbound copies are removed.
    pub header: HeaderName,
    /// `iss`: who signs, as upstreams know it (RFC 7519, 4.1.1).
    pub issuer: String,
    /// `aud`: for whom the token is meant (RFC 7519, 4.1.3). `None` leaves the claim out.
    pub audience: Option<String>,
    /// Seconds from `iat` to `exp`, 1 to [`MAX_LIFETIME`]. The end of the chain's validity may cut it short.
    pub lifetime: u32,
}

/// Why tokens cannot be signed as the settings and the key say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The field has a meaning of its own on the way to the upstream.
    #[error(
        "the field {0} cannot carry the token: the gateway sets or removes it for another purpose"
    )]
    Header(HeaderName),
    /// The issuer is empty.
    #[error("the issuer is empty")]
    Issuer,
    /// The audience is empty.
    #[error("the audience is empty; leave it out if tokens are for everybody")]
    Audience,
    /// The lifetime is out of bounds.
    #[error("a lifetime of {0} s is not between 1 s and {MAX_LIFETIME} s")]
    Lifetime(u32),
    /// The key is not PEM or DER, or holds no private key.
    #[error("no private key in PEM or DER form: {0}")]
    NotAKey(String),
    /// The key is of another kind or curve.
    #[error("the private key is not a P-256 key, which ES256 needs: {0}")]
    NotP256(String),
}

impl TokenSettings {
    /// Checks what can be checked without the key.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self) -> Result<(), TokenError> {
        if super::has_another_meaning(&self.header) {
            return Err(TokenError::Header(self.header.clone()));
        }
        if self.issuer.is_empty() {
            return Err(TokenError::Issuer);
        }
        if self.audience.as_deref() == Some("") {
            return Err(TokenError::Audience);
        }
        if self.lifetime == 0 || self.lifetime > MAX_LIFETIME {
            return Err(TokenError::Lifetime(self.lifetime));
        }
        Ok(())
    }
}

/// Signs tokens with one key.
#[derive(Debug)]
pub struct Signer {
    settings: TokenSettings,
    key: EcdsaKeyPair,
    public: PublicKey,
    /// The JOSE header, encoded, with the dot after it: the same for every token of the key.
    protected: String,
}

/// The public half as members of a JWK (RFC 7517; RFC 7518, 6.2.1).
#[derive(Debug)]
struct PublicKey {
    x: String,
    y: String,
    key_id: String,
}

/// One signed token.
#[derive(Debug, Clone)]
pub struct Token {
    value: HeaderValue,
    issued: u64,
    expires: u64,
}

/// Why there is no token for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// The chain ends in this second or has ended: a token would be born expired.
    #[error("the device's chain ends before a token could be used")]
    ChainEnds,
    /// The library could not sign.
    #[error("the signature could not be made")]
    Signature,
}

impl Signer {
    /// A signer with `key`, a P-256 private key in PKCS#8 (RFC 5958) or SEC 1 (RFC 5915) form, as PEM or DER.
    ///
    /// # Errors
    /// A key or a setting that cannot be used.
    pub fn new(key: &[u8], settings: TokenSettings) -> Result<Self, TokenError> {
        settings.check()?;
        let key = key_pair(key)?;
        let public = PublicKey::of(&key)?;
        let header = json!({"alg": "ES256", "kid": public.key_id, "typ": "JWT"});
        let protected = encode(header.to_string().as_bytes()) + ".";
        Ok(Self {
            settings,
            key,
            public,
            protected,
        })
    }

    /// The settings it signs with.
    pub fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// `kid`: the key's JWK thumbprint (RFC 7638), so that the same key has the same id everywhere.
    pub fn key_id(&self) -> &str {
        &self.public.key_id
    }

    /// Signs a token for `device` at `now` (seconds since the Unix epoch).
    ///
    /// `trust_domain` names the trust domain that verified the device, where ids are unique only within one. `nbf` is
    /// `now`: verifiers allow for the difference between clocks (RFC 7519, 4.1.5).
    ///
    /// # Errors
    /// Why there is no token. The request must then go without one, or not at all; never with the device's own copy.
    pub fn token(
        &self,
        device: &Identified,
        trust_domain: Option<&str>,
        now: u64,
    ) -> Result<Token, Unsigned> {
        let expires = now
            .saturating_add(u64::from(self.settings.lifetime))
            .min(device.not_after());
        if expires <= now {
            return Err(Unsigned::ChainEnds);
        }
        let claims = self.claims(device, trust_domain, now, expires);
        let mut token = self.protected.clone();
        URL_SAFE_NO_PAD.encode_string(Value::Object(claims).to_string(), &mut token);
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| Unsigned::Signature)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let mut value = HeaderValue::try_from(token).map_err(|_| Unsigned::Signature)?;
        // Whoever reads it can use it until it expires: not for debug output, nor for HTTP/2's compression tables.
        value.set_sensitive(true);
        Ok(Token {
            value,
            issued: now,
            expires,
        })
    }

    fn claims(
        &self,
        device: &Identified,
        trust_domain: Option<&str>,
        now: u64,
        expires: u64,
    ) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("iss", self.settings.issuer.as_str().into());
        if let Some(audience) = &self.settings.audience {
            claim("aud", audience.as_str().into());
        }
        claim("sub", device.device_id().into());
        if let Some(trust_domain) = trust_domain {
            claim("trust_domain", trust_domain.into());
        }
        claim("iat", now.into());
        claim("nbf", now.into());
        claim("exp", expires.into());
        // RFC 8705, 3.1: the certificate that the device has proved to hold.
        claim("cnf", json!({"x5t#S256": encode(device.fingerprint())}));
        claims
    }
}

impl Token {
    /// The token, for the field's value. It is marked as sensitive.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// `exp`: the first second in which it is not to be accepted, since the Unix epoch.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Whether at least half of its life lies ahead at `now`.
    fn is_fresh(&self, now: u64) -> bool {
        // Issued in the future: the clock was set back, and a verifier would refuse it.
        now >= self.issued && self.expires.saturating_sub(now) * 2 >= self.expires - self.issued
    }
}

/// The newest token of one connection, so that a connection kept alive does not pay a signature for each request.
///
/// It belongs to one device on one thread.
#[derive(Debug, Default)]
pub struct TokenCache {
    held: RefCell<Option<Box<Held>>>,
}

#[derive(Debug)]
struct Held {
    token: Token,
    /// Who signed it: after a change of keys or settings it is not to be used again. Weak, so that an idle connection keeps
    /// no retired key in memory.
    signer: Weak<Signer>,
}

impl TokenCache {
    /// Lets go of the token: the connection rests.
    pub fn forget(&self) {
        self.held.take();
    }

    /// The token held, or a new one if less than half of its life is left at `now` or another signer has taken over.
    ///
    /// # Errors
    /// As [`Signer::token`]. Nothing is held then.
    pub fn token(
        &self,
        signer: &Arc<Signer>,
        device: &Identified,
        trust_domain: Option<&str>,
        now: u64,
    ) -> Result<HeaderValue, Unsigned> {
        let mut held = self.held.borrow_mut();
        if let Some(held) = held.as_ref()
            && std::ptr::eq(held.signer.as_ptr(), Arc::as_ptr(signer))
            && held.token.is_fresh(now)
        {
            return Ok(held.token.value.clone());
        }
        *held = None;
        let token = signer.token(device, trust_domain, now)?;
        let value = token.value.clone();
        *held = Some(Box::new(Held {
            token,
            signer: Arc::downgrade(signer),
        }));
        Ok(value)
    }
}

/// The JWK set (RFC 7517, 5) with which tokens of `signers` are verified, each key once. Keep a retired signer in it until its
/// last token has expired.
pub fn jwks(signers: &[&Signer]) -> String {
    let mut seen = BTreeSet::new();
    let keys: Vec<Value> = signers
        .iter()
        .filter(|signer| seen.insert(signer.key_id()))
        .map(|signer| signer.public.jwk())
        .collect();
    json!({ "keys": keys }).to_string()
}

impl PublicKey {
    fn of(key: &EcdsaKeyPair) -> Result<Self, TokenError> {
        // SEC 1, 2.3.3: an uncompressed point is 4, x, y.
        let point = key.public_key().as_ref();
        let (x, y) = match point.split_first() {
            Some((4, coordinates)) if coordinates.len() == 2 * COORDINATE => {
                coordinates.split_at(COORDINATE)
            }
            _ => return Err(TokenError::NotP256("unknown point format".to_owned())),
        };
        let (x, y) = (encode(x), encode(y));
        let key_id = thumbprint(&[("crv", "P-256"), ("kty", "EC"), ("x", &x), ("y", &y)]);
        Ok(Self { x, y, key_id })
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y,
            "use": "sig", "alg": "ES256", "kid": self.key_id,
        })
    }
}

/// The JWK thumbprint (RFC 7638, 3) of a key whose required members these are: SHA-256 of them in lexicographic order.
fn thumbprint(members: &[(&str, &str)]) -> String {
    let ordered: BTreeMap<_, _> = members.iter().copied().collect();
    encode(digest::digest(&digest::SHA256, json!(ordered).to_string().as_bytes()).as_ref())
}

fn key_pair(key: &[u8]) -> Result<EcdsaKeyPair, TokenError> {
    let not_a_key = |error: rustls::pki_types::pem::Error| TokenError::NotAKey(error.to_string());
    let key = match key.first() {
        // DER: a SEQUENCE.
        Some(0x30) => {
            PrivateKeyDer::try_from(key).map_err(|error| TokenError::NotAKey(error.to_owned()))?
        }
        _ => PrivateKeyDer::from_pem_slice(key).map_err(not_a_key)?,
    };
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
        .map_err(|error| TokenError::NotP256(error.to_string()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
