//! One scenario's part of the result.

use serde::{Deserialize, Serialize};

use super::assemble::{errors, metrics};
use super::{BeforeWindow, Counts, ErrorCount, Handshakes, Metric, Resumption};
use crate::measure::ScenarioSamples;
use crate::plan::Scenario;

/// What one scenario measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Its name in the plan.
    pub name: String,
    /// Its executor's name.
    pub executor: String,
    /// Devices that took part in it.
    pub devices: usize,
    /// Attempts in the measured window.
    pub counts: Counts,
    /// Successful attempts per second of the window.
    pub rate_per_second: f64,
    /// Handshakes in the window that the server accepted, by kind.
    pub handshakes: Handshakes,
    /// Resumption in the window.
    pub resumption: Resumption,
    /// The same counts for preparation and warm-up.
    pub before_window: BeforeWindow,
    /// Times and bytes, by operation.
    pub metrics: Vec<Metric>,
    /// Failures in the window.
    pub errors: Vec<ErrorCount>,
}

impl ScenarioResult {
    pub(super) fn new(
        scenario: &Scenario,
        samples: &ScenarioSamples,
        window_seconds: f64,
    ) -> ScenarioResult {
        let recorder = &samples.recorder;
        let counts = Counts::from(recorder.window.counts);
        ScenarioResult {
            name: samples.name.clone(),
            executor: scenario.executor.name().to_owned(),
            devices: samples.devices,
            counts,
            rate_per_second: counts.rate(window_seconds),
            handshakes: recorder.window.handshakes.into(),
            resumption: recorder.window.into(),
            before_window: BeforeWindow {
                counts: recorder.before.counts.into(),
                handshakes: recorder.before.handshakes.into(),
                resumption: recorder.before.into(),
                errors: errors(&recorder.failures_before),
            },
            metrics: metrics(recorder, scenario.executor.has_schedule()),
            errors: errors(&recorder.failures),
        }
    }
}
