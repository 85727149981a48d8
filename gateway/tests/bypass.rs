//! The known ways past mutual TLS, each tried on this gateway over real sockets; a test is named after the class of bypass
//! that it stands for:
//!
//! - *resumption across trust domains* (CVE-2025-23419): a ticket that was got under one server name vouches for its holder
//!   under another, where other anchors or another policy hold;
//! - *trust not checked again on resumption* (CVE-2025-68121): a ticket outlives the certificate, its revocation, or the
//!   policy by which it was issued;
//! - *tickets across client-auth modes*: a session that proved nothing is resumed where a proof is needed, or turns into one
//!   that seems to have proved something;
//! - *unbounded lineage*: who resumes for ever never shows a certificate again;
//! - *another host than the handshake's*: the name that chose the anchors is not the one that is asked for;
//! - *names in other spellings, and wildcards that match too much*: two readers of one name come to two domains;
//! - *smuggled identity headers*: the upstream believes what the device says about itself;
//! - *optional taken for verified*: a certificate that is not there, or not good, passes for a good one, or a path that is
//!   open to nobody leads to one that is not;
//! - *verdicts that outlive their reason*: a cache or a list answers for rules that are in force no more.
//!
//! What resumption does to a single domain is in `resumption`, headers of devices with a certificate are in `pipeline`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::credential::Credential;
use certs_gen::key::{KeyKind, PrivateKey};
use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use rustls::{AlertDescription, HandshakeKind};
use support::counters::{expect_moved, expect_value, handshake, request, ticket, unrouted};
use support::device::{Device, Nameless, Options, connect};
use support::hello::{alert_in, answer_to, hello_to};
use support::lists::List;
use support::pki::SERVER_NAME;
use support::plants::{NOT_OF_THE_PLANT, OTHER_PLANT_NAME, PLANT, PLANT_NAME};
use support::{Connection, Fleet, Gateway, Pki, Plants, Setup, Upstream, eventually, h2};
use time::{Duration as Span, OffsetDateTime};

const FULL: HandshakeKind = HandshakeKind::Full;
const RESUMED: HandshakeKind = HandshakeKind::Resumed;

const CONNECTIONS_OPEN: &str = "gateway_connections_open{listener=\"devices\"}";

fn both_versions(test: impl Fn(Options)) {
    test(Options::tls13());
    test(Options::tls12());
}

/// Options of a device that shows its tickets to every server.
fn nameless(options: &Options) -> Options {
    Options {
        tickets: Nameless::new(),
        ..options.clone()
    }
}

fn ask_host(connection: &mut Connection, host: &str) -> u16 {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    connection.ask(&request).status()
}

/// Connects, asks for the host that it calls the gateway by, and says how the handshake went and what the answer was.
fn visit(device: &Device, gateway: &Gateway) -> (HandshakeKind, u16) {
    let mut connection = device.connect(gateway.address());
    let status = ask_host(&mut connection, &device.server_name().to_str());
    let kind = connection.kind();
    connection.close();
    (kind, status)
}

/// `device`'s ticket is declined for `declined`, and the full handshake that follows is refused for `outcome`.
fn declined_and_refused(
    gateway: &Gateway,
    device: &Device,
    declined: &str,
    (outcome, alert): (&str, AlertDescription),
) {
    let before = gateway.counters();
    assert_eq!(device.alert(gateway.address()), alert, "{outcome}");
    expect_moved(gateway, &before, &[handshake("full", outcome)]);
    expect_value(gateway, &ticket("declined", declined), 1);
}

fn denied(reason: &str) -> String {
    format!("gateway_denied_total{{reason=\"{reason}\"}}")
}

fn ended(reason: &str) -> String {
    format!("gateway_connections_ended_total{{reason=\"{reason}\"}}")
}

/// `device`'s ticket is declined for `declined`; its certificates are good, but it is not let in, for `reason`.
fn declined_and_denied(gateway: &Gateway, device: &Device, declined: &str, reason: &str) {
    let before = gateway.counters();
    device.connect(gateway.address()).wait_for_end();
    expect_moved(gateway, &before, &[handshake("full", "ok"), denied(reason)]);
    expect_value(gateway, &ticket("declined", declined), 1);
}

// Resumption across trust domains

#[test]
fn resumption_across_server_names() {
    both_versions(|options| {
        let plants = Plants::start(|_| {});
        let ours = plants.fleets_device(nameless(&options));
        let theirs = plants.plants_device(nameless(&options));
        for (device, elsewhere) in [(ours, PLANT_NAME), (theirs, SERVER_NAME)] {
            let before = plants.gateway.counters();
            assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
            assert_eq!(visit(&device, &plants.gateway), (RESUMED, 200));
            let unknown = device.calling(elsewhere).alert(plants.gateway.address());
            assert_eq!(unknown, AlertDescription::UnknownCA, "{elsewhere}");
            expect_moved(
                &plants.gateway,
                &before,
                &[
                    handshake("full", "ok"),
                    handshake("resumed", "ok"),
                    handshake("full", "unknown_issuer"),
                    request("2xx"),
                    request("2xx"),
                ],
            );
        }
        expect_value(&plants.gateway, &ticket("declined", "unknown_key"), 2);
        assert_eq!(
            plants.device_ids(),
            [
                "device-000001",
                "device-000001",
                "press-000001",
                "press-000001"
            ]
        );
    });
}

#[test]
fn resumption_without_a_server_name() {
    both_versions(|options| {
        let plants = Plants::start(|_| {});
        let device = plants.plants_device(nameless(&options));
        assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
        let device = device.calling("127.0.0.1");
        let unknown = ("unknown_issuer", AlertDescription::UnknownCA);
        declined_and_refused(&plants.gateway, &device, "unknown_key", unknown);
    });
}

#[test]
fn resumption_across_policies() {
    both_versions(|options| {
        // Both domains trust the device's anchor; the plant's policy does not allow the device.
        let plants = Plants::start(|setup| {
            let both = "anchors = [\"plant-anchor.pem\", \"trust-anchor.pem\"]";
            setup.more = setup.more.replace("anchors = [\"plant-anchor.pem\"]", both);
            setup.more += "[trust_domains.policy]\ndeny = [\"device-000001\"]\n";
        });
        let device = plants.fleets_device(nameless(&options));
        assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
        let elsewhere = device.calling(PLANT_NAME);
        declined_and_denied(&plants.gateway, &elsewhere, "unknown_key", "policy");
    });
}

#[test]
fn resumption_under_another_name_of_the_same_domain() {
    // RFC 6066, 3: a server does not resume a session under another name, and does not fail it either.
    both_versions(|options| {
        let plants = Plants::start(|_| {});
        let device = plants.plants_device(nameless(&options));
        assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
        let device = device.calling(OTHER_PLANT_NAME);
        assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
        assert_eq!(visit(&device, &plants.gateway), (RESUMED, 200));
    });
}

// Trust not checked again on resumption

#[test]
fn expiry_not_checked_again_on_resumption() {
    both_versions(|options| {
        let fleet = Fleet::start(|_| {});
        let mut spec = EndEntitySpec::device("device-000001");
        spec.not_after = OffsetDateTime::now_utc() + Span::seconds(3);
        let device = Device::with(&fleet.pki, Some(&fleet.pki.issue(&spec)), options);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        // It learns that the time has come from the connection that it has open.
        let mut open = device.connect(fleet.gateway.address());
        assert_eq!(open.get("/").status(), 200);
        open.wait_for_end();
        let expired = ("expired", AlertDescription::CertificateExpired);
        declined_and_refused(&fleet.gateway, &device, "chain_refused", expired);
    });
}

#[test]
fn an_order_not_looked_at_on_resumption() {
    both_versions(|options| {
        let fleet = Fleet::start(|_| {});
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        let order = Order::Device {
            trust_domain: DEFAULT.into(),
            device_id: "device-000001".into(),
        };
        fleet.gateway.server().revoke(order).unwrap();
        let revoked = ("revoked", AlertDescription::CertificateRevoked);
        declined_and_refused(&fleet.gateway, &device, "revoked", revoked);
        assert_eq!(fleet.upstream.received().len(), 1);
    });
}

#[test]
fn an_order_of_one_domain_reaches_no_other() {
    let plants = Plants::start(|setup| {
        setup.more = setup.more.replace("plant-anchor.pem", "trust-anchor.pem");
    });
    let device = plants.fleets_device(Options::default());
    let order = Order::Device {
        trust_domain: PLANT.into(),
        device_id: "device-000001".into(),
    };
    plants.gateway.server().revoke(order).unwrap();
    assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
    assert_eq!(
        device.calling(PLANT_NAME).alert(plants.gateway.address()),
        AlertDescription::CertificateRevoked
    );
}

#[test]
fn policy_not_looked_at_on_resumption() {
    both_versions(|options| {
        let mut fleet = Fleet::start(|_| {});
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        let mut setup = Setup::new(fleet.upstream.address());
        setup.more = "[trust.policy]\nallow = [\"device-000002\"]\n".into();
        fleet.gateway.reload(&fleet.pki, &setup).unwrap();
        declined_and_denied(&fleet.gateway, &device, "not_permitted", "policy");
        assert_eq!(fleet.upstream.received().len(), 1);
    });
}

// Tickets across client-auth modes

/// Lets everybody in to the default domain, and nobody without a certificate further than `/enrol`.
fn optional(setup: &mut Setup) {
    setup.trust = "client_auth = \"optional\"".into();
    setup.more +=
        "[[routes]]\npath_prefix = \"/enrol\"\nupstream = \"telemetry\"\nallow_anonymous = true\n";
}

fn enrol(connection: &mut Connection) -> u16 {
    connection
        .ask("GET /enrol HTTP/1.1\r\nhost: fleet.test\r\n\r\n")
        .status()
}

#[test]
fn a_session_without_a_certificate_is_not_resumed() {
    both_versions(|options| {
        let plants = Plants::start(optional);
        let nobody = Device::with(&plants.pki, None, nameless(&options));
        for _ in 0..2 {
            let mut connection = nobody.connect(plants.gateway.address());
            assert_eq!(enrol(&mut connection), 200);
            assert_eq!(connection.kind(), FULL);
            connection.close();
        }
        expect_value(&plants.gateway, &ticket("issued", ""), 0);
        assert_eq!(
            nobody.calling(PLANT_NAME).alert(plants.gateway.address()),
            AlertDescription::CertificateRequired
        );
    });
}

#[test]
fn a_ticket_that_was_not_used_vouches_for_nobody() {
    both_versions(|options| {
        let plants = Plants::start(|setup| setup.more += "client_auth = \"optional\"\n");
        let conceals = Arc::<AtomicBool>::default();
        let options = Options {
            conceals: Arc::clone(&conceals),
            ..nameless(&options)
        };
        let device = plants.plants_device(options);
        assert_eq!(visit(&device, &plants.gateway), (FULL, 200));
        // The ticket opens, but under another name there is a full handshake, in which the client shows no certificate.
        conceals.store(true, Ordering::SeqCst);
        let device = device.calling(OTHER_PLANT_NAME);
        assert_eq!(visit(&device, &plants.gateway), (FULL, 403));
        // Nor is there a ticket with which it could come back as the device.
        assert_eq!(visit(&device, &plants.gateway), (FULL, 403));
        expect_value(&plants.gateway, &ticket("issued", ""), 1);
        assert_eq!(plants.device_ids(), ["press-000001"]);
    });
}

#[test]
fn a_domain_that_becomes_strict_forgets_who_came_without_a_certificate() {
    both_versions(|options| {
        let mut fleet = Fleet::start(optional);
        let nobody = Device::with(&fleet.pki, None, nameless(&options));
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        let mut open = nobody.connect(fleet.gateway.address());
        assert_eq!(enrol(&mut open), 200);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        let setup = Setup::new(fleet.upstream.address());
        fleet.gateway.reload(&fleet.pki, &setup).unwrap();
        open.wait_for_end();
        expect_value(&fleet.gateway, &ended("no_device"), 1);
        assert_eq!(
            nobody.alert(fleet.gateway.address()),
            AlertDescription::CertificateRequired
        );
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        expect_value(&fleet.gateway, &ticket("declined", "unknown_key"), 1);
    });
}

// Unbounded lineage

#[test]
fn unbounded_lineage() {
    both_versions(|options| {
        let age = "[resumption]\nmax_lineage_age = \"2s\"\n";
        let fleet = Fleet::start(|setup| setup.more = age.into());
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        // Each visit brings a fresh ticket; only the lineage can be too old.
        eventually("a ticket to be declined for its lineage's age", || {
            assert_eq!(visit(&device, &fleet.gateway).1, 200);
            let counters = fleet.gateway.counters();
            (counters.get(&ticket("declined", "lineage_too_old")) > 0).then_some(())
        });
        let counters = fleet.gateway.counters();
        assert!(counters.get(&ticket("accepted", "")) > 0);
        assert!(counters.get(&handshake("full", "ok")) > 1);
    });
}

// Another host than the handshake's

#[test]
fn another_host_than_the_server_name() {
    let plants = Plants::start(|_| {});
    let ours = [
        "fleet.test",
        "fleet.test:8443",
        "127.0.0.1",
        "[::1]",
        "[::1]:8443",
    ];
    let theirs = [PLANT_NAME, "gate.plant-7.example:8443", OTHER_PLANT_NAME];
    let (fleets, plants_own) = (
        plants.fleets_device(Options::default()),
        plants.plants_device(Options::default()),
    );
    let cases = [
        (&fleets, ours.to_vec(), theirs.to_vec()),
        (&plants_own, theirs.to_vec(), ours.to_vec()),
    ];
    for (device, own, others) in cases {
        let mut connection = device.connect(plants.gateway.address());
        for (hosts, status) in [(own, 200), (others, 421)] {
            for host in hosts {
                assert_eq!(ask_host(&mut connection, host), status, "Host: {host}");
                // The target's authority counts, whatever Host says (RFC 9112, 3.2.2).
                let other = if device.server_name().to_str() == SERVER_NAME {
                    PLANT_NAME
                } else {
                    "fleet.test"
                };
                for beside in [host, other, "fleet.test"] {
                    let request = format!("GET https://{host}/ HTTP/1.1\r\nhost: {beside}\r\n\r\n");
                    let answer = connection.ask(&request).status();
                    assert_eq!(answer, status, "{request:?}");
                }
            }
        }
    }
}

#[test]
fn no_host_at_all() {
    let plants = Plants::start(|_| {});
    let request = "GET / HTTP/1.0\r\n\r\n";
    let device = plants.plants_device(Options::default());
    let mut connection = device.connect(plants.gateway.address());
    assert_eq!(connection.ask(request).status(), 421);
    let device = plants.fleets_device(Options::default());
    let mut connection = device.connect(plants.gateway.address());
    assert_eq!(connection.ask(request).status(), 200);
    assert_eq!(plants.device_ids(), ["device-000001"]);
}

#[test]
fn connection_reuse_across_names() {
    let plants = Plants::start(|_| {});
    let cases = [
        (
            plants.fleets_device(Options::h2()),
            "fleet.test",
            PLANT_NAME,
        ),
        (
            plants.plants_device(Options::h2()),
            PLANT_NAME,
            "fleet.test",
        ),
    ];
    for (device, own, other) in cases {
        let before = plants.gateway.counters();
        h2::run(async {
            let (mut sender, _) = h2::connect(&device, plants.gateway.address()).await;
            for (authority, status) in [
                (own, 200),
                (other, 421),
                (OTHER_PLANT_NAME, if own == PLANT_NAME { 200 } else { 421 }),
                (own, 200),
            ] {
                for authority in [authority.to_owned(), format!("{authority}:8443")] {
                    let request = h2::request("GET", &format!("https://{authority}/"), "");
                    let answer = h2::ask(&mut sender, request).await.status();
                    assert_eq!(answer, status, "{authority}");
                }
            }
        });
        let upstream = if own == PLANT_NAME { 6 } else { 4 };
        let mut expected = vec![handshake("full", "ok")];
        expected.extend(vec![request("2xx"); upstream]);
        expected.extend(vec![unrouted("4xx"); 8 - upstream]);
        expect_moved(&plants.gateway, &before, &expected);
    }
}

#[test]
fn a_name_that_moves_to_another_domain() {
    let mut plants = Plants::start(|_| {});
    let device = plants.fleets_device(Options::default());
    let mut open = device.connect(plants.gateway.address());
    assert_eq!(ask_host(&mut open, "moved.test"), 200);
    plants.reload(|setup| {
        setup.more = setup.more.replace("*.plant-7.example", "moved.test");
    });
    assert_eq!(ask_host(&mut open, "moved.test"), 421);
    assert_eq!(ask_host(&mut open, PLANT_NAME), 200);
}

// Names in other spellings

/// Which of the gateway's certificates is shown to a hello that asks for `name`: 0 is the default domain's.
fn domain_shown_to(plants: &Plants, name: &str) -> usize {
    let mut tcp = connect(plants.gateway.address());
    tcp.write_all(&hello_to(name)).unwrap();
    let mut flight = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = tcp.read(&mut piece).unwrap();
        assert!(count > 0, "no certificate for {name}, but {flight:02x?}");
        flight.extend_from_slice(&piece[..count]);
        let shown = plants.servers.iter().position(|server| {
            let der = server.end_entity();
            flight.windows(der.len()).any(|part| part == der)
        });
        if let Some(domain) = shown {
            return domain;
        }
    }
}

#[test]
fn letter_case_and_trailing_dots() {
    let plants = Plants::start(|_| {});
    for name in [PLANT_NAME, "GATE.Plant-7.EXAMPLE", "gate.plant-7.example."] {
        assert_eq!(domain_shown_to(&plants, name), 1, "{name}");
    }
    let device = plants.fleets_device(Options::default());
    let mut connection = device.connect(plants.gateway.address());
    let plants_own = plants.plants_device(Options::default());
    let mut theirs = plants_own.connect(plants.gateway.address());
    for host in [
        "GATE.Plant-7.EXAMPLE",
        "gate.plant-7.example.",
        "Gate.Plant-7.Example.:8443",
    ] {
        assert_eq!(ask_host(&mut connection, host), 421, "{host}");
        assert_eq!(ask_host(&mut theirs, host), 200, "{host}");
    }
    let h2_device = plants.fleets_device(Options::h2());
    h2::run(async {
        let (mut sender, _) = h2::connect(&h2_device, plants.gateway.address()).await;
        for authority in ["GATE.Plant-7.EXAMPLE", "gate.plant-7.example."] {
            let request = h2::request("GET", &format!("https://{authority}/"), "");
            assert_eq!(h2::ask(&mut sender, request).await.status(), 421);
        }
    });
}

#[test]
fn server_names_that_are_none() {
    let plants = Plants::start(|_| {});
    // RFC 6066, 3: an address is no name; it chooses what no name chooses.
    assert_eq!(domain_shown_to(&plants, "127.0.0.1"), 0);
    for name in [
        "gate..plant-7.example",
        "gate.plant-7.example\0.evil.test",
        "*.plant-7.example",
        ".",
    ] {
        let answer = answer_to(plants.gateway.address(), &hello_to(name));
        assert_eq!(alert_in(&answer), AlertDescription::IllegalParameter);
    }
}

#[test]
fn wildcard_confusion() {
    let plants = Plants::start(|_| {});
    let device = plants.fleets_device(Options::default());
    let mut ours = device.connect(plants.gateway.address());
    let mut theirs = plants
        .plants_device(Options::default())
        .connect(plants.gateway.address());
    for name in NOT_OF_THE_PLANT {
        assert_eq!(domain_shown_to(&plants, name), 0, "{name}");
        assert_eq!(ask_host(&mut ours, name), 200, "{name}");
        assert_eq!(ask_host(&mut theirs, name), 421, "{name}");
        let stranger = plants.plants_device(Options::default()).calling(name);
        assert_eq!(
            stranger.alert(plants.gateway.address()),
            AlertDescription::UnknownCA,
            "{name}"
        );
    }
    // What one reader may take for a name of the plant, and another not, is for nobody.
    for host in [
        ".plant-7.example",
        "*.plant-7.example",
        "gate.plant-7.example..",
        "gate%2eplant-7.example",
        "fleet.test:gate.plant-7.example",
        "fleet.test,gate.plant-7.example",
        "[::1]gate.plant-7.example",
        "[gate.plant-7.example]",
        "gate.plant-7.example;fleet.test",
        "gate.plant-7.example:99999",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let answers = [&mut ours, &mut theirs].map(|connection| connection.ask(&request).status());
        assert_eq!(answers, [400, 400], "{host}");
    }
}

// Smuggled identity headers

#[test]
fn identity_headers_smuggled_in_by_nobody() {
    let fleet = Fleet::start(|setup| {
        optional(setup);
        setup.more += "[identity_headers]\nclient_cert_chain = true\nforwarded = true\n";
    });
    let nobody = Device::new(&fleet.pki, None);
    let names = [
        "X-Device-Id",
        "x-device-id",
        "X_Device_Id",
        "x-device_id",
        "X.Device.Id",
        "x~device+id",
        "Client-Cert",
        "CLIENT_CERT",
        "Client-Cert-Chain",
        "Client_Cert-Chain",
        "X-Forwarded-Client-Cert",
        "x_forwarded_client_cert",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
    ];
    let forged: String = names
        .iter()
        .chain(&names)
        .map(|name| format!("{name}: forged\r\n"))
        .collect();
    let trailers: String = names
        .iter()
        .map(|name| format!("{name}: forged\r\n"))
        .collect();
    let mut connection = nobody.connect(fleet.gateway.address());
    let answer = connection.ask(&format!(
        "POST /enrol HTTP/1.1\r\nhost: fleet.test\r\n{forged}connection: x-device-id, te\r\nte: trailers\r\n\
         trailer: x-device-id\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
    ));
    assert_eq!(answer.status(), 200);
    let options = Options::h2();
    h2::run(async {
        let device = Device::with(&fleet.pki, None, options);
        let (mut sender, _) = h2::connect(&device, fleet.gateway.address()).await;
        let mut request = h2::get("/enrol");
        for name in names.iter().chain(&names) {
            let name: http::HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .append(name, "forged".parse().unwrap());
        }
        assert_eq!(h2::ask(&mut sender, request).await.status(), 200);
    });
    for index in 0..2 {
        let received = fleet.upstream.request(index);
        let everything = format!(
            "{}{}",
            received.head,
            String::from_utf8_lossy(&received.wire)
        );
        assert!(!everything.contains("forged"), "{everything}");
        for name in [
            "x-device-id",
            "client-cert",
            "client-cert-chain",
            "x-forwarded-client-cert",
        ] {
            assert!(received.fields(name).is_empty(), "{name} in {everything}");
        }
        assert!(!received.head.contains(['_', '~']), "{everything}");
        received.field("x-forwarded-for");
    }
}

#[test]
fn identity_headers_smuggled_in_as_trailers() {
    let fleet = Fleet::start(|_| {});
    for trailer in [
        "X-Device-Id",
        "x_device_id",
        "CLIENT-CERT",
        "X_Forwarded-For",
    ] {
        let mut connection = fleet.connect();
        let answer = connection.ask(&format!(
            "POST / HTTP/1.1\r\nhost: fleet.test\r\nte: trailers\r\ntrailer: {trailer}\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailer}: forged\r\n{trailer}: forged\r\n\r\n"
        ));
        assert_eq!(answer.status(), 200);
    }
    for received in fleet.upstream.received() {
        assert_eq!(received.message.field("x-device-id"), "device-000001");
        let wire = String::from_utf8_lossy(&received.message.wire).into_owned();
        assert_eq!(wire, "5\r\nhello\r\n0\r\n\r\n");
    }
}

// Optional taken for verified

#[test]
fn optional_mode_taken_for_verified() {
    both_versions(|options| {
        let fleet = Fleet::start(optional);
        let nobody = Device::with(&fleet.pki, None, options.clone());
        let before = fleet.gateway.counters();
        let mut connection = nobody.connect(fleet.gateway.address());
        assert_eq!(connection.get("/").status(), 403);
        assert_eq!(connection.get("/enrolment").status(), 403);
        assert_eq!(enrol(&mut connection), 200);
        assert!(
            fleet
                .upstream
                .only_request()
                .fields("x-device-id")
                .is_empty()
        );
        expect_moved(
            &fleet.gateway,
            &before,
            &[
                handshake("full", "ok"),
                unrouted("4xx"),
                unrouted("4xx"),
                request("2xx"),
            ],
        );
        let credential = fleet.pki.device("device-000001");
        let device = Device::with(&fleet.pki, Some(&credential), options);
        assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
        assert_eq!(
            fleet.upstream.request(1).field("x-device-id"),
            "device-000001"
        );
    });
}

#[test]
fn paths_that_lead_out_of_an_open_route() {
    let fleet = Fleet::start(|setup| {
        optional(setup);
        setup.more += "[routing]\npath_policy = \"raw\"\n";
    });
    let ways_out = [
        "/enrol/../admin",
        "/enrol/..",
        "/enrol/./../admin",
        "/enrol/%2e%2e/admin",
        "/enrol/.%2E/admin",
        "/enrol/..%2fadmin",
        "/enrol/..%5Cadmin",
        "/enrol/..\\admin",
        "/enrol/..;x=y/admin",
        "/enrol/%252e%252e/admin",
        "/enrol//../../admin",
        "http://fleet.test/enrol/../admin",
    ];
    let mut nobody = Device::new(&fleet.pki, None).connect(fleet.gateway.address());
    let mut device = fleet.connect();
    for target in ways_out {
        let request = format!("GET {target} HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
        assert_eq!(nobody.ask(&request).status(), 403, "{target}");
        assert!(fleet.upstream.received().is_empty(), "{target}");
    }
    // A device may go wherever the upstream takes it to.
    let request = "GET /enrol/../admin HTTP/1.1\r\nhost: fleet.test\r\n\r\n";
    assert_eq!(device.ask(request).status(), 200);
    for target in ["/enrol", "/enrol/", "/enrol/new.device/7?next=/../a%20b"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
        assert_eq!(nobody.ask(&request).status(), 200, "{target}");
    }
}

#[test]
fn a_bad_certificate_is_not_taken_for_none() {
    both_versions(|options| {
        let fleet = Fleet::start(optional);
        let mut expired = EndEntitySpec::device("device-000001");
        expired.not_before = OffsetDateTime::now_utc() - Span::days(2);
        expired.not_after = OffsetDateTime::now_utc() - Span::days(1);
        let stranger = support::pki::authority("stranger");
        let spec = EndEntitySpec::device("device-000001");
        let (good, other) = (
            fleet.pki.device("device-000001"),
            fleet.pki.device("device-2"),
        );
        let wrong_key = Credential {
            chain: good.chain,
            key: other.key,
        };
        for (credential, outcome, alert) in [
            (
                fleet.pki.issue(&expired),
                "expired",
                AlertDescription::CertificateExpired,
            ),
            (
                stranger.issue(&spec).unwrap(),
                "unknown_issuer",
                AlertDescription::UnknownCA,
            ),
            (
                wrong_key,
                "bad_certificate_verify",
                AlertDescription::DecryptError,
            ),
        ] {
            let before = fleet.gateway.counters();
            let device = Device::with(&fleet.pki, Some(&credential), options.clone());
            assert_eq!(device.alert(fleet.gateway.address()), alert, "{outcome}");
            expect_moved(&fleet.gateway, &before, &[handshake("full", outcome)]);
        }
        expect_value(&fleet.gateway, &ticket("issued", ""), 0);
        assert!(fleet.upstream.received().is_empty());
    });
}

// Verdicts that outlive their reason

#[test]
fn cached_verdicts_across_domains() {
    both_versions(|options| {
        let plants = Plants::start(|_| {});
        let credential = plants.pki.device("device-000001");
        let fresh = |name: &str| {
            let device = Device::with(&plants.pki, Some(&credential), nameless(&options));
            device.calling(name)
        };
        assert_eq!(visit(&fresh(SERVER_NAME), &plants.gateway), (FULL, 200));
        expect_value(&plants.gateway, "gateway_chain_cache_entries", 1);
        for _ in 0..2 {
            let alert = fresh(PLANT_NAME).alert(plants.gateway.address());
            assert_eq!(alert, AlertDescription::UnknownCA);
        }
        expect_value(&plants.gateway, "gateway_chain_cache_entries", 1);
        assert_eq!(visit(&fresh(SERVER_NAME), &plants.gateway), (FULL, 200));
    });
}

/// A device is served and gets a ticket; after `change` is made to the rules, and neither its cached chain nor its ticket
/// helps it.
fn rules_made_stricter(
    spec: &EndEntitySpec,
    change: impl Fn(&mut Setup),
    outcome: &str,
    alert: AlertDescription,
) {
    for tickets in ["compact", "self_contained"] {
        both_versions(|options| {
            let resumption = format!("[resumption]\ntickets = \"{tickets}\"\n");
            let mut fleet = Fleet::start(|setup| setup.more.clone_from(&resumption));
            let credential = fleet.pki.issue(spec);
            let device = Device::with(&fleet.pki, Some(&credential), options);
            assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
            assert_eq!(visit(&device, &fleet.gateway), (RESUMED, 200));
            let mut setup = Setup::new(fleet.upstream.address());
            setup.more = resumption;
            change(&mut setup);
            fleet.gateway.reload(&fleet.pki, &setup).unwrap();
            let declined = match tickets {
                "compact" => "chain_forgotten",
                _ => "chain_refused",
            };
            declined_and_refused(&fleet.gateway, &device, declined, (outcome, alert));
            let fresh = Device::new(&fleet.pki, Some(&credential));
            assert_eq!(fresh.alert(fleet.gateway.address()), alert);
            assert_eq!(fleet.upstream.received().len(), 2);
        });
    }
}

#[test]
fn a_stricter_key_rule_and_old_verdicts() {
    let mut spec = EndEntitySpec::device("device-000001");
    spec.key = KeyKind::Rsa2048;
    rules_made_stricter(
        &spec,
        |setup| setup.trust = "min_rsa_bits = 3072".into(),
        "weak_key",
        AlertDescription::UnsupportedCertificate,
    );
}

#[test]
fn a_stricter_identity_rule_and_old_verdicts() {
    rules_made_stricter(
        &EndEntitySpec::device("device-000001"),
        |setup| setup.more += "[trust.identity]\npattern = \"press-[0-9]+\"\n",
        "no_identity",
        AlertDescription::AccessDenied,
    );
}

/// Replaces the certificate of the fleet's anchor, whose key stays.
fn install_anchor(pki: &Pki, spec: &AuthoritySpec) {
    let key = pem::parse(pki.anchor.key_pem()).unwrap();
    let key = PrivateKey::from_der(key.contents()).unwrap();
    let anchor = Authority::trust_anchor_with_key(spec, key).unwrap();
    pki.write("trust-anchor.pem", &anchor.certificate_pem());
}

#[test]
fn a_narrower_anchor_and_old_verdicts() {
    for tickets in ["compact", "self_contained"] {
        both_versions(|options| {
            let resumption = format!("[resumption]\ntickets = \"{tickets}\"\n");
            let mut fleet = Fleet::start(|setup| setup.more.clone_from(&resumption));
            let credential = fleet.pki.device("device-000001");
            let device = Device::with(&fleet.pki, Some(&credential), options);
            assert_eq!(visit(&device, &fleet.gateway), (FULL, 200));
            let mut open = device.connect(fleet.gateway.address());
            assert_eq!((open.kind(), open.get("/").status()), (RESUMED, 200));
            let mut setup = Setup::new(fleet.upstream.address());
            setup.more = resumption;
            // The same name and key: renewed it is the same anchor,
            let mut spec = AuthoritySpec::new("test trust anchor");
            spec.not_after += Span::days(365);
            install_anchor(&fleet.pki, &spec);
            fleet.gateway.reload(&fleet.pki, &setup).unwrap();
            assert_eq!(visit(&device, &fleet.gateway), (RESUMED, 200));
            assert_eq!(open.get("/").status(), 200);
            // but it is another one when no intermediate may follow any more.
            spec.path_length = Some(0);
            install_anchor(&fleet.pki, &spec);
            expect_value(&fleet.gateway, CONNECTIONS_OPEN, 1);
            fleet.gateway.reload(&fleet.pki, &setup).unwrap();
            let violated = ("constraint_violated", AlertDescription::CertificateUnknown);
            declined_and_refused(&fleet.gateway, &device, "chain_refused", violated);
            open.wait_for_end();
            expect_value(&fleet.gateway, &ended("anchor_removed"), 1);
        });
    }
}

// Revocation lists

/// A PKI whose authorities' lists are in force, and a gateway with tickets of the format `tickets`, and room for `cached`
/// chains.
fn listed(tickets: &str, cached: usize) -> (Pki, Upstream, Setup) {
    let (pki, upstream) = (Pki::new(), Upstream::ok());
    std::fs::create_dir(pki.folder().join("crl")).unwrap();
    pki.write("intermediate.pem", &pki.intermediate.certificate_pem());
    install(&pki, "anchor", &List::of(&pki.anchor, 1));
    install(&pki, "intermediate", &List::of(&pki.intermediate, 1));
    let mut setup = Setup::new(upstream.address());
    setup.trust = "intermediates = [\"intermediate.pem\"]\ncrls = [\"crl\"]".into();
    setup.more =
        format!("[resumption]\ntickets = \"{tickets}\"\n[chain_cache]\nentries = {cached}\n");
    (pki, upstream, setup)
}

fn install(pki: &Pki, name: &str, list: &List<'_>) {
    pki.write(&format!("crl/{name}.pem"), &list.pem());
}

const REVOKED: (&str, AlertDescription) = ("revoked", AlertDescription::CertificateRevoked);

/// For every kind of ticket and version of TLS: once `list` is in force, a device that was served before is refused, by
/// its ticket, by its cached chain, and on the connection that it has open.
fn revoked_for_good(list: impl Fn(&Pki, &Credential)) {
    for (tickets, cached) in [
        ("compact", 10),
        ("self_contained", 10),
        ("self_contained", 0),
    ] {
        both_versions(|options| {
            let (pki, upstream, setup) = listed(tickets, cached);
            let mut gateway = Gateway::start(&pki, &setup);
            let credential = pki.device("device-000001");
            let device = Device::with(&pki, Some(&credential), options);
            let mut open = device.connect(gateway.address());
            assert_eq!((open.kind(), open.get("/").status()), (FULL, 200));
            assert_eq!(visit(&device, &gateway), (RESUMED, 200));
            expect_value(&gateway, CONNECTIONS_OPEN, 1);
            list(&pki, &credential);
            gateway.reload(&pki, &setup).unwrap();
            // With the reload, not some time after it.
            declined_and_refused(&gateway, &device, "revoked", REVOKED);
            let fresh = Device::new(&pki, Some(&credential));
            assert_eq!(fresh.alert(gateway.address()), REVOKED.1);
            open.wait_for_end();
            expect_value(&gateway, &ended("revoked"), 1);
            assert_eq!(upstream.received().len(), 2, "{tickets}, {cached}");
        });
    }
}

#[test]
fn a_list_not_looked_at_on_resumption() {
    revoked_for_good(|pki, device| {
        let list = List::of(&pki.intermediate, 2).revoking(device);
        install(pki, "intermediate", &list);
    });
}

#[test]
fn an_intermediate_that_outlives_its_revocation() {
    revoked_for_good(|pki, _| {
        let intermediate = pki.intermediate.certificate_der();
        let list = List::of(&pki.anchor, 2).revoking_certificate(intermediate);
        install(pki, "anchor", &list);
    });
}

#[test]
fn a_ticket_of_an_instance_that_has_an_older_list() {
    both_versions(|options| {
        let (pki, _upstream, mut setup) = listed("self_contained", 10);
        pki.write("ticket.secret", &"s".repeat(32));
        let secret = "[resumption]\nsecret_file = \"ticket.secret\"\n";
        setup.more = setup.more.replace("[resumption]\n", secret);
        let behind = Gateway::start(&pki, &setup);
        let credential = pki.device("device-000001");
        let list = List::of(&pki.intermediate, 2).revoking(&credential);
        install(&pki, "intermediate", &list);
        let ahead = Gateway::start(&pki, &setup);
        let device = Device::with(&pki, Some(&credential), options);
        assert_eq!(visit(&device, &behind), (FULL, 200));
        declined_and_refused(&ahead, &device, "revoked", REVOKED);
    });
}

#[test]
fn a_list_that_a_namesake_of_the_issuer_signed() {
    let (pki, _upstream, setup) = listed("compact", 10);
    let credential = pki.device("device-000001");
    let device = Device::new(&pki, Some(&credential));
    let list = List::of(&pki.intermediate, 2).revoking(&credential);
    install(&pki, "intermediate", &list);
    let mut gateway = Gateway::start(&pki, &setup);
    assert_eq!(device.alert(gateway.address()), REVOKED.1);
    let namesake = support::pki::authority("test intermediate");
    install(&pki, "intermediate", &List::of(&namesake, 3));
    let error = gateway.reload(&pki, &setup).unwrap_err();
    assert!(error.to_string().contains("trust.crls"), "{error}");
    assert_eq!(device.alert(gateway.address()), REVOKED.1);
}

#[test]
fn a_newer_list_of_another_domain() {
    // The same issuer's devices in two domains; only the default one has the list that revokes.
    let (pki, _upstream, mut setup) = listed("compact", 10);
    let credential = pki.device("device-000001");
    let list = List::of(&pki.intermediate, 2).revoking(&credential);
    install(&pki, "intermediate", &list);
    std::fs::create_dir(pki.folder().join("plant")).unwrap();
    pki.write("plant/anchor.pem", &List::of(&pki.anchor, 9).pem());
    pki.write(
        "plant/intermediate.pem",
        &List::of(&pki.intermediate, 9).pem(),
    );
    pki.write_server("server", &pki.server_for(&[SERVER_NAME, PLANT_NAME]));
    setup.more += &format!(
        "[[trust_domains]]\nname = \"{PLANT}\"\nserver_names = [\"{PLANT_NAME}\"]\n\
         anchors = [\"trust-anchor.pem\"]\nintermediates = [\"intermediate.pem\"]\ncrls = [\"plant\"]\n"
    );
    let gateway = Gateway::start(&pki, &setup);
    let device = Device::new(&pki, Some(&credential));
    assert_eq!(visit(&device.calling(PLANT_NAME), &gateway), (FULL, 200));
    assert_eq!(device.alert(gateway.address()), REVOKED.1);
}
