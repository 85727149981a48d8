//! What this program is when it has started itself again: the gateway, the upstream, a metronome, or a peer.
//!
//! Only the `lab` binary is built by `cargo lab`, and what is measured must be a process of its own. Gateway and upstream
//! end when their standard input closes, and the laboratory holds the other end; peers are ended by the kernel. Even
//! killed, the laboratory leaves nobody behind.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Subcommand of the gateway's role.
pub(crate) const GATEWAY: &str = "as-gateway";
/// Subcommand of the upstream's role.
pub(crate) const UPSTREAM: &str = "as-upstream";
/// Subcommand of what makes a quota fine-grained.
pub(crate) const METRONOME: &str = "as-metronome";
/// Subcommand that becomes another program.
pub(crate) const TIED: &str = "as-tied";
/// What the upstream says before its address.
pub(crate) const LISTENING: &str = "listening on ";

/// The gateway's own command line.
pub(crate) fn gateway(arguments: Vec<OsString>) -> ExitCode {
    let command_line = std::iter::once(OsString::from("gateway")).chain(arguments);
    gateway::cli::execute(gateway::cli::Arguments::parse_from(command_line))
}

/// An upstream at `address`, or on a free port of loopback.
pub(crate) fn upstream(address: Option<SocketAddr>) -> anyhow::Result<()> {
    let address = address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let (closed, stop) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // An error ends it too: in both cases nobody holds the other end.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(closed);
    });
    loadgen::upstream::serve_until(listener, Arc::default(), async {
        let _ = stop.await;
    })?;
    Ok(())
}

/// Becomes `program`, which is asked to end when the process `parent` is gone. Comes back only to say why it could not.
pub(crate) fn tied(parent: u32, program: &OsStr, arguments: &[OsString]) -> anyhow::Error {
    // SIGTERM and not SIGKILL: nginx's master takes its workers along.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return anyhow::Error::new(error).context("cannot tie this process to its parent");
    }
    // If the parent has gone before the tie was made, nobody will send the signal.
    let now = getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    if now != Some(parent) {
        return anyhow::anyhow!("the laboratory has gone");
    }
    let error = Command::new(program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot run {}", program.display()))
}
