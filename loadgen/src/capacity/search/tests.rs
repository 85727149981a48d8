//! Searches against simulated servers of known capacity.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::capacity::judgement::Criterion;
use crate::capacity::level::Fitness;

fn bounds() -> Bounds {
    Bounds {
        from: 100.0,
        lowest: 1.0,
        to: 1e6,
        precision: 0.03,
        whole: false,
        looks: 3,
        probes: 80,
        overload: Some(1.5),
    }
}

/// A server with one queue.
struct Server {
    capacity: f64,
    /// Seconds of an ordinary look.
    window: u32,
    /// Standard deviation of the capacity from second to second, as a share of it.
    noise: f64,
    /// Seconds for which it serves only a fifth after it was overloaded.
    collapse: u32,
    collapsed: u32,
    /// The generator cannot make more than this, and is strained from nine tenths of it.
    generator: f64,
    random: StdRng,
    probes: Vec<Probe>,
}

impl Server {
    fn new(capacity: f64) -> Server {
        Server {
            capacity,
            // Long enough for some thousand attempts.
            window: (2000.0 / capacity).max(10.0) as u32,
            noise: 0.0,
            collapse: 0,
            collapsed: 0,
            generator: f64::INFINITY,
            random: StdRng::seed_from_u64(1),
            probes: Vec::new(),
        }
    }

    fn capacity_now(&mut self, offered: f64) -> f64 {
        // The sum of twelve uniform numbers is all but normally distributed.
        let normal: f64 = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        let capacity = self.capacity * (1.0 + self.noise * normal);
        if self.collapsed > 0 {
            self.collapsed -= 1;
            return capacity / 5.0;
        }
        if offered > capacity {
            self.collapsed = self.collapse;
        }
        capacity
    }

    fn probe(&mut self, probe: Probe) -> Seen {
        let (settle, window) = match probe.purpose {
            Purpose::Confirm => (2, 3 * self.window),
            Purpose::Light => (0, self.window),
            Purpose::Recovery => (0, 3 * self.window),
            _ => (2, self.window),
        };
        self.probes.push(probe);
        let offered = probe.load.min(self.generator);
        let mut waiting = 0.0;
        let mut slow = Criterion::new("p99<1s", 0.01);
        let mut behind = Vec::new();
        for second in 0..settle + window {
            let capacity = self.capacity_now(offered);
            let done = (waiting + offered).min(capacity);
            let before = waiting;
            waiting = waiting + offered - done;
            if second >= settle {
                let late = if waiting > capacity { done } else { 0.0 };
                slow.seconds.push((late, done));
                behind.push((waiting - before, offered));
            }
        }
        let generator = if probe.load > self.generator {
            Fitness::Unfit
        } else if probe.load > 0.9 * self.generator {
            Fitness::Strained
        } else {
            Fitness::Fit
        };
        Seen {
            criteria: vec![slow, Criterion::backlog("keeps up", 0.01, behind)],
            generator,
        }
    }

    fn search(&mut self, bounds: Bounds) -> Conclusion {
        let mut search = Search::new(bounds);
        loop {
            match search.next() {
                Step::Done(conclusion) => return conclusion,
                Step::Probe(probe) => {
                    let seen = self.probe(probe);
                    search.tell(probe, &seen);
                }
            }
        }
    }

    fn count(&self, purpose: Purpose) -> usize {
        let probes = self.probes.iter();
        probes.filter(|probe| probe.purpose == purpose).count()
    }
}

#[test]
fn the_capacity_lies_in_the_interval_and_the_maximum_is_near_it() {
    for capacity in [1.3, 7.7, 99.0, 100.0, 430.0, 12_345.0, 400_000.0] {
        let mut server = Server::new(capacity);
        let found = server.search(bounds());
        assert_eq!(found.kind, Kind::Found, "{capacity}");
        let (low, high) = (found.maximum.unwrap(), found.fails_at.unwrap());
        // What is behind by less than 1 % counts as keeping up.
        assert!(
            low <= capacity * 1.011 && capacity <= high,
            "{capacity}: {low}..{high}"
        );
        // Two gaps where the load between them cannot be told.
        assert!(high / low <= 1.062, "{capacity}: {low}..{high}");
        assert_eq!(server.count(Purpose::Confirm), 1);
        assert_eq!(server.count(Purpose::Recovery), 1);
        assert!(server.probes.len() < 40, "{}", server.probes.len());
    }
}

#[test]
fn a_noisy_server_is_asked_more_often_and_the_interval_keeps_its_promise() {
    let (mut covered, mut maxima) = (0, Vec::new());
    for seed in 0..40 {
        let mut server = Server::new(1000.0);
        server.noise = 0.05;
        server.random = StdRng::seed_from_u64(seed);
        let found = server.search(bounds());
        assert_eq!(found.kind, Kind::Found, "{seed}");
        let (low, high) = (found.maximum.unwrap(), found.fails_at.unwrap());
        covered += usize::from(low <= 1010.0 && 1000.0 <= high);
        maxima.push(low);
    }
    assert!(covered >= 38, "{covered} of 40");
    maxima.sort_by(f64::total_cmp);
    assert!(maxima[0] > 900.0 && maxima[39] < 1040.0, "{maxima:?}");
}

#[test]
fn a_server_that_collapses_is_left_to_recover_between_probes() {
    let mut server = Server::new(1000.0);
    server.collapse = 25;
    let found = server.search(bounds());
    assert_eq!(found.kind, Kind::Found);
    assert!(
        (970.0..1011.0).contains(&found.maximum.unwrap()),
        "{found:?}"
    );
    assert!(server.count(Purpose::Light) > 4);
    // The recovery follows the overload at once.
    let overload = server
        .probes
        .iter()
        .position(|p| p.purpose == Purpose::Overload);
    let next = server.probes[overload.unwrap() + 1];
    assert_eq!(next.purpose, Purpose::Recovery);
    assert_eq!(next.load, found.maximum.unwrap());
}

#[test]
fn a_server_that_never_recovers_is_no_endless_search() {
    let mut server = Server::new(1000.0);
    server.collapse = 1_000_000;
    let found = server.search(bounds());
    assert_eq!(found.kind, Kind::Inconclusive);
    assert_eq!((found.maximum, found.fails_at), (Some(800.0), Some(1600.0)));
    assert!(server.probes.len() < 20);
}

#[test]
fn what_the_generator_cannot_make_is_not_the_server_s_failure() {
    let mut server = Server::new(10_000.0);
    server.generator = 3000.0;
    let found = server.search(bounds());
    assert_eq!(found.kind, Kind::GeneratorLimited);
    assert!(
        (2910.0..=3000.0).contains(&found.maximum.unwrap()),
        "{found:?}"
    );
    assert_eq!(found.fails_at, None);
    assert!(found.limited_at.unwrap() > 3000.0);
    assert_eq!(server.count(Purpose::Overload), 0);
    // From the first probe on: there is nothing to say at all.
    server.generator = 0.5;
    let found = server.search(bounds());
    assert_eq!((found.kind, found.maximum), (Kind::GeneratorLimited, None));
}

#[test]
fn a_first_probe_that_fails_is_followed_by_lower_ones() {
    let mut server = Server::new(3.3);
    let found = server.search(bounds());
    assert_eq!(found.kind, Kind::Found);
    assert!((3.2..3.34).contains(&found.maximum.unwrap()), "{found:?}");
    let mut server = Server::new(0.2);
    server.window = 600;
    let found = server.search(bounds());
    assert_eq!(
        (found.kind, found.fails_at),
        (Kind::HoldsNothing, Some(1.0))
    );
}

#[test]
fn the_highest_load_to_try_is_tried_and_not_exceeded() {
    let mut server = Server::new(10_000.0);
    let to = Bounds {
        to: 700.0,
        ..bounds()
    };
    let found = server.search(to);
    assert_eq!((found.kind, found.maximum), (Kind::HoldsAll, Some(700.0)));
    assert!(server.probes.iter().all(|probe| probe.load <= 700.0));
    assert_eq!(server.count(Purpose::Confirm), 1);
}

#[test]
fn whole_numbers_are_told_apart_to_one() {
    for capacity in [1.0, 2.0, 9.0, 17.0, 1500.0] {
        let mut server = Server::new(capacity + 0.001);
        server.window = 2000;
        let whole = Bounds {
            from: 4.0,
            whole: true,
            ..bounds()
        };
        let found = server.search(whole);
        assert_eq!(found.kind, Kind::Found, "{capacity}");
        let wanted = capacity * 0.97 - 1.0..=capacity * 1.01;
        assert!(
            wanted.contains(&found.maximum.unwrap()),
            "{capacity}: {found:?}"
        );
        assert!(server.probes.iter().all(|probe| probe.load.fract() == 0.0));
    }
}
