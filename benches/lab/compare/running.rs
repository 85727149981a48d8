//! A server under comparison, started.
//!
//! Peers run in the foreground as children of this process, on the server's core, each in a folder of its own inside the
//! work folder. They do not watch their standard input as the gateway does: they are started by way of
//! [`crate::role::tied`], which has the kernel end them when this process is gone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::server::Server;
use crate::child::Child;
use crate::cores::Cores;
use crate::gateway_process::{GatewayProcess, PKI};
use crate::role;

/// Descriptors that a peer's limits are made for: what the idle connections need on both sides, and room.
const DESCRIPTORS: u64 = 19_000;

/// A server and the program that is to be run for it; the gateway needs none.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) server: Server,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where devices connect.
    pub(crate) address: SocketAddr,
    /// All its processes.
    pub(crate) pids: Vec<u32>,
    _process: Process,
}

#[derive(Debug)]
enum Process {
    Gateway { _gateway: GatewayProcess },
    Peer { _child: Child },
}

impl Running {
    /// Starts `installed` before `upstream`; `name` tells its folder and logs from those of other instances.
    pub(crate) fn start(
        installed: &Installed,
        name: &str,
        work: &Path,
        upstream: SocketAddr,
        cores: Cores,
    ) -> anyhow::Result<Running> {
        match installed.server {
            Server::Fleetgate => {
                let gateway = GatewayProcess::start(name, work, upstream, cores)?;
                Ok(Running {
                    address: gateway.devices,
                    pids: vec![gateway.pid()],
                    _process: Process::Gateway { _gateway: gateway },
                })
            }
            Server::Nginx | Server::Haproxy | Server::Envoy => {
                let folder = work.join(name);
                fs::create_dir(&folder)
                    .with_context(|| format!("cannot make {}", folder.display()))?;
                start_peer(installed, &folder, upstream, cores)
            }
        }
    }
}

fn start_peer(
    installed: &Installed,
    folder: &Path,
    upstream: SocketAddr,
    cores: Cores,
) -> anyhow::Result<Running> {
    let server = installed.server;
    let address = free_address()?;
    let (file, template) = configuration_of(server);
    let configuration = fill_in(template, address, upstream, descriptors());
    fs::write(folder.join(file), configuration)
        .with_context(|| format!("cannot write {file} for {}", server.name()))?;
    if server == Server::Haproxy {
        join_chain_and_key(folder)?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command
        .current_dir(folder)
        .arg(role::TIED)
        .arg(std::process::id().to_string())
        .arg(&installed.program)
        .args(arguments_of(server, folder));
    let log = folder.join("log");
    let mut child = cores.with_server(|| Child::start(server.name(), &mut command, &log))??;
    let pid = child.pid();
    let pids = child.wait_for(|_| {
        TcpStream::connect(address).ok()?;
        // nginx listens before it has started the process that serves.
        let pids = family_of(pid);
        (pids.len() >= processes_of(server)).then_some(pids)
    })?;
    Ok(Running {
        address,
        pids,
        _process: Process::Peer { _child: child },
    })
}

fn configuration_of(server: Server) -> (&'static str, &'static str) {
    match server {
        Server::Haproxy => ("haproxy.cfg", include_str!("../peers/haproxy.cfg")),
        Server::Envoy => ("envoy.yaml", include_str!("../peers/envoy.yaml")),
        Server::Nginx | Server::Fleetgate => ("nginx.conf", include_str!("../peers/nginx.conf")),
    }
}

fn arguments_of(server: Server, folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let arguments: &[&str] = match server {
        // nginx wants its prefix as an absolute path.
        Server::Nginx | Server::Fleetgate => {
            return vec![
                "-p".to_owned(),
                format!("{folder}/"),
                "-c".to_owned(),
                format!("{folder}/nginx.conf"),
                "-e".to_owned(),
                "stderr".to_owned(),
            ];
        }
        Server::Haproxy => &["-db", "-f", "haproxy.cfg"],
        Server::Envoy => &[
            "-c",
            "envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ],
    };
    arguments.iter().map(|text| (*text).to_owned()).collect()
}

fn fill_in(template: &str, address: SocketAddr, upstream: SocketAddr, descriptors: u64) -> String {
    template
        .replace("@ADDRESS@", &address.to_string())
        .replace("@HOST@", &address.ip().to_string())
        .replace("@PORT@", &address.port().to_string())
        .replace("@UPSTREAM@", &upstream.to_string())
        .replace("@UPSTREAM_HOST@", &upstream.ip().to_string())
        .replace("@UPSTREAM_PORT@", &upstream.port().to_string())
        .replace("@DESCRIPTORS@", &descriptors.to_string())
        // Two descriptors for each device's request, and some to spare.
        .replace("@CONNECTIONS@", &(descriptors / 2 - 250).to_string())
}

/// As many as the peers are to have, or as many as there may be.
fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit
        .maximum
        .map_or(DESCRIPTORS, |hard| hard.min(DESCRIPTORS))
        .max(1024)
}

/// HAProxy takes the chain and the key from one file.
fn join_chain_and_key(folder: &Path) -> anyhow::Result<()> {
    let read = |name: &str| fs::read(folder.join("..").join(PKI).join(name));
    let joined = [read("server.pem")?, read("server.key")?].concat();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("server-all.pem"))?;
    std::io::Write::write_all(&mut file, &joined)?;
    Ok(())
}

/// Processes that serve or watch over those that do.
fn processes_of(server: Server) -> usize {
    match server {
        Server::Nginx => 2,
        Server::Fleetgate | Server::Haproxy | Server::Envoy => 1,
    }
}

/// A peer cannot be asked which port it was given, so a free one is chosen for it, on an address of loopback that only
/// this process uses: nobody takes the port between choice and use.
fn free_address() -> anyhow::Result<SocketAddr> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 128 | high, middle, low.max(1));
    let listener =
        TcpListener::bind((own, 0)).with_context(|| format!("there is no free port on {own}"))?;
    Ok(listener.local_addr()?)
}

/// A process and its children.
fn family_of(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let children = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| parent_of(*child) == Some(pid));
    std::iter::once(pid).chain(children).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for server in Server::PEERS {
            let (_, template) = configuration_of(server);
            let filled = fill_in(
                template,
                "127.1.2.3:4711".parse().unwrap(),
                "127.0.0.1:9000".parse().unwrap(),
                19_000,
            );
            assert!(filled.contains("4711") && filled.contains("9000"));
            let left = filled
                .lines()
                // Envoy's "@type", and the comment that explains the signs.
                .filter(|line| line.contains('@') && !line.contains("@type"))
                .filter(|line| !line.starts_with('#'));
            assert_eq!(left.count(), 0, "{filled}");
        }
    }

    #[test]
    fn a_family_is_a_process_and_its_children() {
        let mut child = Command::new("sleep").arg("5").spawn().unwrap();
        let family = family_of(std::process::id());
        let _ = child.kill();
        let _ = child.wait();
        assert!(family.contains(&std::process::id()) && family.contains(&child.id()));
    }
}
