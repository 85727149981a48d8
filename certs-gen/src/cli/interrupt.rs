//! SIGINT and SIGTERM: the first asks the work to stop and clean up, a second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::exit::INTERRUPTED;

/// Whether the user wants the program to stop.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over both signals for the rest of the program's life.
    pub(super) fn install() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let register = |signal| -> io::Result<()> {
            // In this order: the first signal finds the flag unset, sets it, and only the second one ends the program.
            flag::register_conditional_shutdown(
                signal,
                INTERRUPTED.into(),
                Arc::clone(&requested),
            )?;
            flag::register(signal, Arc::clone(&requested))?;
            Ok(())
        };
        register(SIGINT)
            .and_then(|()| register(SIGTERM))
            .context("cannot watch for signals")?;
        Ok(Self(requested))
    }

    pub(super) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
