use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Uri, Version};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::{
    Malformed, PeerHeaders, Settings, TokenField, check_head, forwarded_client_cert, quoted,
    remove_hop_by_hop, rewrite_request,
};
use crate::authorize::{Permit, Policy, Revocation, Standing, authorize, authorize_anonymous};
use crate::identity::Identified;

const GOOD: Standing = Standing {
    anchor_is_trusted: true,
    revocation: Revocation::Good,
    responder: Revocation::Good,
};

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

fn head(
    version: Version,
    uri: &str,
    pairs: &[(&str, &str)],
) -> Result<Option<HeaderValue>, Malformed> {
    check_head(version, &uri.parse::<Uri>().unwrap(), &headers(pairs))
}

#[test]
fn one_host_is_needed() {
    let http11 = Version::HTTP_11;
    assert_eq!(
        head(http11, "/", &[("host", "a.example")])
            .unwrap()
            .unwrap(),
        "a.example"
    );
    assert_eq!(head(http11, "/", &[]), Err(Malformed::Host));
    assert_eq!(
        head(http11, "/", &[("host", "a"), ("host", "b")]),
        Err(Malformed::Host)
    );
    assert_eq!(head(http11, "/", &[("host", "a b")]), Err(Malformed::Host));
    assert_eq!(
        head(http11, "/", &[("host", "user@a")]),
        Err(Malformed::Host)
    );
    assert_eq!(head(Version::HTTP_10, "/", &[]), Ok(None));
}

#[test]
fn the_authority_of_the_target_replaces_host() {
    let both = &[("host", "b.example")];
    assert_eq!(
        head(Version::HTTP_11, "http://a.example/x", both)
            .unwrap()
            .unwrap(),
        "a.example"
    );
    assert_eq!(
        head(Version::HTTP_2, "https://a.example/x", &[])
            .unwrap()
            .unwrap(),
        "a.example"
    );
    assert_eq!(
        head(Version::HTTP_2, "https://a.example/x", both),
        Err(Malformed::Host)
    );
}

#[test]
fn ambiguous_framing_is_refused() {
    let with = |pairs: &[(&str, &str)]| {
        let mut all = vec![("host", "a")];
        all.extend_from_slice(pairs);
        head(Version::HTTP_11, "/", &all).map(|_| ())
    };
    assert_eq!(with(&[("transfer-encoding", "chunked")]), Ok(()));
    assert_eq!(with(&[("transfer-encoding", "Chunked")]), Ok(()));
    for odd in [
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "identity",
        "",
    ] {
        assert_eq!(
            with(&[("transfer-encoding", odd)]),
            Err(Malformed::TransferEncoding),
            "{odd}"
        );
    }
    assert_eq!(
        with(&[("transfer-encoding", "chunked"), ("content-length", "3")]),
        Err(Malformed::AmbiguousLength)
    );
    assert_eq!(
        with(&[("content-length", "3"), ("content-length", "3")]),
        Err(Malformed::AmbiguousLength)
    );
    assert_eq!(
        head(Version::HTTP_10, "/", &[("transfer-encoding", "chunked")]),
        Err(Malformed::TransferEncoding)
    );
}

#[test]
fn hop_by_hop_fields_go_and_framing_stays() {
    let mut fields = headers(&[
        ("connection", "close, X-Private, content-length"),
        ("x-private", "1"),
        ("keep-alive", "5"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("content-length", "3"),
        ("accept", "*/*"),
    ]);
    remove_hop_by_hop(&mut fields);
    assert_eq!(names(&fields), ["accept", "content-length"]);
}

#[test]
fn every_inbound_copy_of_an_identity_header_is_replaced() {
    let device = Arc::new(Identified::for_tests("device-000007", 0, 10));
    let permit = authorize(&Policy::default(), &device, GOOD, 5).unwrap();
    let peer = PeerHeaders::prepare(
        "192.0.2.7:999".parse().unwrap(),
        Settings {
            client_cert_chain: false,
            forwarded: true,
        },
    );
    let mut fields = headers(&[
        ("host", "evil.example"),
        ("x-device-id", "admin"),
        ("x-device-id", "admin2"),
        ("x_device_id", "admin"),
        ("client-cert", ":AAAA:"),
        ("x-forwarded_for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("content_length", "7"),
        ("x-real-ip", "10.0.0.1"),
        ("connection", "x-device-id, x-forwarded-proto"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    rewrite_request(
        &mut fields,
        Some(HeaderValue::from_static("a.example")),
        &permit,
        &peer,
        None,
    );
    assert_eq!(
        names(&fields),
        [
            "accept",
            "forwarded",
            "host",
            "x-forwarded-for",
            "x-forwarded-proto"
        ],
        "test identities have no prepared values, and nothing inbound may survive in their place"
    );
    assert_eq!(fields[HOST], "a.example");
    assert_eq!(fields["x-forwarded-for"], "192.0.2.7");
    assert_eq!(fields["forwarded"], "for=192.0.2.7;proto=https");
}

#[test]
fn forwarded_names_ipv6_nodes_in_brackets() {
    let settings = Settings {
        client_cert_chain: false,
        forwarded: true,
    };
    let peer = PeerHeaders::prepare("[2001:db8::1]:9".parse().unwrap(), settings);
    assert_eq!(peer.forwarded.unwrap(), "for=\"[2001:db8::1]\";proto=https");
    assert_eq!(peer.forwarded_for.unwrap(), "2001:db8::1");
}

#[test]
fn the_envoy_form_quotes_what_would_break_it() {
    let device = Identified::for_tests("device-000007", 0, 10);
    let hash = "ab".repeat(32);
    assert_eq!(
        forwarded_client_cert(&device),
        format!("Hash={hash};Subject=\"CN=device-000007\";URI=urn:device:device-000007")
    );
    assert_eq!(quoted("O=\"A\\B\", é\n"), "\"O=\\\"A\\\\B\\\", %C3%A9%0A\"");
}

#[test]
fn every_inbound_copy_of_the_token_is_removed_under_its_configured_name() {
    let device = Arc::new(Identified::for_tests("device-000007", 0, 10));
    let permit = authorize(&Policy::default(), &device, GOOD, 5).unwrap();
    let peer = PeerHeaders::prepare("192.0.2.7:999".parse().unwrap(), Settings::default());
    let forged = [
        ("Device-Token", "forged"),
        ("device-token", "forged"),
        ("DEVICE_TOKEN", "forged"),
        ("connection", "device-token"),
        (
            "x-device-token",
            "the device's own: not the configured name",
        ),
    ];
    let rewritten = |token: Option<TokenField<'_>>| {
        let mut fields = headers(&forged);
        rewrite_request(&mut fields, None, &permit, &peer, token);
        fields
    };
    let name = HeaderName::from_static("device-token");
    let underscored = HeaderName::from_static("device_token");
    let value = HeaderValue::from_static("signed");
    for name in [&name, &underscored] {
        let value = Some(&value);
        let fields = rewritten(Some(TokenField { name, value }));
        assert_eq!(fields.get_all(name).iter().collect::<Vec<_>>(), ["signed"]);
        assert_eq!(fields.len(), 4, "{fields:?}");
        let value = None;
        let fields = rewritten(Some(TokenField { name, value }));
        assert_eq!(
            names(&fields),
            ["x-device-token", "x-forwarded-for", "x-forwarded-proto"]
        );
    }
    // Without tokens the names are any others; only Connection took one of the copies along.
    assert!(rewritten(None).contains_key("device_token"));
}

// Whatever a device sends

/// What only the gateway can say.
const OURS: [&str; 11] = [
    "client-cert",
    "client-cert-chain",
    "x-forwarded-client-cert",
    "x-device-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "x-device-token",
];

/// Fields that the rewriting treats in a way of their own.
const SPECIAL: [&str; 14] = [
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept",
];

/// Inbound values that are told from the gateway's own.
const INBOUND: &[u8] = b"inbound";

/// A name as a careless upstream may read it.
fn careless(name: &str) -> String {
    let fold = |character: char| match character {
        'A'..='Z' | 'a'..='z' | '0'..='9' => character.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect()
}

/// A known name in another spelling, or any name at all.
fn spellings() -> impl Strategy<Value = String> {
    let known = select([&OURS[..], &SPECIAL[..]].concat());
    let spelled = (known, "[-_.+~!]{24}", any::<u32>()).prop_map(|(name, hyphens, upper)| {
        let spell = |(at, character): (usize, char)| match character {
            '-' if upper & 1 == 1 => hyphens.as_bytes()[at % 24].into(),
            letter if upper >> (at % 32) & 1 == 1 => letter.to_ascii_uppercase(),
            letter => letter,
        };
        name.chars().enumerate().map(spell).collect()
    });
    prop_oneof![3 => spelled, 1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}"]
}

fn inbound() -> impl Strategy<Value = HeaderMap> {
    let lists = proptest::collection::vec(spellings(), 0..4)
        .prop_map(|names| names.join(", ").into_bytes());
    let marked = "[ -~]{0,8}".prop_map(|text| [INBOUND, text.as_bytes()].concat());
    let raw = proptest::collection::vec(any::<u8>(), 0..8)
        .prop_map(|bytes| [INBOUND, bytes.as_slice()].concat());
    let field = prop_oneof![
        (spellings(), prop_oneof![marked, raw]),
        (Just("connection".to_owned()), lists),
    ];
    proptest::collection::vec(field, 0..24).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = name.parse::<HeaderName>();
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) {
                headers.append(name, value);
            }
        }
        headers
    })
}

fn permits() -> impl Strategy<Value = Permit> {
    any::<bool>().prop_map(|anonymous| {
        if anonymous {
            return authorize_anonymous(true).unwrap();
        }
        let device = Arc::new(Identified::for_tests("device-000007", 0, 10));
        authorize(&Policy::default(), &device, GOOD, 5).unwrap()
    })
}

fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a HeaderValue> {
    headers.get_all(name).iter().collect()
}

/// The same cases every time, and no file beside the sources when one fails.
fn configuration() -> ProptestConfig {
    ProptestConfig {
        cases: 2048,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn nothing_inbound_passes_for_ours(
        before in inbound(),
        permit in permits(),
        forwarded in any::<bool>(),
        has_host in any::<bool>(),
        signed in any::<bool>(),
    ) {
        let settings = Settings { client_cert_chain: false, forwarded };
        let peer = PeerHeaders::prepare("192.0.2.7:999".parse().unwrap(), settings);
        let name = HeaderName::from_static("x-device-token");
        let value = HeaderValue::from_static("signed");
        let token = TokenField { name: &name, value: signed.then_some(&value) };
        let host = has_host.then(|| HeaderValue::from_static("fleet.test"));
        let mut after = before.clone();
        rewrite_request(&mut after, host, &permit, &peer, Some(token));
        for (name, value) in &after {
            let read = careless(name.as_str());
            let vouched = OURS.contains(&read.as_str());
            prop_assert!(!vouched || !value.as_bytes().starts_with(INBOUND), "{name}: {value:?}");
            prop_assert!(!vouched || read == name.as_str(), "{name} may be read as {read}");
            let framing = ["content-length", "transfer-encoding", "host"].contains(&read.as_str());
            prop_assert!(!framing || read == name.as_str(), "{name} may be read as {read}");
        }
        for name in OURS {
            prop_assert!(after.get_all(name).iter().count() <= 1, "{name} is there twice");
        }
        let expected = if has_host {
            vec![HeaderValue::from_static("fleet.test")]
        } else {
            all(&before, &HOST).into_iter().cloned().collect()
        };
        prop_assert_eq!(all(&after, &HOST), expected.iter().collect::<Vec<_>>());
        prop_assert_eq!(all(&after, &CONTENT_LENGTH), all(&before, &CONTENT_LENGTH));
    }

    #[test]
    fn connection_takes_what_it_names_and_never_the_framing(before in inbound()) {
        let mut after = before.clone();
        remove_hop_by_hop(&mut after);
        prop_assert!(!after.contains_key(CONNECTION));
        prop_assert!(!after.contains_key(TRANSFER_ENCODING), "hyper sets what fits the body");
        for name in [CONTENT_LENGTH, HOST] {
            prop_assert_eq!(all(&after, &name), all(&before, &name));
        }
        for value in before.get_all(CONNECTION) {
            for named in value.to_str().unwrap_or_default().split(',') {
                let named = named.trim().to_ascii_lowercase();
                let kept = ["content-length", "host"].contains(&named.as_str());
                prop_assert!(kept || !after.contains_key(named.as_str()), "{named}");
            }
        }
        for (name, value) in &after {
            prop_assert!(before.get_all(name).iter().any(|inbound| inbound == value));
        }
    }

    #[test]
    fn a_head_that_passes_has_one_framing_and_one_host(
        mut headers in inbound(),
        hosts in proptest::collection::vec("[a-z@:/\\[\\].0-9]{0,8}", 0..3),
        lengths in proptest::collection::vec("[0-9]{0,2}", 0..3),
        encodings in proptest::collection::vec(select(vec!["chunked", "gzip, chunked", "CHUNKED"]), 0..3),
        version in select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]),
        target in select(vec!["/", "/a?b", "http://a.example/", "http://u@a.example/", "http://[::1]:8443/"]),
    ) {
        for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        for host in &hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        for length in &lengths {
            headers.append(CONTENT_LENGTH, length.parse().unwrap());
        }
        for encoding in &encodings {
            headers.append(TRANSFER_ENCODING, encoding.parse().unwrap());
        }
        if let Ok(host) = check_head(version, &target.parse().unwrap(), &headers) {
            prop_assert!(hosts.len() <= 1 && lengths.len() + encodings.len() <= 1);
            prop_assert!(encodings.is_empty() || version == Version::HTTP_11);
            match host {
                None => prop_assert!(version == Version::HTTP_10 && hosts.is_empty()),
                Some(host) => {
                    let host = host.to_str().unwrap();
                    let authority = host.parse::<http::uri::Authority>();
                    prop_assert!(authority.is_ok_and(|authority| host.starts_with(authority.host())));
                    prop_assert!(!host.contains(['@', '%', ',', '/']), "{host}");
                }
            }
        }
    }
}
