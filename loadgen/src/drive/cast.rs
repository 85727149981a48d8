//! One scenario on one shard: its settings, its devices there, and its samples.

use std::cell::RefCell;

use super::round::Part;
use super::script::Script;
use crate::measure::{Recorder, Returns, ScenarioSamples};
use crate::plan::{Actions, Executor, Plan, Scenario, Share, part_of, seed_of_scenario};

/// What one shard has of one scenario.
#[derive(Debug)]
pub(crate) struct Cast {
    /// Its number in the plan.
    pub(crate) number: usize,
    pub(crate) scenario: Scenario,
    /// How many devices it has on all shards of all machines.
    pub(crate) devices: usize,
    /// Its devices here, as slots of the shard.
    pub(crate) slots: Vec<usize>,
    /// The shard's share of it, among the shards of all machines.
    pub(crate) share: Share,
    pub(crate) seed: u64,
    pub(crate) script: Script,
    pub(crate) recorder: RefCell<Recorder>,
    /// How its devices came back, where it drops their connections.
    pub(crate) returns: RefCell<Option<Returns>>,
}

impl Cast {
    /// Scenario `number` of the plan on shard `shard`, with the devices of this machine that are in `part`; `None` if the
    /// plan's target does not make a URI.
    pub(crate) fn new(
        plan: &Plan,
        number: usize,
        scenario: &Scenario,
        part: &Part,
        shard: Share,
    ) -> Option<Cast> {
        // Every `of`-th device is this shard's: the scenario's first device is on shard `part.start % of`, and that is the
        // one that has the scenario's first share.
        let places = &part.places;
        let index = (shard.index + shard.of - places.start % shard.of) % shard.of;
        let first = places.start + index;
        let drops = matches!(scenario.executor, Executor::ReconnectStorm(_));
        Some(Cast {
            number,
            scenario: scenario.clone(),
            devices: part.devices,
            slots: (first..places.end)
                .step_by(shard.of)
                .map(|device| device / shard.of)
                .collect(),
            share: part.segment.share(index, shard.of),
            seed: seed_of_scenario(plan.seed, number),
            script: Script::new(
                &scenario.activity,
                &plan.target,
                plan.verify_identity.as_ref(),
            )?,
            recorder: RefCell::new(Recorder::new()),
            returns: RefCell::new(drops.then(Returns::new)),
        })
    }

    /// What its attempts do, in order.
    pub(crate) fn actions(&self) -> Actions {
        Actions::new(&self.scenario.activity, self.seed, self.share)
    }

    /// The shard's part of a number that all shards share.
    pub(crate) fn part(&self, total: u64) -> u64 {
        part_of(total, self.share.index, self.share.of)
    }

    /// Most attempts at a time on this shard.
    pub(crate) fn max_in_flight(&self) -> usize {
        let most = self.scenario.executor.max_in_flight();
        most.map_or(usize::MAX, |most| {
            usize::try_from(self.part(most as u64).max(1)).unwrap_or(usize::MAX)
        })
    }

    /// Everything that was measured here.
    pub(crate) fn take_samples(&self) -> ScenarioSamples {
        ScenarioSamples {
            name: self.scenario.name.clone(),
            devices: self.slots.len(),
            recorder: self.recorder.take(),
            returns: self.returns.take(),
        }
    }
}
