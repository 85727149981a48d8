//! Fleets that are minted, and devices that must not be served.

use std::ops::ControlFlow;
use std::path::Path;

use certs_gen::faults::{self, FaultsSpec};
use loadgen::Fleet;
use loadgen::fleet::FleetError;
use loadgen::plan::fleet::Identities;
use loadgen::plan::{FleetSpec, Limit, Mode, Share};
use loadgen::report::RunResult;
use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::models::{limit, plan, run};
use crate::pki;
use crate::server::{Options, Server};

pub(crate) const WHOLE: Share = Share { index: 0, of: 1 };

fn minted() -> FleetSpec {
    let ours = pki::ours();
    let mut spec = FleetSpec::minted(
        ours.join("intermediate-00.pem"),
        ours.join("intermediate-00.key"),
    );
    spec.ca = Some(ours.join("trust-anchor.pem"));
    spec
}

pub(crate) fn open(
    spec: &FleetSpec,
    devices: usize,
    seed: u64,
    part: Share,
) -> Result<Fleet, FleetError> {
    let keys = aws_lc_rs::default_provider().key_provider;
    let go_on = |_| ControlFlow::Continue(());
    Fleet::open(spec, Some(devices), seed, part, keys, go_on)
}

/// What must be the same wherever an identity is minted: serial number, name, public key.
fn identity(der: &[u8]) -> (Vec<u8>, String, Vec<u8>) {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    (
        certificate.raw_serial().to_vec(),
        certificate.subject().to_string(),
        certificate.public_key().raw.to_vec(),
    )
}

pub(crate) fn of_device(fleet: &Fleet, number: usize) -> (Vec<u8>, String, Vec<u8>) {
    identity(fleet.identity(number, 0).unwrap().end_entity())
}

fn run_with(spec: FleetSpec, devices: usize, attempts: u64) -> RunResult {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    plan.fleet = spec;
    plan.devices = Some(devices);
    limit(&mut plan, Limit::Count(attempts));
    run(&plan)
}

#[test]
fn a_minted_fleet_is_served() {
    let mut spec = minted();
    let Identities::Minted { mint } = &mut spec.identities else {
        unreachable!()
    };
    mint.keys = "p256:70,ed25519:20,p384:5,rsa2048:5".parse().unwrap();
    let result = run_with(spec, 40, 80);
    assert_eq!((result.counts.ok, result.counts.failed), (80, 0));
    assert_eq!(result.run.devices, 40);
}

#[test]
fn device_i_always_has_identity_i() {
    let spec = minted();
    let whole = open(&spec, 20, 7, WHOLE).unwrap();
    for index in 0..3 {
        let part = open(&spec, 20, 7, Share { index, of: 3 }).unwrap();
        assert_eq!(part.size(), 20);
        let numbers: Vec<_> = part.devices(0, 1).iter().map(|one| one.number).collect();
        let expected: Vec<_> = (index..20).step_by(3).collect();
        assert_eq!(numbers, expected);
        for number in numbers {
            assert_eq!(of_device(&part, number), of_device(&whole, number));
        }
    }
    assert!(of_device(&whole, 5).1.contains("device-000005"));
    assert_ne!(of_device(&whole, 5).2, of_device(&whole, 6).2);
    // The seed and the issuer make it another fleet.
    let other_seed = open(&spec, 20, 8, WHOLE).unwrap();
    assert_ne!(of_device(&whole, 5).2, of_device(&other_seed, 5).2);
    let strangers = pki::strangers();
    let other_issuer = FleetSpec::minted(
        strangers.join("trust-anchor.pem"),
        strangers.join("trust-anchor.key"),
    );
    let other_issuer = open(&other_issuer, 20, 7, WHOLE).unwrap();
    assert_ne!(of_device(&whole, 5).2, of_device(&other_issuer, 5).2);
}

#[test]
fn a_renewed_identity_is_another_of_the_same_device() {
    let fleet = open(&minted(), 3, 1, WHOLE).unwrap();
    let first = of_device(&fleet, 2);
    let renewed = identity(fleet.identity(2, 1).unwrap().end_entity());
    assert_eq!(first.1, renewed.1);
    assert!(first.0 != renewed.0 && first.2 != renewed.2);
    let again = identity(fleet.identity(2, 1).unwrap().end_entity());
    assert_eq!(renewed, again);

    let mut folder = FleetSpec::folder(pki::ours());
    let fleet = open(&folder, 3, 1, WHOLE).unwrap();
    assert!(fleet.identity(2, 1).is_err());
    folder.identities = Identities::Folder {
        pki: pki::ours().to_owned(),
        next_pki: Some(pki::strangers().to_owned()),
    };
    let fleet = open(&folder, 3, 1, WHOLE).unwrap();
    let [first, second, third] = [0, 1, 2].map(|generation| fleet.identity(2, generation).unwrap());
    assert_ne!(first.end_entity(), second.end_entity());
    assert_eq!(first.end_entity(), third.end_entity());
}

#[test]
fn minting_says_what_is_wrong_with_its_files() {
    let ours = pki::ours();
    let mistake = |ca: &Path, key: &Path| {
        let spec = FleetSpec::minted(ca, key);
        open(&spec, 1, 1, WHOLE).unwrap_err().to_string()
    };
    let intermediate = ours.join("intermediate-00.pem");
    let missing = mistake(&ours.join("nothing.pem"), &ours.join("trust-anchor.key"));
    assert!(missing.contains("--mint-ca"), "{missing}");
    let other_key = mistake(&intermediate, &ours.join("trust-anchor.key"));
    assert!(
        other_key.contains("belongs to no certificate"),
        "{other_key}"
    );
    let no_key = mistake(&intermediate, &intermediate);
    assert!(no_key.contains("no PRIVATE KEY"), "{no_key}");
    let server = mistake(&ours.join("server.pem"), &ours.join("server.key"));
    assert!(server.contains("no authority"), "{server}");
    // An intermediate alone leaves open whom the devices trust.
    let untrusting = mistake(&intermediate, &ours.join("intermediate-00.key"));
    assert!(untrusting.contains("--ca"), "{untrusting}");
}

#[test]
fn minting_can_be_watched_and_stopped() {
    let keys = aws_lc_rs::default_provider().key_provider;
    let mut told = 0;
    let stopped = Fleet::open(&minted(), Some(100_000), 1, WHOLE, keys, |opened| {
        told += 1;
        assert_eq!(opened.of, 100_000);
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(FleetError::Stopped)), "{stopped:?}");
    assert!(told > 0);
}

#[test]
fn refusals_that_are_due_are_successes() {
    let mut spec = minted();
    let bad = "expired:10%,not_yet_valid:10%,untrusted:10%,other_purpose:10%,server_only:10%,wrong_key:10%";
    spec.bad = bad.parse().unwrap();
    let result = run_with(spec, 40, 400);
    let counts = result.counts;
    assert_eq!(counts.failed, 0, "{:?}", result.errors);
    assert_eq!(counts.ok + counts.refused_as_expected, 400);
    assert_eq!(result.bad_devices.len(), 6);
    for bad in &result.bad_devices {
        assert_eq!(bad.expected, "refuse");
        assert!((2..=6).contains(&bad.devices), "{bad:?}");
        assert!(bad.as_expected > 0 && bad.not_refused == 0, "{bad:?}");
        assert!(bad.found.iter().all(|found| found.class == "refused"));
    }
    let refused: u64 = result.bad_devices.iter().map(|bad| bad.as_expected).sum();
    assert_eq!(refused, counts.refused_as_expected);
    let of = |name: &str| {
        let bad = result.bad_devices.iter().find(|bad| bad.fault == name);
        bad.unwrap().clone()
    };
    assert_eq!(of("expired").found[0].code, "certificate_expired");
    assert_eq!(of("untrusted").found[0].code, "unknown_ca");
    assert_eq!(of("wrong_key").found[0].code, "decrypt_error");
    let in_seconds: u64 = result
        .seconds
        .iter()
        .map(|second| second.refused_as_expected)
        .sum();
    assert_eq!(in_seconds, refused);
}

#[test]
fn a_bad_device_that_is_served_is_a_failure() {
    let mut spec = minted();
    // Nobody has told this server of any revocation.
    spec.bad = "revoked:50%".parse().unwrap();
    let result = run_with(spec, 10, 40);
    let bad = &result.bad_devices[0];
    assert_eq!(bad.as_expected, 0);
    assert!(bad.not_refused > 0);
    assert_eq!(bad.not_refused, result.counts.failed);
    assert_eq!(result.counts.ok + result.counts.failed, 40);
    assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
    assert_eq!(result.errors[0].class, "not_refused");
    let text = loadgen::report::text::render(&result);
    assert!(text.contains("refuse certificate_revoked"), "{text}");
}

#[test]
fn bad_devices_prepare_and_reconnect_as_they_are() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Resume);
    plan.fleet = minted();
    plan.fleet.bad = "expired:25%".parse().unwrap();
    plan.devices = Some(20);
    let result = run(&plan);
    let bad = &result.bad_devices[0];
    assert_eq!(result.before_window.counts.failed, 0);
    assert_eq!(
        result.before_window.counts.refused_as_expected,
        bad.devices as u64
    );
    assert!(result.counts.refused_as_expected > 0);
    assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
    // Nothing was wrong with the run.
    assert!(
        !result
            .validity
            .reasons
            .iter()
            .any(|reason| reason.contains("prepared")),
        "{:?}",
        result.validity.reasons
    );
}

#[test]
fn faults_come_from_a_folder_of_certs_gen() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("faults");
    let pki = folder.path().join("pki");
    certs_gen::fleet::generate(
        &certs_gen::fleet::FleetSpec::new(&pki, 20),
        &certs_gen::fleet::Silent,
    )
    .unwrap();
    faults::generate(&FaultsSpec {
        ca: pki.clone(),
        out: out.clone(),
        force: false,
    })
    .unwrap();
    let mut spec = FleetSpec::folder(&pki);
    spec.faults = Some(out);
    spec.bad = "expired:20%,weak_rsa:20%,untrusted:10%,unordered_chain:10%"
        .parse()
        .unwrap();
    let pki: &'static Path = Box::leak(pki.into_boxed_path());
    let server = Server::start(Options {
        trusts: pki,
        presents: pki,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    plan.fleet = spec.clone();
    limit(&mut plan, Limit::Count(100));
    let result = run(&plan);
    let of = |name: &str| {
        let bad = result.bad_devices.iter().find(|bad| bad.fault == name);
        bad.unwrap().clone()
    };
    for name in ["expired", "untrusted"] {
        assert!(of(name).as_expected > 0, "{:?}", of(name));
        assert_eq!(of(name).failed + of(name).not_refused, 0);
    }
    // The handshake fails at the signature, which no key of 1024 bits has made.
    assert!(of("weak_rsa").as_expected > 0, "{:?}", of("weak_rsa"));
    assert_eq!(of("unordered_chain").expected, "serve");
    assert_eq!(result.counts.failed, 0, "{:?}", result.errors);

    spec.bad = "no_such_thing:1%".parse().unwrap();
    let unknown = open(&spec, 20, 1, WHOLE).unwrap_err().to_string();
    assert!(
        unknown.contains("no_such_thing") && unknown.contains("two_ids"),
        "{unknown}"
    );
}
