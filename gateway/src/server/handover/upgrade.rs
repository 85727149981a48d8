//! Starts the program anew, to take over from this process: what SIGUSR2 asks for, so that a service manager keeps the
//! service under its eyes while its program is replaced.
//!
//! The new process is a child only until this one ends. Whether it takes over is between it and `Handover`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};

/// The flag with which a process takes over.
const TAKE_OVER: &str = "--take-over";

/// How this process was started, and the process that is to replace it.
#[derive(Debug)]
pub struct Upgrade {
    /// Resolved at the start: a file that is put in its place later has the same path.
    program: io::Result<PathBuf>,
    child: Option<Child>,
}

impl Upgrade {
    /// To be made when the process starts.
    pub fn of_this_process() -> Self {
        Self {
            program: std::env::current_exe(),
            child: None,
        }
    }

    /// Starts the program as it is now on the disk, with the arguments of this process and `--take-over`.
    pub fn start(&mut self) {
        self.reap();
        if self.child.is_some() {
            return tracing::warn!("a new process is starting already");
        }
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => return tracing::error!(%error, "it is not known which program this is"),
        };
        let arguments: Vec<OsString> = std::env::args_os()
            .skip(1)
            .filter(|argument| argument != TAKE_OVER)
            .collect();
        match Command::new(program).args(arguments).arg(TAKE_OVER).spawn() {
            Ok(child) => {
                tracing::info!(pid = child.id(), "a new process is to take over");
                self.child = Some(child);
            }
            Err(error) => {
                tracing::error!(%error, program = %program.display(), "the new process does not start; this one goes on");
            }
        }
    }

    /// Notices that the new process has ended; to be called now and then.
    pub fn reap(&mut self) {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            tracing::error!(%status, "the new process has ended; this one goes on");
            self.child = None;
        }
    }
}
