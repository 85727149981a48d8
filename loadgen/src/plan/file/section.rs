//! Reads one table of a plan file key by key, noting what is wrong instead of stopping, and at the end what was never asked
//! for: unknown keys.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Problem;
use super::tree::{Node, Value};
use crate::plan::{Pattern, written};

/// Everything that is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn note(&self, key: &str, line: usize, problem: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            key: key.to_owned(),
            line: Some(line),
            problem: problem.into(),
        });
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A table that is being read.
pub(super) struct Section<'a> {
    entries: Vec<(String, Node)>,
    path: String,
    line: usize,
    known: Vec<&'static str>,
    /// The keys that are there.
    given: Vec<String>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// The table in `node`; anything else is noted and reads as an empty one.
    pub(super) fn new(node: Node, path: String, problems: &'a Problems) -> Section<'a> {
        let line = node.line;
        let entries = match node.value {
            Value::Table(entries) => entries,
            other => {
                problems.note(
                    &path,
                    line,
                    format!("a table is needed, not {}", other.shown()),
                );
                Vec::new()
            }
        };
        Section {
            given: entries.iter().map(|(key, _)| key.clone()).collect(),
            entries,
            path,
            line,
            known: Vec::new(),
            problems,
        }
    }

    /// The line where the table begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Notes that `key`, or the table itself, is wrong.
    pub(super) fn wrong(&self, key: &str, line: usize, problem: impl Into<String>) {
        self.problems.note(&self.full(key), line, problem);
    }

    /// Notes that the table lacks something.
    pub(super) fn lacks(&self, key: &str, problem: impl Into<String>) {
        self.wrong(key, self.line, problem);
    }

    /// Passes a value on, and notes a key that must be there and is not.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>, why: &str) -> Option<T> {
        if value.is_none() && !self.is_given(key) {
            self.lacks(key, format!("this key is needed: {why}"));
        }
        value
    }

    /// Whether the key is there, rightly or wrongly.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.iter().any(|given| given == key)
    }

    fn full(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// The value of a key, whatever it is.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// The value of a key as `parse` understands it; `wanted` says what that is.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&Value) -> Option<Result<T, String>>,
    ) -> Option<T> {
        let node = self.take(key)?;
        match parse(&node.value) {
            Some(Ok(value)) => return Some(value),
            Some(Err(problem)) => self.wrong(key, node.line, problem),
            None => {
                let shown = node.value.shown();
                self.wrong(key, node.line, format!("{wanted} is needed, not {shown}"));
            }
        }
        None
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.read(key, "a text", |value| match value {
            Value::Text(text) => Some(parse(text).map_err(|error| error.to_string())),
            _ => None,
        })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A path; a relative one starts at the file's folder.
    pub(super) fn file(&mut self, key: &'static str, base: &Path) -> Option<PathBuf> {
        Some(base.join(self.text(key)?))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Boolean(boolean) => Some(Ok(*boolean)),
            _ => None,
        })
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.read(
            key,
            "a duration such as \"500ms\" or \"30s\"",
            |value| match value {
                Value::Text(text) => Some(written::duration::parse(text)),
                _ => None,
            },
        )
    }

    /// A duration longer than nothing.
    pub(super) fn positive_duration(&mut self, key: &'static str) -> Option<Duration> {
        self.read(
            key,
            "a duration such as \"500ms\" or \"30s\"",
            |value| match value {
                Value::Text(text) => Some(written::duration::parse(text).and_then(positive)),
                _ => None,
            },
        )
    }

    /// So many in a second.
    pub(super) fn rate(&mut self, key: &'static str) -> Option<f64> {
        self.read(key, "a rate such as \"200/s\"", |value| match value {
            Value::Text(text) => Some(written::rate::parse(text)),
            _ => None,
        })
    }

    /// The same, which may be none at all.
    pub(super) fn rate_or_none(&mut self, key: &'static str) -> Option<f64> {
        self.read(key, "a rate such as \"200/s\"", |value| match value {
            Value::Text(text) if text == "0/s" => Some(Ok(0.0)),
            Value::Text(text) => Some(written::rate::parse(text)),
            _ => None,
        })
    }

    /// A number of bytes.
    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.read(
            key,
            "a size such as 256 or \"64KiB\"",
            |value| match value {
                Value::Text(text) => Some(written::size::parse(text)),
                Value::Whole(number) => Some(written::size::parse(&number.to_string())),
                _ => None,
            },
        )
    }

    /// A whole number of at least `least`.
    pub(super) fn whole(&mut self, key: &'static str, least: u64) -> Option<u64> {
        self.read(key, "a whole number", |value| match value {
            Value::Whole(number) => Some(
                u64::try_from(*number)
                    .ok()
                    .filter(|number| *number >= least)
                    .ok_or_else(|| format!("{number} is not a whole number of at least {least}")),
            ),
            _ => None,
        })
    }

    /// The same for things in memory.
    pub(super) fn count(&mut self, key: &'static str, least: u64) -> Option<usize> {
        usize::try_from(self.whole(key, least)?).ok()
    }

    /// A number of at least `least`.
    pub(super) fn number(&mut self, key: &'static str, least: f64) -> Option<f64> {
        self.read(key, "a number", |value| {
            let number = match value {
                Value::Whole(number) => *number as f64,
                Value::Float(number) => *number,
                _ => return None,
            };
            Some(if number >= least {
                Ok(number)
            } else {
                Err(format!("{number} is not at least {least}"))
            })
        })
    }

    /// A share: 0.3, or "30%".
    pub(super) fn share(&mut self, key: &'static str) -> Option<f64> {
        self.read(key, "a share such as 0.3 or \"30%\"", |value| {
            let share = match value {
                Value::Whole(number) => *number as f64,
                Value::Float(number) => *number,
                Value::Text(text) => text.strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0,
                _ => return None,
            };
            Some(if (0.0..=1.0).contains(&share) {
                Ok(share)
            } else {
                Err(format!(
                    "{} is not between 0 and 1 (0% and 100%)",
                    value.shown()
                ))
            })
        })
    }

    pub(super) fn arrivals(&mut self) -> Pattern {
        let choices = [("uniform", Pattern::Uniform), ("poisson", Pattern::Poisson)];
        self.choice("arrivals", &choices).unwrap_or_default()
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let node = self.take(key)?;
        let Value::Text(text) = &node.value else {
            let names = names(choices);
            self.wrong(key, node.line, format!("one of {names} is needed"));
            return None;
        };
        let chosen = choices.iter().find(|(name, _)| name == text);
        if chosen.is_none() {
            let known: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let problem = match closest(text, &known) {
                Some(known) => format!("unknown: {text:?}; did you mean \"{known}\"?"),
                None => format!("unknown: {text:?}; there are {}", names(choices)),
            };
            self.wrong(key, node.line, problem);
        }
        chosen.map(|(_, choice)| *choice)
    }

    /// The entries of a list.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<Node>> {
        self.read(key, "a list", |value| match value {
            Value::List(list) => Some(Ok(list.clone())),
            _ => None,
        })
    }

    /// The tables in a list.
    pub(super) fn sections(&mut self, key: &'static str) -> Option<Vec<Section<'a>>> {
        let list = self.list(key)?.into_iter().enumerate();
        let sections = list.map(|(index, node)| self.inside(node, &format!("{key}[{index}]")));
        Some(sections.collect())
    }

    /// A table that stands in a list of this one.
    pub(super) fn inside(&self, node: Node, key: &str) -> Section<'a> {
        Section::new(node, self.full(key), self.problems)
    }

    /// Whether the key is there with a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        let entry = self.entries.iter().find(|(name, _)| name == key);
        entry.is_some_and(|(_, node)| matches!(node.value, Value::Table(_)))
    }

    /// A table inside this one; `None` if there is none.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let node = self.take(key)?;
        Some(Section::new(node, self.full(key), self.problems))
    }

    /// All entries, whose keys are names.
    pub(super) fn named(self) -> Vec<(String, Section<'a>)> {
        let (path, problems) = (self.path, self.problems);
        let sections = self.entries.into_iter().map(|(name, node)| {
            let section = Section::new(node, format!("{path}.{name}"), problems);
            (name, section)
        });
        sections.collect()
    }

    /// The entries that are left, for a type that reads itself and knows these keys.
    pub(super) fn rest(&mut self, known: &[&'static str]) -> Value {
        self.known.extend(known);
        let (rest, unknown) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|(key, _)| known.contains(&key.as_str()));
        self.entries = unknown;
        Value::Table(rest)
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, node) in &self.entries {
            let problem = match closest(key, &self.known) {
                Some(known) => format!("unknown key; did you mean \"{known}\"?"),
                None => format!("unknown key; known are {}", self.known.join(", ")),
            };
            self.wrong(key, node.line, problem);
        }
    }
}

fn positive(duration: Duration) -> Result<Duration, String> {
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

fn names<T>(choices: &[(&'static str, T)]) -> String {
    let names: Vec<_> = choices
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    names.join(", ")
}

/// The known word that differs least, if it differs little.
fn closest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (above, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *above;
            left = replaced.min(left + 1).min(diagonal + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn near_misses_are_recognized() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!((distance("", "abc"), distance("abc", "abc")), (3, 0));
        assert_eq!(
            closest("exectuor", &["executor", "start"]),
            Some("executor")
        );
        assert_eq!(closest("colour", &["executor", "start"]), None);
    }
}
