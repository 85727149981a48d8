//! SIGINT and SIGTERM: the first asks for an orderly stop, the second ends the program at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;

/// Calls `stop` at the first signal, on a thread of its own.
///
/// # Errors
///
/// The handlers cannot be installed.
pub(crate) fn on_signal(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
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
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                stop();
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                std::process::exit(Exit::Interrupted as i32);
            });
        })?;
    Ok(())
}
