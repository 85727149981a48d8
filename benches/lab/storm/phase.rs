//! One load after another: what is offered, who was served, and how the established devices fared meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use loadgen::measure::Verdict;
use loadgen::plan::{
    Activity, ConstantArrivalRate, ConstantDevices, Distances, Executor, Limit, Target,
};
use loadgen::report::ErrorCount;
use loadgen::{Plan, RunResult};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::choices::{Choices, Where};
use super::waiting::Waiting;
use crate::counts::GatewayCounts;
use crate::gateway_process::PKI;

/// Attempts at a time where the capacity is looked for and nobody is far away.
const AT_A_TIME: usize = 64;
/// What waits at the gateway, in seconds of its work, while its capacity is measured: it never runs dry, and nobody's patience ends.
const BACKLOG: f64 = 0.08;
/// Longest time for an attempt that has been accepted.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Share of arrivals for which there may be no free device.
const OVERFLOW_SHARE: f64 = 0.01;

/// What a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Every device once, so that the gateway has seen them all.
    WarmUp,
    /// How much is served at a first look, without distance.
    Probe,
    /// As many as are served, with distance.
    Capacity,
    /// So many times the capacity.
    Storm(f64),
    /// Everybody in one second.
    Burst,
}

/// One load, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where the devices are; `None` where they are here.
    pub(crate) place: Option<Where>,
    /// Arrivals per second, where they follow a schedule.
    pub(crate) offered_per_second: Option<f64>,
    /// Arrivals intended.
    pub(crate) intended: u64,
    /// Devices that were served.
    pub(crate) served: u64,
    /// Those per second.
    pub(crate) goodput: f64,
    /// The same over the capacity measured just before.
    pub(crate) share: Option<f64>,
    /// Median from the intended start to the answer, of those who were served.
    pub(crate) response_p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub(crate) response_p99_ms: Option<f64>,
    /// What became of the others.
    pub(crate) errors: Vec<ErrorCount>,
    /// Requests of the established devices during it.
    pub(crate) established: Waiting,
    /// From its end until those were as in the quiet again, or until nobody looked any more.
    pub(crate) recovery_seconds: Option<f64>,
    /// What the gateway counted from its beginning until everybody had gone; `None` of another server.
    #[serde(default)]
    pub(crate) gateway: Option<GatewayCounts>,
    /// Resident memory of the gateway afterwards; of another server nothing.
    pub(crate) resident_bytes: u64,
    /// Whether the generator could keep up.
    pub(crate) verdict: Verdict,
    /// Why not, or its doubts.
    pub(crate) reasons: Vec<String>,
}

/// When a load was at its height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

impl Kind {
    /// In words.
    pub(super) fn title(self) -> String {
        match self {
            Kind::WarmUp => "every device once".to_owned(),
            Kind::Probe => "probe".to_owned(),
            Kind::Capacity => "capacity".to_owned(),
            Kind::Storm(factor) => format!("{factor} × capacity"),
            Kind::Burst => "burst".to_owned(),
        }
    }
}

impl Phase {
    /// What it is and where, in words.
    pub(super) fn title(&self) -> String {
        match self.place {
            Some(place) => format!("{}, {}", self.kind.title(), place.title()),
            None => self.kind.title(),
        }
    }

    /// Of a run. What happened at the gateway and to others is filled in by whoever knows.
    pub(super) fn of(kind: Kind, place: Option<Where>, run: &RunResult) -> Phase {
        let response = |quantile| {
            let times = run.metric("response_time", "all")?;
            times.milliseconds(quantile)
        };
        let (verdict, reasons) = verdict(run);
        Phase {
            kind,
            place,
            offered_per_second: match &run.choices.scenarios.first().executor {
                Executor::ConstantArrivalRate(constant) => Some(constant.rate_per_second),
                _ => None,
            },
            intended: run.counts.intended,
            served: run.counts.ok,
            goodput: run.rate_per_second,
            share: None,
            response_p50_ms: response(0.5),
            response_p99_ms: response(0.99),
            errors: run.errors.clone(),
            established: Waiting::default(),
            recovery_seconds: None,
            gateway: None,
            resident_bytes: 0,
            verdict,
            reasons,
        }
    }
}

/// The generator's own verdict, and void too if it could not offer what it should.
fn verdict(run: &RunResult) -> (Verdict, Vec<String>) {
    let counts = run.counts;
    let mut reasons = run.validity.reasons.clone();
    if counts.overflow as f64 > counts.intended as f64 * OVERFLOW_SHARE {
        reasons.insert(
            0,
            "there were too few devices to offer this load".to_owned(),
        );
        return (Verdict::Void, reasons);
    }
    (run.validity.verdict, reasons)
}

/// Makes the plans of all phases.
#[derive(Debug)]
pub(super) struct Plans<'run> {
    pub(super) choices: &'run Choices,
    pub(super) work: &'run Path,
    pub(super) address: SocketAddr,
}

impl Plans<'_> {
    /// What loadgen is to do; `capacity` is the best that is known of it, and of no use to the first two.
    pub(super) fn plan(
        &self,
        kind: Kind,
        place: Option<Where>,
        capacity: f64,
    ) -> anyhow::Result<Plan> {
        let choices = self.choices;
        let target = Target {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.address.port(),
            path: "/".to_owned(),
            connect_to: Some(self.address),
        };
        let mut plan = Plan::new(target, self.work.join(PKI));
        plan.devices = Some(choices.devices);
        // The generator has one core.
        plan.shards = Some(1);
        plan.seed = choices.seed;
        plan.timeout = TIMEOUT;
        plan.patience = Some(choices.patience);
        plan.warmup = choices.warmup;
        let duration = Limit::DurationSeconds(choices.duration);
        if let Some(place) = place {
            plan.distances = Distances::new(place.round_trips())?;
        }
        let open = |factor: f64, until| {
            let constant = ConstantArrivalRate::poisson(factor * capacity, until);
            Executor::ConstantArrivalRate(constant)
        };
        let executor = match kind {
            Kind::WarmUp => {
                plan.warmup = Duration::ZERO;
                plan.patience = None;
                self.closed(AT_A_TIME, Limit::Count(choices.devices as u64))
            }
            Kind::Probe => self.closed(AT_A_TIME, duration),
            Kind::Capacity => {
                let journey = place.map_or(Duration::ZERO, Where::journey).as_secs_f64();
                let at_a_time = (capacity * (journey + BACKLOG)).ceil() as usize;
                self.closed(at_a_time, duration)
            }
            Kind::Storm(factor) => open(factor, duration),
            Kind::Burst => {
                plan.warmup = Duration::ZERO;
                plan.patience = Some(choices.burst_patience);
                let burst = Limit::Count(choices.burst as u64);
                open(super::choices::BURST_FACTOR, burst)
            }
        };
        Ok(plan.with_scenario(executor, Activity::default()))
    }

    fn closed(&self, at_a_time: usize, until: Limit) -> Executor {
        let devices = at_a_time.clamp(1, self.choices.devices);
        Executor::ConstantDevices(ConstantDevices::new(devices, until))
    }
}

/// When the measured window of a run was, which has just ended.
pub(super) fn window(run: &RunResult) -> anyhow::Result<Window> {
    let started = OffsetDateTime::parse(&run.run.started_at, &Rfc3339)
        .context("loadgen says no time of day")?;
    let ago = SystemTime::now()
        .duration_since(started.into())
        .unwrap_or_default();
    let now = Instant::now();
    let from = now.checked_sub(ago).unwrap_or(now);
    Ok(Window {
        from,
        to: from + Duration::from_secs_f64(run.run.window_seconds),
    })
}
