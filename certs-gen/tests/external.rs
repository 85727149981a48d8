//! What other programs make of our files: openssl's verifier in its strictest mode, its requests, curl over mutual TLS.
//!
//! Needs `openssl` (1.1.1 or later) and `curl` in the path; run with
//! `cargo test -p certs-gen --features external-tests --test external`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use certs_gen::crl::{self, CrlSpec};
use certs_gen::faults::{self, FaultsSpec, Opinion};
use certs_gen::fleet::{self, FleetSpec, Silent};
use certs_gen::inspect::inspect;
use certs_gen::key::KeyKind;
use certs_gen::layout::Layout;
use certs_gen::renew::{RenewSpec, renew};
use certs_gen::revocation::{Reason, RevokeSpec, revoke};
use certs_gen::sign::{Error, Profile, Refusal, SignSpec, sign};
use time::OffsetDateTime;

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, "openssl", arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    said
}

fn generate(folder: &Path, change: impl Fn(&mut FleetSpec)) -> Layout {
    let mut spec = FleetSpec::new(folder.join("pki"), 2);
    change(&mut spec);
    fleet::generate(&spec, &Silent).unwrap();
    Layout::new(spec.out)
}

/// `openssl verify`, strict, for one purpose. The file's own certificates after the first are the untrusted ones.
fn assert_verifies(layout: &Layout, file: &Path, purpose: &str) {
    let (anchor, file) = (layout.trust_anchor(), file.to_str().unwrap());
    let anchor = anchor.to_str().unwrap();
    let verify = [
        "verify",
        "-x509_strict",
        "-check_ss_sig",
        "-purpose",
        purpose,
    ];
    let arguments = [&verify[..], &["-CAfile", anchor, "-untrusted", file, file]].concat();
    assert!(openssl(layout.root(), &arguments).contains(": OK"));
}

fn assert_fleet_verifies(layout: &Layout) {
    assert_verifies(layout, &layout.device_path(0), "sslclient");
    assert_verifies(layout, &layout.device_path(1), "sslclient");
    assert_verifies(layout, &layout.server(), "sslserver");
    let anchor = layout.trust_anchor();
    openssl(
        layout.root(),
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            anchor.to_str().unwrap(),
            anchor.to_str().unwrap(),
        ],
    );
}

#[test]
fn openssl_verifies_every_kind_of_key() {
    for kind in KeyKind::ALL {
        let around = tempfile::tempdir().unwrap();
        let layout = generate(around.path(), |spec| {
            (spec.key, spec.ca_key, spec.server_key) = (kind, kind, kind);
        });
        assert_fleet_verifies(&layout);
        for key in [
            layout.device_path(1),
            layout.server_key(),
            layout.trust_anchor_key(),
        ] {
            openssl(
                layout.root(),
                &["pkey", "-noout", "-check", "-in", key.to_str().unwrap()],
            );
        }
    }
}

#[test]
fn openssl_verifies_every_depth_and_seeded_keys() {
    for depth in 0..=3 {
        for seed in [None, Some(7)] {
            for key in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
                let around = tempfile::tempdir().unwrap();
                let layout = generate(around.path(), |spec| {
                    (spec.depth, spec.seed, spec.key) = (depth, seed, key);
                    spec.intermediates = 2;
                });
                assert_fleet_verifies(&layout);
            }
        }
    }
}

#[test]
fn openssl_verifies_mixed_keys_long_validity_and_spiffe() {
    let around = tempfile::tempdir().unwrap();
    let layout = generate(around.path(), |spec| {
        (spec.key, spec.ca_key, spec.server_key) =
            (KeyKind::Ed25519, KeyKind::P384, KeyKind::Rsa2048);
        spec.validity = fleet::LONGEST_VALIDITY;
        spec.spiffe_domain = Some("plant-7.example".to_owned());
        spec.server_names = vec!["*.plant-7.example".to_owned(), "192.0.2.1".to_owned()];
    });
    assert_fleet_verifies(&layout);
    let anchor = layout.trust_anchor();
    let server = layout.server();
    let (anchor, server) = (anchor.to_str().unwrap(), server.to_str().unwrap());
    let name = ["-verify_hostname", "gateway.plant-7.example"];
    let files = ["-CAfile", anchor, "-untrusted", server, server];
    openssl(layout.root(), &[&["verify"], &name[..], &files].concat());
    openssl(
        layout.root(),
        &[&["verify", "-verify_ip", "192.0.2.1"], &files[..]].concat(),
    );
}

#[test]
fn a_device_does_not_pass_for_a_server() {
    let around = tempfile::tempdir().unwrap();
    let layout = generate(around.path(), |_| {});
    let anchor = layout.trust_anchor();
    let device = layout.device_path(0);
    let (anchor, device) = (anchor.to_str().unwrap(), device.to_str().unwrap());
    let arguments = [
        "verify",
        "-purpose",
        "sslserver",
        "-CAfile",
        anchor,
        "-untrusted",
        device,
        device,
    ];
    assert!(!run(around.path(), "openssl", &arguments).status.success());
}

fn request(folder: &Path, key: &[&str], more: &[&str]) {
    let new = [
        "req", "-new", "-nodes", "-keyout", "new.key", "-out", "new.csr",
    ];
    openssl(folder, &[&new[..], key, more].concat());
}

fn sign_spec(layout: &Layout, folder: &Path, profile: Profile) -> SignSpec {
    SignSpec {
        ca: layout.root().to_owned(),
        csr: folder.join("new.csr"),
        out: folder.join("new.pem"),
        profile,
        force: true,
    }
}

const KEYS: [&[&str]; 6] = [
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    // A digest that is not the curve's own.
    &[
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-sha384",
    ],
    &["-newkey", "ed25519"],
    &["-newkey", "rsa:2048"],
    &["-newkey", "rsa:3072", "-sha512"],
];

#[test]
fn requests_made_by_openssl_are_signed_and_verify() {
    for depth in [0, 1, 2] {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path();
        let layout = generate(folder, |spec| spec.depth = depth);
        for key in KEYS {
            request(
                folder,
                key,
                &[
                    "-subj",
                    "/O=Pumps/CN=pump-7",
                    "-addext",
                    "subjectAltName=DNS:pump-7.example",
                ],
            );
            let signed = sign(&sign_spec(&layout, folder, Profile::Device)).unwrap();
            assert_eq!(
                (signed.name.as_str(), signed.chain.len()),
                ("pump-7", depth + 1)
            );
            assert_verifies(&layout, &folder.join("new.pem"), "sslclient");
            let text = openssl(
                folder,
                &[
                    "x509",
                    "-in",
                    "new.pem",
                    "-noout",
                    "-subject",
                    "-ext",
                    "subjectAltName",
                ],
            );
            assert!(
                text.contains("CN = pump-7") && !text.contains("Pumps"),
                "{text}"
            );
            assert!(
                text.contains("URI:urn:device:pump-7") && text.contains("DNS:pump-7.example"),
                "{text}"
            );
            // The certificate is for the key of the request.
            let certified = openssl(folder, &["x509", "-in", "new.pem", "-noout", "-pubkey"]);
            assert_eq!(
                certified,
                openssl(folder, &["pkey", "-in", "new.key", "-pubout"])
            );
        }
        request(
            folder,
            KEYS[0],
            &["-subj", "/CN=gateway.example", "-outform", "DER"],
        );
        sign(&sign_spec(&layout, folder, Profile::Server)).unwrap();
        assert_verifies(&layout, &folder.join("new.pem"), "sslserver");
    }
}

#[test]
fn requests_made_by_openssl_that_are_refused() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    let layout = generate(folder, |_| {});
    let refused = |key: &[&str], more: &[&str]| {
        request(folder, key, more);
        match sign(&sign_spec(&layout, folder, Profile::Device)) {
            Err(Error::Refused { refusal, .. }) => refusal,
            outcome => panic!("{outcome:?}"),
        }
    };
    let pump = ["-subj", "/CN=pump-7"];
    let with = |extension: &'static str| [&pump[..], &["-addext", extension]].concat();
    let p256 = KEYS[0];
    assert_eq!(refused(p256, &["-subj", "/O=Pumps"]), Refusal::NoDeviceId);
    assert!(matches!(
        refused(p256, &["-subj", "/CN=a b"]),
        Refusal::DeviceId(_)
    ));
    assert!(matches!(
        refused(p256, &with("basicConstraints=critical,CA:TRUE")),
        Refusal::Authority(_)
    ));
    assert!(matches!(
        refused(p256, &with("keyUsage=keyCertSign")),
        Refusal::Authority(_)
    ));
    assert!(matches!(
        refused(p256, &with("extendedKeyUsage=serverAuth")),
        Refusal::Purpose(_)
    ));
    assert!(matches!(
        refused(p256, &with("subjectAltName=DNS:*.example")),
        Refusal::Name(_)
    ));
    assert!(matches!(
        refused(p256, &with("subjectAltName=URI:urn:device:pump-8")),
        Refusal::ForeignUri(..)
    ));
    assert!(matches!(
        refused(&["-newkey", "rsa:1024"], &pump),
        Refusal::Key(_)
    ));
    let p521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
    assert!(matches!(refused(&p521, &pump), Refusal::Key(_)));
    let sha1 = [&["-newkey", "rsa:2048", "-sha1"][..], &pump].concat();
    assert_eq!(refused(&sha1, &[]), Refusal::SignatureAlgorithm);
    assert!(!folder.join("new.pem").exists());
}

#[test]
fn files_made_by_openssl_are_described() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    let described = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        openssl(folder, &[&[*command, "-out", "file"], rest].concat());
        let bytes = std::fs::read(folder.join("file")).unwrap();
        inspect(&bytes, OffsetDateTime::now_utc()).unwrap().words()
    };
    let sec1 = described(&["ecparam", "-genkey", "-name", "prime256v1"]);
    assert!(
        sec1.contains("EC PARAMETERS") && sec1.contains("ECDSA P-256"),
        "{sec1}"
    );
    assert!(described(&["genrsa", "-traditional", "2048"]).contains("RSA 2048 bits"));
    let locked = ["-aes256", "-passout", "pass:secret", "2048"];
    assert!(described(&[&["genrsa"], &locked[..]].concat()).contains("encrypted private key"));
    assert!(
        described(&[&["genrsa", "-traditional"], &locked[..]].concat())
            .contains("encrypted private key")
    );
    let self_signed = [
        "req",
        "-x509",
        "-nodes",
        "-keyout",
        "key",
        "-subj",
        "/O=Pumps/CN=a",
        "-days",
        "2",
    ];
    let words = described(&[&self_signed[..], KEYS[0]].concat());
    assert!(
        words.contains("O=Pumps, CN=a (itself)") && words.contains("expires in 1 day"),
        "{words}"
    );
    // Version 1, as a certificate made without an extension file is.
    openssl(
        folder,
        &[
            "req", "-new", "-key", "key", "-subj", "/CN=old", "-out", "old.csr",
        ],
    );
    let words = described(&["x509", "-req", "-in", "old.csr", "-signkey", "key"]);
    assert!(words.contains("1 (without extensions)"), "{words}");
}

/// What `openssl crl` says of a list, once it has verified its signature.
fn crl_text(layout: &Layout, list: &str, issuer: &str) -> String {
    let (list, issuer) = (layout.crl_folder().join(list), layout.root().join(issuer));
    let (list, issuer) = (list.to_str().unwrap(), issuer.to_str().unwrap());
    let arguments = ["crl", "-noout", "-text", "-CAfile", issuer, "-in", list];
    let text = openssl(layout.root(), &arguments);
    assert!(text.contains("verify OK"), "{text}");
    text
}

fn assert_says(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn openssl_reads_every_list() {
    for kind in KeyKind::ALL {
        let around = tempfile::tempdir().unwrap();
        let layout = generate(around.path(), |spec| spec.ca_key = kind);
        let spec = CrlSpec::new(layout.root());
        let mut revocation = RevokeSpec::new(layout.root());
        revocation.devices = vec!["device-000001".to_owned()];
        revocation.reason = Some(Reason::KeyCompromise);
        revoke(&revocation).unwrap();
        crl::write(&spec).unwrap();
        let text = crl_text(&layout, "intermediate-00.pem", "intermediate-00.pem");
        assert_says(
            &text,
            &[
                "Version 2",
                "CRL Number: \n                1\n",
                "Authority Key Identifier",
                "Key Compromise",
                "Next Update: ",
            ],
        );
        assert_eq!(text.matches("Serial Number").count(), 1, "{text}");
        let empty = crl_text(&layout, "trust-anchor.pem", "trust-anchor.pem");
        assert_says(&empty, &["No Revoked Certificates."]);

        revocation.devices = vec!["device-000000".to_owned()];
        revocation.reason = None;
        revoke(&revocation).unwrap();
        let delta = CrlSpec {
            delta: true,
            ..spec
        };
        crl::write(&delta).unwrap();
        let text = crl_text(&layout, "intermediate-00.delta.pem", "intermediate-00.pem");
        let indicator = "Delta CRL Indicator: critical\n                1\n";
        assert_says(&text, &[indicator, "CRL Number: \n                2\n"]);
        assert_eq!(text.matches("Serial Number").count(), 1, "{text}");
    }
}

#[test]
fn openssl_refuses_what_is_revoked_and_takes_what_is_renewed() {
    let around = tempfile::tempdir().unwrap();
    let layout = generate(around.path(), |spec| spec.depth = 2);
    let mut revocation = RevokeSpec::new(layout.root());
    revocation.devices = vec!["device-000001".to_owned()];
    revoke(&revocation).unwrap();
    let lists = crl::write(&CrlSpec::new(layout.root())).unwrap().lists;
    let all: String = lists
        .iter()
        .map(|list| std::fs::read_to_string(&list.path).unwrap())
        .collect();
    std::fs::write(layout.root().join("all.pem"), all).unwrap();
    let verify = |device: usize| {
        let file = layout.device_path(device);
        let file = file.to_str().unwrap();
        let lists = [
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CRLfile",
            "all.pem",
        ];
        let files = ["-CAfile", "trust-anchor.pem", "-untrusted", file, file];
        let output = run(layout.root(), "openssl", &[&lists[..], &files].concat());
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(verify(0).0, "{}", verify(0).1);
    assert!(!verify(1).0);
    assert!(
        verify(1).1.contains("certificate revoked"),
        "{}",
        verify(1).1
    );
    renew(&RenewSpec::new(layout.root(), "device-000001")).unwrap();
    assert!(verify(1).0, "{}", verify(1).1);
    assert_verifies(&layout, &layout.device_path(1), "sslclient");
}

#[test]
fn openssl_has_the_opinion_of_each_fault_that_is_expected() {
    let around = tempfile::tempdir().unwrap();
    let layout = generate(around.path(), |_| {});
    let out = around.path().join("faults");
    let spec = FaultsSpec {
        ca: layout.root().to_owned(),
        out: out.clone(),
        force: false,
    };
    let manifest = faults::generate(&spec).unwrap();
    let mut wrong = Vec::new();
    for fault in &manifest.faults {
        let arguments: Vec<&str> = fault.openssl.arguments.iter().map(String::as_str).collect();
        let files = [
            "-CAfile",
            &manifest.trust_anchor,
            "-untrusted",
            &fault.file,
            &fault.file,
        ];
        let output = run(
            &out,
            "openssl",
            &[&["verify"], &arguments[..], &files].concat(),
        );
        let expected = match fault.openssl.opinion {
            Opinion::Accept => true,
            Opinion::Refuse => false,
            // It does not look at keys.
            _ => continue,
        };
        if output.status.success() != expected {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!("{}: {said}", fault.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn weak_keys_and_signatures_are_real_ones() {
    let around = tempfile::tempdir().unwrap();
    let layout = generate(around.path(), |_| {});
    let out = around.path().join("faults");
    let spec = FaultsSpec {
        ca: layout.root().to_owned(),
        out: out.clone(),
        force: false,
    };
    faults::generate(&spec).unwrap();
    let checked = openssl(&out, &["pkey", "-noout", "-check", "-in", "weak_rsa.pem"]);
    assert!(checked.contains("Key is valid"), "{checked}");
    let of_key = openssl(&out, &["pkey", "-pubout", "-in", "weak_rsa.pem"]);
    let of_certificate = openssl(&out, &["x509", "-noout", "-pubkey", "-in", "weak_rsa.pem"]);
    assert_eq!(of_key, of_certificate);
    let text = openssl(
        &out,
        &["x509", "-noout", "-text", "-in", "sha1_signature.pem"],
    );
    assert!(text.contains("ecdsa-with-SHA1"), "{text}");
    for (file, complaint) in [
        ("weak_rsa.pem", "EE certificate key too weak"),
        (
            "sha1_signature.pem",
            "CA signature digest algorithm too weak",
        ),
    ] {
        let verify = ["verify", "-auth_level", "2", "-CAfile", "trust-anchor.pem"];
        let output = run(
            &out,
            "openssl",
            &[&verify[..], &["-untrusted", file, file]].concat(),
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(complaint), "{file}: {said}");
    }
}

/// `openssl s_server`, which insists on a client certificate; ended when dropped.
struct Server(Child);

impl Server {
    fn start(layout: &Layout, port: u16) -> Self {
        let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &port.to_string(),
                "-www",
                "-quiet",
                "-Verify",
                "1",
            ])
            .args([
                "-verify_return_error",
                "-CAfile",
                &path(layout.trust_anchor()),
            ])
            .args([
                "-cert",
                &path(layout.server()),
                "-cert_chain",
                &path(layout.server()),
            ])
            .args(["-key", &path(layout.server_key())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self(child);
        let patience = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && Instant::now() < patience
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn curl_takes_a_device_file_as_it_is() {
    for kind in [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::Ed25519,
        KeyKind::Rsa2048,
    ] {
        let around = tempfile::tempdir().unwrap();
        let layout = generate(around.path(), |spec| {
            (spec.key, spec.ca_key, spec.server_key) = (kind, kind, kind);
        });
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let _server = Server::start(&layout, free);
        let (anchor, device) = (layout.trust_anchor(), layout.device_path(1));
        let url = format!("https://localhost:{free}/");
        let curl = [
            "-sS",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--cacert",
            anchor.to_str().unwrap(),
        ];
        let with = run(
            around.path(),
            "curl",
            &[&curl[..], &["--cert", device.to_str().unwrap(), &url]].concat(),
        );
        assert!(
            with.status.success(),
            "{kind}: {}",
            String::from_utf8_lossy(&with.stderr)
        );
        assert!(
            String::from_utf8_lossy(&with.stdout).contains("device-000001"),
            "{kind}"
        );
        let without = run(around.path(), "curl", &[&curl[..], &[&url]].concat());
        assert!(
            !without.status.success(),
            "{kind}: served without a certificate"
        );
    }
}
