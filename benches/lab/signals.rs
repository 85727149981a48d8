//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends the program at once.

use std::io;

use loadgen::{Stop, stop_channel};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Exit;

/// A stop that the first signal requests.
pub(crate) fn stop_on_signal() -> io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let (handle, stop) = stop_channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                handle.stop();
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                std::process::exit(Exit::Stopped as i32);
            });
        })?;
    Ok(stop)
}
