//! One line on the terminal while the load runs.

use std::io::{self, IsTerminal, Write};

use loadgen::fleet::Opened;
use loadgen::measure::Second;

/// The line. On anything but a terminal it says nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    terminal: bool,
    failed: u64,
    overflow: u64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            shown: false,
            terminal: io::stderr().is_terminal(),
            failed: 0,
            overflow: 0,
        }
    }

    pub(crate) fn opening(&mut self, opened: Opened) {
        if !self.terminal {
            return;
        }
        self.shown = true;
        // As in `show`.
        let _ = write!(
            io::stderr(),
            "\r\x1b[Kopening the fleet: {} of {}",
            opened.done,
            opened.of
        );
        let _ = io::stderr().flush();
    }

    pub(crate) fn show(&mut self, second: &Second) {
        self.failed += second.failed;
        self.overflow += second.overflow;
        if !self.terminal {
            return;
        }
        self.shown = true;
        let milliseconds = |quantile| second.response.value_at_quantile(quantile) as f64 / 1e3;
        // Progress that cannot be shown is no reason to end a run.
        let _ = write!(
            io::stderr(),
            "\r\x1b[K{:>4} s  intended {}/s  achieved {}/s  open {}  p50 {:.2} ms  p99 {:.2} ms  failed {}  overflow {}",
            second.index + 1,
            second.intended,
            second.ok,
            second.open,
            milliseconds(0.5),
            milliseconds(0.99),
            self.failed,
            self.overflow,
        );
        let _ = io::stderr().flush();
    }

    pub(crate) fn clear(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
