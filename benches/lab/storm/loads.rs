//! Offering a load to a server, whichever it is, and saying how established devices fared meanwhile.

use std::time::Instant;

use loadgen::Stop;

use super::choices::Where;
use super::established::Established;
use super::phase::{self, Kind, Phase, Plans, Window};
use super::waiting::{self, Waiting};

/// What every load needs.
pub(super) struct Loads<'run> {
    pub(super) plans: Plans<'run>,
    pub(super) stop: &'run Stop,
}

impl Loads<'_> {
    /// Offers a load.
    pub(super) fn offer(
        &self,
        kind: Kind,
        place: Option<Where>,
        capacity: f64,
    ) -> anyhow::Result<(Phase, Window)> {
        let place_title = place.map_or(String::new(), |place| format!(", {}", place.title()));
        eprintln!("{}{place_title}", kind.title());
        let plan = self.plans.plan(kind, place, capacity)?;
        let run = loadgen::run(&plan, self.stop.clone(), |_| ())?;
        let window = phase::window(&run)?;
        Ok((Phase::of(kind, place, &run), window))
    }

    /// How established devices fare while nothing else happens.
    pub(super) fn quiet(&self, established: &Established) -> Waiting {
        let from = Instant::now();
        std::thread::sleep(self.plans.choices.quiet);
        Waiting::of(&established.between(from, Instant::now()))
    }

    /// Waits until it is quiet, and says how the established devices fared.
    pub(super) fn watch(
        &self,
        phase: &mut Phase,
        window: Window,
        established: &Established,
        quiet_ms: f64,
        capacity: f64,
    ) {
        let until = window.to + self.plans.choices.quiet;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        phase.established = Waiting::of(&established.between(window.from, window.to));
        let afterwards = established.between(window.to, Instant::now());
        let recovered = waiting::recovery(&afterwards, window.to, quiet_ms);
        phase.recovery_seconds = recovered.map(|time| time.as_secs_f64());
        phase.share = (capacity > 0.0).then_some(phase.goodput / capacity);
    }
}
