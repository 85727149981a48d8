//! What this program is when it has started itself again: the gateway or the upstream.
//!
//! Only the `lab` binary is built by `cargo lab`, and what is measured must be a process of its own. Each role ends when
//! its standard input closes, and the laboratory holds the other end: even killed, it leaves nobody behind.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

/// Subcommand of the gateway's role.
pub(crate) const GATEWAY: &str = "as-gateway";
/// Subcommand of the upstream's role.
pub(crate) const UPSTREAM: &str = "as-upstream";
/// What the upstream says before its address.
pub(crate) const LISTENING: &str = "listening on ";

/// The gateway's own command line.
pub(crate) fn gateway(arguments: Vec<OsString>) -> ExitCode {
    let command_line = std::iter::once(OsString::from("gateway")).chain(arguments);
    gateway::cli::execute(gateway::cli::Arguments::parse_from(command_line))
}

/// An upstream on a free port of loopback.
pub(crate) fn upstream() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context("cannot listen on a free port of 127.0.0.1")?;
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
