//! The OCSP client before OpenSSL's responder, with the database that `openssl ca` keeps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use certs_gen::authority::EndEntitySpec;
use gateway::clock;
use gateway::ocsp::client::{Checked, Checker, Settings};
use gateway::ocsp::request::Hash;
use gateway::ocsp::subject::{Issuer, Subject};
use gateway::ocsp::{Outcome, Reason, Standing};
use gateway::{fetch, ocsp};
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair};
use support::counters::{expect_value, handshake};
use support::{Device, Gateway, PATIENCE, Pki, Setup, Upstream};

const GOOD: u8 = 0x11;
const REVOKED: u8 = 0x12;
const UNLISTED: u8 = 0x13;
const RETRY_INTERVAL: u64 = 30;

/// The fleet's PKI, and the database of its issuer's responder.
struct Fleet {
    pki: Pki,
    issuer: Arc<Issuer>,
}

impl Fleet {
    fn new() -> Self {
        let pki = Pki::new();
        pki.write("issuer.pem", &pki.intermediate.certificate_pem());
        pki.write("issuer.key", &pki.intermediate.key_pem());
        let issuer = Issuer::from_certificate(pki.intermediate.certificate_der()).unwrap();
        let fleet = Self {
            pki,
            issuer: Arc::new(issuer),
        };
        fleet.write_database(&[GOOD], &[REVOKED]);
        fleet
    }

    fn write_database(&self, valid: &[u8], revoked: &[u8]) {
        let mut database = String::new();
        for serial in valid {
            writeln!(database, "V\t491231000000Z\t\t{serial:02X}\tunknown\t/CN=x").unwrap();
        }
        for serial in revoked {
            let when = "261101000000Z,keyCompromise";
            writeln!(
                database,
                "R\t491231000000Z\t{when}\t{serial:02X}\tunknown\t/CN=x"
            )
            .unwrap();
        }
        self.pki.write("index.txt", &database);
    }

    /// What is asked about a device with this serial number.
    fn subject(&self, serial: u8) -> Subject {
        let mut spec = EndEntitySpec::device("device-000042");
        spec.serial = Some(vec![serial]);
        let device = self.pki.issue(&spec);
        Subject::new(device.end_entity(), Arc::clone(&self.issuer)).unwrap()
    }

    /// The same for a device whose certificate names `responder`.
    fn subject_that_names(&self, responder: &str, serial: u8) -> Subject {
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![serial].into());
        // One access description: id-ad-ocsp, and a URI.
        let length = u8::try_from(responder.len()).unwrap();
        let mut access = vec![0x30, length + 14, 0x30, length + 12];
        access.extend([6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, length]);
        access.extend(responder.as_bytes());
        let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access);
        params.custom_extensions.push(extension);
        let (certificate, _) = self.issue(&params);
        Subject::new(certificate.der(), Arc::clone(&self.issuer)).unwrap()
    }

    fn issue(&self, params: &CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let issuer_key = KeyPair::from_pem(&self.pki.intermediate.key_pem()).unwrap();
        let issuer =
            rcgen::Issuer::from_ca_cert_pem(&self.pki.intermediate.certificate_pem(), issuer_key)
                .unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    }

    /// Writes a credential with which the issuer appoints a responder.
    fn appoint(&self, purpose: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "responder");
        params.extended_key_usages = vec![purpose];
        let (certificate, key) = self.issue(&params);
        self.pki.write("responder.pem", &certificate.pem());
        self.pki.write("responder.key", &key.serialize_pem());
    }
}

/// `openssl ocsp` as a responder. It does not outlive the test.
struct Responder {
    child: Child,
    port: u16,
}

impl Responder {
    /// Signs with the credential called `signer`; `port` 0 is any.
    fn start(folder: &Path, signer: &str, port: u16, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["ocsp", "-ignore_err", "-index", "index.txt"])
            .args(["-CA", "issuer.pem"])
            .args(["-rsigner", &format!("{signer}.pem")])
            .args(["-rkey", &format!("{signer}.key")])
            .args(["-port", &port.to_string()])
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let (sender, accepts) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            // It is read to its end, so that the responder can always write.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(rest) = line.strip_prefix("ACCEPT ") {
                    let address = rest.split(' ').next().unwrap();
                    let (_, port) = address.rsplit_once(':').unwrap();
                    let _ = sender.send(port.parse().unwrap());
                }
            }
        });
        let port = accepts
            .recv_timeout(PATIENCE)
            .expect("openssl says where it listens");
        Self { child, port }
    }

    fn signing_itself(fleet: &Fleet, arguments: &[&str]) -> Self {
        Self::start(fleet.pki.folder(), "issuer", 0, arguments)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Ends it and says which port is free now.
    fn stop(mut self) -> u16 {
        self.end();
        self.port
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.end();
    }
}

fn settings(responder: &str) -> Settings {
    Settings {
        responder: Some(responder.parse().unwrap()),
        hash: Hash::Sha1,
        nonce: false,
        fetch: fetch::Settings {
            connect_timeout: PATIENCE,
            total_timeout: PATIENCE,
            max_bytes: 64 * 1024,
        },
        max_age: Duration::from_secs(3600),
        without_next_update: Duration::from_secs(60),
        retry_interval: Duration::from_secs(RETRY_INTERVAL),
        cache_entries: 100,
        max_in_flight: 4,
        max_waiting: 4,
    }
}

fn checker(settings: Settings) -> Arc<Checker> {
    Arc::new(Checker::new(settings))
}

fn check(checker: &Arc<Checker>, subject: &Subject, now: u64) -> Checked {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
        .block_on(checker.status(subject, now))
}

fn checked(standing: Standing, outcome: Outcome) -> Checked {
    Checked { standing, outcome }
}

fn failed(reason: Reason) -> Checked {
    checked(Standing::Unavailable(reason), Outcome::Failed(reason))
}

/// Good, revoked and unknown are told apart by a new checker of these settings.
fn assert_told_apart(fleet: &Fleet, settings: &Settings) {
    let checker = checker(settings.clone());
    let now = clock::unix_seconds();
    for (serial, standing, outcome) in [
        (GOOD, Standing::Good, Outcome::Good),
        (REVOKED, Standing::Revoked, Outcome::Revoked),
        (UNLISTED, Standing::Unknown, Outcome::Unknown),
    ] {
        let subject = fleet.subject(serial);
        let first = check(&checker, &subject, now);
        assert_eq!(first, checked(standing, outcome), "{settings:?}");
        let second = check(&checker, &subject, now);
        assert_eq!(second, checked(standing, Outcome::Cached));
    }
}

#[test]
fn the_issuers_responder_tells_good_from_revoked_from_unknown() {
    let fleet = Fleet::new();
    for arguments in [&[][..], &["-nmin", "5"], &["-resp_key_id"]] {
        let responder = Responder::signing_itself(&fleet, arguments);
        for hash in [Hash::Sha1, Hash::Sha256] {
            for nonce in [false, true] {
                let settings = Settings {
                    hash,
                    nonce,
                    ..settings(&responder.url())
                };
                assert_told_apart(&fleet, &settings);
            }
        }
    }
}

#[test]
fn a_responder_that_the_issuer_appointed_is_believed_and_no_other() {
    let fleet = Fleet::new();
    fleet.appoint(ExtendedKeyUsagePurpose::OcspSigning);
    for arguments in [&[][..], &["-resp_key_id"]] {
        let responder = Responder::start(fleet.pki.folder(), "responder", 0, arguments);
        assert_told_apart(&fleet, &settings(&responder.url()));
    }
    fleet.appoint(ExtendedKeyUsagePurpose::ClientAuth);
    let responder = Responder::start(fleet.pki.folder(), "responder", 0, &[]);
    let refused = check(
        &checker(settings(&responder.url())),
        &fleet.subject(GOOD),
        clock::unix_seconds(),
    );
    assert_eq!(refused, failed(Reason::BadResponse));
}

#[test]
fn the_responder_that_a_certificate_names_is_asked() {
    let fleet = Fleet::new();
    let responder = Responder::signing_itself(&fleet, &[]);
    let checker = checker(Settings {
        responder: None,
        ..settings(&responder.url())
    });
    let now = clock::unix_seconds();
    for (serial, standing) in [(GOOD, Standing::Good), (REVOKED, Standing::Revoked)] {
        let subject = fleet.subject_that_names(&responder.url(), serial);
        assert_eq!(check(&checker, &subject, now).standing, standing);
        let mute = check(&checker, &fleet.subject(UNLISTED), now);
        assert_eq!(mute, failed(Reason::NoResponder));
    }
}

#[test]
fn a_responder_that_is_gone_costs_one_attempt_until_it_is_back() {
    let fleet = Fleet::new();
    let responder = Responder::signing_itself(&fleet, &[]);
    let checker = checker(settings(&responder.url()));
    let now = clock::unix_seconds();
    let good = fleet.subject(GOOD);
    let before = check(&checker, &good, now);
    assert_eq!(before, checked(Standing::Good, Outcome::Good));

    let port = responder.stop();
    let remembered = check(&checker, &good, now + 1);
    assert_eq!(remembered, checked(Standing::Good, Outcome::Cached));
    let revoked = fleet.subject(REVOKED);
    let attempt = check(&checker, &revoked, now + 1);
    assert_eq!(attempt, failed(Reason::Unreachable));
    let unlisted = check(&checker, &fleet.subject(UNLISTED), now + 2);
    let nothing = Standing::Unavailable(Reason::Unreachable);
    assert_eq!(unlisted, checked(nothing, Outcome::Suspended));
    assert!(ocsp::Mode::Soft.permits(nothing) && !ocsp::Mode::Hard.permits(nothing));

    let _back = Responder::start(fleet.pki.folder(), "issuer", port, &[]);
    let early = check(&checker, &revoked, now + 2);
    assert_eq!(early, checked(nothing, Outcome::Cached));
    let after = check(&checker, &revoked, now + 2 + RETRY_INTERVAL + 1);
    assert_eq!(after, checked(Standing::Revoked, Outcome::Revoked));
}

#[test]
fn a_revocation_is_known_when_the_answer_before_it_is_out_of_date() {
    let fleet = Fleet::new();
    let responder = Responder::signing_itself(&fleet, &[]);
    let checker = checker(settings(&responder.url()));
    let now = clock::unix_seconds();
    let device = fleet.subject(GOOD);
    let before = check(&checker, &device, now);
    assert_eq!(before, checked(Standing::Good, Outcome::Good));
    let port = responder.stop();
    fleet.write_database(&[], &[GOOD, REVOKED]);
    let _restarted = Responder::start(fleet.pki.folder(), "issuer", port, &[]);
    let remembered = check(&checker, &device, now + 50);
    assert_eq!(remembered, checked(Standing::Good, Outcome::Cached));
    // A second of this test may have passed before the answer was made.
    let after = check(&checker, &device, now + 100);
    assert_eq!(after, checked(Standing::Revoked, Outcome::Revoked));
}

#[test]
fn a_responder_that_never_answers_costs_one_timeout() {
    let fleet = Fleet::new();
    // The kernel accepts connections; nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut settings = settings(&url);
    settings.fetch.total_timeout = Duration::from_millis(200);
    let checker = checker(settings);
    let now = clock::unix_seconds();
    let attempt = check(&checker, &fleet.subject(GOOD), now);
    assert_eq!(attempt, failed(Reason::Timeout));
    let suspended = checked(Standing::Unavailable(Reason::Timeout), Outcome::Suspended);
    for serial in [REVOKED, UNLISTED] {
        let next = check(&checker, &fleet.subject(serial), now);
        assert_eq!(next, suspended);
    }
}

// Over real sockets: what the gateway makes of it

/// A gateway that asks `responder` in this mode.
fn gateway(fleet: &Fleet, upstream: &Upstream, mode: &str, responder: &str) -> Gateway {
    let mut setup = Setup::new(upstream.address());
    setup.more = format!(
        "[trust.ocsp]\nmode = \"{mode}\"\nresponder = \"{responder}\"\nretry_interval = \"1h\"\n"
    );
    Gateway::start(&fleet.pki, &setup)
}

fn device(fleet: &Fleet, serial: u8) -> Device {
    let mut spec = EndEntitySpec::device(&format!("device-{serial:06}"));
    spec.serial = Some(vec![serial]);
    Device::new(&fleet.pki, Some(&fleet.pki.issue(&spec)))
}

/// Whether a request of `device` was answered, on a connection that the handshake always gave it.
fn is_served(device: &Device, gateway: &Gateway) -> bool {
    let mut connection = device.connect(gateway.address());
    connection
        .try_send("GET / HTTP/1.1\r\nhost: fleet.test\r\n\r\n")
        .and_then(|()| connection.try_response())
        .is_ok_and(|answer| answer.status() == 200)
}

#[test]
fn nobody_is_served_before_the_responder_has_answered() {
    let fleet = Fleet::new();
    let upstream = Upstream::ok();
    let responder = Responder::signing_itself(&fleet, &[]);
    let asked = |outcome: &str| format!("gateway_ocsp_checks_total{{outcome=\"{outcome}\"}}");
    let denied = |reason: &str| format!("gateway_denied_total{{reason=\"{reason}\"}}");
    let gateway = gateway(&fleet, &upstream, "hard", &responder.url());
    let good = device(&fleet, GOOD);
    assert!(is_served(&good, &gateway));
    assert!(is_served(&good, &gateway), "and again, with a ticket");
    expect_value(&gateway, &handshake("resumed", "ok"), 1);
    expect_value(&gateway, &asked("good"), 1);
    expect_value(&gateway, &asked("cached"), 1);
    assert!(!is_served(&device(&fleet, REVOKED), &gateway));
    expect_value(&gateway, &denied("revoked"), 1);
    assert!(!is_served(&device(&fleet, UNLISTED), &gateway));
    expect_value(&gateway, &denied("revocation_unknown"), 1);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn without_an_answer_the_mode_decides() {
    let fleet = Fleet::new();
    let upstream = Upstream::ok();
    let responder = Responder::signing_itself(&fleet, &[]);
    let url = responder.url();
    responder.stop();
    for (mode, served) in [("hard", false), ("soft", true), ("off", true)] {
        let gateway = gateway(&fleet, &upstream, mode, &url);
        assert_eq!(is_served(&device(&fleet, GOOD), &gateway), served, "{mode}");
    }
}
