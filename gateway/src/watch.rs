//! Says that one of the files which the configuration names has changed, once things have been quiet for a moment.
//!
//! It sees files written in place, files renamed over others, folders whose files come and go, symbolic links that are
//! turned to a new version (as Kubernetes does with mounted secrets), and files that do not exist yet. It reads none of them
//! and does not say what changed in them. The kernel reports no changes that another machine makes on a network file system,
//! nor that a folder was renamed further up than the one that holds the file; SIGHUP is for those.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use survey::Survey;

mod survey;

/// How long nothing may change before a change is reported: whoever installs a certificate writes its key just before or
/// after it.
pub const QUIET: Duration = Duration::from_millis(200);

/// How long a report is put off at most while changes go on.
pub const LONGEST_NOISE: Duration = Duration::from_secs(2);

/// Attempts to watch directories that are replaced meanwhile.
const ATTEMPTS: usize = 5;

/// Why files cannot be watched. A reload on demand works without.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A relative path, and no folder that it is relative to.
    #[error("cannot watch {}: {error}", path.display())]
    Path {
        /// The path as given.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// No watching at all.
    #[error("cannot watch files: {0} (is the limit fs.inotify.max_user_instances reached?)")]
    Start(notify::Error),
    /// As many directories are watched as the system allows.
    #[error("cannot watch {}: the limit fs.inotify.max_user_watches is reached", directory.display())]
    Limit {
        /// The directory.
        directory: PathBuf,
    },
    /// One of the directories cannot be watched.
    #[error("cannot watch {}: {error}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What is wrong.
        error: notify::Error,
    },
}

/// Watches a list of files and folders.
///
/// Of a folder, only files with the extensions that are read from folders count: pem, crt, cer, crl, der, toml.
#[derive(Debug)]
pub struct Watch {
    paths: BTreeSet<PathBuf>,
    armed: Armed,
    /// A change that was seen and not yet reported.
    seen: Option<Change>,
}

/// The path that changed first, for the log; `None` where the kernel has lost count.
pub type Change = Option<PathBuf>;

/// Watches that stand. What happened before is no concern of theirs.
#[derive(Debug)]
struct Armed {
    events: mpsc::Receiver<Change>,
    /// Ends the watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Starts to watch `paths`, which need not exist. What changed before is not reported.
    ///
    /// # Errors
    /// Watching does not work, for all of the paths or for one.
    pub fn new(paths: &[PathBuf]) -> Result<Self, WatchError> {
        let paths = absolute(paths)?;
        Ok(Self {
            armed: Armed::new(&paths)?,
            paths,
            seen: None,
        })
    }

    /// Waits until something has changed and nothing more has for [`QUIET`], or for [`LONGEST_NOISE`] in all.
    ///
    /// Everything that changes after it returns is reported by the next call, so read the files then. If it is dropped before
    /// it returns, the next call reports what it had seen.
    pub async fn changed(&mut self) -> Change {
        if self.seen.is_none() {
            self.seen = Some(self.armed.events.recv().await.flatten());
        }
        let quiet =
            async { while let Ok(Some(_)) = timeout(QUIET, self.armed.events.recv()).await {} };
        // Whether it became quiet or not, it is time.
        let _ = timeout(LONGEST_NOISE, quiet).await;
        // The links may lead elsewhere now, and directories may be others under the same name.
        match Armed::new(&self.paths) {
            Ok(armed) => self.armed = armed,
            Err(error) => tracing::warn!(%error, "some changes of files may go unnoticed"),
        }
        self.seen.take().flatten()
    }

    /// Watches `paths` from now on, because a reload has changed what is named. A path that was not watched before counts as
    /// changed: nobody was looking between its being read and now.
    ///
    /// # Errors
    /// As [`Watch::new`]; the paths from before are then still watched.
    pub fn set_paths(&mut self, paths: &[PathBuf]) -> Result<(), WatchError> {
        let paths = absolute(paths)?;
        if paths == self.paths {
            return Ok(());
        }
        let armed = Armed::new(&paths)?;
        if self.seen.is_none() {
            let unread = self.armed.events.try_recv().ok();
            let new = || paths.difference(&self.paths).next().cloned().map(Some);
            self.seen = unread.or_else(new);
        }
        self.armed = armed;
        self.paths = paths;
        Ok(())
    }
}

impl Armed {
    fn new(paths: &BTreeSet<PathBuf>) -> Result<Self, WatchError> {
        let mut survey = Arc::new(Survey::of(paths));
        let mut attempt = 1;
        loop {
            let armed = Self::over(&survey);
            let now = Survey::of(paths);
            if *survey == now || attempt == ATTEMPTS {
                return armed;
            }
            // A directory or a link was replaced before it was watched.
            survey = Arc::new(now);
            attempt += 1;
        }
    }

    fn over(survey: &Arc<Survey>) -> Result<Self, WatchError> {
        // One change is as good as many.
        let (sender, events) = mpsc::channel(1);
        let wanted = Arc::clone(survey);
        let report = move |event: notify::Result<Event>| {
            let change = match &event {
                Ok(event) if !event.need_rescan() => match wanted.concerned(event) {
                    Some(path) => Some(path.to_owned()),
                    None => return,
                },
                _ => None,
            };
            // Where there is no room, a change waits to be reported already.
            let _ = sender.try_send(change);
        };
        let mut watcher = notify::recommended_watcher(report).map_err(WatchError::Start)?;
        for directory in survey.directories() {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map_err(|error| refused(directory, error))?;
        }
        Ok(Self {
            events,
            _watcher: watcher,
        })
    }
}

fn refused(directory: &Path, error: notify::Error) -> WatchError {
    let directory = directory.to_owned();
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => WatchError::Limit { directory },
        _ => WatchError::Directory { directory, error },
    }
}

fn absolute(paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>, WatchError> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| WatchError::Path {
            path: path.clone(),
            error,
        })
    };
    paths.iter().map(absolute).collect()
}

#[cfg(test)]
mod tests;
