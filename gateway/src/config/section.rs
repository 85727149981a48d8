//! Reads one table of the file key by key, noting what is wrong instead of stopping, and at the end what was never asked
//! for: unknown keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use toml::{Table, Value};

use crate::config::{ConfigError, units};
use crate::rate::Rate;

/// Everything that is wrong so far, and every key that was read with the value that holds.
#[derive(Debug, Default)]
pub(super) struct Errors(RefCell<Vec<ConfigError>>, RefCell<BTreeMap<String, Value>>);

impl Errors {
    pub(super) fn into_inner(self) -> (BTreeMap<String, Value>, Vec<ConfigError>) {
        (self.1.into_inner(), self.0.into_inner())
    }

    fn note(&self, key: String, problem: String) {
        self.0.borrow_mut().push(ConfigError { key, problem });
    }
}

/// A table that is being read.
pub(super) struct Section<'a> {
    table: Table,
    path: String,
    known: Vec<&'static str>,
    /// `None` in a section that is missing as a whole: what is missing inside it needs no word of its own.
    errors: Option<&'a Errors>,
}

impl<'a> Section<'a> {
    pub(super) fn new(table: Table, path: String, errors: &'a Errors) -> Self {
        Self {
            table,
            path,
            known: Vec::new(),
            errors: Some(errors),
        }
    }

    /// Notes that `key` is wrong.
    pub(super) fn error(&self, key: &str, problem: &str) {
        if let Some(errors) = self.errors {
            errors.note(self.key(key), problem.to_owned());
        }
    }

    /// Notes that `key` must be there and is not, unless it is there and something else was wrong with it.
    pub(super) fn missing(&self, key: &str) {
        if !self.is_noted(key) {
            self.error(key, "this key is needed");
        }
    }

    fn is_noted(&self, key: &str) -> bool {
        let full = self.key(key);
        self.errors
            .is_some_and(|errors| errors.0.borrow().iter().any(|error| error.key == full))
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&Value) -> Result<Option<T>, String>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match parse(&value) {
            Ok(Some(parsed)) => {
                // Tables come key by key.
                let is_table = |value: &Value| value.is_table();
                let has_tables = value
                    .as_array()
                    .is_some_and(|list| list.iter().any(is_table));
                if !value.is_table() && !has_tables {
                    self.holds(key, || value);
                }
                Some(parsed)
            }
            Ok(None) => {
                self.error(key, &format!("{wanted} is needed, not {value}"));
                None
            }
            Err(problem) => {
                self.error(key, &problem);
                None
            }
        }
    }

    /// Notes that `key` has this value.
    fn holds(&self, key: &str, value: impl FnOnce() -> Value) {
        if let Some(errors) = self.errors {
            errors.1.borrow_mut().insert(self.key(key), value());
        }
    }

    /// The default of a key that the file does not give, which is noted as what holds.
    fn or_default<T>(&self, key: &str, read: Option<T>, default: T, shown: fn(&T) -> Value) -> T {
        read.unwrap_or_else(|| {
            self.holds(key, || shown(&default));
            default
        })
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a text", |value| Ok(value.as_str().map(str::to_owned)))
    }

    pub(super) fn required(&mut self, key: &'static str) -> Option<String> {
        let value = self.string(key).filter(|text| !text.is_empty());
        if value.is_none() {
            self.missing(key);
        }
        value
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.parsed(key, "a list of texts", |value| {
            let texts = value.as_array().map(|list| {
                list.iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect()
            });
            Ok(texts.flatten())
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let read = self.parsed(key, "true or false", |value| Ok(value.as_bool()));
        self.or_default(key, read, default, |value| Value::Boolean(*value))
    }

    /// A share from 0 to 1.
    pub(super) fn share(&mut self, key: &'static str, default: f64) -> f64 {
        let read = self.parsed(key, "a share from 0 to 1 such as 0.01", |value| {
            let number = value.as_float();
            // TOML tells 1 from 1.0; who writes a share does not.
            let number = number.or_else(|| value.as_integer().map(|whole| whole as f64));
            Ok(number.filter(|number| (0.0..=1.0).contains(number)))
        });
        self.or_default(key, read, default, |share| Value::Float(*share))
    }

    /// A table of texts that are not to be shown to anybody.
    pub(super) fn secret_texts(&mut self, key: &'static str) -> Vec<(String, String)> {
        let texts = self.take(key).map(|value| {
            let pairs = value.as_table().map(|table| {
                let text = |(name, value): (&String, &Value)| {
                    Some((name.clone(), value.as_str()?.to_owned()))
                };
                table.iter().map(text).collect::<Option<Vec<_>>>()
            });
            pairs.flatten()
        });
        if matches!(texts, Some(None)) {
            self.error(key, "a table of texts is needed");
        }
        texts.flatten().unwrap_or_default()
    }

    pub(super) fn optional_integer(
        &mut self,
        key: &'static str,
        least: usize,
        most: usize,
    ) -> Option<usize> {
        self.parsed(key, "a whole number", |value| match value.as_integer() {
            None => Ok(None),
            Some(number) => match usize::try_from(number) {
                Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => Err(format!("{number} is not between {least} and {most}")),
            },
        })
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        default: usize,
        least: usize,
        most: usize,
    ) -> usize {
        let read = self.optional_integer(key, least, most);
        self.or_default(key, read, default, |number| {
            Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX))
        })
    }

    /// An integer of at most 32 bits.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: u32,
        least: usize,
        most: usize,
    ) -> u32 {
        let number = self.optional_integer(key, least, most);
        let read = number.and_then(|number| u32::try_from(number).ok());
        self.or_default(key, read, default, |number| {
            Value::Integer(i64::from(*number))
        })
    }

    pub(super) fn optional_duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(
            key,
            "a duration such as \"500ms\" or \"30s\"",
            |value| match value.as_str() {
                None => Ok(None),
                Some(text) => units::duration(text).map(Some),
            },
        )
    }

    pub(super) fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let read = self.optional_duration(key);
        self.or_default(key, read, default, |duration| {
            Value::String(units::written_duration(*duration))
        })
    }

    pub(super) fn percent(&mut self, key: &'static str, default: u32) -> u32 {
        let read = self.parsed(key, "a share such as \"20%\"", |value| {
            match value.as_str() {
                None => Ok(None),
                Some(text) => units::percent(text).map(Some),
            }
        });
        self.or_default(key, read, default, |share| {
            Value::String(format!("{share}%"))
        })
    }

    /// A rate, and the burst beside it under a key of its own: what the rate gives in a second (or its one) if it is not said.
    pub(super) fn rate(&mut self, key: &'static str, burst: &'static str) -> Option<Rate> {
        let rate = self.parsed(key, "a rate such as \"100/s\"", |value| {
            match value.as_str() {
                None => Ok(None),
                Some(text) => units::rate(text).map(Some),
            }
        });
        let most = self.optional_integer(burst, 1, 1_000_000_000);
        let Some((number, period)) = rate else {
            if most.is_some() && !self.is_noted(key) {
                self.error(burst, &format!("without {key} it bounds nothing"));
            }
            return None;
        };
        let burst = most.map_or(number / period.as_secs().max(1), |most| most as u64);
        Some(Rate::new(number, period, burst))
    }

    /// A rate of bytes, all of which in a second may move at once.
    pub(super) fn byte_rate(&mut self, key: &'static str, least: u64) -> Option<Rate> {
        self.parsed(key, "a rate such as \"64KiB/s\"", |value| {
            let Some(text) = value.as_str() else {
                return Ok(None);
            };
            let (number, period) = units::byte_rate(text)?;
            let second = number / period.as_secs().max(1);
            if second < least {
                return Err(format!("\"{text}\" is less than {least} bytes in a second"));
            }
            Ok(Some(Rate::new(number, period, second)))
        })
    }

    /// A text that `parse` understands.
    pub(super) fn parsed_text<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.parsed(key, wanted, |value| Ok(value.as_str().and_then(parse)))
    }

    /// One HTTP status, or a range of them: the first and the last.
    pub(super) fn statuses(&mut self, key: &'static str) -> Option<(StatusCode, StatusCode)> {
        self.parsed(key, "a status such as 200 or \"200-299\"", |value| {
            Ok(match value {
                Value::Integer(number) => units::statuses(&number.to_string()),
                Value::String(text) => units::statuses(text),
                _ => None,
            })
        })
    }

    pub(super) fn optional_size(&mut self, key: &'static str) -> Option<usize> {
        self.parsed(key, "a size such as \"64KiB\"", |value| {
            match value.as_str() {
                None => Ok(None),
                Some(text) => units::size(text).map(Some),
            }
        })
    }

    pub(super) fn size(&mut self, key: &'static str, default: usize) -> usize {
        let read = self.optional_size(key);
        self.or_default(key, read, default, |size| {
            Value::String(units::written_size(*size))
        })
    }

    /// So many in a second.
    pub(super) fn optional_rate(&mut self, key: &'static str) -> Option<u32> {
        self.parsed(key, "a rate", |value| {
            value.as_str().map(units::per_second).transpose()
        })
    }

    pub(super) fn address(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.parsed(
            key,
            "an address and a port such as \"127.0.0.1:8443\"",
            |value| Ok(value.as_str().and_then(|text| text.parse().ok())),
        )
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        self.parsed(key, &names.join(" or "), |value| {
            let chosen = value
                .as_str()
                .and_then(|text| choices.iter().find(|(name, _)| *name == text));
            Ok(chosen.map(|(_, choice)| *choice))
        })
    }

    /// The files with a certificate chain and its private key, both or neither.
    pub(super) fn credentials(&mut self, base: &Path) -> Option<(PathBuf, PathBuf)> {
        let certificate = self.string("certificate");
        let private_key = self.string("private_key");
        match (certificate, private_key) {
            (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
            (Some(_), None) => {
                self.missing("private_key");
                None
            }
            (None, Some(_)) => {
                self.missing("certificate");
                None
            }
            (None, None) => None,
        }
    }

    /// A table inside this one that may be absent.
    pub(super) fn optional_table(&mut self, key: &'static str) -> Option<Section<'a>> {
        if self.table.contains_key(key) {
            return Some(self.table(key, false));
        }
        self.known.push(key);
        None
    }

    /// A table inside this one; an absent one reads as empty, and is an error if it is `needed`.
    pub(super) fn table(&mut self, key: &'static str, needed: bool) -> Section<'a> {
        let present = self.table.contains_key(key);
        let table = self.parsed(key, "a table", |value| Ok(value.as_table().cloned()));
        if needed && !present {
            self.error(key, "this section is needed");
        }
        let errors = if needed && table.is_none() {
            None
        } else {
            self.errors
        };
        Section {
            table: table.unwrap_or_default(),
            path: self.key(key),
            known: Vec::new(),
            errors,
        }
    }

    /// Where this table is in the file, as `trust` or `listeners[0]`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A list of tables with at least one entry.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let tables = self.optional_tables(key);
        if tables.is_empty() && !self.is_noted(key) {
            self.error(key, &format!("at least one [[{key}]] is needed"));
        }
        tables
    }

    /// A list of tables that may be absent.
    pub(super) fn optional_tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let tables = self.parsed(key, "a list of tables, written [[…]],", |value| {
            Ok(value.as_array().and_then(|list| {
                list.iter()
                    .map(|item| item.as_table().cloned())
                    .collect::<Option<Vec<Table>>>()
            }))
        });
        let path = self.key(key);
        tables
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(index, table)| Section {
                table,
                path: format!("{path}[{index}]"),
                known: Vec::new(),
                errors: self.errors,
            })
            .collect()
    }

    /// A list whose items are tables, or texts that stand for a table with only `short`.
    pub(super) fn texts_or_tables(&mut self, key: &'static str, short: &str) -> Vec<Section<'a>> {
        let list = self.parsed(key, "a list", |value| Ok(value.as_array().cloned()));
        let mut sections = Vec::new();
        for (index, item) in list.unwrap_or_default().into_iter().enumerate() {
            let path = format!("{}[{index}]", self.key(key));
            let table = match item {
                Value::Table(table) => table,
                Value::String(_) => Table::from_iter([(short.to_owned(), item)]),
                other => {
                    if let Some(errors) = self.errors {
                        errors.note(path, format!("a text or a table is needed, not {other}"));
                    }
                    continue;
                }
            };
            sections.push(Section {
                table,
                path,
                known: Vec::new(),
                errors: self.errors,
            });
        }
        sections
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let problem = match closest(key, &self.known) {
                Some(known) => format!("unknown key; did you mean \"{known}\"?"),
                None => format!("unknown key; known are {}", self.known.join(", ")),
            };
            self.error(key, &problem);
        }
    }
}

/// The known key that differs least, if it differs little.
fn closest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), *candidate))
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
    fn distances() {
        assert_eq!(distance("adress", "address"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn near_misses_are_recognized() {
        assert_eq!(closest("adress", &["name", "address"]), Some("address"));
        assert_eq!(closest("colour", &["name", "address"]), None);
    }
}
