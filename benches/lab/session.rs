//! What every long command has around it: a stop by signal, a folder for its report, a folder to work in.
//!
//! It knows no command; what is done and what a report means is theirs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use loadgen::Stop;
use serde::Serialize;

use crate::{output, signals};

/// A command that ends with a report.
pub(crate) struct Session<'a> {
    /// As it is called.
    pub(crate) command: &'a str,
    /// The folder for the report, if one was asked for.
    pub(crate) out: Option<&'a PathBuf>,
    /// Whether the work folder stays.
    pub(crate) keep: bool,
}

impl Session<'_> {
    /// Has `conduct` do the work in a folder of its own, prints what it found as `text`, and writes it with a page. `None` if
    /// it was stopped from outside.
    pub(crate) fn report<R: Serialize>(
        &self,
        conduct: impl FnOnce(&Path, &Stop) -> anyhow::Result<Option<R>>,
        text: impl FnOnce(&R) -> String,
        page: impl FnOnce(&R) -> String,
    ) -> anyhow::Result<Option<R>> {
        let stop = signals::stop_on_signal()?;
        let folder = output::folder(self.out.map(PathBuf::as_path), self.command)?;
        let mut work = tempfile::Builder::new()
            .prefix("fleetgate-lab-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        work.disable_cleanup(self.keep);
        let conducted = conduct(work.path(), &stop);
        if self.keep {
            eprintln!("work folder  {}", work.path().display());
        }
        let Some(report) = conducted? else {
            eprintln!("lab: stopped before its end; there is no report");
            return Ok(None);
        };
        print!("\n{}\n", text(&report));
        output::write(&folder, &report, &page(&report))?;
        Ok(Some(report))
    }
}
