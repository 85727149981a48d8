//! What operators rely on: drain, reload, the admin listener, workers, and the `gateway` program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use support::counters::{expect_moved, expect_value, handshake, request};
use support::device::{Device, Options};
use support::pki::authority;
use support::program::{Program, gateway};
use support::upstream::ok;
use support::{Connection, Fleet, Gateway, Pki, Setup, Upstream, eventually, h2};

const HOST: &str = "host: fleet.test\r\n";

// Drain

/// An upstream that answers `/slow` only when told to, and everything else at once. It says when `/slow` has arrived.
struct Slow {
    upstream: Option<Upstream>,
    arrived: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Slow {
    fn new() -> Self {
        let (arrive, arrived) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let (arrive, released) = (Mutex::new(arrive), Mutex::new(released));
        let upstream = Upstream::answering(move |received| {
            if received.message.target() == "/slow" {
                arrive.lock().unwrap().send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            ok(received.message.target())
        });
        Self {
            upstream: Some(upstream),
            arrived,
            release,
        }
    }

    fn fleet(&mut self, change: impl FnOnce(&mut Setup)) -> Fleet {
        Fleet::with_upstream(self.upstream.take().unwrap(), change)
    }
}

fn h2_device(fleet: &Fleet) -> Device {
    let credential = fleet.pki.device("device-000001");
    Device::with(&fleet.pki, Some(&credential), Options::h2())
}

/// Waits until nobody listens at `address` any more.
fn refuses(address: SocketAddr) {
    eventually("new connections to be refused", || {
        TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn a_drain_finishes_what_was_begun_and_closes_what_is_idle() {
    let mut slow = Slow::new();
    let fleet = slow.fleet(|setup| setup.workers = 2);
    let mut idle: Vec<Connection> = (0..8).map(|_| fleet.connect()).collect();
    for connection in &mut idle {
        assert_eq!(connection.get("/").status(), 200);
    }
    let mut silent = fleet.connect();
    let mut busy = fleet.connect();
    busy.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    slow.arrived.recv().unwrap();
    assert!(fleet.gateway.server().is_ready());
    fleet.gateway.server().drain();
    assert!(!fleet.gateway.server().is_ready() && !fleet.gateway.server().has_failed());
    for connection in &mut idle {
        assert_eq!(connection.rest(), b"");
    }
    silent.wait_for_end();
    refuses(fleet.gateway.address());
    assert!(!fleet.gateway.server().is_drained());
    slow.release.send(()).unwrap();
    assert_eq!(busy.response().text(), "/slow");
    assert_eq!(busy.rest(), b"", "closed after the answer");
    fleet.gateway.join().unwrap();
}

#[test]
fn a_drain_says_goaway_and_finishes_open_streams() {
    let mut slow = Slow::new();
    let fleet = slow.fleet(|_| {});
    h2::run(async {
        let (mut idle, idle_end) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        assert_eq!(h2::ask(&mut idle, h2::get("/")).await.status(), 200);
        let (mut busy, busy_end) = h2::connect(&h2_device(&fleet), fleet.gateway.address()).await;
        let answer = tokio::task::spawn_local(busy.send_request(h2::get("/slow")));
        let slow = tokio::task::spawn_blocking(move || {
            slow.arrived.recv().unwrap();
            slow
        });
        let slow = slow.await.unwrap();
        fleet.gateway.server().drain();
        idle_end.await.unwrap().expect("closed in order");
        // Until the GOAWAY has come a new stream is answered, and after that there are none.
        while let Ok(response) = busy.send_request(h2::get("/new")).await {
            assert_eq!(response.status(), 200);
        }
        slow.release.send(()).unwrap();
        let answer = h2::whole(answer.await.unwrap().unwrap()).await;
        assert_eq!(answer.body(), "/slow");
        busy_end.await.unwrap().expect("closed in order");
    });
    fleet.gateway.join().unwrap();
}

#[test]
fn a_drain_waits_no_longer_than_the_grace_period() {
    let mut slow = Slow::new();
    let fleet = slow.fleet(|setup| setup.grace = "300ms".into());
    let mut busy = fleet.connect();
    busy.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    slow.arrived.recv().unwrap();
    let start = gateway::clock::now();
    fleet.gateway.server().drain();
    fleet.gateway.join().unwrap();
    let took = gateway::clock::now() - start;
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
    busy.wait_for_end();
}

#[test]
fn a_drain_closes_hibernating_connections_in_order() {
    let fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/").status(), 200);
    std::thread::sleep(Duration::from_millis(1300));
    fleet.gateway.server().drain();
    assert_eq!(connection.rest(), b"");
    fleet.gateway.join().unwrap();
}

#[test]
fn idle_connections_are_closed_each_in_its_turn() {
    let fleet = Fleet::start(|setup| setup.grace = "2s".into());
    let connections: Vec<Connection> = (0..10)
        .map(|_| {
            let mut connection = fleet.connect();
            assert_eq!(connection.get("/").status(), 200);
            connection
        })
        .collect();
    let start = gateway::clock::now();
    fleet.gateway.server().drain();
    let mut ends: Vec<Duration> = std::thread::scope(|scope| {
        let end = |mut connection: Connection| {
            assert_eq!(connection.rest(), b"");
            gateway::clock::now() - start
        };
        let waiting = connections
            .into_iter()
            .map(|one| scope.spawn(move || end(one)));
        let waiting: Vec<_> = waiting.collect();
        waiting.into_iter().map(|one| one.join().unwrap()).collect()
    });
    ends.sort();
    // Told within the first second, and closed half a second later.
    for (number, end) in ends.into_iter().enumerate() {
        let due = Duration::from_millis(500 + 100 * number as u64);
        assert!(end >= due, "number {number} after {end:?}");
    }
    fleet.gateway.join().unwrap();
}

#[test]
fn a_drain_tells_a_device_before_it_closes_its_connection() {
    let fleet = Fleet::start(|setup| setup.grace = "1h".into());
    let mut connection = fleet.connect();
    assert!(connection.get("/").fields("connection").is_empty());
    fleet.gateway.server().drain();
    refuses(fleet.gateway.address());
    let response = connection.get("/");
    assert_eq!(
        (response.status(), response.field("connection")),
        (200, "close")
    );
    assert_eq!(connection.rest(), b"");
    connection.close();
    fleet.gateway.join().unwrap();
}

#[test]
fn a_request_that_crosses_the_closing_meets_no_reset() {
    // Hibernating, and awake.
    for pause in [Duration::from_millis(400), Duration::ZERO] {
        let fleet = Fleet::start(|setup| setup.grace = "200ms".into());
        let mut connection = fleet.connect();
        assert_eq!(connection.get("/").status(), 200);
        std::thread::sleep(pause);
        fleet.gateway.server().drain();
        assert_eq!(connection.rest(), b"");
        connection.send(format!("GET /late HTTP/1.1\r\n{HOST}\r\n"));
        connection.half_close();
        fleet.gateway.join().unwrap();
        assert!(connection.tcp().take_error().unwrap().is_none());
        assert_eq!(connection.tcp().read(&mut [0]).unwrap(), 0);
        assert_eq!(fleet.upstream.received().len(), 1);
    }
}

#[test]
fn a_request_that_comes_with_the_end_of_its_handshake_is_answered_in_a_drain() {
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let fleet = Fleet::start(|_| {});
        let options = Options {
            alpn: vec![protocol.to_vec()],
            ..Options::tls13()
        };
        let device = Device::with(
            &fleet.pki,
            Some(&fleet.pki.device("device-000001")),
            options,
        );
        let address = fleet.gateway.address();
        let mut tcp = support::device::connect(address);
        let mut tls = device.session();
        while tls.wants_write() {
            tls.write_tls(&mut tcp).unwrap();
        }
        while tls.is_handshaking() {
            tls.read_tls(&mut tcp).unwrap();
            tls.process_new_packets().unwrap();
        }
        fleet.gateway.server().drain();
        refuses(address);
        let get = if protocol == b"h2" {
            h2_get()
        } else {
            format!("GET /x HTTP/1.1\r\n{HOST}\r\n").into_bytes()
        };
        tls.writer().write_all(&get).unwrap();
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight).unwrap();
        }
        tcp.write_all(&flight).unwrap();
        let _ = rustls::Stream::new(&mut tls, &mut tcp).read_to_end(&mut Vec::new());
        assert_eq!(fleet.upstream.only_request().target(), "/x");
        expect_value(&fleet.gateway, &request("2xx"), 1);
        fleet.gateway.join().unwrap();
    }
}

/// An HTTP/2 preface, empty SETTINGS, and a GET of `/x` (RFC 9113, RFC 7541 without compression).
fn h2_get() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut block = vec![0x82, 0x87]; // :method GET, :scheme https
    for (index, value) in [(4, "/x"), (1, "fleet.test")] {
        block.extend_from_slice(&[index, value.len() as u8]); // :path, :authority
        block.extend_from_slice(value.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, block.len() as u8, 1, 0x05, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    bytes
}

// Reload

#[test]
fn a_reload_brings_new_routes_to_open_connections() {
    let mut fleet = Fleet::start(|setup| setup.path_prefix = "/old".into());
    let mut connection = fleet.connect();
    assert_eq!(
        (
            connection.get("/old").status(),
            connection.get("/new").status()
        ),
        (200, 404)
    );
    let mut setup = Setup::new(fleet.upstream.address());
    setup.path_prefix = "/new".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(
        (
            connection.get("/old").status(),
            connection.get("/new").status()
        ),
        (404, 200)
    );
    assert_eq!(
        fleet
            .gateway
            .counters()
            .get("gateway_reloads_total{outcome=\"ok\"}"),
        1
    );
}

#[test]
fn a_reload_brings_new_upstreams_and_lets_requests_in_flight_finish() {
    let mut slow = Slow::new();
    let mut fleet = slow.fleet(|_| {});
    let mut busy = fleet.connect();
    busy.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    slow.arrived.recv().unwrap();
    let other = Upstream::answering(|_| ok("the other one"));
    fleet
        .gateway
        .reload(&fleet.pki, &Setup::new(other.address()))
        .unwrap();
    assert_eq!(fleet.connect().get("/").text(), "the other one");
    slow.release.send(()).unwrap();
    assert_eq!(busy.response().text(), "/slow");
    assert_eq!(busy.get("/").text(), "the other one");
}

#[test]
fn a_reload_brings_new_credentials_and_keeps_open_connections() {
    let mut fleet = Fleet::start(|_| {});
    let mut open = fleet.connect();
    assert_eq!(open.get("/").status(), 200);
    let before = open.tls().peer_certificates().unwrap()[0].to_vec();
    let renewed = fleet.pki.server();
    fleet.pki.write_server("server", &renewed);
    let setup = Setup::new(fleet.upstream.address());
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(open.get("/").status(), 200);
    let after = fleet.connect().tls().peer_certificates().unwrap()[0].to_vec();
    assert_eq!(after, renewed.end_entity());
    assert_ne!(after, before);
}

#[test]
fn a_reload_brings_new_anchors_and_ends_connections_of_old_ones() {
    let mut fleet = Fleet::start(|_| {});
    let mut open = fleet.connect();
    assert_eq!(open.get("/").status(), 200);
    let other = authority("another anchor");
    let credential = other
        .issue(&certs_gen::authority::EndEntitySpec::device(
            "device-000002",
        ))
        .unwrap();
    let newcomer = Device::new(&fleet.pki, Some(&credential));
    newcomer.alert(fleet.gateway.address());
    fleet.pki.write("other.pem", &other.certificate_pem());
    let mut setup = Setup::new(fleet.upstream.address());
    setup.anchors = vec!["other.pem".into()];
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(newcomer.get(fleet.gateway.address(), "/").0.status(), 200);
    fleet.device().alert(fleet.gateway.address());
    open.wait_for_end();
    expect_value(
        &fleet.gateway,
        "gateway_connections_ended_total{reason=\"anchor_removed\"}",
        1,
    );
}

#[test]
fn a_bad_reload_changes_nothing_and_is_counted() {
    let mut fleet = Fleet::start(|_| {});
    let mut open = fleet.connect();
    assert_eq!(open.get("/").status(), 200);
    let mut setup = Setup::new(fleet.upstream.address());
    setup.server = "missing".into();
    setup.anchors = vec!["missing-too.pem".into()];
    setup.path_prefix = "/elsewhere".into();
    let error = fleet.gateway.reload(&fleet.pki, &setup).unwrap_err();
    assert!(error.is_configuration());
    let text = error.to_string();
    assert!(
        text.contains("missing.pem") && text.contains("missing-too.pem"),
        "{text}"
    );
    let counters = fleet.gateway.counters();
    assert_eq!(counters.get("gateway_reloads_total{outcome=\"failed\"}"), 1);
    assert_eq!(counters.get("gateway_reloads_total{outcome=\"ok\"}"), 0);
    assert_eq!(open.get("/").status(), 200);
    assert_eq!(fleet.connect().get("/").status(), 200);
}

#[test]
fn what_needs_a_restart_says_so() {
    let mut fleet = Fleet::start(|_| {});
    let good = Setup::new(fleet.upstream.address());
    type Change = fn(&mut Setup);
    let changes: [(&str, Change); 7] = [
        ("server.handover_socket", |setup| {
            setup.grace = "5s\"\nhandover_socket = \"handover".into()
        }),
        ("listeners", |setup| setup.listener = "127.0.0.1:1".into()),
        ("admin.address", |setup| {
            setup.more = "[admin]\naddress = \"127.0.0.1:1\"".into()
        }),
        ("server.workers", |setup| setup.workers = 2),
        ("limits.connections", |setup| {
            setup.more = "[limits]\nconnections = 5".into()
        }),
        ("limits.handshakes", |setup| {
            setup.more = "[limits]\nhandshakes = 5".into()
        }),
        ("chain_cache.entries", |setup| {
            setup.more = "[chain_cache]\nentries = 5".into()
        }),
    ];
    for (index, (key, change)) in changes.into_iter().enumerate() {
        let mut setup = good.clone();
        change(&mut setup);
        let error = fleet.gateway.reload(&fleet.pki, &setup).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{key} cannot change while the gateway runs; restart it, with --take-over if no connection may be lost"
            )
        );
        assert_eq!(
            fleet
                .gateway
                .counters()
                .get("gateway_reloads_total{outcome=\"failed\"}"),
            index as u64 + 1
        );
    }
    assert_eq!(fleet.connect().get("/").status(), 200);
}

// Workers

#[test]
fn every_worker_serves() {
    let fleet = Fleet::start(|setup| {
        setup.workers = 2;
        setup.more = "[limits.device.handshakes]\nenabled = false\n".into();
    });
    assert_eq!(fleet.gateway.server().workers(), 2);
    let before = fleet.gateway.counters();
    let device = fleet.device();
    for _ in 0..40 {
        assert_eq!(device.get(fleet.gateway.address(), "/").0.status(), 200);
    }
    // Each worker has upstream connections of its own, so a second one shows that a second worker serves.
    assert_eq!(fleet.upstream.connections(), 2);
    let mut expected = vec![handshake("full", "ok")];
    expected.extend(vec![handshake("resumed", "ok"); 39]);
    expected.extend(vec![request("2xx"); 40]);
    expect_moved(&fleet.gateway, &before, &expected);
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let fleet = Fleet::start(|_| {});
    let open = "gateway_connections_open{listener=\"devices\"}";
    let connections: Vec<Connection> = (0..5).map(|_| fleet.connect()).collect();
    expect_value(&fleet.gateway, open, 5);
    drop(connections);
    expect_value(&fleet.gateway, open, 0);
    expect_value(
        &fleet.gateway,
        "gateway_connections_total{listener=\"devices\"}",
        5,
    );
}

#[test]
fn a_gateway_does_not_start_on_an_address_in_use() {
    let pki = Pki::new();
    let upstream = Upstream::ok();
    let first = Gateway::start(&pki, &Setup::new(upstream.address()));
    let mut setup = Setup::new(upstream.address());
    setup.listener = first.address().to_string();
    let error = gateway::server::Server::start(setup.config(&pki)).unwrap_err();
    assert!(!error.is_configuration());
    assert!(
        error
            .to_string()
            .starts_with("listeners[0].address: cannot listen on"),
        "{error}"
    );
}

// The program

/// A PKI, an upstream, and a configuration file with an admin listener.
struct Site {
    pki: Pki,
    upstream: Upstream,
    setup: Setup,
}

impl Site {
    fn new(upstream: Upstream) -> Self {
        let mut setup = Setup::new(upstream.address());
        setup.more = "[admin]\naddress = \"127.0.0.1:0\"\n".into();
        Self {
            pki: Pki::new(),
            upstream,
            setup,
        }
    }

    fn config(&self) -> PathBuf {
        self.pki.write("gateway.toml", &self.setup.text())
    }

    fn run(&self) -> Program {
        Program::run(&self.config())
    }

    fn device(&self) -> Device {
        Device::new(&self.pki, Some(&self.pki.device("device-000001")))
    }

    /// What the program says about the configuration file.
    fn check(&self) -> (Option<i32>, String, String) {
        run(&["check", "--config", self.config().to_str().unwrap()])
    }
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = gateway(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn check_accepts_a_good_configuration() {
    let site = Site::new(Upstream::ok());
    assert_eq!(
        site.check(),
        (Some(0), "the configuration is good\n".into(), String::new())
    );
}

#[test]
fn check_lists_everything_that_is_wrong_with_the_text() {
    let mut site = Site::new(Upstream::ok());
    site.setup.tls = "groups = [\"P-255\"]\nmin_version = \"1.1\"".into();
    site.setup.listener = "nowhere".into();
    site.setup.more = "[limits]\nconections = 5\n".into();
    let (code, stdout, stderr) = site.check();
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let keys: Vec<&str> = stderr
        .lines()
        .map(|line| {
            line.strip_prefix("gateway: ")
                .unwrap()
                .split(':')
                .next()
                .unwrap()
        })
        .collect();
    for key in [
        "tls.groups",
        "tls.min_version",
        "listeners[0].address",
        "limits.conections",
    ] {
        assert!(keys.contains(&key), "{key} is not in {stderr}");
    }
}

#[test]
fn check_lists_everything_that_is_wrong_with_the_files() {
    let mut site = Site::new(Upstream::ok());
    site.pki
        .write("server.key", &site.pki.device("device-000001").key_pem());
    site.pki.write("empty.pem", "");
    site.pki.write("short.secret", "short");
    site.setup.anchors = vec!["empty.pem".into()];
    site.setup.more = "[resumption]\nsecret_file = \"short.secret\"\n".into();
    let (code, _, stderr) = site.check();
    assert_eq!(code, Some(2), "{stderr}");
    for part in [
        "tls: the private key",
        "trust.anchors: ",
        "resumption.secret_file: ",
    ] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
}

#[test]
fn check_lists_what_is_wrong_with_text_and_files_together() {
    let mut site = Site::new(Upstream::ok());
    site.setup.server = "misspelt".into();
    site.setup.more = "[limits]\nconections = 5\n".into();
    let (code, _, stderr) = site.check();
    assert_eq!(code, Some(2), "{stderr}");
    for part in ["limits.conections: ", "tls: cannot read "] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
}

#[test]
fn a_configuration_file_that_is_missing_is_named() {
    for command in ["check", "run"] {
        let (code, _, stderr) = run(&[command, "--config", "no-such-file.toml"]);
        assert_eq!(code, Some(2));
        assert!(stderr.contains("cannot read no-such-file.toml"), "{stderr}");
    }
}

#[test]
fn an_address_in_use_is_a_runtime_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut site = Site::new(Upstream::ok());
    site.setup.listener = address.clone();
    let (code, _, stderr) = run(&["run", "--config", site.config().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!("listeners[0].address: cannot listen on {address}")),
        "{stderr}"
    );
    site.setup.listener = "127.0.0.1:0".into();
    site.setup.more = format!("[admin]\naddress = \"{address}\"\n");
    let (code, _, stderr) = run(&["run", "--config", site.config().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(&format!("admin.address: cannot listen on {address}")),
        "{stderr}"
    );
}

#[test]
fn the_program_describes_itself() {
    let (code, version, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(
        version.starts_with("gateway ") && version.contains("rustls"),
        "{version}"
    );
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["run", "check", "completions", "man", "Exit codes", "SIGHUP"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(script.contains("gateway"));
    }
    let (code, page, _) = run(&["man"]);
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH gateway"), "{page}");
    assert_eq!(run(&["run"]).0, Some(2), "--config is needed");
    assert_eq!(run(&["serve"]).0, Some(2));
}

#[test]
fn the_admin_listener_answers_operators_until_the_end_of_a_drain() {
    let mut slow = Slow::new();
    let site = Site::new(slow.upstream.take().unwrap());
    let mut program = site.run();
    assert_eq!(program.ask_admin("GET /livez").text(), "ok\n");
    assert_eq!(program.ask_admin("GET /readyz").text(), "ready\n");
    let version = program.ask_admin("GET /version");
    assert!(
        run(&["--version"]).1.ends_with(version.text()),
        "{}",
        version.text()
    );
    let metrics = program.ask_admin("GET /metrics");
    assert!(
        metrics
            .field("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(
        metrics
            .text()
            .contains("# TYPE gateway_handshakes_total counter")
    );
    assert_eq!(program.ask_admin("HEAD /livez").status(), 200);
    assert_eq!(program.ask_admin("GET /nothing").status(), 404);
    let refused = program.ask_admin("POST /metrics");
    assert_eq!(
        (refused.status(), refused.field("allow")),
        (405, "GET, HEAD")
    );

    let mut busy = site.device().connect(program.devices());
    busy.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    slow.arrived.recv().unwrap();
    program.signal(Signal::TERM);
    program.logged("Fleetgate is draining");
    let ready = program.ask_admin("GET /readyz");
    assert_eq!((ready.status(), ready.text()), (503, "draining\n"));
    assert_eq!(program.ask_admin("GET /livez").status(), 200);
    slow.release.send(()).unwrap();
    assert_eq!(busy.response().text(), "/slow");
    assert_eq!(program.ended().code(), Some(0));
}

#[test]
fn sigterm_and_sigint_end_an_idle_gateway_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let site = Site::new(Upstream::ok());
        let mut program = site.run();
        assert_eq!(site.device().get(program.devices(), "/").0.status(), 200);
        program.signal(signal);
        assert_eq!(program.ended().code(), Some(0));
        program.logged("Fleetgate is drained");
    }
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let mut slow = Slow::new();
    let mut site = Site::new(slow.upstream.take().unwrap());
    site.setup.grace = "10m".into();
    let mut program = site.run();
    let mut busy = site.device().connect(program.devices());
    busy.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    slow.arrived.recv().unwrap();
    program.signal(Signal::TERM);
    program.logged("Fleetgate is draining");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().code(), Some(0));
    program.logged("told twice");
    busy.wait_for_end();
}

#[test]
fn a_gateway_can_be_tied_to_its_standard_input() {
    let site = Site::new(Upstream::ok());
    let mut program = site.run();
    program.close_stdin();
    assert_eq!(program.ended().code(), Some(0));
}

#[test]
fn sighup_reloads_and_what_is_wrong_leaves_the_last_good_state() {
    let mut site = Site::new(Upstream::ok());
    let program = site.run();
    let mut open = site.device().connect(program.devices());
    assert_eq!(open.get("/").status(), 200);
    let reloads = |outcome: &str, count: u64| {
        let series = format!("gateway_reloads_total{{outcome=\"{outcome}\"}}");
        eventually(&series, || {
            (program.counters().get(&series) == count).then_some(())
        });
    };
    site.setup.path_prefix = "/new".into();
    site.config();
    program.signal(Signal::HUP);
    reloads("ok", 1);
    assert_eq!(
        (open.get("/").status(), open.get("/new").status()),
        (404, 200)
    );

    // Wrong in each of three ways: the text, what it names, what cannot change.
    site.pki.write("gateway.toml", "[tls\n");
    program.signal(Signal::HUP);
    reloads("failed", 1);
    let good = site.setup.clone();
    site.setup.server = "missing".into();
    site.config();
    program.signal(Signal::HUP);
    reloads("failed", 2);
    site.setup = good;
    site.setup.listener = "127.0.0.1:1".into();
    site.config();
    program.signal(Signal::HUP);
    reloads("failed", 3);
    program.logged("listeners cannot change while the gateway runs");
    std::fs::remove_file(site.pki.folder().join("gateway.toml")).unwrap();
    program.signal(Signal::HUP);
    reloads("failed", 4);
    assert_eq!(
        (open.get("/").status(), open.get("/new").status()),
        (404, 200)
    );
    assert_eq!(site.device().get(program.devices(), "/new").0.status(), 200);
    assert!(!site.upstream.received().is_empty());
}

#[test]
fn reloads_under_load_drop_nothing() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    let mut fleet = Fleet::start(|setup| setup.workers = 2);
    fleet.pki.write_server("other", &fleet.pki.server());
    let other = authority("another anchor");
    fleet
        .pki
        .write("other-anchor.pem", &other.certificate_pem());
    let address = fleet.gateway.address();
    let device = |number: usize| {
        let credential = fleet.pki.device(&format!("device-{number:06}"));
        Device::new(&fleet.pki, Some(&credential))
    };
    let (done, visits, requests) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let (visitors, keepers): (Vec<Device>, Vec<Device>) =
        ((0..2).map(device).collect(), (2..4).map(device).collect());
    let setup = |number: usize| {
        let mut setup = Setup::new(fleet.upstream.address());
        setup.workers = 2;
        if number % 2 == 1 {
            setup.server = "other".into();
            setup.anchors.push("other-anchor.pem".into());
            setup.more =
                "[identity_headers]\nforwarded = true\n[trust.policy]\ndeny = [\"nobody\"]\n"
                    .into();
        }
        setup
    };
    std::thread::scope(|scope| {
        for device in &visitors {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    // A full handshake first, then tickets.
                    assert_eq!(device.get(address, "/").0.status(), 200);
                    visits.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for device in &keepers {
            scope.spawn(|| {
                let mut connection = device.connect(address);
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(connection.get("/").status(), 200);
                    requests.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for number in 1..=10 {
            let before = (
                visits.load(Ordering::SeqCst),
                requests.load(Ordering::SeqCst),
            );
            fleet.gateway.reload(&fleet.pki, &setup(number)).unwrap();
            eventually("traffic after the reload", || {
                (visits.load(Ordering::SeqCst) > before.0 + 4
                    && requests.load(Ordering::SeqCst) > before.1 + 4)
                    .then_some(())
            });
        }
        done.store(true, Ordering::SeqCst);
    });
    let counters = fleet.gateway.counters();
    assert_eq!(counters.get("gateway_reloads_total{outcome=\"ok\"}"), 10);
    assert_eq!(
        counters.get(&request("5xx")) + counters.get(&request("4xx")),
        0
    );
}
