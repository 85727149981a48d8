//! The gateway as a process of its own, configured as an operator would.
//!
//! It is given port 0 and says in its log which ports it has: no other process can take them between choice and use.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use loadgen::Stop;
use rustix::process::Signal;
use serde_json::Value;

use crate::child::Child;
use crate::cores::Cores;
use crate::role;

/// Folder of the certificates inside the work folder.
pub(crate) const PKI: &str = "pki";

/// A running gateway. Dropping it drains and ends it.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    /// Where devices connect.
    pub(crate) devices: SocketAddr,
    /// Where operators look.
    pub(crate) admin: SocketAddr,
    /// Version, commit and TLS stack, as it says.
    pub(crate) version: String,
    /// From its start until it said that it is ready, to a few milliseconds.
    pub(crate) ready_after: Duration,
    child: Child,
}

impl GatewayProcess {
    /// Starts a gateway called `name` before `upstream`, with the certificates in `work`'s [`PKI`] folder and defaults
    /// everywhere.
    pub(crate) fn start(
        name: &str,
        work: &Path,
        upstream: SocketAddr,
        cores: Cores,
    ) -> anyhow::Result<GatewayProcess> {
        GatewayProcess::start_with(&Variation::default(), name, work, upstream, cores)
    }

    /// The same, but for what `variation` says.
    pub(crate) fn start_with(
        variation: &Variation,
        name: &str,
        work: &Path,
        upstream: SocketAddr,
        cores: Cores,
    ) -> anyhow::Result<GatewayProcess> {
        let configuration = format!("{name}.toml");
        let text = self::configuration(upstream, variation);
        fs::write(work.join(&configuration), text)
            .context("cannot write the gateway's configuration")?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .current_dir(work)
            .args([role::GATEWAY, "run", "--config", &configuration])
            .args(["--log-format", "json", "--exit-with-stdin"])
            .args(variation.takes_over.then_some("--take-over"));
        let log = work.join(format!("{name}.log"));
        let began = Instant::now();
        let mut child = cores.with_server(|| Child::start("the gateway", &mut command, &log))??;
        let said = child.wait_for(Said::read)?;
        Ok(GatewayProcess {
            devices: said.devices,
            admin: said.admin,
            version: said.version,
            ready_after: began.elapsed(),
            child,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Has it read its configuration, and what that names, again.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        self.child
            .signal(Signal::HUP)
            .context("cannot signal the gateway")
    }

    /// Waits until it has ended by itself. Whether it did, with success, within `patience`.
    pub(crate) fn wait_for_end(mut self, patience: Duration, stop: &Stop) -> anyhow::Result<bool> {
        let until = Instant::now() + patience;
        while Instant::now() < until && !stop.is_requested() {
            if let Some(status) = self.child.ended()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }
}

/// What is not as it is by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variation {
    /// Folder of revocation lists inside the work folder; the intermediate that they are checked with is configured too.
    pub(crate) lists: Option<String>,
    /// Whether a file that changes is a reason to reload.
    pub(crate) watch: Option<bool>,
    /// `resumption.tickets`.
    pub(crate) tickets: Option<&'static str>,
    /// Whether another process can take over from it, and its grace period then.
    pub(crate) handover: Option<Duration>,
    /// Whether it takes over from the one that runs in the same folder.
    pub(crate) takes_over: bool,
}

impl Variation {
    fn trust(&self) -> String {
        self.lists.as_ref().map_or_else(String::new, |folder| {
            format!("intermediates = [\"{PKI}/intermediate-00.pem\"]\ncrls = [\"{folder}\"]\n")
        })
    }

    fn server(&self) -> String {
        let mut text = match self.handover {
            None => "shutdown_grace_period = \"2s\"\n".to_owned(),
            Some(grace) => format!(
                "shutdown_grace_period = \"{}s\"\nhandover_socket = \"handover\"\n",
                grace.as_secs()
            ),
        };
        if let Some(watch) = self.watch {
            text.push_str(&format!("watch = {watch}\n"));
        }
        text
    }

    fn resumption(&self) -> String {
        self.tickets.map_or_else(String::new, |tickets| {
            format!("\n[resumption]\ntickets = \"{tickets}\"\n")
        })
    }
}

/// Defaults everywhere, but for one worker: it has one core; and for what `variation` says.
fn configuration(upstream: SocketAddr, variation: &Variation) -> String {
    let (trust, server) = (variation.trust(), variation.server());
    let resumption = variation.resumption();
    format!(
        r#"[tls]
certificate = "{PKI}/server.pem"
private_key = "{PKI}/server.key"

[trust]
anchors = ["{PKI}/trust-anchor.pem"]
{trust}
[[listeners]]
name = "devices"
address = "127.0.0.1:0"

[[upstreams]]
name = "telemetry"
endpoints = ["http://{upstream}"]

[[routes]]
path_prefix = "/"
upstream = "telemetry"

[admin]
address = "127.0.0.1:0"

[server]
workers = 1
{server}{resumption}"#
    )
}

/// What the gateway's log says once it is ready.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    devices: SocketAddr,
    admin: SocketAddr,
    version: String,
}

impl Said {
    fn read(log: &str) -> Option<Said> {
        let (mut devices, mut admin, mut version) = (None, None, None);
        for line in log.lines() {
            let Ok(entry) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            match text("message") {
                Some("Fleetgate listens for devices") => devices = text("address")?.parse().ok(),
                Some("Fleetgate's admin listener is up") => admin = text("address")?.parse().ok(),
                Some("Fleetgate is ready") => version = text("version").map(str::to_owned),
                _ => {}
            }
        }
        Some(Said {
            devices: devices?,
            admin: admin?,
            version: version?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read_once_it_says_everything() {
        let listens = r#"{"level":"INFO","message":"Fleetgate listens for devices","listener":"devices","address":"127.0.0.1:41","workers":1}"#;
        let admin = r#"{"message":"Fleetgate's admin listener is up","address":"127.0.0.1:42"}"#;
        let ready = r#"{"message":"Fleetgate is ready","version":"1 (abc)","tls":"rustls"}"#;
        assert_eq!(Said::read(&format!("noise\n{listens}\n{admin}\n")), None);
        let said = Said::read(&format!("noise\n{listens}\n{admin}\n{ready}\n")).unwrap();
        assert_eq!((said.devices.port(), said.admin.port()), (41, 42));
        assert_eq!(said.version, "1 (abc)");
    }

    #[test]
    fn the_gateway_accepts_the_configuration() {
        let upstream = "127.0.0.1:9000".parse().unwrap();
        let usual = Variation::default();
        let varied = Variation {
            lists: Some("lists".to_owned()),
            watch: Some(false),
            tickets: Some("self_contained"),
            handover: Some(Duration::from_secs(20)),
            takes_over: false,
        };
        for variation in [usual, varied] {
            let text = configuration(upstream, &variation);
            let config = gateway::config::Config::parse(&text, Path::new("")).unwrap();
            assert_eq!(config.server.workers, Some(1));
        }
    }
}
