use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use http::header::HeaderName;
use serde_json::{Value, json};

use super::{
    DEFAULT_HEADER, MAX_LIFETIME, Signer, TokenCache, TokenError, TokenSettings, Unsigned, jwks,
    thumbprint,
};
use crate::identity::Identified;

const NOW: u64 = 1_800_000_000;

fn settings() -> TokenSettings {
    TokenSettings {
        header: DEFAULT_HEADER,
        issuer: "https://gateway.example".to_owned(),
        audience: Some("telemetry".to_owned()),
        lifetime: 300,
    }
}

fn new_key() -> Vec<u8> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .unwrap()
        .as_ref()
        .to_vec()
}

fn signer() -> Arc<Signer> {
    Arc::new(Signer::new(&new_key(), settings()).unwrap())
}

fn device(id: &str) -> Identified {
    Identified::for_tests(id, 0, NOW + 86_400)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The header and the claims of a token, read as an upstream would: the key is looked up by `kid` in the JWK set. The
/// error is a signature that does not verify.
fn read(token: &HeaderValue, jwks: &str) -> Result<(Value, Value), Unspecified> {
    let parts: Vec<&str> = token.to_str().unwrap().split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{token:?} is not in three parts")
    };
    let parsed: Value = serde_json::from_slice(&decode(header)).unwrap();
    let set: Value = serde_json::from_str(jwks).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == parsed["kid"]).unwrap();
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(format!("{header}.{claims}").as_bytes(), &decode(signature))?;
    Ok((parsed, serde_json::from_slice(&decode(claims)).unwrap()))
}

fn verified(token: &HeaderValue, jwks: &str) -> (Value, Value) {
    read(token, jwks).expect("the signature verifies with the published key")
}

#[test]
fn a_token_says_who_the_device_is_and_verifies_with_the_published_key() {
    let signer = signer();
    let device = device("device-000007");
    let token = signer.token(&device, Some("plant-7"), NOW).unwrap();
    let (header, claims) = verified(token.value(), &jwks(&[&signer]));
    assert_eq!(
        header,
        json!({"alg": "ES256", "typ": "JWT", "kid": signer.key_id()})
    );
    assert_eq!(
        claims,
        json!({
            "iss": "https://gateway.example",
            "aud": "telemetry",
            "sub": "device-000007",
            "trust_domain": "plant-7",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 300,
            "cnf": {"x5t#S256": URL_SAFE_NO_PAD.encode([0xab; 32])},
        })
    );
    assert_eq!(token.expires(), NOW + 300);
    assert!(token.value().is_sensitive());
}

#[test]
fn claims_that_are_not_configured_are_left_out() {
    let audience = None;
    let settings = TokenSettings {
        audience,
        ..settings()
    };
    let signer = Signer::new(&new_key(), settings).unwrap();
    let token = signer.token(&device("a"), None, NOW).unwrap();
    let (_, claims) = verified(token.value(), &jwks(&[&signer]));
    assert_eq!(claims.get("aud"), None);
    assert_eq!(claims.get("trust_domain"), None);
}

#[test]
fn a_changed_token_does_not_verify() {
    let signer = signer();
    let token = signer.token(&device("device-1"), None, NOW).unwrap();
    let text = token.value().to_str().unwrap();
    let other = signer.token(&device("device-2"), None, NOW).unwrap();
    let mut parts: Vec<&str> = text.split('.').collect();
    parts[1] = other.value().to_str().unwrap().split('.').nth(1).unwrap();
    let forged = HeaderValue::try_from(parts.join(".")).unwrap();
    assert_eq!(read(&forged, &jwks(&[&signer])), Err(Unspecified));
}

#[test]
fn an_odd_device_id_stays_one_string() {
    let signer = signer();
    for id in [r#"a","admin":"1"#, r"a\", r#"\u0022"#, "</script>", "a b"] {
        let token = signer.token(&device(id), Some(id), NOW).unwrap();
        let (_, claims) = verified(token.value(), &jwks(&[&signer]));
        assert_eq!(claims["sub"], id);
        assert_eq!(claims["trust_domain"], id);
        assert_eq!(claims.get("admin"), None);
    }
}

#[test]
fn a_token_never_outlives_the_chain() {
    let signer = signer();
    let expires = |not_after| {
        let device = Identified::for_tests("device-1", 0, not_after);
        signer
            .token(&device, None, NOW)
            .map(|token| token.expires())
    };
    assert_eq!(expires(NOW + 299), Ok(NOW + 299));
    assert_eq!(expires(NOW + 300), Ok(NOW + 300));
    assert_eq!(expires(NOW + 301), Ok(NOW + 300));
    assert_eq!(expires(NOW + 1), Ok(NOW + 1));
    assert_eq!(expires(NOW), Err(Unsigned::ChainEnds));
    assert_eq!(expires(NOW - 1), Err(Unsigned::ChainEnds));
    assert_eq!(expires(u64::MAX), Ok(NOW + 300));
}

#[test]
fn a_connection_signs_anew_when_half_of_the_life_is_over() {
    let signer = signer();
    let device = device("device-1");
    let cache = TokenCache::default();
    let at = |now| cache.token(&signer, &device, None, now).unwrap();
    let first = at(NOW);
    assert_eq!(at(NOW + 150), first);
    let second = at(NOW + 151);
    assert_ne!(second, first);
    assert_eq!(at(NOW + 300), second);
    assert_ne!(at(NOW + 150), second, "the clock was set back");
}

#[test]
fn a_chain_near_its_end_costs_few_signatures() {
    let signer = signer();
    let device = Identified::for_tests("device-1", 0, NOW + 256);
    let cache = TokenCache::default();
    let mut tokens: Vec<HeaderValue> = (NOW..NOW + 256)
        .map(|now| cache.token(&signer, &device, None, now).unwrap())
        .collect();
    tokens.dedup();
    assert!(tokens.len() <= 9, "{} signatures", tokens.len());
    assert_eq!(
        cache.token(&signer, &device, None, NOW + 256),
        Err(Unsigned::ChainEnds)
    );
}

#[test]
fn a_new_signer_takes_over_at_once() {
    let (old, new) = (signer(), signer());
    let device = device("device-1");
    let cache = TokenCache::default();
    let first = cache.token(&old, &device, None, NOW).unwrap();
    let second = cache.token(&new, &device, None, NOW).unwrap();
    let published = jwks(&[&new, &old]);
    assert_eq!(verified(&first, &published).0["kid"], old.key_id());
    assert_eq!(verified(&second, &published).0["kid"], new.key_id());
    let retired = Arc::downgrade(&old);
    drop(old);
    assert!(retired.upgrade().is_none(), "the cache keeps no key");
}

#[test]
fn the_key_set_publishes_each_key_once_and_no_private_part() {
    let (old, new) = (signer(), signer());
    let set: Value = serde_json::from_str(&jwks(&[&new, &old, &new])).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for (key, signer) in keys.iter().zip([&new, &old]) {
        let names: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(key["kid"], signer.key_id());
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("ES256")));
    }
    assert_eq!(jwks(&[]), r#"{"keys":[]}"#);
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    // RFC 7638, 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF\
             V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0\
             zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF\
             Cur-kEgU8awapJzKnqDKgw";
    assert_eq!(
        thumbprint(&[("n", n), ("kty", "RSA"), ("e", "AQAB")]),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    // RFC 9449, 4.1 and 6.1: a P-256 key and its thumbprint.
    assert_eq!(
        thumbprint(&[
            ("kty", "EC"),
            ("crv", "P-256"),
            ("x", "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
            ("y", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
        ]),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    );
}

#[test]
fn a_key_is_taken_in_every_usual_form() {
    let pkcs8 = new_key();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8).unwrap();
    let sec1 = pair.private_key().as_der().unwrap().as_ref().to_vec();
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes()
    };
    let forms = [
        pem("PRIVATE KEY", &pkcs8),
        pem("EC PRIVATE KEY", &sec1),
        sec1,
        pkcs8,
    ];
    let ids: Vec<String> = forms
        .iter()
        .map(|form| Signer::new(form, settings()).unwrap().key_id().to_owned())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn other_keys_are_refused() {
    let refused = |key: &[u8]| Signer::new(key, settings()).unwrap_err();
    let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new())
        .unwrap();
    assert!(matches!(refused(p384.as_ref()), TokenError::NotP256(_)));
    let ed25519 = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let ed25519 = ed25519.unwrap();
    assert!(matches!(refused(ed25519.as_ref()), TokenError::NotP256(_)));
    let key = new_key();
    for cut in 1..key.len() {
        refused(&key[..cut]);
    }
    for text in ["", "not a key", "-----BEGIN PRIVATE KEY-----\n!\n", "0"] {
        assert!(
            matches!(refused(text.as_bytes()), TokenError::NotAKey(_)),
            "{text:?}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let with = |change: &dyn Fn(&mut TokenSettings)| {
        let mut settings = settings();
        change(&mut settings);
        settings.check()
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|it| it.lifetime = MAX_LIFETIME), Ok(()));
    for lifetime in [0, MAX_LIFETIME + 1] {
        let refused = Err(TokenError::Lifetime(lifetime));
        assert_eq!(with(&|it| it.lifetime = lifetime), refused);
    }
    assert_eq!(with(&|it| it.issuer.clear()), Err(TokenError::Issuer));
    let empty = with(&|it| it.audience = Some(String::new()));
    assert_eq!(empty, Err(TokenError::Audience));
    for name in [
        "host",
        "content-length",
        "content_length",
        "connection",
        "te",
        "cookie",
        "x-device-id",
        "x_device_id",
    ] {
        let name = HeaderName::from_static(name);
        let refused = Err(TokenError::Header(name.clone()));
        assert_eq!(with(&|it| it.header = name.clone()), refused);
    }
}
