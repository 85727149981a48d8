//! Which endpoint serves, what is known about endpoints, and what is sent again, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use gateway::upstream::endpoint::State;
use rustix::process::Signal;
use support::counters::expect_value;
use support::message::Reader;
use support::program::Program;
use support::upstream::{ok, refusing_address};
use support::{Connection, Device, Fleet, Gateway, Pki, Setup, Upstream, eventually};

const HOST: &str = "host: fleet.test\r\n";

/// A gateway in front of several upstream programs.
struct Site {
    pki: Pki,
    setup: Setup,
    gateway: Gateway,
}

impl Site {
    /// `keys` are further ones of the upstream.
    fn new(endpoints: &[SocketAddr], keys: &str) -> Self {
        let mut setup = Setup::new(endpoints[0]);
        setup.endpoints = endpoints.to_vec();
        setup.upstream = keys.into();
        Self::start(setup)
    }

    fn start(setup: Setup) -> Self {
        let pki = Pki::new();
        let gateway = Gateway::start(&pki, &setup);
        Self {
            pki,
            setup,
            gateway,
        }
    }

    fn connect(&self) -> Connection {
        self.connect_as("device-000001")
    }

    fn connect_as(&self, id: &str) -> Connection {
        Device::new(&self.pki, Some(&self.pki.device(id))).connect(self.gateway.address())
    }

    fn reload(&mut self) {
        self.gateway.reload(&self.pki, &self.setup).unwrap();
    }

    fn retries(&self, outcome: &str) -> u64 {
        self.gateway.counters().get(&retries(outcome))
    }

    fn state(&self, address: SocketAddr) -> State {
        self.gateway.endpoint(address).state
    }

    fn wait_for(&self, address: SocketAddr, state: State) {
        eventually(&format!("{address} to be {state:?}"), || {
            (self.state(address) == state).then_some(())
        });
    }
}

fn retries(outcome: &str) -> String {
    format!("gateway_upstream_retries_total{{outcome=\"{outcome}\",upstream=\"telemetry\"}}")
}

fn up(endpoint: impl std::fmt::Display) -> String {
    format!("gateway_upstream_endpoint_up{{endpoint=\"{endpoint}\",upstream=\"telemetry\"}}")
}

/// An upstream that answers with its name.
fn named(name: &'static str) -> Upstream {
    Upstream::answering(move |_| ok(name))
}

/// An upstream that takes each request and hangs up.
fn hanging_up() -> Upstream {
    Upstream::answering(|_| Vec::new())
}

/// An upstream that answers with a status which can be changed.
fn with_status(status: &Arc<AtomicUsize>) -> Upstream {
    let status = Arc::clone(status);
    Upstream::answering(move |_| {
        let status = status.load(Ordering::SeqCst);
        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into_bytes()
    })
}

// The choice

#[test]
fn requests_are_spread_by_weight() {
    let (heavy, light) = (named("heavy"), named("light"));
    let mut setup = Setup::new(heavy.address());
    setup.entries = Some(format!(
        "[{{ url = \"http://{}\", weight = 3 }}, \"http://{}\"]",
        heavy.address(),
        light.address()
    ));
    let site = Site::start(setup);
    let mut connection = site.connect();
    for _ in 0..40 {
        assert_eq!(connection.get("/").status(), 200);
    }
    assert_eq!((heavy.received().len(), light.received().len()), (30, 10));
}

#[test]
fn who_has_fewer_requests_in_flight_is_chosen() {
    let (arrive, arrived) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let [a, b] = ["a", "b"].map(|name| {
        let (arrive, released) = (Mutex::new(arrive.clone()), Arc::clone(&released));
        Upstream::answering(move |received| {
            if received.message.target() == "/slow" {
                arrive.lock().unwrap().send(name).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            ok(name)
        })
    });
    let site = Site::new(&[a.address(), b.address()], "balance = \"least_request\"");
    let mut slow = site.connect();
    slow.send(format!("GET /slow HTTP/1.1\r\n{HOST}\r\n"));
    let busy = arrived.recv().unwrap();
    let mut quick = site.connect();
    for _ in 0..30 {
        assert_ne!(quick.get("/").text(), busy);
    }
    release.send(()).unwrap();
    assert_eq!(slow.response().text(), busy);
}

#[test]
fn a_device_stays_with_its_endpoint_across_connections_and_workers() {
    let mut upstreams = [named("a"), named("b"), named("c")];
    let mut setup = Setup::new(upstreams[0].address());
    setup.endpoints = upstreams.iter().map(Upstream::address).collect();
    setup.upstream = "balance = \"device_hash\"".into();
    setup.workers = 2;
    let site = Site::start(setup);
    let ask = |device: &str| site.connect_as(device).get("/").text().to_owned();
    let devices: Vec<String> = (0..12)
        .map(|number| format!("device-{number:06}"))
        .collect();
    let homes: BTreeMap<&String, String> =
        devices.iter().map(|device| (device, ask(device))).collect();
    let used: BTreeSet<&String> = homes.values().collect();
    assert!(used.len() > 1, "{homes:?}");
    for device in &devices {
        for _ in 0..4 {
            assert_eq!(ask(device), homes[device]);
        }
    }
    // When one goes, only its own devices move.
    upstreams[0].kill();
    for device in &devices {
        let now = ask(device);
        match homes[device].as_str() {
            "a" => assert_ne!(now, "a"),
            home => assert_eq!(now, home),
        }
    }
}

#[test]
fn a_unix_socket_is_an_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for unix in listener.incoming() {
            let mut reader = Reader::new(unix.unwrap());
            while let Ok(request) = reader.request() {
                reader.source.write_all(&ok(request.target())).unwrap();
            }
        }
    });
    let mut setup = Setup::new(refusing_address());
    setup.entries = Some(format!("[\"unix:{}\"]", path.display()));
    setup.upstream = "health_check = { path = \"/healthz\", interval = \"20ms\" }".into();
    let site = Site::start(setup);
    assert_eq!(site.connect().get("/a").text(), "/a");
    let checks = "gateway_upstream_health_checks_total{outcome=\"ok\",upstream=\"telemetry\"}";
    eventually("a check over the socket", || {
        (site.gateway.counters().get(checks) > 0).then_some(())
    });
}

// Host names

#[test]
fn a_name_is_all_its_addresses() {
    let upstream = Upstream::ok();
    let port = upstream.address().port();
    let mut expected: Vec<SocketAddr> = ("localhost", port).to_socket_addrs().unwrap().collect();
    expected.sort_unstable();
    expected.dedup();
    let mut setup = Setup::new(upstream.address());
    setup.entries = Some(format!("[\"http://localhost:{port}\"]"));
    let site = Site::start(setup);
    // The first request waits for the first look-up, and passes by addresses where nobody listens.
    for _ in 0..4 {
        assert_eq!(site.connect().get("/").status(), 200);
    }
    let views = site.gateway.server().upstream_views();
    let found: Vec<String> = views[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address.clone())
        .collect();
    let expected: Vec<String> = expected.iter().map(SocketAddr::to_string).collect();
    assert_eq!(found, expected);
    let name = up(format_args!("localhost:{port}"));
    assert_eq!(site.gateway.counters().get(&name), expected.len() as u64);
}

#[test]
fn a_name_that_does_not_resolve_stops_nothing() {
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    // No resolver takes a label of so many bytes, so that none is asked.
    let name = "x".repeat(64);
    setup.entries = Some(format!("[\"http://{name}:80\"]"));
    setup.upstream = "connect_timeout = \"50ms\"".into();
    let mut site = Site::start(setup);
    assert_eq!(site.connect().get("/").status(), 503);
    let views = site.gateway.server().upstream_views();
    assert_eq!(views[0].unresolved, [format!("{name}:80")]);
    site.setup.entries = Some(format!(
        "[\"http://{name}:80\", \"http://{}\"]",
        upstream.address()
    ));
    site.reload();
    for _ in 0..4 {
        assert_eq!(site.connect().get("/").status(), 200);
    }
    assert_eq!(
        site.gateway.counters().get(&up(format_args!("{name}:80"))),
        0
    );
}

// Health

const QUICK_CHECK: &str = "[upstreams.health_check]\npath = \"/healthz\"\ninterval = \"20ms\"\n\
                           healthy_after = 2\nunhealthy_after = 2\n";

#[test]
fn a_killed_endpoint_costs_no_get_and_comes_back_when_checks_pass() {
    let mut dying = named("dying");
    let other = named("other");
    let address = dying.address();
    let site = Site::new(&[address, other.address()], QUICK_CHECK);
    let mut connection = site.connect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                answers.push(connection.get("/").status());
            }
            answers
        });
        eventually("both to serve", || {
            let both = [&dying, &other].map(|upstream| upstream.received().len());
            (both.iter().all(|count| *count > 5)).then_some(())
        });
        dying.kill();
        site.wait_for(address, State::Unhealthy);
        stop.store(true, Ordering::SeqCst);
        let answers = asking.join().unwrap();
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    });
    assert_eq!(site.gateway.counters().get(&up(address)), 0);
    let mut connection = site.connect();
    let (unsent, repeated) = (site.retries("unsent"), site.retries("repeated"));
    for _ in 0..10 {
        assert_eq!(connection.get("/").text(), "other");
    }
    assert_eq!(
        (site.retries("unsent"), site.retries("repeated")),
        (unsent, repeated)
    );
    let _back = Upstream::answering_at(address, |_| ok("back"));
    site.wait_for(address, State::Healthy);
    assert_eq!(site.gateway.counters().get(&up(address)), 1);
    let answers = [0, 1].map(|_| connection.get("/").text().to_owned());
    assert!(answers.contains(&"back".to_owned()), "{answers:?}");
}

#[test]
fn a_check_asks_what_is_configured_and_looks_at_the_status() {
    let status = Arc::new(AtomicUsize::new(204));
    let upstream = with_status(&status);
    let keys = "[upstreams.health_check]\npath = \"/healthz?deep=1\"\nhost = \"app.example\"\n\
                status = \"200-299\"\ninterval = \"20ms\"\nhealthy_after = 1\nunhealthy_after = 1\n";
    let site = Site::new(&[upstream.address()], keys);
    let check = upstream.request(1);
    assert_eq!(check.first_line(), "GET /healthz?deep=1 HTTP/1.1");
    assert_eq!(check.field("host"), "app.example");
    assert_eq!(site.state(upstream.address()), State::Healthy);
    status.store(500, Ordering::SeqCst);
    site.wait_for(upstream.address(), State::Unhealthy);
    let last = site
        .gateway
        .endpoint(upstream.address())
        .last_check
        .unwrap();
    assert_eq!(last.outcome, "status");
    // All are out, so all are used.
    assert!(site.gateway.server().upstream_views()[0].panic);
    assert_eq!(site.connect().get("/").status(), 500);
    status.store(200, Ordering::SeqCst);
    site.wait_for(upstream.address(), State::Healthy);
}

#[test]
fn the_program_checks_and_looks_up_what_a_reload_brings() {
    let (pki, upstream) = (Pki::new(), Upstream::ok());
    let port = upstream.address().port();
    let mut setup = Setup::new(upstream.address());
    setup.more = "watch = false\n[admin]\naddress = \"127.0.0.1:0\"\n".into();
    setup.upstream = QUICK_CHECK.into();
    let config = pki.write("gateway.toml", &setup.text());
    let program = Program::run(&config);
    assert_eq!(upstream.request(0).target(), "/healthz");
    setup.entries = Some(format!("[\"http://localhost:{port}\"]"));
    pki.write("gateway.toml", &setup.text());
    program.signal(Signal::HUP);
    program.logged("reloaded the configuration");
    let name = up(format_args!("localhost:{port}"));
    eventually("the name to be looked up", || {
        let counters = program.counters();
        (counters.get(&name) > 0).then_some(())
    });
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    assert_eq!(device.get(program.devices(), "/").0.status(), 200);
}

#[test]
fn a_check_of_a_silent_endpoint_times_out_and_one_by_tcp_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let keys = "health_check = { path = \"/\", interval = \"20ms\", timeout = \"50ms\", unhealthy_after = 1 }";
    let mut site = Site::new(&[address], keys);
    site.wait_for(address, State::Unhealthy);
    let last = site.gateway.endpoint(address).last_check.unwrap();
    assert_eq!(last.outcome, "timeout");
    site.setup.upstream = "health_check = { type = \"tcp\", interval = \"20ms\" }".into();
    site.reload();
    eventually("a check by TCP", || {
        let check = site.gateway.endpoint(address).last_check;
        check.filter(|check| check.outcome == "ok")
    });
    assert_eq!(site.state(address), State::Healthy);
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_ejected_and_that_outlives_a_reload() {
    let bad = with_status(&Arc::new(AtomicUsize::new(500)));
    let good = Upstream::ok();
    let keys = "ejection = { consecutive_failures = 3, time = \"1h\", max_time = \"2h\" }";
    let mut site = Site::new(&[bad.address(), good.address()], keys);
    let mut connection = site.connect();
    let answers: Vec<u16> = (0..20).map(|_| connection.get("/").status()).collect();
    assert_eq!(answers.iter().filter(|status| **status == 500).count(), 3);
    assert_eq!(site.state(bad.address()), State::Ejected);
    let ejections = "gateway_upstream_ejections_total{upstream=\"telemetry\"}";
    assert_eq!(site.gateway.counters().get(ejections), 1);
    assert_eq!(site.gateway.counters().get(&up(bad.address())), 0);
    site.reload();
    assert_eq!(site.state(bad.address()), State::Ejected);
    assert_eq!(connection.get("/").status(), 200);
    // The last one is never ejected: no more than half are.
    assert_eq!(bad.received().len(), 3);
}

#[test]
fn an_ejected_endpoint_returns() {
    let status = Arc::new(AtomicUsize::new(503));
    let flapping = with_status(&status);
    let good = Upstream::answering(|_| ok("good"));
    let keys = "slow_start = \"1h\"\n\
                ejection = { consecutive_failures = 1, time = \"300ms\", max_time = \"300ms\" }";
    let site = Site::new(&[flapping.address(), good.address()], keys);
    let mut connection = site.connect();
    let first = [0, 1].map(|_| connection.get("/").status());
    assert!(first.contains(&503), "{first:?}");
    status.store(200, Ordering::SeqCst);
    let served = flapping.received().len();
    eventually("it to serve again", || {
        assert_eq!(connection.get("/").status(), 200);
        (flapping.received().len() > served).then_some(())
    });
    // With a tenth of its weight, for now.
    assert_eq!(site.state(flapping.address()), State::SlowStart);
    let before = flapping.received().len();
    for _ in 0..110 {
        assert_eq!(connection.get("/").status(), 200);
    }
    let share = flapping.received().len() - before;
    assert!((8..=12).contains(&share), "{share}");
}

#[test]
fn a_device_that_breaks_off_ejects_nobody() {
    let upstream = Upstream::ok();
    let keys = "ejection = { consecutive_failures = 1, max_share = \"100%\" }";
    let site = Site::new(&[upstream.address()], keys);
    let in_flight = || site.gateway.endpoint(upstream.address()).in_flight;
    let mut device = site.connect();
    device.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 10\r\n\r\nhel"
    ));
    eventually("the request to be under way", || {
        (upstream.connections() == 1 && in_flight() == 1).then_some(())
    });
    device.reset();
    eventually("its end", || (in_flight() == 0).then_some(()));
    assert_eq!(site.state(upstream.address()), State::Healthy);
    assert_eq!(site.connect().get("/").status(), 200);
}

#[test]
fn what_one_worker_sees_counts_for_all() {
    let bad = with_status(&Arc::new(AtomicUsize::new(500)));
    let good = Upstream::ok();
    let mut setup = Setup::new(bad.address());
    setup.endpoints = vec![bad.address(), good.address()];
    setup.upstream =
        "ejection = { consecutive_failures = 4, time = \"1h\", max_time = \"1h\" }".into();
    setup.workers = 2;
    let site = Site::start(setup);
    eventually("an ejection", || {
        site.connect().get("/");
        (site.state(bad.address()) == State::Ejected).then_some(())
    });
    assert_eq!(bad.received().len(), 4);
    for _ in 0..12 {
        assert_eq!(site.connect().get("/").status(), 200);
    }
    assert_eq!(bad.received().len(), 4);
}

// Sending again

#[test]
fn only_what_changes_nothing_is_sent_twice() {
    for (request, sent) in [
        (
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
            1,
        ),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 1),
        (
            "PATCH / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            1,
        ),
        (
            "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
            1,
        ),
        ("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 3),
        ("DELETE / HTTP/1.1\r\nhost: x\r\n\r\n", 3),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", 3),
    ] {
        let upstreams = [hanging_up(), hanging_up()];
        let endpoints = upstreams.each_ref().map(Upstream::address);
        let site = Site::new(&endpoints, "retries = 2");
        assert_eq!(site.connect().ask(request).status(), 502);
        let received: Vec<_> = upstreams.iter().flat_map(Upstream::received).collect();
        assert_eq!(received.len(), sent, "{request}");
        // The same each time, but for nothing.
        let heads: BTreeSet<&str> = received
            .iter()
            .map(|one| one.message.head.as_str())
            .collect();
        assert_eq!(heads.len(), 1);
        assert_eq!(site.retries("repeated"), sent as u64 - 1);
    }
}

#[test]
fn a_post_on_a_kept_connection_that_breaks_is_not_sent_again() {
    let first = AtomicBool::new(true);
    let upstream = Upstream::answering(move |_| match first.swap(false, Ordering::SeqCst) {
        true => ok("ok"),
        false => Vec::new(),
    });
    let site = Site::new(&[upstream.address()], "retries = 5");
    let mut connection = site.connect();
    assert_eq!(connection.get("/").status(), 200);
    let post = format!("POST / HTTP/1.1\r\n{HOST}content-length: 2\r\n\r\nhi");
    assert_eq!(connection.ask(&post).status(), 502);
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].connection, 0, "it was on the kept connection");
}

#[test]
fn what_has_begun_to_be_answered_is_not_asked_again() {
    for begun in ["H", "HTTP/1.1 200 OK\r\ncontent-le", "nonsense\r\n\r\n"] {
        let upstream = Upstream::by_hand(move |mut peer| {
            if peer.reader.request().is_ok() {
                peer.send(begun);
            }
        });
        let site = Site::new(&[upstream.address()], "retries = 3");
        assert_eq!(site.connect().get("/").status(), 502, "{begun}");
        assert_eq!(upstream.connections(), 1, "{begun}");
    }
}

#[test]
fn what_was_not_sent_goes_elsewhere_whatever_it_is() {
    let upstream = Upstream::ok();
    let refusing = refusing_address();
    let site = Site::new(&[refusing, upstream.address()], "retries = 0");
    let mut connection = site.connect();
    for _ in 0..6 {
        let post = format!("POST / HTTP/1.1\r\n{HOST}content-length: 5\r\n\r\nhello");
        assert_eq!(connection.ask(&post).status(), 200);
    }
    assert_eq!(upstream.received().len(), 6);
    assert_eq!((site.retries("unsent"), site.retries("repeated")), (3, 0));
    let only = Site::new(&[refusing], "");
    assert_eq!(only.connect().get("/").status(), 503);
    assert_eq!((only.retries("unsent"), only.retries("repeated")), (0, 0));
}

#[test]
fn the_only_healthy_endpoint_is_asked_again() {
    let first = AtomicBool::new(true);
    let upstream = Upstream::answering(move |received| {
        let is_check = received.message.target() == "/healthz";
        match !is_check && first.swap(false, Ordering::SeqCst) {
            true => Vec::new(),
            false => ok("ok"),
        }
    });
    let dead = refusing_address();
    let site = Site::new(&[upstream.address(), dead], QUICK_CHECK);
    site.wait_for(dead, State::Unhealthy);
    assert_eq!(site.connect().get("/").status(), 200);
    assert_eq!((site.retries("unsent"), site.retries("repeated")), (0, 1));
}

#[test]
fn each_attempt_has_its_own_time() {
    let (wait, waiting) = mpsc::channel::<()>();
    let waiting = Mutex::new(waiting);
    let (together, count) = (Barrier::new(2), AtomicUsize::new(0));
    // Two requests at once leave two connections, so that the second attempt finds one that was opened before.
    let upstream = Upstream::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => {
            together.wait();
            ok("ok")
        }
        2 => {
            let _ = waiting.lock().unwrap().recv();
            Vec::new()
        }
        _ => ok("ok"),
    });
    let site = Site::new(&[upstream.address()], "response_timeout = \"1s\"");
    let [mut one, mut other] = [site.connect(), site.connect()];
    one.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    other.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    let answers = [one.response().status(), other.response().status()];
    assert_eq!(answers, [200, 200]);
    assert_eq!(one.get("/").status(), 200);
    assert_eq!(site.retries("repeated"), 1);
    assert_eq!(upstream.connections(), 2);
    drop(wait);
}

#[test]
fn beyond_the_budget_failures_pass_through() {
    let upstream = hanging_up();
    let site = Site::new(&[upstream.address()], "retry_budget = \"0%\"");
    let mut connection = site.connect();
    let mut asked = 0;
    while site.retries("over_budget") < 3 {
        assert_eq!(connection.get("/").status(), 502);
        asked += 1;
        assert!(asked < 1000, "the budget never ends");
    }
    let repeated = site.retries("repeated");
    // Three in a second over ten seconds, whatever the share.
    assert!(repeated >= 30, "{repeated}");
    assert_eq!(upstream.received().len() as u64, asked + repeated);
}

#[test]
fn all_attempts_together_have_a_bound() {
    let (wait, waiting) = mpsc::channel::<()>();
    let waiting = Mutex::new(waiting);
    let upstream = Upstream::answering(move |_| {
        let _ = waiting.lock().unwrap().recv();
        Vec::new()
    });
    let keys = "response_timeout = \"150ms\"\nrequest_timeout = \"200ms\"\nretries = 9";
    let site = Site::new(&[upstream.address()], keys);
    assert_eq!(site.connect().get("/").status(), 504);
    assert_eq!(site.retries("repeated"), 1);
    drop(wait);
}

// Limits

#[test]
fn who_finds_no_connection_waits_or_is_refused_at_once() {
    let (release, released) = mpsc::channel::<()>();
    let (arrive, arrived) = mpsc::channel();
    let (released, arrive) = (Mutex::new(released), Mutex::new(arrive));
    let slow = Upstream::answering(move |_| {
        arrive.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        ok("ok")
    });
    let keys = "max_connections = 1\nmax_pending = 1\nqueue_timeout = \"20s\"";
    let site = Site::new(&[slow.address()], keys);
    let [mut served, mut pending] = [site.connect(), site.connect()];
    served.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    arrived.recv().unwrap();
    pending.send(format!("GET / HTTP/1.1\r\n{HOST}\r\n"));
    let gauge = "gateway_upstream_pending{upstream=\"telemetry\"}";
    expect_value(&site.gateway, gauge, 1);
    assert_eq!(site.gateway.endpoint(slow.address()).in_flight, 2);
    assert_eq!(site.connect().get("/").status(), 503);
    let full = format!(
        "gateway_upstream_failures_total{{endpoint=\"{}\",reason=\"queue_full\",upstream=\"telemetry\"}}",
        slow.address()
    );
    assert_eq!(site.gateway.counters().get(&full), 1);
    release.send(()).unwrap();
    assert_eq!(served.response().status(), 200);
    arrived.recv().unwrap();
    expect_value(&site.gateway, gauge, 0);
    release.send(()).unwrap();
    assert_eq!(pending.response().status(), 200);
    eventually("nothing to be in flight", || {
        (site.gateway.endpoint(slow.address()).in_flight == 0).then_some(())
    });
}

// Reload

#[test]
fn a_reload_keeps_connections_of_upstreams_that_stay_as_they_are() {
    let mut fleet = Fleet::start(|_| {});
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/").status(), 200);
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = "[limits]\nstreams = 7\n".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(connection.get("/").status(), 200);
    assert_eq!(fleet.upstream.connections(), 1);
    setup.upstream = "retries = 3".into();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(connection.get("/").status(), 200);
    assert_eq!(fleet.upstream.connections(), 2);
}
