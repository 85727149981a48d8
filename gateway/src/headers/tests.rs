use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version};

use super::{
    Malformed, PeerHeaders, Settings, TokenField, check_head, forwarded_client_cert, quoted,
    remove_hop_by_hop, rewrite_request,
};
use crate::authorize::{Policy, Revocation, Standing, authorize};
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
