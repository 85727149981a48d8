//! Wall time of certificate revocation: a certificate looked up in sets of several sizes, and a large list loaded.
//! `METHODOLOGY.md` says what each means.

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

use certs_gen::authority::{Authority as Issuer, AuthoritySpec};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::verify::revocation::{
    Authority, Coverage, RevocationKey, RevocationSet, Role, Status, verify_list,
};
use list::Serial;
use rand::SeedableRng;
use rand::rngs::StdRng;

mod list;

/// Unoptimized, a million entries take longer than a test should.
const LARGE: usize = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

/// So many different certificates are asked about in turn that no cache of the processor knows their places.
const ASKED: usize = 16_384;

/// A list and its issuer.
struct Fixture {
    issuer: Issuer,
    der: Vec<u8>,
    /// Some of the serial numbers on the list.
    revoked: Vec<Serial>,
}

impl Fixture {
    fn new(entries: usize) -> Self {
        let issuer = Issuer::trust_anchor(&AuthoritySpec::new("issuer")).unwrap();
        let mut serials = StdRng::seed_from_u64(1);
        let serials: Vec<Serial> = (0..entries).map(|_| list::serial(&mut serials)).collect();
        let der = list::signed(&issuer, &serials);
        // From all over the list: the first to enter the table have the best places.
        let step = (entries / ASKED).max(1);
        let revoked = serials.into_iter().step_by(step).take(ASKED).collect();
        Self {
            issuer,
            der,
            revoked,
        }
    }

    fn authority(&self) -> Authority<'_> {
        Authority::from_certificate(self.issuer.certificate_der()).unwrap()
    }

    fn set(&self) -> RevocationSet {
        let list = verify_list(&self.der, &[self.authority()]).unwrap();
        RevocationSet::new([Arc::new(list)], None).0
    }
}

fn lookups(criterion: &mut Criterion) {
    let now = gateway::clock::unix_seconds();
    let mut group = criterion.benchmark_group("revocation");
    let coverage = Coverage::new(Role::EndEntity, None);
    for entries in [0, 10_000, LARGE] {
        let fixture = Fixture::new(entries);
        let set = fixture.set();
        let issuer = fixture.authority().id();
        let keys = |serials: &[Serial]| -> Vec<RevocationKey> {
            let key = |serial: &Serial| RevocationKey::new(&issuer, serial);
            serials.iter().map(key).collect()
        };
        let mut others = StdRng::seed_from_u64(2);
        let others: Vec<_> = (0..ASKED).map(|_| list::serial(&mut others)).collect();
        let revoked = |status| matches!(status, Status::Revoked(_));
        for (name, keys, is_revoked) in [
            ("good", keys(&others), false),
            ("revoked", keys(&fixture.revoked), true),
        ] {
            for key in &keys {
                assert_eq!(
                    revoked(set.status(&issuer, key, &coverage, now)),
                    is_revoked
                );
            }
            if keys.is_empty() {
                continue;
            }
            let mut keys = keys.iter().cycle();
            group.bench_function(BenchmarkId::new(name, entries), |bencher| {
                bencher.iter(|| {
                    let key = black_box(keys.next().unwrap());
                    set.status(&issuer, key, &coverage, black_box(now))
                });
            });
        }
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let fixture = Fixture::new(LARGE);
    let authorities = [fixture.authority()];
    let mut group = criterion.benchmark_group("revocation");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("load", LARGE), |bencher| {
        bencher.iter(|| {
            let list = verify_list(black_box(&fixture.der), &authorities).unwrap();
            assert_eq!(list.entries(), LARGE);
            assert!(list.bytes() <= 24 * (LARGE + 1));
            list
        });
    });
    group.finish();
}

criterion_group!(benches, lookups, load);
criterion_main!(benches);
