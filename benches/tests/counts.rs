//! loadgen and the gateway, each a process or a thread of its own, count the same: handshakes by kind, refusals, answers and requests that
//! nobody answered. And through the gateway every device is taken for the one that it is, resumed or not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the whole target is a test: a panic is its way to fail"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::{ConstantDevices, Exchange, Executor, Limit, Mode, Protocol, Scenario, Target};
use loadgen::upstream::Upstream;
use loadgen::{Plan, RunResult, Stop};
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const DEVICES: usize = 30;
const STRANGERS: usize = 10;

/// The gateway as `lab` carries it. Dropping it ends it.
struct Gateway {
    devices: SocketAddr,
    admin: SocketAddr,
    process: Child,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start(folder: &Path, upstream: SocketAddr, hole: SocketAddr) -> Gateway {
        let configuration = format!(
            r#"[tls]
certificate = "pki/server.pem"
private_key = "pki/server.key"
[trust]
anchors = ["pki/trust-anchor.pem"]
[[listeners]]
name = "devices"
address = "127.0.0.1:0"
[[upstreams]]
name = "telemetry"
endpoints = ["http://{upstream}"]
[[upstreams]]
name = "hole"
endpoints = ["http://{hole}"]
[[routes]]
path_prefix = "/hole"
upstream = "hole"
[[routes]]
path_prefix = "/"
upstream = "telemetry"
[admin]
address = "127.0.0.1:0"
[limits.device.handshakes]
enabled = false
"#
        );
        fs::write(folder.join("gateway.toml"), configuration).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_lab"))
            .current_dir(folder)
            .args(["as-gateway", "run", "--config", "gateway.toml"])
            .args(["--log-format", "json", "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut address_in = |message: &str| -> SocketAddr {
            loop {
                let line = log.next().unwrap().unwrap();
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if entry["message"] == message {
                    return entry["address"].as_str().unwrap().parse().unwrap();
                }
            }
        };
        let devices = address_in("Fleetgate listens for devices");
        let admin = address_in("Fleetgate's admin listener is up");
        // What it says from now on is nobody's business, but somebody has to read it.
        std::thread::spawn(move || log.for_each(drop));
        Gateway {
            devices,
            admin,
            process,
        }
    }

    /// Its metrics once nobody is connected any more.
    fn settled(&self) -> Metrics {
        let until = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics();
            if metrics.sum("gateway_connections_open", "") == 0 {
                return metrics;
            }
            assert!(Instant::now() < until, "connections stay open");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn metrics(&self) -> Metrics {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(
            page.starts_with("HTTP/1.0 200") || page.starts_with("HTTP/1.1 200"),
            "{page}"
        );
        Metrics(page)
    }
}

/// A page of metrics.
struct Metrics(String);

impl Metrics {
    /// The sum of all samples of this name whose labels hold `label`.
    fn sum(&self, name: &str, label: &str) -> u64 {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Counted {
    connections: u64,
    full: u64,
    resumed: u64,
    refused: u64,
    ok: u64,
    unanswered: u64,
}

/// What the gateway says it did between two looks.
fn of_gateway(before: &Metrics, after: &Metrics) -> Counted {
    let grown = |name: &str, label: &str| after.sum(name, label) - before.sum(name, label);
    let handshakes = |kind: &str| {
        let label = format!("kind=\"{kind}\"");
        let ok = |metrics: &Metrics| {
            let of_kind = metrics.0.lines().filter(|line| line.contains(&label));
            let page: Vec<&str> = of_kind.collect();
            Metrics(page.join("\n")).sum("gateway_handshakes_total", "outcome=\"ok\"")
        };
        ok(after) - ok(before)
    };
    Counted {
        connections: grown("gateway_connections_total", ""),
        full: handshakes("full") + handshakes("full_hrr"),
        resumed: handshakes("resumed"),
        refused: grown("gateway_handshakes_total", "outcome=\"unknown_issuer\""),
        ok: grown("gateway_requests_total", "status=\"2xx\""),
        // Each request to the hole takes a connection of its own: the one before it was given up with its request.
        unanswered: grown("gateway_upstream_connections_total", "upstream=\"hole\""),
    }
}

/// What loadgen says became of everything that it did, preparation included.
fn of_loadgen(result: &RunResult) -> Counted {
    let before = &result.before_window;
    let resumed = result.handshakes.resumed + before.handshakes.resumed;
    let accepted = result.handshakes.full + before.handshakes.full;
    let finished = result.counts.client_finished + before.counts.client_finished;
    let (mut refused, mut unanswered) = (0, 0);
    for error in result.errors.iter().chain(&before.errors) {
        match (
            error.class.as_str(),
            error.code.as_str(),
            error.when.as_str(),
        ) {
            ("refused", "unknown_ca", _) => refused += error.count,
            ("timeout", _, "first_byte") => unanswered += error.count,
            _ => panic!("an error that nobody meant to happen: {error:?}"),
        }
    }
    // The gateway sends its ticket with its answer where the request came with the handshake's end. A device that gets no answer never
    // hears that it was accepted; it was, if it has finished and was not refused.
    let full = finished - refused - resumed;
    assert!(
        (accepted..=accepted + unanswered).contains(&full),
        "{full} {accepted}"
    );
    Counted {
        connections: finished,
        full,
        resumed,
        refused,
        ok: result.counts.ok + before.counts.ok,
        unanswered,
    }
}

/// Our fleet in `pki`, and in `both` the same devices and some that the gateway does not know.
fn make_fleets(folder: &Path) {
    for (name, devices) in [("pki", DEVICES), ("others", STRANGERS)] {
        generate(&FleetSpec::new(folder.join(name), devices), &Silent).unwrap();
    }
    let both = folder.join("both");
    fs::create_dir_all(both.join("devices")).unwrap();
    let anchor = "trust-anchor.pem";
    fs::copy(folder.join("pki").join(anchor), both.join(anchor)).unwrap();
    for name in ["pki", "others"] {
        for file in fs::read_dir(folder.join(name).join("devices/00")).unwrap() {
            let file = file.unwrap();
            let to = format!("{name}-{}", file.file_name().to_str().unwrap());
            fs::copy(file.path(), both.join("devices").join(to)).unwrap();
        }
    }
}

fn executor(attempts: u64) -> Executor {
    Executor::ConstantDevices(ConstantDevices::new(4, Limit::Count(attempts)))
}

/// Requests for `/hole`, beside what the plan does otherwise.
fn unanswered(attempts: u64) -> Scenario {
    let mut activity = Mode::Full.activity(Protocol::Http1, 0);
    if let Exchange::Http1(http) = &mut activity.exchange {
        http.opening.path = Some("/hole".to_owned());
    }
    Scenario::new("unanswered", executor(attempts), activity)
}

#[test]
fn the_gateway_counts_what_loadgen_counts() {
    let folder = tempfile::tempdir().unwrap();
    make_fleets(folder.path());
    let upstream = Upstream::start(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    // It accepts by its backlog alone, and never answers.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(
        folder.path(),
        upstream.address(),
        hole.local_addr().unwrap(),
    );
    for (mode, protocol, fleet, lost) in [
        (Mode::Full, Protocol::Http1, "pki", 0),
        (Mode::Resume, Protocol::Http1, "pki", 0),
        (Mode::Mixed, Protocol::H2, "pki", 0),
        (Mode::Resume, Protocol::Http1, "both", 12),
        (Mode::Mixed, Protocol::Http1, "both", 12),
    ] {
        let target = Target::parse(&format!("https://{}/headers", gateway.devices)).unwrap();
        let mut plan = Plan::new(target, folder.path().join(fleet))
            .with_scenario(executor(200), mode.activity(protocol, 64));
        plan.warmup = Duration::ZERO;
        plan.verify_identity = Some("received:X-Device-Id".parse().unwrap());
        if lost > 0 {
            plan.timeout = Duration::from_secs(2);
            plan.scenarios.push(unanswered(lost));
        }
        let before = gateway.settled();
        let result = loadgen::run(&plan, Stop::never(), |_| ()).unwrap();
        let theirs = of_gateway(&before, &gateway.settled());
        let ours = of_loadgen(&result);
        assert_eq!(ours, theirs, "{mode:?} {fleet} {:?}", result.errors);
        let troubled = lost > 0;
        assert_eq!(
            (ours.refused > 0, ours.unanswered > 0),
            (troubled, troubled)
        );
        assert_eq!(ours.resumed > 0, mode != Mode::Full, "{ours:?}");
        // Nobody was taken for somebody else: every answer was looked at.
        let identity = result.identity.unwrap();
        assert_eq!((identity.checked, identity.mismatches), (ours.ok, 0));
    }
}
