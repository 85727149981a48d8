//! The search: told what each probe has shown, it says which is next; pure.
//!
//! Loads are raised geometrically until one does not hold, then the gap is halved in log space down to the precision. A
//! probe that cannot be told is made again, and so is the failing side of the final gap; the holding side is confirmed
//! for longer. After each failure the server is given a light load until it holds that: a server that has collapsed
//! would be found wanting at loads which it carries. At the end it is overloaded on purpose, and offered the found load
//! at once: does it recover?
//!
//! Where looks contradict each other (a load holds above one that fails), both are looked at again, and the lower
//! failure is believed.

use super::level::{Level, Seen, Standing};

/// Factor between two loads while none has failed.
const GROWTH: f64 = 2.0;
/// Light load after a failure, as a share of what is known to hold.
const LIGHT: f64 = 0.5;
/// Light probes in a row after which a server counts as collapsed for good.
const MOST_LIGHT: u32 = 6;
/// Long looks at different loads before the search gives up.
const MOST_CONFIRMATIONS: u32 = 6;
/// Probes that only make the interval's upper end sharper.
const MOST_ABOVE: u32 = 4;

/// What the search is told beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// The first load.
    pub from: f64,
    /// The least that makes sense.
    pub lowest: f64,
    /// The highest to try.
    pub to: f64,
    /// Width of the final gap: 0.03 stands for 3 %.
    pub precision: f64,
    /// Loads are whole numbers.
    pub whole: bool,
    /// Looks at one load at the most, until it is taken as it is.
    pub looks: u32,
    /// Probes at the most.
    pub probes: u32,
    /// The final overload, as a multiple of what does not hold; `None` leaves it out.
    pub overload: Option<f64>,
}

/// Why a probe is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To find a load that does not hold.
    Bracket,
    /// To halve the gap.
    Narrow,
    /// To be surer of a load.
    Again,
    /// To find the interval's upper end.
    Above,
    /// After a failure: does a light load hold?
    Light,
    /// For longer, at the found load.
    Confirm,
    /// To see what too much does.
    Overload,
    /// The found load, right after the overload.
    Recovery,
}

/// One probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// The load to offer.
    pub load: f64,
    /// Why.
    pub purpose: Purpose,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Make this probe and tell the search.
    Probe(Probe),
    /// It is over.
    Done(Conclusion),
}

/// What the search has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conclusion {
    /// In a word.
    pub kind: Kind,
    /// The highest load that holds.
    pub maximum: Option<f64>,
    /// The lowest load above it that certainly does not.
    pub fails_at: Option<f64>,
    /// The lowest load that the generator could not make.
    pub limited_at: Option<f64>,
}

/// The kinds of conclusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The maximum lies between `maximum` and `fails_at`.
    Found,
    /// The highest load that was to be tried holds.
    HoldsAll,
    /// The generator could not make more.
    GeneratorLimited,
    /// Not even the least load holds.
    HoldsNothing,
    /// It could not be told within the bounds of the search.
    Inconclusive,
}

/// The state of a search.
#[derive(Debug, Clone)]
pub struct Search {
    bounds: Bounds,
    levels: Vec<Level>,
    current: Option<f64>,
    told: u32,
    confirmations: u32,
    above: u32,
    /// Light probes that did not hold, one after the other; `None` while none is due.
    light: Option<u32>,
    overloaded: Option<bool>,
    recovery_seen: bool,
}

impl Search {
    /// Nothing known yet.
    pub fn new(bounds: Bounds) -> Search {
        Search {
            bounds,
            levels: Vec::new(),
            current: None,
            told: 0,
            confirmations: 0,
            above: 0,
            light: None,
            overloaded: None,
            recovery_seen: false,
        }
    }

    /// Every load that was looked at, in ascending order.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// What is next.
    pub fn next(&self) -> Step {
        let conclusion = self.conclusion();
        let probe = |load, purpose| Step::Probe(Probe { load, purpose });
        if self.told >= self.bounds.probes || self.light.is_some_and(|failed| failed >= MOST_LIGHT)
        {
            return self.give_up();
        }
        if let (Some(_), Some(hold)) = (self.light, self.hold()) {
            return probe(self.rounded(hold.load * LIGHT), Purpose::Light);
        }
        if let Some(load) = self.in_doubt() {
            return probe(load, Purpose::Again);
        }
        let (hold, wall) = match (self.hold(), self.wall()) {
            (None, None) => return probe(self.bounds.from, Purpose::Bracket),
            (None, Some(wall)) if wall.load <= self.bounds.lowest => {
                return Step::Done(conclusion);
            }
            (None, Some(wall)) => {
                let lower = self.rounded(wall.load / GROWTH).max(self.bounds.lowest);
                return probe(lower, Purpose::Bracket);
            }
            (Some(hold), None) if hold.load >= self.bounds.to => (hold, None),
            (Some(hold), None) => {
                let higher = self.rounded(hold.load * GROWTH).min(self.bounds.to);
                return probe(higher, Purpose::Bracket);
            }
            (Some(hold), Some(wall)) if !self.is_narrow(hold.load, wall.load) => {
                let middle = self.rounded((hold.load * wall.load).sqrt());
                return probe(middle, Purpose::Narrow);
            }
            (Some(hold), Some(wall)) => (hold, Some(wall)),
        };
        if let Some(wall) = wall.filter(|wall| wall.tries() < 2) {
            return probe(wall.load, Purpose::Again);
        }
        if !hold.confirmed {
            if self.confirmations >= MOST_CONFIRMATIONS {
                return self.give_up();
            }
            return probe(hold.load, Purpose::Confirm);
        }
        if let Some(load) = wall.and_then(|wall| self.above(wall)) {
            return probe(load, Purpose::Above);
        }
        if let (Some(factor), Some(fails_at)) = (self.bounds.overload, conclusion.fails_at) {
            match self.overloaded {
                None => return probe(self.rounded(fails_at * factor), Purpose::Overload),
                Some(true) if !self.recovery_seen => return probe(hold.load, Purpose::Recovery),
                Some(_) => {}
            }
        }
        Step::Done(conclusion)
    }

    /// What a probe has shown.
    pub fn tell(&mut self, probe: Probe, seen: &Seen) {
        self.told += 1;
        match probe.purpose {
            Purpose::Light => {
                let mut light = Level::new(probe.load);
                light.add(seen);
                self.light = match light.standing() {
                    Standing::Holds => None,
                    _ => self.light.map(|failed| failed + 1),
                };
                return;
            }
            Purpose::Overload => {
                let mut overload = Level::new(probe.load);
                overload.add(seen);
                self.overloaded = Some(overload.standing() == Standing::Fails);
                return;
            }
            Purpose::Recovery => {
                self.recovery_seen = true;
                return;
            }
            Purpose::Above => self.above += 1,
            Purpose::Confirm => self.confirmations += 1,
            Purpose::Bracket | Purpose::Narrow | Purpose::Again => {}
        }
        let confirms = probe.purpose == Purpose::Confirm;
        let level = self.level_mut(probe.load);
        if confirms {
            level.confirm(seen);
        } else {
            level.add(seen);
        }
        let holds = level.standing() == Standing::Holds;
        self.current = Some(probe.load);
        self.light = (!holds).then_some(0);
    }

    fn level_mut(&mut self, load: f64) -> &mut Level {
        let place = self.levels.partition_point(|level| level.load < load);
        if self.levels.get(place).is_none_or(|level| level.load > load) {
            self.levels.insert(place, Level::new(load));
        }
        #[expect(clippy::indexing_slicing, reason = "it was found or inserted there")]
        &mut self.levels[place]
    }

    /// The lowest load that does not hold.
    fn wall(&self) -> Option<&Level> {
        let mut levels = self.levels.iter();
        levels.find(|level| level.standing() != Standing::Holds)
    }

    /// The highest load below that which holds.
    fn hold(&self) -> Option<&Level> {
        let below = |level: &&Level| level.standing() == Standing::Holds;
        self.levels.iter().take_while(below).last()
    }

    /// A load that has to be looked at again before anything is made of it.
    fn in_doubt(&self) -> Option<f64> {
        let open = |level: &&Level| level.tries() < self.bounds.looks;
        let unsure = |level: &&Level| {
            matches!(level.standing(), Standing::Unclear | Standing::Limited)
                && Some(level.load) == self.current
        };
        let unsure = self.levels.iter().filter(open).find(unsure);
        let contradicted = || {
            let wall = self.wall()?.load;
            let above = self.levels.iter().filter(|level| level.load > wall);
            let mut above = above.filter(|level| level.standing() == Standing::Holds);
            let above = above.next_back()?;
            let levels = self.levels.iter().filter(open);
            let mut levels = levels.filter(|l| l.load == wall || l.load == above.load);
            levels.next()
        };
        unsure.or_else(contradicted).map(|level| level.load)
    }

    fn is_narrow(&self, hold: f64, wall: f64) -> bool {
        wall / hold <= 1.0 + self.bounds.precision || (self.bounds.whole && wall - hold <= 1.0)
    }

    fn rounded(&self, load: f64) -> f64 {
        if self.bounds.whole {
            load.round().max(1.0)
        } else {
            // Rates that can be read: four significant digits, a hundredth of the precision.
            let scale = 10_f64.powf(load.log10().floor() - 3.0);
            (load / scale).round() * scale
        }
    }

    /// The next load to find the interval's upper end with, where the lowest failure is not near the wall.
    fn above(&self, wall: &Level) -> Option<f64> {
        if wall.standing() != Standing::Unclear || self.above >= MOST_ABOVE {
            return None;
        }
        let failure = self.levels.iter().filter(|level| level.load > wall.load);
        let failure = failure
            .filter(|l| l.standing() == Standing::Fails)
            .map(|l| l.load)
            .next();
        // Between them there may be more that cannot be told.
        let mut unclear = self.levels.iter().filter(|level| {
            level.standing() != Standing::Fails && failure.is_none_or(|load| level.load < load)
        });
        let unclear = unclear.next_back()?.load;
        match failure {
            Some(load) if self.is_narrow(unclear, load) => None,
            Some(load) => Some(self.rounded((unclear * load).sqrt())),
            None if unclear >= self.bounds.to => None,
            None => Some(
                self.rounded(unclear * (1.0 + 4.0 * self.bounds.precision))
                    .min(self.bounds.to),
            ),
        }
    }

    fn give_up(&self) -> Step {
        Step::Done(Conclusion {
            kind: Kind::Inconclusive,
            ..self.conclusion()
        })
    }

    /// What is known by now.
    pub fn conclusion(&self) -> Conclusion {
        let (hold, wall) = (self.hold(), self.wall());
        let fails = |level: &&Level| level.standing() == Standing::Fails;
        let fails_at = self.levels.iter().find(fails).map(|level| level.load);
        let limited_at = wall
            .filter(|wall| wall.standing() == Standing::Limited)
            .map(|wall| wall.load);
        let kind = match (hold, wall.map(Level::standing)) {
            (_, Some(Standing::Limited)) => Kind::GeneratorLimited,
            (Some(_), Some(_)) if fails_at.is_some() => Kind::Found,
            (Some(hold), None) if hold.load >= self.bounds.to => Kind::HoldsAll,
            (None, Some(Standing::Fails)) => Kind::HoldsNothing,
            _ => Kind::Inconclusive,
        };
        Conclusion {
            kind,
            maximum: hold.map(|hold| hold.load),
            fails_at,
            limited_at,
        }
    }
}

#[cfg(test)]
mod tests;
