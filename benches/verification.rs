//! Wall time of what a device's certificate costs: the chain verified in full, by key type and depth; the chain known to the
//! cache, with and without revocation lists; a ticket sealed and opened, and all that is checked of a device which comes back
//! with one. `METHODOLOGY.md` says what each means.

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
use gateway::authorize::{Policy, Revocation};
use gateway::identity::Rule;
use gateway::ocsp::Mode;
use gateway::tls::stek::{OVERHEAD, Secret, TicketKeys};
use gateway::trust::revocation::{Finding, Policy as ListPolicy, Revocations};
use gateway::trust::{
    self, CacheResult, ClientAuth, DeviceCache, KnownDevice, Sources, TrustDomain,
};
use gateway::verify::{self, AuthorityCertificate, PresentedChain, Rules, TrustMaterial};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustls::pki_types::CertificateDer;

mod list;

/// Entries of the lists that are asked about a chain: as many as the issuer of a large fleet has. How the size matters is
/// measured in `revocation.rs`.
const ENTRIES: usize = 10_000;

/// TLS 1.3 tickets by the size of their contents: one that leaves the chain to the cache, and one with a chain of two P-256
/// certificates. So long are they on the wire where `lab revocation` measures them.
const TICKETS: [(&str, usize); 2] = [
    ("compact", 141 - OVERHEAD),
    ("self_contained", 1_068 - OVERHEAD),
];

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
        let authorities = authorities(kind, depth);
        Self::of(
            &authorities,
            kind,
            capacity,
            ListPolicy::default(),
            Arc::default(),
        )
    }

    /// A chain of one intermediate, all keys P-256, where each authority has a list of so many `entries`.
    fn with_lists(entries: usize) -> Self {
        let authorities = authorities(KeyKind::P256, 1);
        let revocations = Arc::new(Revocations::default());
        let material = material(&authorities);
        let mut random = StdRng::seed_from_u64(1);
        for (number, authority) in authorities.iter().enumerate() {
            let serials: Vec<_> = (0..entries).map(|_| list::serial(&mut random)).collect();
            let url = format!("http://127.0.0.1/{number}").parse().unwrap();
            let list = list::signed(authority, &serials);
            revocations.fetched(&url, &list, &material).unwrap();
        }
        let policy = ListPolicy {
            asked: true,
            stale_grace: Some(0),
            ..ListPolicy::default()
        };
        Self::of(&authorities, KeyKind::P256, 16, policy, revocations)
    }

    fn of(
        authorities: &[Authority],
        kind: KeyKind,
        capacity: usize,
        revocation: ListPolicy,
        revocations: Arc<Revocations>,
    ) -> Self {
        let device = EndEntitySpec {
            key: kind,
            ..EndEntitySpec::device("device-000001")
        };
        let device = authorities.last().unwrap().issue(&device).unwrap();
        let chain = device.chain.into_iter().map(CertificateDer::from).collect();
        let settings = trust::Settings {
            name: "bench".into(),
            server_names: Vec::new(),
            client_auth: ClientAuth::Required,
            limits: LIMITS,
            rules: Rules::default(),
            identity: Rule::default(),
            headers: gateway::headers::Settings::default(),
            policy: Policy::default(),
            revocation,
            ocsp: Mode::Off,
        };
        let cache = Arc::new(DeviceCache::new(capacity));
        let sources = Sources {
            revocations,
            ..Sources::default()
        };
        let domain = TrustDomain::new(settings, material(authorities), cache, sources);
        Self { chain, domain }
    }

    fn check(&self, now: u64) -> KnownDevice {
        let (end_entity, intermediates) = self.chain.split_first().unwrap();
        let presented = PresentedChain {
            end_entity,
            intermediates,
        };
        self.domain.check(presented, now).unwrap()
    }
}

/// A forged device certificate under a real intermediate, which is presented once, as often as the limits allow, and far
/// more often.
fn refusals(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let mut fixture = Fixture::new(KeyKind::P256, 1, 16);
    let mut forged = fixture.chain.remove(0).to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let end_entity = CertificateDer::from(forged);
    let mut group = criterion.benchmark_group("refusal");
    for (copies, expected) in [
        (1, verify::Refusal::BadSignature),
        (9, verify::Refusal::BadSignature),
        (100, verify::Refusal::TooManyCertificates),
    ] {
        let intermediates = vec![fixture.chain.first().unwrap().clone(); copies];
        let refusal = || {
            let presented = PresentedChain {
                end_entity: &end_entity,
                intermediates: &intermediates,
            };
            fixture.domain.check(presented, black_box(now)).unwrap_err()
        };
        assert_eq!(refusal(), expected);
        group.bench_function(BenchmarkId::new("copies", copies), |bencher| {
            bencher.iter(refusal);
        });
    }
    group.finish();
}

/// A trust anchor and `depth` intermediates, each issued by the one before it.
fn authorities(kind: KeyKind, depth: usize) -> Vec<Authority> {
    let spec = |name: &str| AuthoritySpec {
        key: kind,
        ..AuthoritySpec::new(name)
    };
    let mut authorities = vec![Authority::trust_anchor(&spec("anchor")).unwrap()];
    for level in 0..depth {
        let spec = spec(&format!("intermediate {level}"));
        let next = authorities.last().unwrap().intermediate(&spec).unwrap();
        authorities.push(next);
    }
    authorities
}

fn material(authorities: &[Authority]) -> TrustMaterial {
    let rules = Rules::default();
    let der = |authority: &Authority| CertificateDer::from(authority.certificate_der().to_vec());
    let (anchor, intermediates) = authorities.split_first().unwrap();
    let anchor = AuthorityCertificate::anchor(&der(anchor), &rules).unwrap();
    let intermediates = intermediates
        .iter()
        .map(|authority| AuthorityCertificate::intermediate(&der(authority), &rules).unwrap());
    TrustMaterial::new(vec![anchor], intermediates.collect(), rules)
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
            let known = fixture.check(now);
            assert_eq!(known.lookup, CacheResult::Miss);
            assert_eq!(known.device.device_id(), "device-000001");
            group.bench_function(BenchmarkId::new(format!("cold/{name}"), depth), |bencher| {
                bencher.iter(|| fixture.check(black_box(now)));
            });
        }
    }
    let fixtures = [
        ("cached/p256/1", Fixture::new(KeyKind::P256, 1, 16), None),
        (
            "cached/p256/1/lists",
            Fixture::with_lists(ENTRIES),
            Some(Finding::Good),
        ),
    ];
    for (name, fixture, finding) in fixtures {
        assert_eq!(fixture.check(now).lookup, CacheResult::Miss);
        let known = fixture.check(now);
        assert_eq!((known.lookup, known.finding), (CacheResult::Hit, finding));
        group.bench_function(name, |bencher| {
            bencher.iter(|| fixture.check(black_box(now)))
        });
    }
    group.finish();
}

fn ticket_keys(now: u64) -> TicketKeys {
    TicketKeys::new(Secret::generate().unwrap(), [7; 32], 12 * 60 * 60, now).unwrap()
}

fn tickets(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let keys = ticket_keys(now);
    let mut group = criterion.benchmark_group("ticket");
    for (name, length) in TICKETS {
        let contents = vec![0x5a; length];
        let ticket = keys.seal(&contents, now).unwrap();
        assert_eq!(keys.open(&ticket, now).unwrap(), contents);
        group.bench_function(BenchmarkId::new("seal", name), |bencher| {
            bencher.iter(|| keys.seal(black_box(&contents), now).unwrap())
        });
        group.bench_function(BenchmarkId::new("open", name), |bencher| {
            bencher.iter(|| keys.open(black_box(&ticket), now).unwrap())
        });
    }
    group.finish();
}

/// What stands between a ticket and a permit: no signature, but everything that may have changed since the last handshake.
fn returns(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let keys = ticket_keys(now);
    let [(_, length), _] = TICKETS;
    let ticket = keys.seal(&vec![0x5a; length], now).unwrap();
    let mut group = criterion.benchmark_group("return");
    let fixtures = [
        ("no_lists", Fixture::new(KeyKind::P256, 1, 16)),
        ("lists", Fixture::with_lists(ENTRIES)),
    ];
    for (name, fixture) in fixtures {
        let chain = fixture.check(now).chain;
        let come_back = |now| {
            let contents = keys.open(black_box(&ticket), now).unwrap();
            let known = fixture.domain.recall(black_box(chain), now).unwrap();
            let device = Some(&known.device);
            let permit = fixture.domain.authorize(device, Revocation::Good, now);
            (contents, permit.unwrap())
        };
        let (contents, permit) = come_back(now);
        assert_eq!(
            (contents.len(), permit.device_id()),
            (length, "device-000001")
        );
        group.bench_function(name, |bencher| bencher.iter(|| come_back(black_box(now))));
    }
    group.finish();
}

criterion_group!(benches, chains, tickets, returns, refusals);
criterion_main!(benches);
