//! What goes on in a run, for others while it goes on: a page for Prometheus to scrape, metrics for an OTLP collector.
//!
//! Both read [`Live`], which is brought up to date once a second, away from the hot path. Labels are closed lists: outcomes, classes of
//! failure, kinds of handshake; never a device, an address or a text of somebody else. Neither can delay or spoil a run.

pub mod exposition;
pub mod family;
pub mod live;
pub mod otlp;
pub mod push;
pub mod scrape;

use std::sync::{Arc, Mutex, PoisonError};

pub use family::Family;
pub use live::Live;

use crate::measure::Second;

/// The run's condition, shared between the run and those who ask.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Live>>);

impl Shared {
    /// Another second has passed.
    pub fn add(&self, second: &Second) {
        self.with(|live| live.add(second));
    }

    /// The metrics as they are now.
    pub fn families(&self) -> Vec<Family> {
        self.with(|live| family::of(live))
    }

    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Live) -> T) -> T {
        // Whoever panicked while holding it left numbers, which cannot be half of something.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
