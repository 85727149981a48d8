//! Wall time of the small decisions of a handshake: which trust domain a server name belongs to, and who a verified chain's
//! device is, by rule. `METHODOLOGY.md` says what each means.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should panic"
)]
#![allow(
    missing_docs,
    reason = "criterion's macros make public items without any"
)]

use std::hint::black_box;

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec, SubjectAltName};
use criterion::{Criterion, criterion_group, criterion_main};
use gateway::headers;
use gateway::identity::{Identified, Pattern, Rule, Source};
use gateway::trust::names::{NamePattern, Names};
use gateway::verify::{AuthorityCertificate, PresentedChain, Rules, TrustMaterial, VerifiedChain};
use rustls::pki_types::CertificateDer;

/// A device's chain, as every verification leaves it.
fn verified_chain() -> VerifiedChain {
    let anchor = Authority::trust_anchor(&AuthoritySpec::new("anchor")).unwrap();
    let issuer = anchor.intermediate(&AuthoritySpec::new("issuer")).unwrap();
    let mut spec = EndEntitySpec::device("device-000001");
    spec.subject_alt_names = vec![
        SubjectAltName::Uri("urn:plant:device-000001:2026".to_owned()),
        SubjectAltName::Dns("device-000001.plant.example".to_owned()),
    ];
    let chain: Vec<_> = issuer.issue(&spec).unwrap().chain;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let (end_entity, intermediates) = chain.split_first().unwrap();
    let presented = PresentedChain {
        end_entity,
        intermediates,
    };
    let der = CertificateDer::from(anchor.certificate_der().to_vec());
    let anchor = AuthorityCertificate::anchor(&der, &Rules::default()).unwrap();
    let material = TrustMaterial::new(vec![anchor], Vec::new(), Rules::default());
    VerifiedChain::verify(&material, presented, gateway::clock::unix_seconds()).unwrap()
}

fn identities(criterion: &mut Criterion) {
    let chain = verified_chain();
    let rule = |source, pattern: Option<&str>| Rule {
        source,
        pattern: pattern.map(|pattern| Pattern::new(pattern).unwrap()),
    };
    let urn = Some("urn:plant:(?P<id>[a-z0-9-]+):.*");
    let rules = [
        ("common_name", rule(Source::CommonName, None)),
        ("san_uri", rule(Source::SanUri, None)),
        ("san_uri/pattern", rule(Source::SanUri, urn)),
        ("san_dns", rule(Source::SanDns, None)),
        ("serial", rule(Source::Serial, None)),
        ("fingerprint", rule(Source::Fingerprint, None)),
    ];
    let mut group = criterion.benchmark_group("identity");
    for (name, rule) in rules {
        let identify =
            || Identified::from_chain(black_box(&chain), &rule, headers::Settings::default());
        let id = identify().unwrap().device_id().to_owned();
        let expected = match name {
            "common_name" | "san_uri/pattern" => "device-000001".to_owned(),
            "san_uri" => "urn:plant:device-000001:2026".to_owned(),
            "san_dns" => "device-000001.plant.example".to_owned(),
            "fingerprint" => gateway::identity::hex(identify().unwrap().fingerprint()),
            _ => identify().unwrap().serial().replace(':', ""),
        };
        assert_eq!(id, expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| identify().unwrap()));
    }
    group.finish();
}

/// A hundred trust domains, each with a name of its own and a wildcard.
fn server_names(criterion: &mut Criterion) {
    let patterns: Vec<(usize, NamePattern)> = (1..=100)
        .flat_map(|domain| {
            [
                format!("gate.plant-{domain}.example"),
                format!("*.plant-{domain}.example"),
            ]
            .map(|name| (domain, name.parse().unwrap()))
        })
        .collect();
    let names = Names::new(patterns.iter().map(|(domain, name)| (*domain, name)));
    let mut group = criterion.benchmark_group("server_name");
    for (case, name, domain) in [
        ("exact", Some("gate.plant-42.example"), 42),
        ("wildcard", Some("press.plant-42.example"), 42),
        ("upper_case", Some("GATE.PLANT-42.EXAMPLE"), 42),
        ("unknown", Some("gate.elsewhere.example"), 0),
        ("none", None, 0),
    ] {
        assert_eq!(names.lookup(name), domain, "{case}");
        group.bench_function(case, |bencher| {
            bencher.iter(|| names.lookup(black_box(name)))
        });
    }
    group.finish();
}

criterion_group!(benches, identities, server_names);
criterion_main!(benches);
