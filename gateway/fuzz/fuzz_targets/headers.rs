//! Any request head through what stands between a device and an upstream: no identity but ours gets through, and nothing
//! else that should get through is lost.

#![no_main]

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use gateway::authorize::{Permit, Policy, Revocation, Standing, authorize, authorize_anonymous};
use gateway::headers::token::TokenSettings;
use gateway::headers::{PeerHeaders, Settings, TokenField, check_head, rewrite_request};
use gateway::identity::{Identified, Rule};
use gateway::verify::{PresentedChain, Rules, VerifiedChain};
use gateway_fuzz::pki;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::CertificateDer;

/// What only the gateway may say.
const VOUCHED: [&str; 10] = [
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
];

/// What concerns one hop only.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "http2-settings",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

const OTHERS: [&str; 8] = [
    "host",
    "content-length",
    "cookie",
    "accept",
    "x-device-token",
    "device-token",
    "content-type",
    "x",
];

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    version: u8,
    target: &'a str,
    fields: Vec<(Name<'a>, Value<'a>)>,
    token: Option<(Name<'a>, bool)>,
    anonymous: bool,
    settings: [bool; 2],
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    /// A name that means something, with another character for those of its hyphens that the bits say.
    Known(u8, u8, bool),
    Any(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    /// Another field's name, as Connection has them.
    Names(Vec<Name<'a>>),
    Chunked,
    Any(&'a [u8]),
}

impl Name<'_> {
    fn text(&self) -> Vec<u8> {
        match self {
            Self::Any(bytes) => bytes.to_vec(),
            Self::Known(which, others, dot) => {
                let mut known = VOUCHED.iter().chain(&HOP_BY_HOP).chain(&OTHERS).cycle();
                let name = known.nth(usize::from(*which)).expect("a cycle has no end");
                let mut hyphens = 0;
                let spell = |byte| {
                    hyphens += u32::from(byte == b'-');
                    let folded = byte == b'-' && others >> (hyphens - 1) & 1 == 1;
                    match (folded, dot) {
                        (false, _) => byte,
                        (true, false) => b'_',
                        (true, true) => b'.',
                    }
                };
                name.bytes().map(spell).collect()
            }
        }
    }

    fn parse(&self) -> Option<HeaderName> {
        HeaderName::from_bytes(&self.text()).ok()
    }
}

impl Value<'_> {
    fn parse(&self) -> Option<HeaderValue> {
        let bytes = match self {
            Self::Any(bytes) => bytes.to_vec(),
            Self::Chunked => b"chunked".to_vec(),
            Self::Names(names) => names
                .iter()
                .map(Name::text)
                .collect::<Vec<_>>()
                .join(&b", "[..]),
        };
        HeaderValue::from_bytes(&bytes).ok()
    }
}

fn permits(settings: Settings) -> [Permit; 2] {
    let material = pki::material(Rules::default());
    let device = CertificateDer::from(pki::devices().remove(4));
    let presented = PresentedChain {
        end_entity: &device,
        intermediates: &[],
    };
    let chain = VerifiedChain::verify(&material, presented, pki::NOW).expect("a good chain");
    let device = Identified::from_chain(&chain, &Rule::default(), settings).expect("a device");
    let standing = Standing {
        anchor_is_trusted: true,
        revocation: Revocation::Good,
        responder: Revocation::Good,
    };
    let permit = authorize(&Policy::default(), &Arc::new(device), standing, pki::NOW);
    [
        permit.expect("a device that is permitted"),
        authorize_anonymous(true).expect("anybody is permitted"),
    ]
}

fn settings(bits: [bool; 2]) -> Settings {
    Settings {
        client_cert_chain: bits[0],
        forwarded: bits[1],
    }
}

static PERMITS: LazyLock<[[Permit; 2]; 4]> = LazyLock::new(|| {
    [[false, false], [false, true], [true, false], [true, true]].map(|bits| permits(settings(bits)))
});

/// As an upstream may take `name`: whatever is neither letter nor digit for a hyphen.
fn folded(name: &HeaderName) -> String {
    name.as_str()
        .replace(|each: char| !each.is_ascii_alphanumeric(), "-")
}

fuzz_target!(|input: Input<'_>| {
    let version =
        [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(input.version % 3)];
    let uri: Uri = input.target.parse().unwrap_or_default();
    let mut inbound = HeaderMap::new();
    for (name, value) in &input.fields {
        if let (Some(name), Some(value)) = (name.parse(), value.parse()) {
            inbound.append(name, value);
        }
    }
    let signed = HeaderValue::from_static("signed by the gateway");
    let token = input.token.as_ref().and_then(|(name, is_signed)| {
        let header = name.parse()?;
        let settings = TokenSettings {
            header: header.clone(),
            issuer: "fleetgate".to_owned(),
            audience: None,
            lifetime: 300,
        };
        settings.check().ok()?;
        Some((header, is_signed.then_some(&signed)))
    });
    let token = token.as_ref().map(|(name, value)| TokenField {
        name,
        value: *value,
    });
    let of_settings = usize::from(input.settings[0]) * 2 + usize::from(input.settings[1]);
    let permit = &PERMITS[of_settings][usize::from(input.anonymous)];
    let peer = PeerHeaders::prepare(
        "192.0.2.7:999".parse().expect("an address"),
        settings(input.settings),
    );

    let checked = check_head(version, &uri, &inbound);
    if let Ok(host) = &checked {
        assert!(inbound.get_all(HOST).iter().count() <= 1);
        assert!(inbound.get_all(CONTENT_LENGTH).iter().count() <= 1);
        assert!(!inbound.contains_key(CONTENT_LENGTH) || !inbound.contains_key(TRANSFER_ENCODING));
        match host {
            Some(host) => assert!(!host.as_bytes().contains(&b'@')),
            None => assert_eq!(version, Version::HTTP_10),
        }
    }
    let host = checked.ok().flatten();

    let mut ours = HeaderMap::new();
    rewrite_request(&mut ours, host.clone(), permit, &peer, token);
    let mut outbound = inbound.clone();
    rewrite_request(&mut outbound, host.clone(), permit, &peer, token);

    let all = |headers: &HeaderMap, name: &HeaderName| -> Vec<HeaderValue> {
        headers.get_all(name).iter().cloned().collect()
    };
    let only_ours = |name: &HeaderName| {
        let name = folded(name);
        VOUCHED.contains(&name.as_str()) || token.is_some_and(|token| name == folded(token.name))
    };
    let named: HashSet<HeaderName> = inbound
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| name != CONTENT_LENGTH && name != HOST)
        .collect();
    for name in outbound.keys() {
        if only_ours(name) {
            assert_eq!(all(&outbound, name), all(&ours, name), "{name} was forged");
        }
        assert!(!HOP_BY_HOP.contains(&name.as_str()), "{name} is of one hop");
        assert!(
            !named.contains(name) || ours.contains_key(name),
            "{name} was named by Connection"
        );
        if folded(name) != name.as_str() {
            let name = folded(name);
            assert!(!["content-length", "transfer-encoding", "host"].contains(&name.as_str()));
        }
    }
    for name in ours.keys() {
        assert_eq!(all(&outbound, name), all(&ours, name), "{name} is not ours");
    }
    assert!(all(&outbound, &COOKIE).len() <= 1);
    if host.is_some() {
        assert_eq!(outbound.get(HOST), host.as_ref());
    }
    // What is none of the gateway's business goes through as it came.
    for name in inbound.keys() {
        let concerns_us = only_ours(name)
            || HOP_BY_HOP.contains(&name.as_str())
            || named.contains(name)
            || ["content-length", "transfer-encoding", "host"].contains(&folded(name).as_str())
            || [COOKIE, EXPECT].contains(name);
        if !concerns_us {
            assert_eq!(all(&outbound, name), all(&inbound, name), "{name} changed");
        }
    }
});
