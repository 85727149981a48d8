//! In which choices two runs differ: named as the results name them, with both values.

use std::collections::BTreeMap;
use std::fmt;

use super::RunResult;

/// One choice that two runs made differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its dotted name.
    pub name: String,
    /// The first run's; `None` where it made none.
    pub first: Option<String>,
    /// The second run's.
    pub second: Option<String>,
}

impl Difference {
    /// Whether it is of one of these choices, or of a part of one.
    pub fn is_any_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| {
            let rest = self.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(
            formatter,
            "{}: {} and {}",
            self.name,
            show(&self.first),
            show(&self.second)
        )
    }
}

/// All differences, in the order of their names.
pub fn between(first: &RunResult, second: &RunResult) -> Vec<Difference> {
    let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) = (
        first.choices_as_text().into_iter().collect(),
        second.choices_as_text().into_iter().collect(),
    );
    let mut names: Vec<_> = first.keys().chain(second.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| first.get(*name) != second.get(*name))
        .map(|name| Difference {
            name: name.clone(),
            first: first.get(name).cloned(),
            second: second.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_choice_is_of_the_choice() {
        let difference = Difference {
            name: "target.host".to_owned(),
            first: Some("a".to_owned()),
            second: None,
        };
        assert!(difference.is_any_of(&["x", "target"]) && difference.is_any_of(&["target.host"]));
        assert!(!difference.is_any_of(&["targ", "target.hos"]));
        assert_eq!(difference.to_string(), "target.host: a and nothing");
    }
}
