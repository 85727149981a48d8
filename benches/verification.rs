//! Wall time of what a device's certificate costs: the chain verified in full, by key type and depth; the chain known to the
//! cache; a ticket sealed and opened. `METHODOLOGY.md` says what each means.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should panic"
)]
#![allow(
    missing_docs,
    reason = "criterion's macros make public items without any"
)]

use std::hint::black_box;
use std::sync::Arc;

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::key::KeyKind;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::authorize::Policy;
use gateway::identity::Rule;
use gateway::ocsp::Mode;
use gateway::tls::stek::{Secret, TicketKeys};
use gateway::trust::{self, CacheResult, ClientAuth, DeviceCache, TrustDomain};
use gateway::verify::{self, AuthorityCertificate, PresentedChain, Rules, TrustMaterial};
use rustls::pki_types::CertificateDer;

const LIMITS: verify::Settings = verify::Settings {
    max_certificates: 10,
    max_bytes: 32 * 1024,
};

/// A chain as a device presents it, and the domain that trusts its anchor.
struct Fixture {
    chain: Vec<CertificateDer<'static>>,
    domain: TrustDomain,
}

impl Fixture {
    /// A chain of `depth` intermediates, all keys of `kind`, before a cache of `capacity` chains.
    fn new(kind: KeyKind, depth: usize, capacity: usize) -> Self {
        let spec = |name: &str| AuthoritySpec {
            key: kind,
            ..AuthoritySpec::new(name)
        };
        let anchor = Authority::trust_anchor(&spec("anchor")).unwrap();
        let anchors = vec![trust_anchor(&anchor)];
        let issuer = (0..depth).fold(anchor, |issuer, level| {
            issuer
                .intermediate(&spec(&format!("intermediate {level}")))
                .unwrap()
        });
        let device = issuer
            .issue(&EndEntitySpec {
                key: kind,
                ..EndEntitySpec::device("device-000001")
            })
            .unwrap();
        let chain = device
            .chain
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect();
        let settings = trust::Settings {
            name: "bench".into(),
            server_names: Vec::new(),
            client_auth: ClientAuth::Required,
            limits: LIMITS,
            rules: Rules::default(),
            identity: Rule::default(),
            headers: gateway::headers::Settings::default(),
            policy: Policy::default(),
            revocation: trust::revocation::Policy::default(),
            ocsp: Mode::Off,
        };
        let cache = Arc::new(DeviceCache::new(capacity));
        let domain = TrustDomain::new(
            settings,
            TrustMaterial::new(anchors, Vec::new(), Rules::default()),
            cache,
            trust::Sources::default(),
        );
        Self { chain, domain }
    }

    fn check(&self, now: u64) -> CacheResult {
        let (end_entity, intermediates) = self.chain.split_first().unwrap();
        let known = self
            .domain
            .check(
                PresentedChain {
                    end_entity,
                    intermediates,
                },
                now,
            )
            .unwrap();
        assert_eq!(known.device.device_id(), "device-000001");
        known.lookup
    }
}

fn trust_anchor(anchor: &Authority) -> AuthorityCertificate {
    let der = CertificateDer::from(anchor.certificate_der());
    AuthorityCertificate::anchor(&der, &Rules::default()).unwrap()
}

fn chains(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let mut group = criterion.benchmark_group("chain");
    let kinds = [
        ("p256", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("ed25519", KeyKind::Ed25519),
        ("rsa2048", KeyKind::Rsa2048),
    ];
    for (name, kind) in kinds {
        for depth in [1, 2] {
            let fixture = Fixture::new(kind, depth, 0);
            assert_eq!(fixture.check(now), CacheResult::Miss);
            group.bench_function(BenchmarkId::new(format!("cold/{name}"), depth), |bencher| {
                bencher.iter(|| fixture.check(black_box(now)));
            });
        }
    }
    let fixture = Fixture::new(KeyKind::P256, 1, 16);
    assert_eq!(fixture.check(now), CacheResult::Miss);
    assert_eq!(fixture.check(now), CacheResult::Hit);
    group.bench_function("cached/p256/1", |bencher| {
        bencher.iter(|| fixture.check(black_box(now)))
    });
    group.finish();
}

fn tickets(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let keys = TicketKeys::new(Secret::generate().unwrap(), [7; 32], 12 * 60 * 60, now).unwrap();
    // As large as a TLS 1.3 session value with a chain of two P-256 certificates.
    let contents = vec![0x5a; 1_150];
    let ticket = keys.seal(&contents, now).unwrap();
    assert_eq!(keys.open(&ticket, now).unwrap(), contents);
    let mut group = criterion.benchmark_group("ticket");
    group.bench_function("seal", |bencher| {
        bencher.iter(|| keys.seal(black_box(&contents), now).unwrap())
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| keys.open(black_box(&ticket), now).unwrap())
    });
    group.finish();
}

criterion_group!(benches, chains, tickets);
criterion_main!(benches);
