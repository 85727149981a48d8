//! When a device may come back without its certificates, and when it has to show them again: never because of a ticket
//! alone, and never at the price of a failed handshake.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use certs_gen::authority::EndEntitySpec;
use gateway::authorize::Policy;
use gateway::clock;
use gateway::headers;
use gateway::identity::Rule;
use gateway::ocsp::Mode;
use gateway::tls::resumption::Declined;
use gateway::tls::session::{DomainSessions, Hooks, Session};
use gateway::tls::stek::{Secret, TicketKeys};
use gateway::tls::{self, Group, Version, resumption};
use gateway::trust::domains::Domains;
use gateway::trust::{self, ClientAuth, DeviceCache, TrustDomain};
use gateway::verify::{self, AuthorityCertificate, Rules, TrustMaterial};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ProducesTickets as _;
use rustls::{AlertDescription, HandshakeKind, NamedGroup, ServerConnection};
use support::counters::{expect_moved, expect_value, handshake, lookup, request, ticket};
use support::device::{Device, Options};
use support::pki::authority;
use support::{Fleet, Gateway, Pki, Setup, Upstream};
use time::{Duration as Span, OffsetDateTime};

const FULL: HandshakeKind = HandshakeKind::Full;
const RESUMED: HandshakeKind = HandshakeKind::Resumed;

/// Connects, asks, and says how the handshake went.
fn visit(device: &Device, gateway: SocketAddr) -> HandshakeKind {
    let (response, kind) = device.get(gateway, "/");
    assert_eq!(response.status(), 200);
    kind
}

fn both_versions(test: impl Fn(Options)) {
    test(Options::tls13());
    test(Options::tls12());
}

fn device(pki: &Pki, options: Options) -> Device {
    Device::with(pki, Some(&pki.device("device-000001")), options)
}

#[test]
fn a_resumed_handshake_is_counted_as_one_and_served() {
    both_versions(|options| {
        let fleet = Fleet::start(|_| {});
        let device = device(&fleet.pki, options);
        let before = fleet.gateway.counters();
        assert_eq!(visit(&device, fleet.gateway.address()), FULL);
        assert_eq!(visit(&device, fleet.gateway.address()), RESUMED);
        assert_eq!(
            visit(&device, fleet.gateway.address()),
            RESUMED,
            "and again"
        );
        expect_moved(
            &fleet.gateway,
            &before,
            &[
                handshake("full", "ok"),
                handshake("resumed", "ok"),
                handshake("resumed", "ok"),
                request("2xx"),
                request("2xx"),
                request("2xx"),
            ],
        );
        expect_value(&fleet.gateway, &ticket("accepted", ""), 2);
        expect_value(&fleet.gateway, &ticket("issued", ""), 3);
        let ids: Vec<_> = fleet.upstream.received();
        assert!(
            ids.iter()
                .all(|received| received.message.field("x-device-id") == "device-000001")
        );
    });
}

/// A device's tickets, counted.
#[derive(Debug)]
struct Counting {
    tickets: ClientSessionMemoryCache,
    stored: AtomicUsize,
}

impl Counting {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            tickets: ClientSessionMemoryCache::new(8),
            stored: AtomicUsize::new(0),
        })
    }
}

impl ClientSessionStore for Counting {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.tickets.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.tickets.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.stored.fetch_add(1, Ordering::SeqCst);
        self.tickets.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tickets.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.tickets.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.stored.fetch_add(1, Ordering::SeqCst);
        self.tickets.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.take_tls13_ticket(name)
    }
}

#[test]
fn every_connection_brings_one_ticket() {
    let fleet = Fleet::start(|_| {});
    let tickets = Counting::new();
    let options = Options {
        tickets: Arc::clone(&tickets) as _,
        ..Options::tls13()
    };
    let device = device(&fleet.pki, options);
    for visits in 1..=3 {
        visit(&device, fleet.gateway.address());
        assert_eq!(tickets.stored.load(Ordering::SeqCst), visits);
    }
}

#[test]
fn a_device_that_never_says_anything_gets_its_ticket_too() {
    let fleet = Fleet::start(|_| {});
    let tickets = Counting::new();
    let options = Options {
        tickets: Arc::clone(&tickets) as _,
        ..Options::tls13()
    };
    let mut connection = device(&fleet.pki, options).connect(fleet.gateway.address());
    let mut tcp = connection.tcp().try_clone().unwrap();
    while tickets.stored.load(Ordering::SeqCst) == 0 {
        assert!(connection.tls().read_tls(&mut tcp).unwrap() > 0);
        connection.tls().process_new_packets().unwrap();
    }
}

// Restarts and neighbours

fn with_secret(setup: &mut Setup) {
    setup.more = "[resumption]\nsecret_file = \"ticket.secret\"\n".into();
}

/// A PKI folder with a ticket secret, and an upstream for gateways over it.
fn shared() -> (Pki, Upstream, Setup) {
    let pki = Pki::new();
    pki.write("ticket.secret", &"s".repeat(32));
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    with_secret(&mut setup);
    (pki, upstream, setup)
}

#[test]
fn tickets_survive_a_restart_when_the_secret_does() {
    both_versions(|options| {
        let (pki, _upstream, setup) = shared();
        let device = device(&pki, options);
        let first = Gateway::start(&pki, &setup);
        assert_eq!(visit(&device, first.address()), FULL);
        first.server().drain();
        first.join().unwrap();
        let second = Gateway::start(&pki, &setup);
        assert_eq!(visit(&device, second.address()), RESUMED);
        expect_value(&second, &lookup("miss"), 1);
        assert_eq!(visit(&device, second.address()), RESUMED);
        expect_value(&second, &lookup("hit"), 1);
    });
}

#[test]
fn gateways_with_one_secret_honour_each_others_tickets() {
    let (pki, upstream, setup) = shared();
    let (one, other) = (Gateway::start(&pki, &setup), Gateway::start(&pki, &setup));
    let device = device(&pki, Options::default());
    assert_eq!(visit(&device, one.address()), FULL);
    for gateway in [&other, &one, &other, &one] {
        assert_eq!(visit(&device, gateway.address()), RESUMED);
    }
    let received = upstream.received();
    let first = received[0].message.field("client-cert");
    assert!(
        received
            .iter()
            .all(|received| received.message.field("client-cert") == first)
    );
}

/// `device`'s ticket is declined for `reason`, and it is served after a full handshake.
fn declined_and_served(gateway: &Gateway, device: &Device, reason: &str) {
    let before = gateway.counters();
    assert_eq!(visit(device, gateway.address()), FULL);
    expect_moved(gateway, &before, &[handshake("full", "ok"), request("2xx")]);
    expect_value(gateway, &ticket("declined", reason), 1);
    assert_eq!(
        visit(device, gateway.address()),
        RESUMED,
        "the new ticket is good"
    );
}

#[test]
fn a_ticket_of_another_secret_is_declined() {
    both_versions(|options| {
        let (pki, _upstream, setup) = shared();
        let device = device(&pki, options);
        let one = Gateway::start(&pki, &setup);
        assert_eq!(visit(&device, one.address()), FULL);
        pki.write("ticket.secret", &"t".repeat(32));
        let other = Gateway::start(&pki, &setup);
        declined_and_served(&other, &device, "unknown_key");
    });
}

#[test]
fn tickets_end_with_the_process_when_no_secret_is_given() {
    let pki = Pki::new();
    let upstream = Upstream::ok();
    let setup = Setup::new(upstream.address());
    let device = device(&pki, Options::default());
    let (one, other) = (Gateway::start(&pki, &setup), Gateway::start(&pki, &setup));
    assert_eq!(visit(&device, one.address()), FULL);
    declined_and_served(&other, &device, "unknown_key");
}

#[test]
fn a_reload_keeps_tickets() {
    let mut fleet = Fleet::start(|_| {});
    let device = device(&fleet.pki, Options::default());
    assert_eq!(visit(&device, fleet.gateway.address()), FULL);
    fleet
        .gateway
        .reload(&fleet.pki, &Setup::new(fleet.upstream.address()))
        .unwrap();
    assert_eq!(visit(&device, fleet.gateway.address()), RESUMED);
}

#[test]
fn a_reload_that_changes_what_identity_fields_hold_declines_tickets() {
    let mut fleet = Fleet::start(|_| {});
    let device = device(&fleet.pki, Options::default());
    assert_eq!(visit(&device, fleet.gateway.address()), FULL);
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = "[identity_headers]\nclient_cert_chain = true\n".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    declined_and_served(&fleet.gateway, &device, "chain_forgotten");
    let received = fleet.upstream.received();
    assert!(received[0].message.fields("client-cert-chain").is_empty());
    received[1].message.field("client-cert-chain");
    received[2].message.field("client-cert-chain");
}

#[test]
fn no_tickets_when_resumption_is_off() {
    both_versions(|options| {
        let fleet = Fleet::start(|setup| setup.more = "[resumption]\nenabled = false\n".into());
        let tickets = Counting::new();
        let options = Options {
            tickets: Arc::clone(&tickets) as _,
            ..options
        };
        let device = device(&fleet.pki, options);
        assert_eq!(visit(&device, fleet.gateway.address()), FULL);
        assert_eq!(visit(&device, fleet.gateway.address()), FULL);
        assert_eq!(tickets.stored.load(Ordering::SeqCst), 0);
        expect_value(&fleet.gateway, &ticket("issued", ""), 0);
    });
}

// Trust that ended

#[test]
fn a_device_whose_anchor_is_gone_is_refused_although_it_has_a_ticket() {
    for cached in [true, false] {
        both_versions(|options| {
            let upstream = Upstream::ok();
            let pki = Pki::new();
            pki.write("other.pem", &authority("another anchor").certificate_pem());
            let mut setup = Setup::new(upstream.address());
            if !cached {
                setup.more = "[chain_cache]\nentries = 0\n".into();
            }
            let mut gateway = Gateway::start(&pki, &setup);
            let device = device(&pki, options);
            assert_eq!(visit(&device, gateway.address()), FULL);
            assert_eq!(visit(&device, gateway.address()), RESUMED);
            setup.anchors = vec!["other.pem".into()];
            gateway.reload(&pki, &setup).unwrap();
            let before = gateway.counters();
            assert_eq!(device.alert(gateway.address()), AlertDescription::UnknownCA);
            expect_moved(&gateway, &before, &[handshake("full", "unknown_issuer")]);
            expect_value(&gateway, &ticket("declined", "chain_refused"), 1);
            assert_eq!(
                upstream.received().len(),
                2,
                "not one more byte came through"
            );
            setup.anchors.push("trust-anchor.pem".into());
            gateway.reload(&pki, &setup).unwrap();
            visit(&device, gateway.address());
        });
    }
}

#[test]
fn removing_an_anchor_leaves_the_tickets_of_another_alone() {
    let upstream = Upstream::ok();
    let pki = Pki::new();
    let mut setup = Setup::new(upstream.address());
    let other = authority("second anchor");
    pki.write("second.pem", &other.certificate_pem());
    setup.anchors.push("second.pem".into());
    let mut gateway = Gateway::start(&pki, &setup);
    let credential = other
        .issue(&EndEntitySpec::device("device-000009"))
        .unwrap();
    let device = Device::new(&pki, Some(&credential));
    assert_eq!(visit(&device, gateway.address()), FULL);
    setup.anchors.remove(0);
    gateway.reload(&pki, &setup).unwrap();
    assert_eq!(visit(&device, gateway.address()), RESUMED);
}

// The verified-chain cache

fn lookups(gateway: &Gateway) -> [u64; 3] {
    let counters = gateway.counters();
    ["hit", "miss", "stale"].map(|result| counters.get(&lookup(result)))
}

#[test]
fn the_second_full_handshake_finds_the_chain_in_the_cache() {
    let fleet = Fleet::start(|_| {});
    let credential = fleet.pki.device("device-000001");
    for expected in [[0, 1, 0], [1, 1, 0], [2, 1, 0]] {
        let device = Device::new(&fleet.pki, Some(&credential));
        assert_eq!(visit(&device, fleet.gateway.address()), FULL);
        assert_eq!(lookups(&fleet.gateway), expected);
    }
    expect_value(&fleet.gateway, "gateway_chain_cache_entries", 1);
}

#[test]
fn the_cache_is_shared_by_workers_and_outlives_a_reload() {
    let mut fleet = Fleet::start(|setup| setup.workers = 2);
    let credential = fleet.pki.device("device-000001");
    let mut setup = Setup::new(fleet.upstream.address());
    setup.workers = 2;
    for visits in 0..8 {
        if visits == 4 {
            fleet.gateway.reload(&fleet.pki, &setup).unwrap();
        }
        let device = Device::new(&fleet.pki, Some(&credential));
        assert_eq!(visit(&device, fleet.gateway.address()), FULL);
        assert_eq!(lookups(&fleet.gateway), [visits, 1, 0]);
    }
}

#[test]
fn the_cache_is_bounded_and_who_was_evicted_still_resumes_with_a_self_contained_ticket() {
    for entries in [0, 1] {
        both_versions(|options| {
            let fleet = Fleet::start(|setup| {
                setup.more = format!(
                    "[chain_cache]\nentries = {entries}\n[resumption]\ntickets = \"self_contained\"\n"
                );
            });
            let devices: Vec<Device> = (0..4)
                .map(|number| {
                    let credential = fleet.pki.device(&format!("device-{number:06}"));
                    let options = Options {
                        tickets: Arc::new(ClientSessionMemoryCache::new(8)),
                        ..options.clone()
                    };
                    Device::with(&fleet.pki, Some(&credential), options)
                })
                .collect();
            for device in &devices {
                assert_eq!(visit(device, fleet.gateway.address()), FULL);
            }
            for device in &devices {
                assert_eq!(visit(device, fleet.gateway.address()), RESUMED);
            }
            expect_value(&fleet.gateway, "gateway_chain_cache_entries", entries);
            assert_eq!(lookups(&fleet.gateway), [0, 8, 0]);
            let ids: Vec<String> = fleet
                .upstream
                .received()
                .iter()
                .map(|received| received.message.field("x-device-id").to_owned())
                .collect();
            let expected = [0, 1, 2, 3, 0, 1, 2, 3].map(|number| format!("device-{number:06}"));
            assert_eq!(ids, expected);
        });
    }
}

#[test]
fn refused_chains_do_not_enter_the_cache() {
    let fleet = Fleet::start(|_| {});
    let credential = authority("another anchor")
        .issue(&EndEntitySpec::device("device-000666"))
        .unwrap();
    let device = Device::new(&fleet.pki, Some(&credential));
    assert_eq!(
        device.alert(fleet.gateway.address()),
        AlertDescription::UnknownCA
    );
    expect_value(&fleet.gateway, &handshake("full", "unknown_issuer"), 1);
    expect_value(&fleet.gateway, "gateway_chain_cache_entries", 0);
}

// Time, which is an argument: handshakes in memory at times of the test's own choosing

/// The gateway's side of handshakes, without a gateway.
struct Side {
    pki: Pki,
    hooks: Arc<Hooks>,
    config: Arc<rustls::ServerConfig>,
}

const HOUR: u64 = 60 * 60;

impl Side {
    fn new() -> Self {
        let pki = Pki::new();
        let anchor = CertificateDer::from(pki.anchor.certificate_der());
        let rules = Rules::default();
        let anchor = AuthorityCertificate::anchor(&anchor, &rules).unwrap();
        let material = TrustMaterial::new(vec![anchor], Vec::new(), rules);
        let limits = verify::Settings {
            max_certificates: 10,
            max_bytes: 32 * 1024,
        };
        let domain = trust::Settings {
            name: "test".into(),
            server_names: Vec::new(),
            client_auth: ClientAuth::Required,
            limits,
            rules: Rules::default(),
            identity: Rule::default(),
            headers: headers::Settings::default(),
            policy: Policy::default(),
            revocation: trust::revocation::Policy::default(),
            ocsp: Mode::Off,
        };
        let cache = Arc::new(DeviceCache::new(10));
        let domain = Arc::new(TrustDomain::new(
            domain,
            material,
            cache,
            trust::Sources::default(),
        ));
        let settings = resumption::Settings {
            enabled: true,
            rotation: 12 * HOUR,
            max_lineage_age: 24 * HOUR,
            tickets: resumption::Format::Compact,
            secret_file: None,
        };
        let secret = Secret::from_bytes(vec![7; 32]).unwrap();
        let keys = TicketKeys::new(
            secret,
            domain.resumption_scope(),
            settings.rotation,
            clock::unix_seconds(),
        )
        .unwrap();
        let server = pki.server();
        let tls = tls::Settings {
            min_version: Version::Tls12,
            groups: vec![Group::X25519],
        };
        let chain = server
            .chain
            .iter()
            .map(|der| CertificateDer::from(der.clone()))
            .collect();
        let key = PrivatePkcs8KeyDer::from(server.key.clone()).into();
        let credentials =
            rustls::sign::CertifiedKey::from_der(chain, key, &tls::provider(&tls.groups)).unwrap();
        let domains = Arc::new(Domains::new(vec![Arc::clone(&domain)]));
        let sessions = DomainSessions::new(domain, keys, Arc::new(credentials));
        let hooks = Arc::new(Hooks::new(domains, vec![sessions], settings));
        let config = tls::server_config(&tls, &[], Arc::clone(&hooks)).unwrap();
        Self {
            pki,
            hooks,
            config: Arc::new(config),
        }
    }

    /// A handshake that has come as far as its server name.
    fn session(&self) -> Session {
        let mut session = Session::default();
        assert!(self.hooks.choose(&mut session, None).is_some());
        session
    }

    /// A handshake with `device` at `now`: what the gateway's side knows, and the kind or the error.
    fn handshake(
        &self,
        device: &Device,
        now: u64,
    ) -> (Session, Result<HandshakeKind, rustls::Error>) {
        let mut session = Session::default();
        let mut server = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut client = device.session();
        loop {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            let mut flight = &flight[..];
            while !flight.is_empty() {
                server.read_tls(&mut flight).unwrap();
                if let Err(error) = session.enter(now, || server.process_new_packets().map(|_| ()))
                {
                    return (session, Err(error));
                }
            }
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
            if answer.is_empty() {
                return (session, Ok(server.handshake_kind().unwrap()));
            }
            let mut answer = &answer[..];
            while !answer.is_empty() {
                client.read_tls(&mut answer).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    }

    /// The same, which must work; and why a ticket was declined.
    fn visit(&self, device: &Device, now: u64) -> (HandshakeKind, Option<Declined>) {
        let (session, kind) = self.handshake(device, now);
        let kind = kind.unwrap();
        assert_eq!(session.is_resumed(), kind == RESUMED);
        assert_eq!(session.known().unwrap().device.device_id(), "device-000001");
        (kind, session.declined())
    }
}

#[test]
fn a_lineage_ends_at_its_age_however_often_the_device_resumed() {
    both_versions(|options| {
        let side = Side::new();
        let device = device(&side.pki, options);
        let start = clock::unix_seconds();
        assert_eq!(side.visit(&device, start), (FULL, None));
        // Each visit brings a new ticket, within the age of the keys, and none of them is younger than the lineage.
        for hours in [6, 12, 18, 24] {
            assert_eq!(
                side.visit(&device, start + hours * HOUR),
                (RESUMED, None),
                "{hours}"
            );
        }
        let late = start + 24 * HOUR + 1;
        assert_eq!(
            side.visit(&device, late),
            (FULL, Some(Declined::LineageTooOld))
        );
        assert_eq!(
            side.visit(&device, late + 24 * HOUR - 13 * HOUR),
            (RESUMED, None),
            "a new lineage"
        );
    });
}

#[test]
fn a_ticket_of_a_key_that_was_rotated_away_is_declined() {
    both_versions(|options| {
        let side = Side::new();
        let device = device(&side.pki, options);
        // Towards the end of an epoch, so that the next but one is less than 24 hours away.
        let start = clock::unix_seconds() / (12 * HOUR) * 12 * HOUR + 23 * HOUR;
        assert_eq!(side.visit(&device, start), (FULL, None));
        assert_eq!(
            side.visit(&device, start + 14 * HOUR),
            (FULL, Some(Declined::UnknownKey))
        );
    });
}

#[test]
fn a_device_that_expired_is_declined_and_then_refused() {
    both_versions(|options| {
        let side = Side::new();
        let mut spec = EndEntitySpec::device("device-000001");
        spec.not_after = OffsetDateTime::now_utc() + Span::hours(2);
        let device = Device::with(&side.pki, Some(&side.pki.issue(&spec)), options);
        let start = clock::unix_seconds();
        assert_eq!(side.visit(&device, start), (FULL, None));
        assert_eq!(side.visit(&device, start + HOUR), (RESUMED, None));
        let (session, result) = side.handshake(&device, start + 3 * HOUR);
        assert_eq!(session.declined(), Some(Declined::ChainRefused));
        assert_eq!(session.refusal(), Some(verify::Refusal::Expired));
        assert!(session.known().is_none());
        assert_eq!(
            result.unwrap_err(),
            rustls::Error::InvalidCertificate(rustls::CertificateError::Expired)
        );
    });
}

/// The least that is laid out as rustls's session values are: TLS 1.3, a suite, no secret, no certificates.
const SESSION_VALUE: &[u8] = &[0, 3, 4, 0x13, 1, 0, 1, 0];

#[test]
fn a_ticket_with_any_byte_changed_is_declined() {
    let side = Side::new();
    let device = device(&side.pki, Options::tls13());
    let now = clock::unix_seconds();
    let (mut session, _) = side.handshake(&device, now);
    let ticket = session
        .enter(now, || side.hooks.encrypt(SESSION_VALUE))
        .unwrap();
    for at in 0..ticket.len() {
        let mut damaged = ticket.clone();
        damaged[at] ^= 1;
        let mut session = side.session();
        assert_eq!(session.enter(now, || side.hooks.decrypt(&damaged)), None);
        assert_eq!(session.declined(), Some(Declined::UnknownKey));
        assert!(session.known().is_none() && !session.is_resumed());
    }
    for length in 0..ticket.len() {
        let mut session = side.session();
        assert_eq!(
            session.enter(now, || side.hooks.decrypt(&ticket[..length])),
            None
        );
    }
    let mut session = side.session();
    assert!(session.enter(now, || side.hooks.decrypt(&ticket)).is_some());
}

#[test]
fn hooks_outside_of_a_handshake_refuse() {
    let side = Side::new();
    assert_eq!(side.hooks.encrypt(SESSION_VALUE), None);
    assert_eq!(side.hooks.decrypt(b"a ticket"), None);
}

#[test]
fn a_ticket_without_its_secret_is_no_way_in() {
    let fleet = Fleet::start(|_| {});
    let device = device(&fleet.pki, Options::default());
    assert_eq!(visit(&device, fleet.gateway.address()), FULL);
    let mut tcp = support::device::connect(fleet.gateway.address());
    let mut hello = Vec::new();
    device.session().write_tls(&mut hello).unwrap();
    // The last bytes of the hello are the binder, which proves the secret.
    let last = hello.len() - 1;
    hello[last] ^= 1;
    tcp.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    assert_eq!(
        support::hello::alert_in(&answer),
        AlertDescription::DecryptError
    );
    expect_value(&fleet.gateway, &handshake("full", "protocol_error"), 1);
    expect_value(&fleet.gateway, &ticket("accepted", ""), 0);
}
