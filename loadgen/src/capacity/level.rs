//! What is known of one load, from all looks at it together; pure.

use super::judgement::{Answer, Criterion, answer};

/// One load and everything that was seen of it.
#[derive(Debug, Clone)]
pub struct Level {
    /// The load.
    pub load: f64,
    /// Looks that count.
    pub looks: u32,
    /// Looks at which the generator itself was not able to make the load.
    pub limited: u32,
    /// Whether a long look has confirmed that it holds.
    pub confirmed: bool,
    /// A long look has said something else than the short ones; that counts.
    overruled: Option<Answer>,
    criteria: Vec<Criterion>,
}

/// What a level is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The server carries it.
    Holds,
    /// The server does not.
    Fails,
    /// Cannot be told.
    Unclear,
    /// The generator cannot make it.
    Limited,
}

/// What one look at a load has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The conditions, in the same order each time.
    pub criteria: Vec<Criterion>,
    /// How fit the generator was.
    pub generator: Fitness,
}

/// How fit the generator was during a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// What was seen is the server's.
    Fit,
    /// It may have made things worse: what holds holds all the same, what fails is not the server's failure.
    Strained,
    /// What was seen says nothing.
    Unfit,
}

impl Level {
    pub(super) fn new(load: f64) -> Level {
        Level {
            load,
            looks: 0,
            limited: 0,
            confirmed: false,
            overruled: None,
            criteria: Vec::new(),
        }
    }

    /// Looks, whether they count or not.
    pub fn tries(&self) -> u32 {
        self.looks + self.limited
    }

    /// What it is taken for.
    pub fn standing(&self) -> Standing {
        if self.looks == 0 {
            return Standing::Limited;
        }
        match self.overruled.unwrap_or_else(|| answer(&self.criteria)) {
            Answer::Holds => Standing::Holds,
            Answer::Fails => Standing::Fails,
            Answer::Unclear if self.limited > 0 => Standing::Limited,
            Answer::Unclear => Standing::Unclear,
        }
    }

    /// Adds a look.
    pub(super) fn add(&mut self, seen: &Seen) {
        match seen.generator {
            Fitness::Unfit => self.limited += 1,
            Fitness::Strained if answer(&seen.criteria) != Answer::Holds => self.limited += 1,
            Fitness::Fit | Fitness::Strained => {
                self.looks += 1;
                pool(&mut self.criteria, &seen.criteria);
            }
        }
    }

    /// Adds a long look, which decides.
    pub(super) fn confirm(&mut self, seen: &Seen) {
        let limited = self.limited;
        self.add(seen);
        if self.limited == limited {
            match answer(&seen.criteria) {
                Answer::Holds => self.confirmed = true,
                other => self.overruled = Some(other),
            }
        }
    }
}

fn pool(into: &mut Vec<Criterion>, more: &[Criterion]) {
    if into.is_empty() {
        into.extend_from_slice(more);
        return;
    }
    for (criterion, more) in into.iter_mut().zip(more) {
        criterion.pool(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bad: f64, generator: Fitness) -> Seen {
        let mut criterion = Criterion::new("error_rate<1%", 0.01);
        criterion.seconds = vec![(bad, 1000.0); 8];
        Seen {
            criteria: vec![criterion],
            generator,
        }
    }

    #[test]
    fn a_look_with_an_unfit_generator_is_never_the_server_s_failure() {
        let mut level = Level::new(5.0);
        level.add(&seen(500.0, Fitness::Unfit));
        level.add(&seen(500.0, Fitness::Strained));
        assert_eq!(level.standing(), Standing::Limited);
        assert_eq!((level.looks, level.limited), (0, 2));
        level.add(&seen(0.0, Fitness::Strained));
        assert_eq!(level.standing(), Standing::Holds);
    }

    #[test]
    fn looks_are_taken_together_and_a_long_one_decides() {
        let mut level = Level::new(5.0);
        level.add(&seen(9.0, Fitness::Fit));
        assert_eq!(level.standing(), Standing::Unclear);
        level.add(&seen(1.0, Fitness::Fit));
        assert_eq!(level.standing(), Standing::Holds);
        level.confirm(&seen(60.0, Fitness::Fit));
        assert_eq!(level.standing(), Standing::Fails);
        assert!(!level.confirmed);
    }
}
