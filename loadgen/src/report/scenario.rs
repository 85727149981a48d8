//! One scenario's part of the result.

use serde::{Deserialize, Serialize};

use super::assemble::{errors, metrics};
use super::{BeforeWindow, Counts, ErrorCount, Handshakes, Metric, Resumption, Unit};
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
    /// How its devices came back, where the scenario took their connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<ReturnCounts>,
}

/// What became of devices that lost their connections. Those that are neither back nor gave up were still away at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnCounts {
    /// Devices that lost their connection.
    pub dropped: u64,
    /// Those that came back.
    pub returned: u64,
    /// Attempts after the first ones.
    pub retries: u64,
    /// Devices that gave up.
    pub gave_up: u64,
}

impl ReturnCounts {
    /// Both together.
    pub(super) fn plus(self, other: ReturnCounts) -> ReturnCounts {
        ReturnCounts {
            dropped: self.dropped + other.dropped,
            returned: self.returned + other.returned,
            retries: self.retries + other.retries,
            gave_up: self.gave_up + other.gave_up,
        }
    }
}

impl ScenarioResult {
    /// The metric of this name and operation (`all`, `full`, `resumed` or `request`).
    pub fn metric(&self, name: &str, operation: &str) -> Option<&Metric> {
        self.metrics
            .iter()
            .find(|metric| metric.name == name && metric.operation == operation)
    }

    pub(super) fn new(
        scenario: &Scenario,
        samples: &ScenarioSamples,
        window_seconds: f64,
    ) -> ScenarioResult {
        let recorder = &samples.recorder;
        let counts = Counts::from(recorder.window.counts);
        let mut metrics = metrics(recorder, scenario.executor.has_schedule());
        let times = samples.returns.as_ref().map(|returns| &returns.times);
        metrics.extend(
            times.and_then(|times| Metric::new("return_time", "all", Unit::Microseconds, times)),
        );
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
            metrics,
            errors: errors(&recorder.failures),
            returns: samples.returns.as_ref().map(|returns| ReturnCounts {
                dropped: returns.dropped,
                returned: returns.returned,
                retries: returns.retries,
                gave_up: returns.gave_up,
            }),
        }
    }
}
