//! A report as a good run makes it, for tests.

use loadgen::measure::Verdict;

use super::Choices;
use super::report::Report;
use super::transfer::{Transfer, Way};
use crate::circumstances;
use crate::compare::server::Server;

/// Two rounds on a machine that gets slower; `change` is made to the gateway's transfers.
pub(super) fn transfers(change: impl Fn(&mut Transfer)) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for round in 0..2 {
        for way in Way::all() {
            for (server, seconds) in [(Server::Fleetgate, 2.0), (Server::Haproxy, 2.5)] {
                let mut transfer = Transfer {
                    server,
                    way,
                    round,
                    bytes: 1_000_000_000,
                    seconds: seconds * (round + 1) as f64,
                    cpu_seconds: 1.0,
                    resident_before: 20_000_000,
                    resident_peak: 21_000_000,
                    verdict: Verdict::Valid,
                    reasons: Vec::new(),
                };
                if server == Server::Fleetgate {
                    change(&mut transfer);
                }
                transfers.push(transfer);
            }
        }
    }
    transfers
}

/// The whole report.
pub(super) fn report(change: impl Fn(&mut Transfer)) -> Report {
    let choices = Choices {
        bytes: 1_000_000_000,
        rounds: 2,
        share: 0.5,
        seed: 1,
        quick: false,
    };
    let peer = Some("HAProxy version <2.6>".to_owned());
    Report::new(
        circumstances::sample(),
        &choices,
        peer,
        true,
        transfers(change),
    )
}
