//! `loadgen`: a fleet of certificate-bearing devices, simulated against any mutual-TLS endpoint.
//!
//! ```text
//! plan ──▶ drive ──▶ measure ──▶ report
//!            │
//!          fleet            upstream: a small HTTP server to stand behind the one under test
//! ```
//!
//! [`plan`] says what is to happen and when, pure and seeded. [`fleet`] reads the devices: each has its own certificate
//! and its own ticket slot. `drive` performs the plan, one thread per shard and no lock between them. [`measure`] holds
//! samples and the rules by which the generator judges itself. [`report`] turns them into a [`RunResult`], as JSON and
//! as text.
//!
//! [`export`] tells others what goes on while it does.
//!
//! [`run`] does it all:
//!
//! ```no_run
//! let target = loadgen::plan::Target::parse("https://127.0.0.1:8443")?;
//! let plan = loadgen::Plan::new(target, "pki");
//! let result = loadgen::run(&plan, loadgen::Stop::never(), |_second| ())?;
//! print!("{}", loadgen::report::text::render(&result));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod capacity;
pub mod doctor;

mod drive;
pub mod export;
pub mod fleet;
pub mod measure;
pub mod plan;
pub mod report;
pub mod upstream;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use drive::{RunError, Stop, StopHandle, open_fleet, revocation_list, stop_channel};
pub use fleet::Fleet;
pub use plan::Plan;
pub use report::RunResult;

/// Runs the plan to its end, or until `stop`; calls `progress` about once a second.
///
/// # Errors
///
/// What the operator has to mend before a run makes sense. Attempts that fail are no error: the result counts them.
pub fn run(
    plan: &Plan,
    stop: Stop,
    progress: impl FnMut(&measure::Second),
) -> Result<RunResult, RunError> {
    let fleet = open_fleet(plan, |_| go_on_unless(&stop))?;
    run_with_fleet(plan, &fleet, stop, progress)
}

/// The same with a fleet that [`open_fleet`] has opened for a plan with the same fleet, devices and seed: opening a large one
/// takes longer than many a run.
///
/// # Errors
///
/// As [`run`], but for what concerns the fleet.
pub fn run_with_fleet(
    plan: &Plan,
    fleet: &Arc<Fleet>,
    stop: Stop,
    progress: impl FnMut(&measure::Second),
) -> Result<RunResult, RunError> {
    let measurement = drive::run(plan, fleet, stop, progress)?;
    Ok(RunResult::new(plan, &measurement))
}

fn go_on_unless(stop: &Stop) -> ControlFlow<()> {
    if stop.is_requested() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
