//! Revocation lists, over real sockets: from files and over HTTP, fresh, stale, missing, broken and older than before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use rustls::{AlertDescription, HandshakeKind};
use support::counters::{expect_value, handshake, ticket};
use support::lists::List;
use support::program::Program;
use support::{Device, Gateway, Pki, Setup, Upstream, eventually};
use time::Duration;

/// A PKI whose lists are in its folder `crl`, and a configuration that reads them.
struct Lists {
    pki: Pki,
    /// Kept, so that there is one.
    _upstream: Upstream,
    setup: Setup,
}

impl Lists {
    /// Empty lists of the anchor and of the intermediate, each with number 1.
    fn new() -> Self {
        let pki = Pki::new();
        std::fs::create_dir(pki.folder().join("crl")).unwrap();
        pki.write("intermediate.pem", &pki.intermediate.certificate_pem());
        let upstream = Upstream::ok();
        let mut setup = Setup::new(upstream.address());
        setup.trust = "intermediates = [\"intermediate.pem\"]\ncrls = [\"crl/\"]\n".into();
        let lists = Self {
            pki,
            _upstream: upstream,
            setup,
        };
        lists.install("anchor", &List::of(&lists.pki.anchor, 1));
        lists.install("intermediate", &List::of(&lists.pki.intermediate, 1));
        lists
    }

    fn install(&self, name: &str, list: &List<'_>) {
        self.pki.write(&format!("crl/{name}.pem"), &list.pem());
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.pki.folder().join(format!("crl/{name}.pem"))).unwrap();
    }

    fn start(&self) -> Gateway {
        Gateway::start(&self.pki, &self.setup)
    }

    fn device(&self, id: &str) -> (certs_gen::credential::Credential, Device) {
        let credential = self.pki.device(id);
        let device = Device::new(&self.pki, Some(&credential));
        (credential, device)
    }
}

#[test]
fn a_new_list_reaches_new_resumed_and_open_connections() {
    let lists = Lists::new();
    let mut gateway = lists.start();
    let (credential, revoked) = lists.device("device-000001");
    let (_, other) = lists.device("device-000002");
    assert_eq!(revoked.get(gateway.address(), "/").0.status(), 200);
    let mut open = revoked.connect(gateway.address());
    assert_eq!(open.kind(), HandshakeKind::Resumed);
    assert_eq!(open.get("/").status(), 200);
    let mut open_other = other.connect(gateway.address());
    assert_eq!(open_other.get("/").status(), 200);

    let list = List::of(&lists.pki.intermediate, 2).revoking(&credential);
    lists.install("intermediate", &list);
    gateway.reload(&lists.pki, &lists.setup).unwrap();
    open.wait_for_end();
    assert_eq!(
        revoked.alert(gateway.address()),
        AlertDescription::CertificateRevoked
    );
    expect_value(&gateway, &ticket("declined", "revoked"), 1);
    expect_value(&gateway, &handshake("full", "revoked"), 1);
    expect_value(
        &gateway,
        "gateway_connections_ended_total{reason=\"revoked\"}",
        1,
    );
    assert_eq!(
        open_other.get("/").status(),
        200,
        "the other's connection stays"
    );
    let kind = other.connect(gateway.address()).kind();
    assert_eq!(
        kind,
        HandshakeKind::Resumed,
        "a new list throws no tickets away"
    );
}

#[test]
fn an_intermediate_that_is_revoked_takes_its_devices_along() {
    let lists = Lists::new();
    let mut gateway = lists.start();
    let (_, device) = lists.device("device-000001");
    assert_eq!(device.get(gateway.address(), "/").0.status(), 200);
    let intermediate = lists.pki.intermediate.certificate_der().to_vec();
    let list = List::of(&lists.pki.anchor, 2).revoking_certificate(&intermediate);
    lists.install("anchor", &list);
    gateway.reload(&lists.pki, &lists.setup).unwrap();
    assert_eq!(
        device.alert(gateway.address()),
        AlertDescription::CertificateRevoked
    );
}

#[test]
fn an_older_list_does_not_replace_a_newer_one() {
    let lists = Lists::new();
    let (credential, device) = lists.device("device-000001");
    let list = List::of(&lists.pki.intermediate, 5).revoking(&credential);
    lists.install("intermediate", &list);
    let mut gateway = lists.start();
    lists.install("intermediate", &List::of(&lists.pki.intermediate, 4));
    gateway.reload(&lists.pki, &lists.setup).unwrap();
    assert_eq!(
        device.alert(gateway.address()),
        AlertDescription::CertificateRevoked
    );
}

#[test]
fn a_broken_list_fails_the_reload_and_changes_nothing() {
    let lists = Lists::new();
    let (credential, device) = lists.device("device-000001");
    let list = List::of(&lists.pki.intermediate, 2).revoking(&credential);
    lists.install("intermediate", &list);
    let mut gateway = lists.start();
    lists.pki.write(
        "crl/intermediate.pem",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    let error = gateway.reload(&lists.pki, &lists.setup).unwrap_err();
    assert!(error.is_configuration());
    let text = error.to_string();
    assert!(
        text.contains("trust.crls") && text.contains("intermediate.pem"),
        "{text}"
    );
    expect_value(&gateway, "gateway_reloads_total{outcome=\"failed\"}", 1);
    assert_eq!(
        device.alert(gateway.address()),
        AlertDescription::CertificateRevoked
    );
}

#[test]
fn without_a_list_of_the_issuer_the_policy_decides() {
    let mut lists = Lists::new();
    lists.remove("anchor");
    let (_, device) = lists.device("device-000001");
    let gateway = lists.start();
    assert_eq!(
        device.alert(gateway.address()),
        AlertDescription::CertificateUnknown
    );
    expect_value(&gateway, &handshake("full", "revocation_unknown"), 1);
    lists.setup.more = "[trust.revocation]\nunknown_issuer = \"accept\"\n".into();
    let gateway = lists.start();
    assert_eq!(device.get(gateway.address(), "/").0.status(), 200);
    expect_value(
        &gateway,
        "gateway_revocation_checks_total{result=\"no_list\"}",
        1,
    );
}

#[test]
fn of_a_stale_list_the_policy_decides() {
    let mut lists = Lists::new();
    let (credential, revoked) = lists.device("device-000001");
    let (_, device) = lists.device("device-000002");
    let list = List::of(&lists.pki.intermediate, 2)
        .revoking(&credential)
        .stale_since(Duration::hours(2));
    lists.install("intermediate", &list);
    for (policy, served) in [
        ("", false),
        ("stale_list = \"accept\"", true),
        ("stale_grace_period = \"1h\"", false),
        ("stale_grace_period = \"3h\"", true),
    ] {
        lists.setup.more = format!("[trust.revocation]\n{policy}\n");
        let gateway = lists.start();
        if served {
            assert_eq!(
                device.get(gateway.address(), "/").0.status(),
                200,
                "{policy}"
            );
            expect_value(
                &gateway,
                "gateway_revocation_checks_total{result=\"stale\"}",
                1,
            );
        } else {
            assert_eq!(
                device.alert(gateway.address()),
                AlertDescription::CertificateUnknown,
                "{policy}"
            );
        }
        assert_eq!(
            revoked.alert(gateway.address()),
            AlertDescription::CertificateRevoked,
            "what a stale list revokes is revoked: {policy}"
        );
    }
}

#[test]
fn lists_are_shown_in_the_metrics() {
    let lists = Lists::new();
    let (credential, _) = lists.device("device-000001");
    let list = List::of(&lists.pki.intermediate, 2).revoking(&credential);
    lists.install("intermediate", &list);
    let gateway = lists.start();
    let series = |metric: &str| format!("{metric}{{issuer=\"CN=test intermediate\"}}");
    let counters = gateway.counters();
    assert_eq!(counters.get(&series("gateway_crl_entries")), 1);
    assert!((3600..3700).contains(&counters.get(&series("gateway_crl_age_seconds"))));
    assert!((3500..3601).contains(&counters.get(&series("gateway_crl_next_update_seconds"))));
}

#[test]
fn a_list_that_is_written_beside_and_renamed_is_noticed() {
    let lists = Lists::new();
    let (credential, device) = lists.device("device-000001");
    let config = lists.pki.write("gateway.toml", &lists.setup.text());
    let program = Program::run(&config);
    let mut open = device.connect(program.devices());
    assert_eq!(open.get("/").status(), 200);
    let list = List::of(&lists.pki.intermediate, 2).revoking(&credential);
    let beside = lists.pki.write("list.new", &list.pem());
    std::fs::rename(beside, lists.pki.folder().join("crl/intermediate.pem")).unwrap();
    open.wait_for_end();
    program.logged("reloaded the configuration");
    assert_eq!(
        device.alert(program.devices()),
        AlertDescription::CertificateRevoked
    );
}

#[test]
fn a_list_is_fetched_again_and_again_and_a_broken_one_changes_nothing() {
    let lists = Lists::new();
    lists.remove("intermediate");
    let (credential, device) = lists.device("device-000001");
    let good = List::of(&lists.pki.intermediate, 1).der();
    let revoking = List::of(&lists.pki.intermediate, 2)
        .revoking(&credential)
        .der();
    // First a good list, then garbage, then one that revokes the device.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Upstream::answering(move |_| {
        let body = match count.fetch_add(1, Ordering::SeqCst) {
            0 => good.clone(),
            1 => b"no list".to_vec(),
            _ => revoking.clone(),
        };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/pkix-crl\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        answer
    });
    let mut setup = lists.setup.clone();
    setup.more = format!(
        "[trust.revocation]\nfetch = [\"http://{}/list.crl\"]\nrefresh_interval = \"1s\"\n[admin]\naddress = \"127.0.0.1:0\"\n",
        server.address()
    );
    let config = lists.pki.write("gateway.toml", &setup.text());
    let program = Program::run(&config);
    let fetched = |outcome: &str, least: u64| {
        let series = format!("gateway_crl_fetches_total{{outcome=\"{outcome}\"}}");
        eventually(&series, || {
            (program.counters().get(&series) >= least).then_some(())
        });
    };
    fetched("ok", 1);
    let mut open = device.connect(program.devices());
    assert_eq!(open.get("/").status(), 200);
    fetched("unusable_list", 1);
    assert_eq!(open.get("/").status(), 200, "garbage changes nothing");
    open.wait_for_end();
    assert_eq!(
        device.alert(program.devices()),
        AlertDescription::CertificateRevoked
    );
    assert!(asked.load(Ordering::SeqCst) >= 3);
}

#[test]
fn a_list_that_is_gone_lets_nobody_in_and_disconnects_nobody() {
    let lists = Lists::new();
    let mut gateway = lists.start();
    let (_, device) = lists.device("device-000001");
    let mut open = device.connect(gateway.address());
    assert_eq!(open.get("/").status(), 200);
    lists.remove("intermediate");
    gateway.reload(&lists.pki, &lists.setup).unwrap();
    assert_eq!(
        device.alert(gateway.address()),
        AlertDescription::CertificateUnknown
    );
    // An order against another device has every connection looked at once more.
    let order = Order::Device {
        trust_domain: DEFAULT.into(),
        device_id: "device-000002".into(),
    };
    let (_, other) = lists.device("device-000002");
    assert_eq!(
        other.alert(gateway.address()),
        AlertDescription::CertificateUnknown
    );
    gateway.server().revoke(order).unwrap();
    assert_eq!(
        other.alert(gateway.address()),
        AlertDescription::CertificateRevoked
    );
    assert_eq!(open.get("/").status(), 200);
}
