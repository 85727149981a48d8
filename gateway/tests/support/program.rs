//! The `gateway` program itself, run as an operator runs it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use super::counters::Counters;
use super::device::connect;
use super::eventually;
use super::message::{Message, Reader};

/// The program with `arguments`, to its end.
pub(crate) fn gateway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A running gateway. It does not outlive the test.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Runs it with the configuration file and waits until it says that it is ready.
    pub(crate) fn run(config: &Path) -> Self {
        let program = Self::start(config, &[]);
        program.logged("Fleetgate is ready");
        program
    }

    /// Runs it with the configuration file and `flags`, and does not wait.
    pub(crate) fn start(config: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .args(["run", "--log-format", "json", "--exit-with-stdin"])
            .args(flags)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::piped());
        Self::spawn(&mut command)
    }

    /// Runs `command`, which becomes the gateway, and does not wait.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                lines.lock().unwrap().push(line.unwrap());
            }
        });
        Self { child, log }
    }

    /// Waits for a log line that holds `text`.
    pub(crate) fn logged(&self, text: &str) -> String {
        eventually(text, || {
            let log = self.log.lock().unwrap();
            log.iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// How many log lines hold `text`.
    pub(crate) fn log_count(&self, text: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(text)).count()
    }

    fn address_in(&self, text: &str) -> SocketAddr {
        let line = self.logged(text);
        let (_, rest) = line.split_once("\"address\":\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    }

    /// Where devices connect.
    pub(crate) fn devices(&self) -> SocketAddr {
        self.address_in("listens for devices")
    }

    /// Where operators look.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.address_in("admin listener")
    }

    /// What the admin listener answers to a request with these further header lines and this body.
    pub(crate) fn send_admin(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Message {
        let mut tcp = connect(self.admin());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut tcp, request.as_bytes()).unwrap();
        Reader::new(tcp).response(false).unwrap()
    }

    /// What the admin listener answers to a request line.
    pub(crate) fn ask_admin(&self, request: &str) -> Message {
        let mut tcp = connect(self.admin());
        std::io::Write::write_all(
            &mut tcp,
            format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
        Reader::new(tcp)
            .response(request.starts_with("HEAD "))
            .unwrap()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters::parse(self.ask_admin("GET /metrics").text())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Closes its standard input.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the gateway to exit", || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
