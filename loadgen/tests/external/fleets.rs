//! Fleets that people made with openssl, and what openssl and nginx make of minted ones.
//!
//! Needs `nginx` and `openssl` in the path.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use certs_gen::fleet::{FleetSpec as Generated, Silent, generate};
use loadgen::plan::{ConstantDevices, Executor, FleetSpec, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult, Stop};

use crate::nginx::Nginx;

fn openssl(folder: &Path, arguments: &str) -> bool {
    let output = Command::new("openssl")
        .args(arguments.split_ascii_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    output.status.success()
}

fn made(folder: &Path, arguments: &str) {
    assert!(openssl(folder, arguments), "openssl {arguments}");
}

fn run(nginx: &Nginx, fleet: FleetSpec, devices: Option<usize>) -> RunResult {
    let target = Target::parse(&format!("https://{}", nginx.tls)).unwrap();
    let executor = Executor::ConstantDevices(ConstantDevices::new(4, Limit::Count(200)));
    let mut plan =
        Plan::new(target, "").with_scenario(executor, Mode::Full.activity(Protocol::Http1, 256));
    plan.fleet = fleet;
    plan.devices = devices;
    plan.warmup = Duration::ZERO;
    loadgen::run(&plan, Stop::never(), |_| ()).unwrap()
}

#[test]
fn a_fleet_as_people_make_it_with_openssl_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir(here.join("pki")).unwrap();
    fs::create_dir(here.join("fleet")).unwrap();
    made(
        here,
        "ecparam -name prime256v1 -genkey -noout -out pki/ca.key",
    );
    made(
        here,
        "req -x509 -new -key pki/ca.key -subj /CN=our-own-authority -days 30 -out pki/trust-anchor.pem",
    );
    let request = "req -new -key pki/server.key -subj /CN=server -out pki/server.csr";
    fs::write(here.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    made(
        here,
        "ecparam -name prime256v1 -genkey -noout -out pki/server.key",
    );
    made(here, request);
    let signed = "-CA pki/trust-anchor.pem -CAkey pki/ca.key -CAcreateserial -days 30";
    made(
        here,
        &format!("x509 -req -in pki/server.csr {signed} -extfile san -out pki/server.pem"),
    );

    // Each kind of key as openssl writes it: SEC 1 with and without its curve, PKCS#1, PKCS#8.
    for (number, key) in [
        "ecparam -name prime256v1 -genkey -noout -out KEY",
        "ecparam -name secp384r1 -genkey -out KEY",
        "genrsa -traditional -out KEY 2048",
        "genpkey -algorithm ED25519 -out KEY",
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out KEY",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("fleet/pump{number}");
        made(here, &key.replace("KEY", &format!("{name}.key")));
        made(
            here,
            &format!("req -new -key {name}.key -subj /CN=pump{number} -out {name}.csr"),
        );
        // Without extensions, as every tutorial has it: a certificate of version 1.
        made(
            here,
            &format!("x509 -req -in {name}.csr {signed} -out {name}.crt"),
        );
    }
    let nginx = Nginx::start(here);

    let mut fleet = FleetSpec::folder(here.join("fleet"));
    fleet.ca = Some(here.join("pki/trust-anchor.pem"));
    let result = run(&nginx, fleet, None);
    assert_eq!(result.run.devices, 5);
    assert_eq!(result.counts.ok, 200, "{:?}", result.errors);
    // The folder with the authority in it, and the server, whose key is no device's.
    for file in ["ca.key", "trust-anchor.pem", "trust-anchor.srl"] {
        fs::copy(here.join("pki").join(file), here.join("fleet").join(file)).unwrap();
    }
    let result = run(&nginx, FleetSpec::folder(here.join("fleet")), None);
    assert_eq!(result.run.devices, 5);
    assert_eq!(result.counts.ok, 200, "{:?}", result.errors);
}

#[test]
fn an_authority_made_with_openssl_can_mint() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for key in [
        "ecparam -name prime256v1 -genkey -out ca.key",
        "ecparam -name secp384r1 -genkey -noout -out ca.key",
        "genrsa -traditional -out ca.key 2048",
        "genpkey -algorithm ED25519 -out ca.key",
    ] {
        made(here, key);
        made(
            here,
            "req -x509 -new -key ca.key -subj /CN=our-own-authority -days 30 -out ca.pem",
        );
        let mut plan = Plan::new(Target::parse("https://127.0.0.1:1").unwrap(), "");
        plan.fleet = FleetSpec::minted(here.join("ca.pem"), here.join("ca.key"));
        plan.devices = Some(3);
        let fleet = loadgen::open_fleet(&plan, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(fleet.trust_anchors().len(), 1, "{key}");
        let identity = fleet.identity(2, 0).unwrap();
        assert!(identity.path().is_empty(), "{key}");
        fs::write(here.join("device.der"), identity.end_entity()).unwrap();
        made(here, "x509 -inform DER -in device.der -out device.pem");
        made(here, "verify -purpose sslclient -CAfile ca.pem device.pem");
    }
}

fn minted(pki: &Path) -> FleetSpec {
    let mut spec = FleetSpec::minted(
        pki.join("intermediate-00.pem"),
        pki.join("intermediate-00.key"),
    );
    spec.ca = Some(pki.join("trust-anchor.pem"));
    spec
}

#[test]
fn nginx_refuses_by_status_and_that_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    generate(&Generated::new(&pki, 1), &Silent).unwrap();
    let nginx = Nginx::start(folder.path());
    let mut spec = minted(&pki);
    spec.bad = "expired:20%,untrusted:20%".parse().unwrap();
    let result = run(&nginx, spec, Some(40));
    assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
    for bad in &result.bad_devices {
        assert!(bad.as_expected > 0 && bad.not_refused == 0, "{bad:?}");
        let found = bad.found.first().unwrap();
        assert_eq!(
            (found.class.as_str(), found.code.as_str()),
            ("status", "400")
        );
    }
}

#[test]
fn openssl_finds_revoked_whoever_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    generate(&Generated::new(&pki, 1), &Silent).unwrap();
    let mut plan = Plan::new(Target::parse("https://127.0.0.1:1").unwrap(), "");
    plan.fleet = minted(&pki);
    plan.fleet.bad = "revoked:25%".parse().unwrap();
    plan.devices = Some(20);
    let list = loadgen::revocation_list(&plan).unwrap();
    fs::write(folder.path().join("list.pem"), list).unwrap();
    // The authorities above have revoked nobody, and have no list here.
    let fleet = loadgen::open_fleet(&plan, |_| ControlFlow::Continue(())).unwrap();
    let mut revoked = 0;
    for device in fleet.devices(0, 1) {
        let identity = fleet.identity(device.number, 0).unwrap();
        fs::write(folder.path().join("device.der"), identity.end_entity()).unwrap();
        made(
            folder.path(),
            "x509 -inform DER -in device.der -out device.pem",
        );
        let good = openssl(
            folder.path(),
            "verify -purpose sslclient -crl_check -CRLfile list.pem -CAfile pki/trust-anchor.pem \
             -untrusted pki/intermediate-00.pem device.pem",
        );
        assert_eq!(good, device.to_be_refused.is_none(), "{}", device.number);
        revoked += usize::from(!good);
    }
    assert_eq!(revoked, fleet.devices_with_fault(0));
    assert!(revoked > 2);
}
