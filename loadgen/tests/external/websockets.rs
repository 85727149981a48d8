//! A WebSocket server that somebody else wrote, in Python: what it saw of each connection.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::workload::exchange::WebSocket;
use loadgen::plan::{ConstantDevices, Exchange, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult, Stop};

/// Debian's, which has the library; another in the path need not.
const PYTHON: &str = "/usr/bin/python3";
const DEVICES: usize = 20;

struct Echo {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Echo {
    fn start() -> Echo {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        generate(&FleetSpec::new(&pki, DEVICES), &Silent).unwrap();
        let mut process = Command::new(PYTHON)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/external/echo.py"
            ))
            .args(["server.pem", "server.key", "trust-anchor.pem"].map(|name| pki.join(name)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        Echo {
            folder,
            port,
            process,
            lines,
        }
    }

    fn run(&self, mode: Mode, path: &str, change: impl FnOnce(&mut WebSocket)) -> RunResult {
        let target = Target::parse(&format!("https://127.0.0.1:{}{path}", self.port)).unwrap();
        let mut activity = mode.activity(Protocol::Websocket, 3000);
        if let Exchange::Websocket(websocket) = &mut activity.exchange {
            change(websocket);
        }
        let executor = ConstantDevices::new(8, Limit::Count(200));
        let mut plan = Plan::new(target, self.folder.path().join("pki"))
            .with_scenario(Executor::ConstantDevices(executor), activity);
        plan.warmup = Duration::ZERO;
        loadgen::run(&plan, Stop::never(), |_| ()).unwrap()
    }

    /// What it saw of this many connections: messages, close code, device, subprotocol.
    fn seen(&mut self, connections: u64) -> Vec<(u64, String, String, String)> {
        (0..connections)
            .map(|_| {
                let line = self.lines.next().unwrap().unwrap();
                let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
                let [messages, code, device, subprotocol] = words.try_into().unwrap();
                (messages.parse().unwrap(), code, device, subprotocol)
            })
            .collect()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_server_saw_what_the_generator_counts() {
    for mode in [Mode::Full, Mode::Resume, Mode::Telemetry, Mode::Mixed] {
        let mut server = Echo::start();
        let result = server.run(mode, "/", |websocket| {
            websocket.messages = 3;
            websocket.subprotocol = Some("telemetry.v1".to_owned());
        });
        assert_eq!(result.counts.ok, 200, "{mode:?} {:?}", result.errors);
        let before = &result.before_window;
        let connections: u64 = [result.handshakes, before.handshakes]
            .map(|kinds| kinds.full + kinds.full_hrr + kinds.resumed)
            .iter()
            .sum();
        let seen = server.seen(connections);
        let messages: u64 = seen.iter().map(|(messages, ..)| messages).sum();
        assert_eq!(messages, 3 * (200 + before.counts.ok), "{mode:?}");
        for (_, code, device, subprotocol) in &seen {
            assert_eq!(code, "1000", "{mode:?}");
            assert_eq!(subprotocol, "telemetry.v1");
            assert!(device.starts_with("device-"), "{device}");
        }
    }
}

#[test]
fn faults_of_the_server_have_their_names() {
    let server = Echo::start();
    let failed = |path: &str, subprotocol: Option<&str>| {
        let result = server.run(Mode::Full, path, |websocket| {
            websocket.subprotocol = subprotocol.map(str::to_owned);
        });
        assert_eq!(
            (result.counts.ok, result.errors.len()),
            (0, 1),
            "{:?}",
            result.errors
        );
        format!("{} {}", result.errors[0].class, result.errors[0].code)
    };
    assert_eq!(failed("/short", None), "wrong_content ");
    assert_eq!(failed("/leaves", None), "websocket 4001");
    assert_eq!(failed("/", Some("telemetry.v9")), "websocket subprotocol");
}
