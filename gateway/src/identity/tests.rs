use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::test_runner::RngSeed;
use rcgen::string::{BmpString, Ia5String, TeletexString};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType, SerialNumber,
};

use super::names::{check_device_id, read};
use super::{IdentityError, Pattern, Rule, Source, hex};

/// A certificate with the given names.
struct Spec {
    common_names: Vec<DnValue>,
    alternative: Vec<SanType>,
    serial: Vec<u8>,
}

impl Spec {
    fn new() -> Self {
        Self {
            common_names: Vec::new(),
            alternative: Vec::new(),
            serial: vec![1],
        }
    }

    fn named(name: &str) -> Self {
        Self {
            common_names: vec![DnValue::Utf8String(name.to_owned())],
            ..Self::new()
        }
    }

    fn uris(uris: &[&str]) -> Self {
        Self {
            alternative: uris.iter().map(|uri| SanType::URI(ia5(uri))).collect(),
            ..Self::new()
        }
    }

    fn dns(names: &[&str]) -> Self {
        Self {
            alternative: names
                .iter()
                .map(|name| SanType::DnsName(ia5(name)))
                .collect(),
            ..Self::new()
        }
    }

    fn der(&self) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (place, name) in self.common_names.iter().enumerate() {
            // rcgen holds one value for a type; a second one goes under another and is renamed in the encoding.
            let kind = match place {
                0 => DnType::CommonName,
                _ => DnType::LocalityName,
            };
            params.distinguished_name.push(kind, name.clone());
        }
        params.subject_alt_names = self.alternative.clone();
        params.serial_number = Some(SerialNumber::from(self.serial.clone()));
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut der = params.self_signed(&key).unwrap().der().to_vec();
        for at in 0..der.len() - 2 {
            if der[at..at + 3] == [0x55, 0x04, 0x07] {
                der[at + 2] = 0x03;
            }
        }
        der
    }

    fn id(&self, source: Source, pattern: Option<&str>) -> Result<String, IdentityError> {
        id_in(&self.der(), source, pattern)
    }
}

fn ia5(text: &str) -> Ia5String {
    Ia5String::try_from(text).unwrap()
}

fn rule(source: Source, pattern: Option<&str>) -> Rule {
    Rule {
        source,
        pattern: pattern.map(|pattern| Pattern::new(pattern).unwrap()),
    }
}

fn id_in(der: &[u8], source: Source, pattern: Option<&str>) -> Result<String, IdentityError> {
    read(der, &[0xab; 32], &rule(source, pattern)).map(|names| names.device_id)
}

fn ok(id: &str) -> Result<String, IdentityError> {
    Ok(id.to_owned())
}

#[test]
fn ordinary_ids_are_accepted() {
    for id in ["device-000042", "sensor 7", "a", "spiffe://plant/7"] {
        assert_eq!(check_device_id(id), Ok(()), "{id}");
    }
}

#[test]
fn odd_ids_are_refused_by_name() {
    assert_eq!(check_device_id(""), Err(IdentityError::Absent));
    assert_eq!(
        check_device_id(&"x".repeat(257)),
        Err(IdentityError::TooLong)
    );
    for id in [" a", "a ", "a\r\nX-Device-Id: b", "dévice", "a\0b"] {
        assert_eq!(
            check_device_id(id),
            Err(IdentityError::IllEncoded),
            "{id:?}"
        );
    }
}

#[test]
fn hex_is_lower_case() {
    assert_eq!(hex(&[0, 0xAB, 0x0f]), "00ab0f");
}

#[test]
fn the_common_name_is_the_id_unless_said_otherwise() {
    let source = Rule::default().source;
    assert_eq!(Spec::named("press-7").id(source, None), ok("press-7"));
    assert_eq!(Spec::new().id(source, None), Err(IdentityError::Absent));
    let two = Spec {
        common_names: vec![
            DnValue::Utf8String("press-7".to_owned()),
            DnValue::Utf8String("press-8".to_owned()),
        ],
        ..Spec::new()
    };
    assert_eq!(two.id(source, None), Err(IdentityError::Ambiguous));
}

#[test]
fn a_common_name_that_does_not_match_is_refused() {
    let id = |name| Spec::named(name).id(Source::CommonName, Some("press-(?P<id>[0-9]+)"));
    assert_eq!(id("press-7"), ok("7"));
    for name in ["press-", "xpress-7", "press-7 "] {
        assert_eq!(id(name), Err(IdentityError::PatternMismatch), "{name:?}");
    }
}

#[test]
fn what_a_pattern_lets_through_is_still_checked() {
    let id = |name| Spec::named(name).id(Source::CommonName, Some("(?s)(?P<id>[a-z]+).*"));
    assert_eq!(id("press"), ok("press"));
    for name in ["press\0x", "press\nX: y", "presé"] {
        assert_eq!(id(name), Err(IdentityError::IllEncoded), "{name:?}");
    }
    assert_eq!(
        Spec::named("x").id(Source::CommonName, Some("x(?P<id>)")),
        Err(IdentityError::Absent)
    );
    assert_eq!(
        Spec::named(&"x".repeat(2049)).id(Source::CommonName, Some("x(?P<id>x)x*")),
        Err(IdentityError::TooLong)
    );
}

#[test]
fn encodings_that_need_guessing_are_refused() {
    for name in [
        DnValue::BmpString(BmpString::try_from("press-7").unwrap()),
        DnValue::TeletexString(TeletexString::try_from("press-7").unwrap()),
    ] {
        let spec = Spec {
            common_names: vec![name],
            ..Spec::new()
        };
        assert_eq!(
            spec.id(Source::CommonName, None),
            Err(IdentityError::IllEncoded)
        );
    }
}

#[test]
fn exactly_one_uri_must_be_left() {
    let source = Source::SanUri;
    let spec = Spec::uris(&["urn:device:7", "https://plant.example/"]);
    assert_eq!(spec.id(source, None), Err(IdentityError::Ambiguous));
    assert_eq!(spec.id(source, Some("urn:device:(?P<id>.+)")), ok("7"));
    assert_eq!(
        spec.id(source, Some("urn:sensor:.+")),
        Err(IdentityError::Absent)
    );
    assert_eq!(spec.id(source, Some(".+")), Err(IdentityError::Ambiguous));
    assert_eq!(
        Spec::named("press-7").id(source, None),
        Err(IdentityError::Absent)
    );
}

#[test]
fn spiffe_ids_are_held_to_their_own_rules() {
    let source = Source::SanUri;
    let good = "spiffe://plant-7.example/press/7";
    assert_eq!(Spec::uris(&[good]).id(source, None), ok(good));
    for uri in [
        "spiffe://Plant/press",
        "SPIFFE://plant/press",
        "spiffe://plant/../x",
    ] {
        let spec = Spec::uris(&[uri]);
        assert_eq!(spec.id(source, None), Err(IdentityError::InvalidSpiffeId));
        // A malformed one is no reason to look for another.
        let spec = Spec::uris(&["urn:device:7", uri]);
        assert_eq!(
            spec.id(source, Some("urn:.*")),
            Err(IdentityError::InvalidSpiffeId)
        );
    }
}

#[test]
fn dns_names_are_folded_and_wildcards_refused() {
    let source = Source::SanDns;
    assert_eq!(
        Spec::dns(&["Press-7.Plant.example"]).id(source, None),
        ok("press-7.plant.example")
    );
    assert_eq!(
        Spec::dns(&["*.plant.example"]).id(source, None),
        Err(IdentityError::IllEncoded)
    );
    assert_eq!(
        Spec::dns(&["a.example", "b.example"]).id(source, None),
        Err(IdentityError::Ambiguous)
    );
    assert_eq!(
        Spec::dns(&["a.example", "b.test"]).id(source, Some(r"(?P<id>[a-z]+)\.test")),
        ok("b")
    );
}

#[test]
fn a_serial_number_has_one_spelling() {
    let id = |serial: &[u8]| {
        let spec = Spec {
            serial: serial.to_vec(),
            ..Spec::named("x")
        };
        spec.id(Source::Serial, None)
    };
    assert_eq!(id(&[0x0a, 0xBC]), ok("0abc"));
    assert_eq!(id(&[0x00, 0x8f, 0x01]), ok("8f01"), "no leading zero byte");
    let negative = Spec::named("x").der();
    let at = negative
        .windows(3)
        .position(|bytes| bytes == [0x02, 0x01, 0x01])
        .unwrap();
    let mut negative = negative;
    negative[at + 2] = 0xff;
    assert_eq!(
        id_in(&negative, Source::Serial, None),
        Err(IdentityError::IllEncoded)
    );
}

#[test]
fn a_fingerprint_is_hex_and_may_be_matched_too() {
    let spec = Spec::named("x");
    assert_eq!(spec.id(Source::Fingerprint, None), ok(&"ab".repeat(32)));
    assert_eq!(
        spec.id(Source::Fingerprint, Some("(?P<id>.{8}).*")),
        ok("abababab")
    );
    assert_eq!(
        spec.id(Source::Fingerprint, Some("00.*")),
        Err(IdentityError::PatternMismatch)
    );
}

fn sources() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::CommonName),
        Just(Source::SanUri),
        Just(Source::SanDns),
        Just(Source::Serial),
        Just(Source::Fingerprint),
    ]
}

fn patterns() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("(?s).*")),
        Just(Some("(?s)(?P<id>.{0,4}).*")),
    ]
}

/// Whether a device id goes into a header and a log line as it is.
fn is_header_safe(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= super::MAX_DEVICE_ID
        && id.trim() == id
        && http::HeaderValue::from_str(id).is_ok_and(|value| value.to_str().is_ok())
}

/// The same cases every time, and no file beside the sources when one fails.
fn configuration() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn any_bytes_are_survived(
        der in proptest::collection::vec(any::<u8>(), 0..300),
        source in sources(),
    ) {
        let id = id_in(&der, source, None);
        prop_assert!(id.is_err() || is_header_safe(&id.unwrap()));
    }

    #[test]
    fn damaged_certificates_give_a_safe_id_or_none(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        source in sources(),
        pattern in patterns(),
    ) {
        let mut spec = Spec::uris(&["spiffe://plant/press/7", "urn:x:y"]);
        spec.common_names = Spec::named("press-7").common_names;
        spec.alternative.push(SanType::DnsName(ia5("press-7.plant.example")));
        let mut der = spec.der();
        for (place, byte) in damage {
            let place = place.index(der.len());
            der[place] = byte;
        }
        let id = id_in(&der, source, pattern);
        prop_assert!(id.is_err() || is_header_safe(&id.unwrap()));
    }

    #[test]
    fn arbitrary_names_give_a_safe_id_or_none(
        name in "\\PC{0,12}|[ -~]{0,300}|(?s).{0,8}",
        source in sources(),
        pattern in patterns(),
    ) {
        let mut spec = Spec::named(&name);
        if let Ok(text) = Ia5String::try_from(name.as_str()) {
            spec.alternative = vec![SanType::URI(text.clone()), SanType::DnsName(text)];
        }
        let id = spec.id(source, pattern);
        prop_assert!(id.is_err() || is_header_safe(&id.unwrap()));
    }
}
