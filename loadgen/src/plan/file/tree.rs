//! TOML as a tree whose nodes know their lines.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Line of its key, or of the value itself in a list; from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value of TOML.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    /// In the file's order.
    Table(Vec<(String, Node)>),
    /// A date, or a number that is none.
    Other(String),
}

/// Reads a whole file: what can be read of it, and every error of syntax.
pub(super) fn parse(text: &str) -> (Node, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    let problems = errors.iter().map(|error| Problem {
        key: String::new(),
        line: error.span().map(|span| lines.at(span.start)),
        problem: error.message().trim_end().replace('\n', ", "),
    });
    let root = Node {
        line: 1,
        value: lines.table(table.get_ref()),
    };
    (root, problems.collect())
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Lines {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines(breaks.map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|line_break| *line_break < offset) + 1
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let node = Node {
                line: self.at(key.span().start),
                value: self.value(value.get_ref()),
            };
            (key.get_ref().to_string(), node)
        });
        Value::Table(entries.collect())
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let whole = i64::from_str_radix(number.as_str(), number.radix());
                whole.map_or_else(|_| Value::Other(number.to_string()), Value::Whole)
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(float) if float.is_finite() => Value::Float(float),
                _ => Value::Other(number.to_string()),
            },
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(list) => Value::List(list.iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => self.table(table),
        }
    }

    fn item(&self, item: &Spanned<DeValue<'_>>) -> Node {
        Node {
            line: self.at(item.span().start),
            value: self.value(item.get_ref()),
        }
    }
}

impl Value {
    /// As it may stand in a message.
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Text(text) => format!("{text:?}"),
            Value::Whole(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(boolean) => boolean.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(text) => text.clone(),
        }
    }

    /// The same value for types that read themselves.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Text(text) | Value::Other(text) => text.as_str().into(),
            Value::Whole(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Boolean(boolean) => (*boolean).into(),
            Value::List(list) => list.iter().map(|node| node.value.to_json()).collect(),
            Value::Table(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}
