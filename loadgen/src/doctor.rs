//! What this machine can carry, said before a load and not after it.
//!
//! ```text
//! read (files of the kernel) ─┐
//! handshakes, timer (tried) ──┴▶ facts ─▶ judge ─▶ findings ─▶ text, JSON
//! ```
//!
//! Only [`read`], [`handshakes`] and [`timer`] touch the machine; [`judge`] is pure. Nothing is changed: what would lift a limit is
//! said as a command, for the operator to run.

pub mod facts;
pub mod handshakes;
pub mod judge;
mod kernel;
pub mod read;
pub mod text;
pub mod timer;

use serde::{Deserialize, Serialize};

pub use facts::Facts;
pub use judge::{Capacity, Finding, Level, Wanted};

use crate::plan::SourceAddresses;

/// Name and version of the schema of a diagnosis.
pub const SCHEMA: &str = "loadgen.doctor/1";

/// What was found, and what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: String,
    /// The worst level of all findings.
    pub level: Level,
    /// What is to be carried, if it was said.
    pub wanted: Wanted,
    /// What can be carried.
    pub capacity: Capacity,
    /// One for each thing that could be in the way.
    pub findings: Vec<Finding>,
    /// What was read and tried.
    pub facts: Facts,
}

impl Diagnosis {
    /// Looks at this machine, which takes about a second. `sources` are the addresses that devices connect from.
    pub fn here(sources: &SourceAddresses, wanted: Wanted) -> Diagnosis {
        Diagnosis::of(read::facts(sources), wanted)
    }

    /// Judges `facts`.
    pub fn of(facts: Facts, wanted: Wanted) -> Diagnosis {
        let capacity = judge::capacity(&facts);
        let findings = judge::findings(&facts, &wanted);
        Diagnosis {
            schema: SCHEMA.to_owned(),
            level: findings
                .iter()
                .map(|finding| finding.level)
                .max()
                .unwrap_or(Level::Fine),
            wanted,
            capacity,
            findings,
            facts,
        }
    }
}
