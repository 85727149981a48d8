//! A progress bar on a terminal, nothing elsewhere. Without colours, so there are none for NO_COLOR to remove.

use std::io::IsTerminal;
use std::sync::OnceLock;

use certs_gen::fleet::Progress;
use indicatif::ProgressStyle;

use super::interrupt::Interrupt;

/// Shows how many devices are made, and passes on that the user wants to stop.
pub(super) struct ProgressBar {
    bar: OnceLock<indicatif::ProgressBar>,
    interrupt: Interrupt,
}

impl ProgressBar {
    pub(super) fn new(interrupt: Interrupt) -> Self {
        Self {
            bar: OnceLock::new(),
            interrupt,
        }
    }
}

impl Progress for ProgressBar {
    fn begin(&self, devices: usize) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self
            .bar
            .get_or_init(|| indicatif::ProgressBar::new(devices as u64));
        let template = "{wide_bar} {human_pos}/{human_len} devices, {per_sec:0}, {eta} to go";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
    }

    fn advance(&self) {
        if let Some(bar) = self.bar.get() {
            bar.inc(1);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.requested()
    }
}
