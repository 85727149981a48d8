//! The admin listener, over real sockets: what it shows, what it is told, and whom it answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use certs_gen::authority::EndEntitySpec;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::message::Message;
use support::pki::authority;
use support::program::{Program, gateway};
use support::upstream::ok;
use support::{Connection, Device, Pki, Setup, Upstream, eventually};

const JSON: &str = "content-type: application/json\r\n";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A running program in front of an upstream that answers everything.
struct Running {
    pki: Pki,
    program: Program,
    setup: Setup,
    _upstream: Upstream,
}

impl Running {
    /// With these further keys of `[admin]`, and sections.
    fn start(admin: &str) -> Self {
        Self::before(Upstream::ok(), admin)
    }

    fn before(upstream: Upstream, admin: &str) -> Self {
        let pki = Pki::new();
        pki.write("token", &format!("{TOKEN}\n"));
        let mut setup = Setup::new(upstream.address());
        setup.workers = 2;
        setup.more = format!("[admin]\naddress = \"127.0.0.1:0\"\n{admin}\n");
        let config = pki.write("gateway.toml", &setup.text());
        let program = Program::run(&config);
        Self {
            pki,
            program,
            setup,
            _upstream: upstream,
        }
    }

    fn open(&self, id: &str) -> Connection {
        let device = Device::new(&self.pki, Some(&self.pki.device(id)));
        let mut connection = device.connect(self.program.devices());
        assert_eq!(connection.get("/").status(), 200);
        connection
    }

    fn show(&self, path: &str) -> Value {
        let answer = self.program.ask_admin(&format!("GET {path}"));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        serde_json::from_str(answer.text()).unwrap()
    }

    fn order(&self, method: &str, path: &str, body: &Value) -> Message {
        self.program
            .send_admin(method, path, JSON, &body.to_string())
    }
}

fn ids(page: &Value) -> Vec<String> {
    let connections = page["connections"].as_array().unwrap().iter();
    connections
        .map(|entry| entry["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn open_connections_are_listed_in_pages_and_by_filter() {
    let running = Running::start("");
    let mut open: Vec<Connection> = (0..7)
        .map(|n| running.open(&format!("device-{:06}", n % 3)))
        .collect();
    open[0].get("/again");
    let all = running.show("/connections");
    assert_eq!(ids(&all).len(), 7);
    assert!(all.get("next").is_none());
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = running.show(&format!("/connections?limit=3{after}"));
        assert!(ids(&page).len() <= 3);
        seen.extend(ids(&page));
        match page.get("next") {
            Some(next) => after = format!("&after={}", next.as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, ids(&all));
    let its = running.show("/connections?device=device-000000&trust_domain=default");
    let its = its["connections"].as_array().unwrap();
    assert_eq!(its.len(), 3);
    let asked: u64 = its
        .iter()
        .map(|entry| entry["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(asked, 4);
    let first = &its[0];
    for (field, expected) in [
        ("device_id", "device-000000"),
        ("trust_domain", "default"),
        ("issuer", "CN=test intermediate"),
        ("listener", "devices"),
        ("protocol", "http1"),
        ("tls_version", "1.3"),
        ("handshake", "full"),
    ] {
        assert_eq!(first[field], expected, "{field}");
    }
    assert_eq!(first["in_request"], false);
    assert!(first["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let by_issuer = |name: &str| ids(&running.show(&format!("/connections?issuer={name}"))).len();
    assert_eq!(by_issuer("CN%3Dtest+intermediate"), 7);
    assert_eq!(by_issuer("CN%3Dsomebody"), 0);
    assert_eq!(
        ids(&running.show("/connections?trust_domain=plant-7")).len(),
        0
    );
    for wrong in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=1",
        "colour=blue",
        "limit=1&limit=1",
    ] {
        let answer = running
            .program
            .ask_admin(&format!("GET /connections?{wrong}"));
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    drop(open);
    eventually("the connections to be gone", || {
        ids(&running.show("/connections")).is_empty().then_some(())
    });
}

#[test]
fn devices_are_added_up_over_workers_and_paged() {
    let running = Running::start("");
    let _open: Vec<Connection> = (0..9)
        .map(|n| running.open(&format!("device-{:06}", n % 3)))
        .collect();
    let page = running.show("/devices?limit=2");
    let devices = page["devices"].as_array().unwrap();
    let shown: Vec<_> = devices
        .iter()
        .map(|device| {
            (
                device["device_id"].as_str().unwrap(),
                device["connections"].as_u64().unwrap(),
                device["requests"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("device-000000", 3, 3), ("device-000001", 3, 3)]);
    let next = page["next"].as_str().unwrap();
    let page = running.show(&format!("/devices?limit=2&after={next}"));
    assert_eq!(page["devices"].as_array().unwrap().len(), 1);
    assert_eq!(page["devices"][0]["device_id"], "device-000002");
    assert!(page.get("next").is_none());
}

#[test]
fn an_operator_disconnects_a_device_a_certificate_or_a_connection() {
    let running = Running::start("");
    let mut first: Vec<Connection> = (0..4).map(|_| running.open("device-000001")).collect();
    let mut other = running.open("device-000002");
    let mut third = running.open("device-000003");
    let mut fourth = running.open("device-000003");
    for wrong in [
        json!({}),
        json!({ "device_id": "" }),
        json!({ "device": "device-000001" }),
        json!({ "fingerprint": "ab" }),
        json!({ "connection": "1" }),
        json!({ "device_id": "device-000001", "connection": "0.0.1" }),
    ] {
        assert_eq!(
            running.order("POST", "/disconnect", &wrong).status(),
            400,
            "{wrong}"
        );
    }
    let ended = |body: Value| -> Value {
        let answer = running.order("POST", "/disconnect", &body);
        serde_json::from_str::<Value>(answer.text()).unwrap()["disconnected"].clone()
    };
    assert_eq!(ended(json!({ "device_id": "device-000009" })), 0);
    assert_eq!(
        ended(json!({ "device_id": "device-000001", "trust_domain": "plant-7" })),
        0
    );
    assert_eq!(ended(json!({ "device_id": "device-000001" })), 4);
    first.iter_mut().for_each(Connection::wait_for_end);
    let show = |device: &str| {
        running.show(&format!("/connections?device={device}"))["connections"].clone()
    };
    let fingerprint = show("device-000002")[0]["fingerprint"].clone();
    assert_eq!(ended(json!({ "fingerprint": fingerprint })), 1);
    other.wait_for_end();
    let connection = show("device-000003")[0].clone();
    assert_eq!(ended(json!({ "connection": connection["id"] })), 1);
    // Of the two it is the one with that address.
    let is_third = connection["peer"] == third.tcp().local_addr().unwrap().to_string();
    let (gone, stays) = if is_third {
        (&mut third, &mut fourth)
    } else {
        (&mut fourth, &mut third)
    };
    gone.wait_for_end();
    assert_eq!(stays.get("/").status(), 200);
    // A device that was disconnected may come back.
    running.open("device-000001");
    let counters = running.program.counters();
    assert_eq!(
        counters.get("gateway_connections_ended_total{reason=\"disconnected\"}"),
        6
    );
}

#[test]
fn a_disconnected_device_that_does_not_read_is_not_waited_for() {
    // More than the sockets between them hold.
    let upstream = Upstream::answering(|_| ok(&"x".repeat(32 * 1024 * 1024)));
    let running = Running::before(upstream, "");
    let device = Device::new(&running.pki, Some(&running.pki.device("device-000001")));
    let mut connection = device.connect(running.program.devices());
    connection.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    connection.exactly(1);
    let order = json!({ "device_id": "device-000001" });
    running.order("POST", "/disconnect", &order);
    eventually("the connection to be gone", || {
        let open = "gateway_connections_open{listener=\"devices\"}";
        (running.program.counters().get(open) == 0).then_some(())
    });
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let running = Running::start("token_file = \"token\"\n[limits]\nstreams = 7\n");
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let show = |path: &str| -> Value {
        let answer = running.program.send_admin("GET", path, &bearer, "");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(!answer.text().contains(TOKEN) && !answer.text().contains("PRIVATE KEY"));
        serde_json::from_str(answer.text()).unwrap()
    };
    running.open("device-000001");
    let config = show("/config");
    let keys = &config["keys"];
    for (key, value) in [
        ("limits.streams", json!(7)),
        ("tls.private_key", json!("server.key")),
        ("admin.token_file", json!("token")),
        ("listeners[0].name", json!("devices")),
        ("timeouts.idle", json!("5m")),
        ("limits.presented_bytes", json!("32KiB")),
        ("chain_cache.entries", json!(100_000)),
        ("resumption.enabled", json!(true)),
    ] {
        assert_eq!(keys[key], value, "{key}");
    }
    let state = show("/state");
    assert_eq!(state["ready"], true);
    assert_eq!(state["workers"], 2);
    assert_eq!(
        state["chain_cache"],
        json!({ "entries": 1, "capacity": 100_000 })
    );
    assert_eq!(state["tickets"]["secret"], "generated");
    let (age, left) = (
        &state["tickets"]["sealing_key_age_seconds"],
        &state["tickets"]["next_key_in_seconds"],
    );
    assert_eq!(age.as_u64().unwrap() + left.as_u64().unwrap(), 12 * 3600);
    assert_eq!(
        state["trust_domains"][0]["anchors"],
        json!(["CN=test trust anchor"])
    );
    let upstreams = show("/upstreams");
    let upstream = &upstreams["upstreams"][0];
    assert_eq!(upstream["name"], "telemetry");
    let endpoint = &upstream["endpoints"][0];
    assert_eq!(endpoint["address"], running.setup.endpoints[0].to_string());
    assert_eq!(
        (&endpoint["state"], &endpoint["in_flight"]),
        (&json!("healthy"), &json!(0))
    );
    assert_eq!(
        (&upstream["panic"], &upstream["unresolved"]),
        (&json!(false), &json!([]))
    );
    let entry = &upstream["entries"][0];
    assert_eq!(entry["entry"], endpoint["entry"]);
    let opened = json!({ "metric": "gateway_upstream_connections_total", "value": 1.0 });
    assert!(
        entry["metrics"].as_array().unwrap().contains(&opened),
        "{entry}"
    );
    let stats = show("/stats");
    let ok = stats["metrics"]["gateway_handshakes_total"]
        .as_array()
        .unwrap()
        .iter();
    let ok: Vec<&Value> = ok.filter(|sample| sample["value"] == 1.0).collect();
    assert_eq!(
        ok,
        [&json!({ "listener": "devices", "kind": "full", "outcome": "ok", "value": 1.0 })]
    );
}

#[test]
fn the_log_level_changes_while_the_gateway_runs() {
    let running = Running::start("");
    assert_eq!(running.show("/log-level"), json!({ "level": "info" }));
    let plain = |running: &Running| {
        let tcp = support::device::connect(running.program.devices());
        std::io::Write::write_all(&mut &tcp, b"GET / HTTP/1.1\r\n\r\n").unwrap();
        support::message::Reader::new(tcp).response(false).unwrap();
    };
    plain(&running);
    assert_eq!(
        running
            .order("PUT", "/log-level", &json!({ "level": "info,=" }))
            .status(),
        400
    );
    assert_eq!(
        running
            .order("POST", "/log-level", &json!({ "level": "debug" }))
            .status(),
        405
    );
    let answer = running.order(
        "PUT",
        "/log-level",
        &json!({ "level": "info,gateway=debug" }),
    );
    assert_eq!(answer.status(), 200);
    assert_eq!(
        running.show("/log-level"),
        json!({ "level": "info,gateway=debug" })
    );
    assert_eq!(running.program.log_count("plain_http"), 0);
    plain(&running);
    running.program.logged("plain_http");
}

#[test]
fn an_operator_drains() {
    let mut running = Running::start("");
    let mut open = running.open("device-000001");
    assert_eq!(
        running
            .program
            .send_admin("POST", "/drain", "", "")
            .status(),
        415
    );
    assert_eq!(running.program.ask_admin("GET /drain").status(), 405);
    assert_eq!(running.program.ask_admin("GET /readyz").text(), "ready\n");
    assert_eq!(running.order("POST", "/drain", &json!({})).status(), 202);
    open.wait_for_end();
    assert_eq!(running.program.ended().code(), Some(0));
}

#[test]
fn the_token_guards_all_but_health_public_keys_and_the_page() {
    let running = Running::start("token_file = \"token\"");
    let ask =
        |path: &str, fields: &str| running.program.send_admin("GET", path, fields, "").status();
    for open in ["/", "/livez", "/readyz", "/.well-known/jwks.json"] {
        assert_eq!(ask(open, ""), 200, "{open}");
    }
    let guarded = [
        "/metrics",
        "/stats",
        "/connections",
        "/devices",
        "/config",
        "/upstreams",
        "/state",
        "/log-level",
        "/revoke",
        "/version",
        "/elsewhere",
    ];
    for path in guarded {
        let answer = running.program.ask_admin(&format!("GET {path}"));
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.field("www-authenticate"), "Bearer");
        assert_eq!(
            ask(
                path,
                "authorization: Bearer 0123456789abcdef0123456789abcdeX\r\n"
            ),
            401
        );
        assert_ne!(
            ask(path, &format!("authorization: Bearer {TOKEN}\r\n")),
            401
        );
    }
    assert_eq!(running.order("POST", "/drain", &json!({})).status(), 401);
    // A new token comes into force with a reload, and the old one ends.
    let new = "another-token-of-some-length";
    running.pki.write("token", new);
    running.program.signal(Signal::HUP);
    eventually("the new token", || {
        (ask("/metrics", &format!("authorization: Bearer {new}\r\n")) == 200).then_some(())
    });
    assert_eq!(
        ask("/metrics", &format!("authorization: Bearer {TOKEN}\r\n")),
        401
    );
    // One that is none leaves the last good one in force.
    running.pki.write("token", "short");
    running.program.signal(Signal::HUP);
    running.program.logged("admin.token_file");
    assert_eq!(
        ask("/metrics", &format!("authorization: Bearer {new}\r\n")),
        200
    );
}

#[test]
fn pages_of_others_get_nothing() {
    let running = Running::start("hosts = [\"gateway.example\"]");
    let ask = |host: &str| {
        let tcp = support::device::connect(running.program.admin());
        let request = format!("GET /stats HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        std::io::Write::write_all(&mut &tcp, request.as_bytes()).unwrap();
        support::message::Reader::new(tcp).response(false).unwrap()
    };
    for good in ["localhost:9901", "127.0.0.1", "gateway.example"] {
        assert_eq!(ask(good).status(), 200, "{good}");
    }
    let answer = ask("rebound.attacker.example");
    assert_eq!(answer.status(), 421);
    assert!(answer.text().contains("admin.hosts"));
    let from_a_page = format!("{JSON}origin: http://localhost\r\n");
    for (method, path) in [
        ("POST", "/drain"),
        ("POST", "/disconnect"),
        ("PUT", "/log-level"),
        ("DELETE", "/revoke"),
    ] {
        assert_eq!(
            running
                .program
                .send_admin(method, path, &from_a_page, "{}")
                .status(),
            415
        );
        assert_eq!(
            running
                .program
                .send_admin(method, path, "content-type: text/plain\r\n", "{}")
                .status(),
            415
        );
    }
    let page = running.program.ask_admin("GET /");
    assert!(
        page.field("content-security-policy")
            .starts_with("default-src 'none'")
    );
    assert_eq!(page.field("x-content-type-options"), "nosniff");
}

#[test]
fn an_order_is_bounded() {
    let running = Running::start("");
    let long = json!({ "device_id": "x".repeat(5000) });
    assert_eq!(running.order("POST", "/disconnect", &long).status(), 413);
}

#[test]
fn an_exposed_listener_without_a_guard_is_refused() {
    let pki = Pki::new();
    pki.write("token", TOKEN);
    let check = |admin: &str| {
        let mut setup = Setup::new("127.0.0.1:1".parse().unwrap());
        setup.more = format!("[admin]\n{admin}\n");
        let config = pki.write("gateway.toml", &setup.text());
        let output = gateway(&["check", "--config", config.to_str().unwrap()]);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let own = "certificate = \"server.pem\"\nprivate_key = \"server.key\"";
    for (exposed, good) in [
        ("address = \"0.0.0.0:0\"".to_owned(), false),
        ("address = \"[::]:0\"".to_owned(), false),
        (
            format!("address = \"0.0.0.0:0\"\n[admin.tls]\n{own}"),
            false,
        ),
        (
            "address = \"0.0.0.0:0\"\ntoken_file = \"token\"".to_owned(),
            true,
        ),
        (
            format!(
                "address = \"0.0.0.0:0\"\n[admin.tls]\n{own}\nanchors = [\"trust-anchor.pem\"]"
            ),
            true,
        ),
        ("address = \"127.0.0.1:0\"".to_owned(), true),
    ] {
        let (code, said) = check(&exposed);
        assert_eq!(code, Some(if good { 0 } else { 2 }), "{exposed}: {said}");
        assert_eq!(said.contains("admin.address: "), !good, "{said}");
    }
    for (wrong, key) in [
        (
            "address = \"127.0.0.1:0\"\ntoken_file = \"absent\"",
            "admin.token_file: ",
        ),
        (
            "address = \"127.0.0.1:0\"\nhosts = [\"a:1\"]",
            "admin.hosts: ",
        ),
        (
            "address = \"127.0.0.1:0\"\n[admin.tls]\ncertificate = \"absent\"\nprivate_key = \"server.key\"",
            "admin.tls: ",
        ),
    ] {
        let (code, said) = check(wrong);
        assert!(code == Some(2) && said.contains(key), "{said}");
    }
}

#[test]
fn operators_with_a_certificate_are_let_in_and_nobody_else() {
    let operators = authority("operators");
    let pki = Pki::new();
    pki.write("operators.pem", &operators.certificate_pem());
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    setup.more = "[admin]\naddress = \"127.0.0.1:0\"\nhosts = [\"fleet.test\"]\n[admin.tls]\ncertificate = \"server.pem\"\n\
        private_key = \"server.key\"\nanchors = [\"operators.pem\"]\n".into();
    let config = pki.write("gateway.toml", &setup.text());
    let program = Program::run(&config);
    let operator = operators.issue(&EndEntitySpec::device("operator")).unwrap();
    let mut connection = Device::new(&pki, Some(&operator)).connect(program.admin());
    assert_eq!(connection.get("/metrics").status(), 200);
    // Neither a device's certificate, nor none, nor plain HTTP.
    for credential in [Some(pki.device("device-000001")), None] {
        let mut refused = Device::new(&pki, credential.as_ref()).connect(program.admin());
        refused
            .try_send("GET /metrics HTTP/1.1\r\nhost: fleet.test\r\n\r\n")
            .unwrap();
        assert!(refused.try_response().is_err());
    }
    let tcp = support::device::connect(program.admin());
    std::io::Write::write_all(
        &mut &tcp,
        b"GET /metrics HTTP/1.1\r\nhost: fleet.test\r\n\r\n",
    )
    .unwrap();
    assert!(support::message::Reader::new(tcp).response(false).is_err());
    assert_eq!(connection.get("/metrics").status(), 200);
}

#[test]
fn more_connections_than_a_slice_are_listed_while_devices_ask() {
    // More connections than a slice holds, listed while one device goes on asking: each of its requests is answered, and the
    // list is whole.
    let running = Running::start("");
    let open: Vec<Connection> = (0..600)
        .map(|n| running.open(&format!("device-{:06}", n % 40)))
        .collect();
    let mut asking = running.open("device-000099");
    for _ in 0..5 {
        assert_eq!(
            running.show("/connections?limit=1000")["connections"]
                .as_array()
                .unwrap()
                .len(),
            601
        );
        assert_eq!(asking.get("/").status(), 200);
    }
    assert_eq!(open.len(), 600);
}
