//! `loadgen upstream`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;
use clap::Args;

use super::Outcome;
use super::exit::Exit;
use super::signals;

/// Arguments of `loadgen upstream`.
#[derive(Debug, Args)]
#[command(after_help = "\
Paths: /echo  /sink (the body's length)  /ws (WebSocket echo)  /headers (the received head as JSON)  /delay/MS  /status/CODE  /bytes/N  /reset
and `ok` for any other.

Example:
  loadgen upstream --listen 127.0.0.1:9000")]
pub(crate) struct UpstreamArguments {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// Serves until SIGINT or SIGTERM.
pub(crate) fn serve(arguments: &UpstreamArguments) -> Outcome {
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("cannot listen on {} (--listen)", arguments.listen))
        .map_err(|error| (Exit::Usage, error))?;
    let failure = |error: std::io::Error| (Exit::Failure, error.into());
    let address = listener.local_addr().map_err(failure)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    signals::on_signal(move || {
        // If nobody waits any more, the server has ended already.
        let _ = stop.send(());
    })
    .map_err(failure)?;
    println!("listening on {address}");
    loadgen::upstream::serve_until(listener, Arc::new(AtomicU64::new(0)), async {
        let _ = stopped.await;
    })
    .map_err(failure)?;
    Ok(Exit::Pass)
}
