//! `[server]`: threads, how the process ends, and who goes on in its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::section::Section;
use crate::drain;

/// What `[server]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; `None` is one for each core this process may use.
    pub workers: Option<usize>,
    /// How connections end after SIGTERM.
    pub drain: drain::Settings,
    /// The Unix socket on which a next process is given the listening sockets; without it none is.
    pub handover_socket: Option<PathBuf>,
    /// Whether a file that changes is a reason to reload.
    pub watch: bool,
}

pub(super) fn read(file: &mut Section<'_>, base: &Path) -> Server {
    let mut section = file.table("server", false);
    let server = Server {
        workers: section.optional_integer("workers", 1, 1024),
        drain: drain::Settings {
            grace: section.duration("shutdown_grace_period", Duration::from_secs(30)),
            delay: section.duration("drain_delay", Duration::ZERO),
            pace: section.optional_rate("drain_pace"),
        },
        handover_socket: section
            .string("handover_socket")
            .map(|path| base.join(path)),
        watch: section.boolean("watch", true),
    };
    section.finish();
    server
}
