//! One shard's samples. Each shard fills its own, so nothing is shared while the load runs; they are merged at the end.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::attempt::{Attempt, HandshakeKind};
use super::outcome::{Cause, Failure, IdentityFault, Outcome};

/// Longest time that a histogram tells apart: an hour, in microseconds.
const LONGEST_MICROSECONDS: u64 = 3_600_000_000;

/// How many attempts came how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arrivals which the plan asked for: `started + overflow`.
    pub intended: u64,
    /// Attempts that began; each has exactly one outcome: `ok + refused_as_expected + failed`.
    pub started: u64,
    /// Handshakes that the client finished.
    pub client_finished: u64,
    /// Attempts to which the server answered with a ticket or a byte after the handshake.
    pub accepted: u64,
    /// Attempts with a complete 2xx response.
    pub ok: u64,
    /// Attempts of devices that had to be refused, and were.
    pub refused_as_expected: u64,
    /// Attempts with any other outcome.
    pub failed: u64,
    /// Arrivals that could not be released because no device was free.
    pub overflow: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.intended += other.intended;
        self.started += other.started;
        self.client_finished += other.client_finished;
        self.accepted += other.accepted;
        self.ok += other.ok;
        self.refused_as_expected += other.refused_as_expected;
        self.failed += other.failed;
        self.overflow += other.overflow;
    }
}

/// Handshakes by kind, counted where the server accepted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// Full.
    pub full: u64,
    /// Full after a HelloRetryRequest.
    pub full_hrr: u64,
    /// Resumed.
    pub resumed: u64,
}

impl AddAssign for Handshakes {
    fn add_assign(&mut self, other: Handshakes) {
        self.full += other.full;
        self.full_hrr += other.full_hrr;
        self.resumed += other.resumed;
    }
}

/// What became of the wish to resume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumption {
    /// Attempts that were to resume.
    pub wanted: u64,
    /// Attempts that had a ticket and offered it.
    pub offered: u64,
    /// Attempts whose ticket the server honoured.
    pub accepted: u64,
    /// Session tickets received.
    pub tickets_received: u64,
}

/// Answers that were held against the device's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdentityChecks {
    /// All of them.
    pub checked: u64,
    /// Those that spoke of another device,
    pub mismatched: u64,
    /// and of these, those on a connection that had just been resumed.
    pub mismatched_resumed: u64,
    /// Those that spoke of none.
    pub absent: u64,
}

impl AddAssign for IdentityChecks {
    fn add_assign(&mut self, other: IdentityChecks) {
        self.checked += other.checked;
        self.mismatched += other.mismatched;
        self.mismatched_resumed += other.mismatched_resumed;
        self.absent += other.absent;
    }
}

impl IdentityChecks {
    fn add(&mut self, attempt: &Attempt) {
        let Some(found) = attempt.identity else {
            return;
        };
        self.checked += 1;
        match found {
            Ok(()) => {}
            Err(IdentityFault::Absent) => self.absent += 1,
            Err(IdentityFault::Mismatch) => {
                self.mismatched += 1;
                let resumed = attempt.handshake == Some(HandshakeKind::Resumed);
                self.mismatched_resumed += u64::from(resumed);
            }
        }
    }
}

/// Times of one kind of operation in microseconds, and its bytes; successful attempts only.
#[derive(Debug, Clone)]
pub struct OperationSamples {
    /// Intended start to complete response.
    pub response: Histogram<u64>,
    /// Actual start to complete response.
    pub service: Histogram<u64>,
    /// Actual start to TCP connection.
    pub tcp: Histogram<u64>,
    /// TCP connection to the client's last handshake flight.
    pub handshake: Histogram<u64>,
    /// The client's last handshake flight to the first sign that the server has accepted it.
    pub acceptance: Histogram<u64>,
    /// Handshake finished (or request started) to the first byte.
    pub first_byte: Histogram<u64>,
    /// First byte to complete response.
    pub transfer: Histogram<u64>,
    /// Bytes sent on the TCP connection until the response was complete.
    pub bytes_sent: Histogram<u64>,
    /// Bytes received on it until then.
    pub bytes_received: Histogram<u64>,
}

/// Counts that are kept apart for the measured window and for what precedes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts.
    pub counts: Counts,
    /// Handshakes.
    pub handshakes: Handshakes,
    /// Resumption.
    pub resumption: Resumption,
    /// Identities.
    pub identity: IdentityChecks,
}

/// One shard's samples, or all shards' after merging.
#[derive(Debug)]
pub struct Recorder {
    /// The measured window.
    pub window: Tally,
    /// Preparation and warm-up.
    pub before: Tally,
    /// Connections with a full handshake.
    pub full: Option<Box<OperationSamples>>,
    /// Connections with a resumed handshake.
    pub resumed: Option<Box<OperationSamples>>,
    /// Requests on an open connection.
    pub request: Option<Box<OperationSamples>>,
    /// Actual minus intended start of what the schedule released, in microseconds.
    pub schedule_lag: Histogram<u64>,
    /// Intended start to the outcome of attempts that failed, in microseconds: what the response times do not show.
    pub failure_time: Histogram<u64>,
    /// Failures in the measured window.
    pub failures: BTreeMap<Failure, u64>,
    /// Failures before it.
    pub failures_before: BTreeMap<Failure, u64>,
    /// What became, in the measured window, of attempts of devices that had to be refused: by fault and by what was found,
    /// `None` where they were served.
    pub refusals: BTreeMap<(u16, Option<Cause>), u64>,
}

/// A histogram of microseconds with three significant digits, up to an hour; or of bytes, up to 3.6 GB.
pub fn new_histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants which the library accepts"
    )]
    Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3).expect("constant bounds")
}

/// Records a time; more than an hour counts as an hour.
pub fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(LONGEST_MICROSECONDS);
    histogram.saturating_record(microseconds.max(1));
}

fn merge(into: &mut Histogram<u64>, other: &Histogram<u64>) {
    // Cannot fail: all histograms here have the same bounds.
    let _ = into.add(other);
}

impl OperationSamples {
    fn new() -> Box<OperationSamples> {
        Box::new(OperationSamples {
            response: new_histogram(),
            service: new_histogram(),
            tcp: new_histogram(),
            handshake: new_histogram(),
            acceptance: new_histogram(),
            first_byte: new_histogram(),
            transfer: new_histogram(),
            bytes_sent: new_histogram(),
            bytes_received: new_histogram(),
        })
    }

    fn merge(&mut self, other: &OperationSamples) {
        merge(&mut self.response, &other.response);
        merge(&mut self.service, &other.service);
        merge(&mut self.tcp, &other.tcp);
        merge(&mut self.handshake, &other.handshake);
        merge(&mut self.acceptance, &other.acceptance);
        merge(&mut self.first_byte, &other.first_byte);
        merge(&mut self.transfer, &other.transfer);
        merge(&mut self.bytes_sent, &other.bytes_sent);
        merge(&mut self.bytes_received, &other.bytes_received);
    }

    fn record(&mut self, attempt: &Attempt) {
        let between = |histogram: &mut Histogram<u64>, from: Option<_>, to: Option<_>| {
            if let (Some(from), Some(to)) = (from, to) {
                record(
                    histogram,
                    std::time::Instant::saturating_duration_since(&to, from),
                );
            }
        };
        let started = Some(attempt.started);
        between(&mut self.response, Some(attempt.intended), attempt.done);
        between(&mut self.service, started, attempt.done);
        between(&mut self.tcp, started, attempt.tcp_done);
        between(
            &mut self.handshake,
            attempt.tcp_done,
            attempt.client_finished,
        );
        between(
            &mut self.acceptance,
            attempt.client_finished,
            attempt.accepted,
        );
        between(
            &mut self.first_byte,
            attempt.client_finished.or(started),
            attempt.first_byte,
        );
        between(&mut self.transfer, attempt.first_byte, attempt.done);
        self.bytes_sent.saturating_record(attempt.bytes_sent);
        self.bytes_received
            .saturating_record(attempt.bytes_received);
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Recorder {
        Recorder {
            window: Tally::default(),
            before: Tally::default(),
            full: None,
            resumed: None,
            request: None,
            schedule_lag: new_histogram(),
            failure_time: new_histogram(),
            failures: BTreeMap::new(),
            failures_before: BTreeMap::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// An attempt begins, `lag` after its intended start.
    pub fn start(&mut self, measured: bool, lag: Duration) {
        let counts = self.counts(measured);
        counts.intended += 1;
        counts.started += 1;
        if measured {
            record(&mut self.schedule_lag, lag);
        }
    }

    /// An arrival found no free device.
    pub fn overflow(&mut self, measured: bool) {
        let counts = self.counts(measured);
        counts.intended += 1;
        counts.overflow += 1;
    }

    /// An attempt has its outcome.
    pub fn finish(&mut self, attempt: &Attempt, outcome: Result<(), Failure>) {
        let (tally, failures) = if attempt.measured {
            (&mut self.window, &mut self.failures)
        } else {
            (&mut self.before, &mut self.failures_before)
        };
        tally.add(attempt);
        let counts = &mut tally.counts;
        if let (Some(fault), true) = (attempt.fault, attempt.measured) {
            let found = outcome.err().map(|failure| failure.cause);
            *self.refusals.entry((fault, found)).or_default() += 1;
        }
        match attempt.judge(outcome) {
            Outcome::Ok => {
                counts.ok += 1;
                if !attempt.measured {
                    return;
                }
                let operation = match attempt.handshake {
                    Some(HandshakeKind::Full | HandshakeKind::FullHrr) => &mut self.full,
                    Some(HandshakeKind::Resumed) => &mut self.resumed,
                    None => &mut self.request,
                };
                operation
                    .get_or_insert_with(OperationSamples::new)
                    .record(attempt);
            }
            Outcome::RefusedAsExpected => counts.refused_as_expected += 1,
            Outcome::Failed(failure) => {
                counts.failed += 1;
                *failures.entry(failure).or_default() += 1;
                if attempt.measured {
                    record(&mut self.failure_time, attempt.intended.elapsed());
                }
            }
        }
    }

    /// Gives every attempt that began and has no outcome the outcome `failure`.
    pub fn abandon(&mut self, failure: Failure) {
        for (tally, failures) in [
            (&mut self.window, &mut self.failures),
            (&mut self.before, &mut self.failures_before),
        ] {
            let counts = &mut tally.counts;
            let open = counts.started - counts.ok - counts.refused_as_expected - counts.failed;
            if open > 0 {
                counts.failed += open;
                *failures.entry(failure).or_default() += open;
            }
        }
    }

    /// Adds another shard's samples.
    pub fn merge(&mut self, other: &Recorder) {
        self.window.merge(&other.window);
        self.before.merge(&other.before);
        for (into, other) in [
            (&mut self.full, &other.full),
            (&mut self.resumed, &other.resumed),
            (&mut self.request, &other.request),
        ] {
            if let Some(other) = other {
                into.get_or_insert_with(OperationSamples::new).merge(other);
            }
        }
        merge(&mut self.schedule_lag, &other.schedule_lag);
        merge(&mut self.failure_time, &other.failure_time);
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        for (failure, count) in &other.failures_before {
            *self.failures_before.entry(*failure).or_default() += count;
        }
        for (refusal, count) in &other.refusals {
            *self.refusals.entry(*refusal).or_default() += count;
        }
    }

    fn counts(&mut self, measured: bool) -> &mut Counts {
        if measured {
            &mut self.window.counts
        } else {
            &mut self.before.counts
        }
    }
}

impl Tally {
    fn add(&mut self, attempt: &Attempt) {
        let accepted = attempt.accepted.is_some();
        self.counts.client_finished += u64::from(attempt.client_finished.is_some());
        self.counts.accepted += u64::from(accepted);
        if accepted {
            match attempt.handshake {
                Some(HandshakeKind::Full) => self.handshakes.full += 1,
                Some(HandshakeKind::FullHrr) => self.handshakes.full_hrr += 1,
                Some(HandshakeKind::Resumed) => self.handshakes.resumed += 1,
                None => {}
            }
        }
        self.resumption.wanted += u64::from(attempt.resumption_wanted);
        self.resumption.offered += u64::from(attempt.resumption_offered);
        self.resumption.accepted +=
            u64::from(accepted && attempt.handshake == Some(HandshakeKind::Resumed));
        self.resumption.tickets_received += u64::from(attempt.tickets_received);
        self.identity.add(attempt);
    }

    fn merge(&mut self, other: &Tally) {
        self.counts += other.counts;
        self.handshakes += other.handshakes;
        self.resumption.wanted += other.resumption.wanted;
        self.resumption.offered += other.resumption.offered;
        self.resumption.accepted += other.resumption.accepted;
        self.resumption.tickets_received += other.resumption.tickets_received;
        self.identity += other.identity;
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Cause, Moment};
    use super::*;

    fn finished(milliseconds: u64, kind: Option<HandshakeKind>) -> Attempt {
        let mut attempt = Attempt::start(std::time::Instant::now(), true);
        attempt.intended = attempt.started;
        attempt.handshake = kind;
        attempt.accepted = Some(attempt.started);
        attempt.done = Some(attempt.started + Duration::from_millis(milliseconds));
        attempt
    }

    #[test]
    fn merged_quantiles_are_those_of_all_samples() {
        let mut recorders = [Recorder::new(), Recorder::new()];
        let mut whole = Recorder::new();
        for milliseconds in 1..=1000 {
            let attempt = finished(milliseconds, Some(HandshakeKind::Full));
            let index = usize::from(milliseconds % 3 == 0);
            recorders[index].start(true, Duration::ZERO);
            recorders[index].finish(&attempt, Ok(()));
            whole.start(true, Duration::ZERO);
            whole.finish(&attempt, Ok(()));
        }
        let mut merged = Recorder::new();
        recorders.iter().for_each(|recorder| merged.merge(recorder));
        assert_eq!(merged.window, whole.window);
        let (merged, whole) = (merged.full.unwrap().response, whole.full.unwrap().response);
        assert_eq!(merged, whole);
        assert!((989_000..=991_500).contains(&merged.value_at_quantile(0.99)));
    }

    #[test]
    fn bytes_are_kept_apart_by_kind_of_handshake() {
        let mut recorder = Recorder::new();
        let kinds = [
            Some(HandshakeKind::Full),
            Some(HandshakeKind::Resumed),
            None,
        ];
        for (kind, bytes) in kinds.into_iter().zip([2000, 700, 90]) {
            let mut attempt = finished(1, kind);
            attempt.bytes_sent = bytes;
            attempt.bytes_received = bytes + 1;
            recorder.finish(&attempt, Ok(()));
        }
        let samples = [recorder.full, recorder.resumed, recorder.request];
        for (samples, bytes) in samples.into_iter().zip([2000, 700, 90]) {
            let samples = samples.unwrap();
            assert_eq!(
                (samples.bytes_sent.max(), samples.bytes_sent.len()),
                (bytes, 1)
            );
            assert_eq!(samples.bytes_received.max(), bytes + 1);
        }
    }

    #[test]
    fn identities_are_counted_apart_where_a_ticket_told_them() {
        let mut recorder = Recorder::new();
        let (other, none) = (Err(IdentityFault::Mismatch), Err(IdentityFault::Absent));
        for (kind, identity) in [
            (Some(HandshakeKind::Full), Some(Ok(()))),
            (Some(HandshakeKind::Full), Some(other)),
            (Some(HandshakeKind::Resumed), Some(other)),
            (None, Some(none)),
            (None, None),
        ] {
            let mut attempt = finished(1, kind);
            attempt.identity = identity;
            recorder.finish(&attempt, Ok(()));
        }
        let found = recorder.window.identity;
        let expected = IdentityChecks {
            checked: 4,
            mismatched: 2,
            mismatched_resumed: 1,
            absent: 1,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_started_attempt_has_one_outcome() {
        let mut recorder = Recorder::new();
        for _ in 0..5 {
            recorder.start(true, Duration::ZERO);
        }
        recorder.overflow(true);
        recorder.finish(&finished(1, None), Ok(()));
        let refused = Failure {
            cause: Cause::Refused(48),
            moment: Moment::FirstByte,
        };
        recorder.finish(&finished(1, Some(HandshakeKind::Resumed)), Err(refused));
        recorder.abandon(Failure {
            cause: Cause::Abandoned,
            moment: Moment::Response,
        });
        let counts = recorder.window.counts;
        assert_eq!(
            (counts.intended, counts.started, counts.overflow),
            (6, 5, 1)
        );
        assert_eq!((counts.ok, counts.failed), (1, 4));
        assert_eq!(recorder.failures.values().sum::<u64>(), 4);
        assert_eq!(recorder.window.handshakes.resumed, 1);
    }
}
