//! What devices and sources may use, over real sockets. Rates are so low that a slow machine changes nothing: after the burst
//! there is nothing more for an hour.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod support;

use std::io::Read as _;
use std::net::TcpStream;

use support::counters::{expect_moved, expect_value, handshake, request, unrouted};
use support::{Device, Fleet, Options, PATIENCE, Upstream, eventually};

fn limited(limit: &str, outcome: &str) -> String {
    format!("gateway_limited_total{{limit=\"{limit}\",outcome=\"{outcome}\"}}")
}

fn shed(reason: &str) -> String {
    format!("gateway_shed_total{{reason=\"{reason}\",stage=\"accept\"}}")
}

/// Whether the gateway resets or closes a connection before it has read anything of it.
fn is_turned_away(fleet: &Fleet) -> bool {
    let mut tcp = TcpStream::connect(fleet.gateway.address()).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(tcp.read(&mut [0; 1]), Ok(0) | Err(_))
}

// Devices

#[test]
fn requests_of_a_device_over_all_its_connections() {
    let mut setup = None;
    let mut fleet = Fleet::start(|it| {
        it.workers = 2;
        it.more = "[limits.device]\nrequests = \"1/h\"\nrequests_burst = 3\n".into();
        setup = Some(it.clone());
    });
    let device = fleet.device();
    let address = fleet.gateway.address();
    for _ in 0..3 {
        assert_eq!(device.get(address, "/").0.status(), 200);
    }
    let mut connection = device.connect(address);
    let refused = connection.get("/");
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.field("retry-after").parse().unwrap();
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    expect_value(&fleet.gateway, &limited("requests", "refused"), 1);
    let other = Device::new(&fleet.pki, Some(&fleet.pki.device("device-000002")));
    assert_eq!(
        other.get(address, "/").0.status(),
        200,
        "others are not affected"
    );
    expect_value(&fleet.gateway, &unrouted("4xx"), 1);
    expect_value(&fleet.gateway, &request("2xx"), 4);
    // A limit that is lifted is lifted for the connection that is open.
    let mut lifted = setup.unwrap();
    lifted.more = String::new();
    fleet.gateway.reload(&fleet.pki, &lifted).unwrap();
    assert_eq!(connection.get("/").status(), 200);
}

#[test]
fn a_trust_domain_has_its_own_limits() {
    let fleet = Fleet::start(|setup| {
        setup.trust = "limits = { requests = \"1/h\", requests_burst = 2 }\n".into();
        setup.more = "[limits.device]\nrequests = \"1/h\"\n".into();
    });
    let mut connection = fleet.connect();
    let statuses = [(); 3].map(|()| connection.get("/").status());
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn requests_that_are_being_answered() {
    let (answer, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::answering(move |_| {
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        support::upstream::ok("ok")
    });
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.more = "[limits.device]\nconcurrent_requests = 1\n".into();
    });
    let mut first = fleet.connect();
    let mut second = fleet.connect();
    first.send("GET /slow HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    let refused = eventually("the first request to count", || {
        // Until then the second one may come first, and waits for its answer.
        (fleet.upstream.connections() == 1).then(|| second.get("/"))
    });
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.field("retry-after"), "1");
    answer.send(()).unwrap();
    assert_eq!(first.response().status(), 200);
    answer.send(()).unwrap();
    assert_eq!(second.get("/").status(), 200, "there is room again");
    expect_value(
        &fleet.gateway,
        &limited("concurrent_requests", "refused"),
        1,
    );
}

#[test]
fn one_connection_too_many_ends_the_oldest_on_whichever_worker_it_is() {
    let fleet = Fleet::start(|setup| {
        setup.workers = 2;
        setup.more = "[limits.device]\nconnections = 1\n".into();
    });
    let mut newest = fleet.connect();
    assert_eq!(newest.get("/").status(), 200);
    for turn in 1..=6 {
        let mut next = fleet.connect();
        assert_eq!(next.get("/").status(), 200, "no device locks itself out");
        newest.wait_for_end();
        expect_value(&fleet.gateway, &limited("connections", "ended"), turn);
        newest = next;
    }
    assert_eq!(newest.get("/").status(), 200);
    expect_value(
        &fleet.gateway,
        "gateway_connections_ended_total{reason=\"superseded\"}",
        6,
    );
}

#[test]
fn one_connection_too_many_is_refused_where_configured() {
    let fleet = Fleet::start(|setup| {
        setup.more = "[limits.device]\nconnections = 1\nexcess = \"refuse_newest\"\n".into();
    });
    let mut first = fleet.connect();
    assert_eq!(first.get("/").status(), 200);
    fleet.connect().wait_for_end();
    expect_value(&fleet.gateway, &limited("connections", "refused"), 1);
    assert_eq!(first.get("/").status(), 200);
    first.close();
    expect_value(
        &fleet.gateway,
        "gateway_connections_open{listener=\"devices\"}",
        0,
    );
    assert_eq!(fleet.connect().get("/").status(), 200);
}

#[test]
fn twenty_quick_reconnects_are_served_at_once() {
    let fleet = Fleet::start(|_| {});
    let device = fleet.device();
    for _ in 0..20 {
        assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
    }
    expect_value(&fleet.gateway, &limited("handshakes", "delayed"), 0);
}

#[test]
fn a_device_in_a_tight_loop_waits_full_handshake_or_resumed() {
    let fleet = Fleet::start(|setup| {
        setup.more = "[limits.device.handshakes]\nfree = 3\nperiod = \"1h\"\ndelay = \"10ms\"\nmax_delay = \"20ms\"\n".into();
    });
    let device = fleet.device();
    for _ in 0..5 {
        assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
    }
    expect_value(&fleet.gateway, &limited("handshakes", "delayed"), 2);
    let other = Device::new(&fleet.pki, Some(&fleet.pki.device("device-000002")));
    assert_eq!(other.get(fleet.gateway.address(), "/").0.status(), 200);
    expect_value(&fleet.gateway, &limited("handshakes", "delayed"), 2);
}

#[test]
fn a_device_that_leaves_while_it_is_held_back_holds_nothing() {
    let fleet = Fleet::start(|setup| {
        setup.more =
            "[limits.device.handshakes]\nfree = 1\nperiod = \"1h\"\ndelay = \"1h\"\nmax_delay = \"1h\"\n".into();
    });
    assert_eq!(fleet.connect().get("/").status(), 200);
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        Options::tls13(),
    );
    for turn in 1..=6 {
        drop(device.connect(fleet.gateway.address()));
        expect_value(
            &fleet.gateway,
            "gateway_connections_open{listener=\"devices\"}",
            0,
        );
        expect_value(&fleet.gateway, &limited("handshakes", "delayed"), turn);
    }
    let waiting = [(); 4].map(|()| device.connect(fleet.gateway.address()));
    expect_value(&fleet.gateway, &limited("handshakes", "delayed"), 10);
    device.connect(fleet.gateway.address()).wait_for_end();
    expect_value(&fleet.gateway, &limited("handshakes", "refused"), 1);
    drop(waiting);
}

#[test]
fn bytes_wait_and_nothing_is_cut() {
    const SIZE: usize = 96 * 1024;
    let body = "x".repeat(SIZE);
    let upstream = Upstream::answering(move |_| support::upstream::ok(&body));
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.more = "[limits.device]\nbytes = \"64KiB/s\"\n".into();
    });
    let mut connection = fleet.connect();
    let start = gateway::clock::now();
    let upload = "y".repeat(SIZE);
    let request =
        format!("POST / HTTP/1.1\r\nhost: fleet.test\r\ncontent-length: {SIZE}\r\n\r\n{upload}");
    let answer = connection.ask(&request);
    assert_eq!((answer.status(), answer.body.len()), (200, SIZE));
    assert_eq!(fleet.upstream.only_request().body.len(), SIZE);
    // 192 KiB, of which 64 KiB at once; the last piece is only charged, not waited for.
    let took = gateway::clock::now().duration_since(start).as_secs_f64();
    assert!(took > 0.25, "{took} s");
    assert!(fleet.gateway.counters().get(&limited("bytes", "delayed")) >= 1);
}

// Sources

#[test]
fn connections_of_all_sources() {
    let fleet = Fleet::start(|setup| {
        setup.more = "[admission]\nconnections_per_second = 1\n".into();
    });
    // Those of the same second as another are turned away; two in a row are, sooner or later, on any machine.
    eventually("a connection to be one too many", || {
        let _one = TcpStream::connect(fleet.gateway.address()).unwrap();
        let _other = TcpStream::connect(fleet.gateway.address()).unwrap();
        (fleet.gateway.counters().get(&shed("rate")) >= 1).then_some(())
    });
}

#[test]
fn connections_of_one_source() {
    let fleet = Fleet::start(|setup| {
        setup.more = "[admission.source]\nrate = \"1/h\"\nburst = 3\n".into();
    });
    let device = fleet.device();
    for _ in 0..3 {
        assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
    }
    assert!(is_turned_away(&fleet));
    expect_value(&fleet.gateway, &shed("source_rate"), 1);
}

#[test]
fn open_connections_of_one_source() {
    let fleet = Fleet::start(|setup| setup.more = "[admission.source]\nopen = 1\n".into());
    let mut first = fleet.connect();
    assert_eq!(first.get("/").status(), 200);
    assert!(is_turned_away(&fleet));
    expect_value(&fleet.gateway, &shed("source_open"), 1);
    first.close();
    expect_value(
        &fleet.gateway,
        "gateway_connections_open{listener=\"devices\"}",
        0,
    );
    assert_eq!(fleet.connect().get("/").status(), 200);
}

#[test]
fn handshakes_that_fail_shut_their_source_out() {
    let fleet = Fleet::start(|setup| {
        setup.more =
            "[admission.source]\nfailed_handshakes = \"1/h\"\nfailed_handshakes_burst = 2\n".into();
    });
    let before = fleet.gateway.counters();
    assert_eq!(fleet.connect().get("/").status(), 200);
    let nobody = Device::new(&fleet.pki, None);
    for _ in 0..2 {
        nobody.alert(fleet.gateway.address());
    }
    let failed = || handshake("full", "no_certificate");
    let moved = [handshake("full", "ok"), request("2xx"), failed(), failed()];
    expect_moved(&fleet.gateway, &before, &moved);
    assert!(is_turned_away(&fleet));
    expect_value(&fleet.gateway, &shed("source_failures"), 1);
}
