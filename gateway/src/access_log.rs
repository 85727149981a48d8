//! The access log: one record for each request, and for each connection, handshake and shed connection where that is wanted.
//!
//! Workers make records and hand them over; a thread of its own writes them, so that a slow disk slows nobody. What does not
//! fit into the queue is lost, and counted. It decides nothing, and keeps nothing that the log does not say.

mod format;
mod record;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use metrics::Counter;

pub use format::Format;
pub use record::{Asked, Event, Record, Timings};
use writer::Message;

/// What is logged, how, and to where.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where records go.
    pub destination: Destination,
    /// How they are written.
    pub format: Format,
    /// Which events are logged.
    pub records: Vec<Event>,
    /// The share of good ones that is, from 0 to 1.
    pub sample: f64,
    /// Whether the share holds for those that went wrong too; they are all logged otherwise.
    pub sample_errors: bool,
    /// Whether the query is logged with the path.
    pub query: bool,
    /// How many records may wait to be written.
    pub queue: usize,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of this file, which is opened again at each reload.
    File(PathBuf),
}

/// An open access log.
#[derive(Debug)]
pub struct AccessLog {
    settings: Settings,
    /// Records with a hash below this are logged.
    threshold: u64,
    asked: AtomicU64,
    queue: SyncSender<Message>,
    lost: Counter,
}

impl AccessLog {
    /// Opens the destination and starts the thread that writes. What is lost is counted in `lost`.
    ///
    /// # Errors
    /// The destination cannot be opened, or there is no thread to be had.
    pub fn open(settings: Settings, lost: Counter) -> std::io::Result<Arc<Self>> {
        let (queue, records) = sync_channel(settings.queue);
        writer::start(&settings, records, lost.clone())?;
        Ok(Arc::new(Self {
            threshold: threshold(settings.sample),
            settings,
            asked: AtomicU64::new(0),
            queue,
            lost,
        }))
    }

    /// What it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether `event` is logged at all.
    pub fn wants(&self, event: Event) -> bool {
        self.settings.records.contains(&event)
    }

    /// Hands over the record that `make` makes, if it is to be logged: good ones by the share, others as the settings say.
    pub fn log(&self, is_good: bool, make: impl FnOnce() -> Record) {
        let sampled = is_good || self.settings.sample_errors;
        if sampled && self.threshold != u64::MAX {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            if mixed(number) >= self.threshold {
                return;
            }
        }
        match self.queue.try_send(Message::Record(Box::new(make()))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost.increment(1),
        }
    }

    /// Opens the destination again: whoever rotates logs has renamed the file.
    pub fn reopen(&self) {
        // With a full queue the writer is behind, and its file is still the old one; the next reload tries again.
        if self.queue.try_send(Message::Reopen).is_err() {
            tracing::warn!("the access log is behind and was not opened again");
        }
    }

    /// Waits until everything that was handed over is written, but not for longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, is_done) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(patience);
        }
    }
}

/// The hash below which a record belongs to the share; all do for a share of 1.
fn threshold(sample: f64) -> u64 {
    if sample >= 1.0 {
        return u64::MAX;
    }
    // Casts saturate, so that nothing below 0 counts.
    (sample * u64::MAX as f64) as u64
}

/// Spreads consecutive numbers evenly (splitmix64): of any run of records the share is logged, in no pattern.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::{mixed, threshold};

    #[test]
    fn the_share_that_is_logged_is_the_one_that_was_wanted() {
        for (sample, expected) in [
            (0.0, 0..=0),
            (0.01, 900..=1100),
            (0.5, 49_500..=50_500),
            (1.0, 100_000..=100_000),
        ] {
            let threshold = threshold(sample);
            let logged = (0..100_000)
                .filter(|number| threshold == u64::MAX || mixed(*number) < threshold)
                .count();
            assert!(expected.contains(&logged), "{sample}: {logged}");
        }
        assert_eq!(threshold(-1.0), 0);
    }
}
