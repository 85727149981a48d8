//! Reads Prometheus's text format back into samples, so that what operators are shown as JSON is what `/metrics` says.
//!
//! Only what the exporter of this process writes is understood; a line that is something else is left out.

use serde_json::{Map, Value};

/// One sample: a name, its labels, and the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// The metric, as `gateway_requests_total`.
    pub name: &'a str,
    /// Its labels, in order.
    pub labels: Vec<(&'a str, String)>,
    /// The value; infinite and undefined ones are as Rust has them.
    pub value: f64,
}

/// One page of samples.
#[derive(Debug, Default)]
pub struct Exposition<'a>(Vec<Sample<'a>>);

impl<'a> Exposition<'a> {
    /// The samples of `page`.
    pub fn parse(page: &'a str) -> Self {
        Self(page.lines().filter_map(Sample::parse).collect())
    }

    /// All of them, in the page's order.
    pub fn all(&self) -> impl Iterator<Item = &Sample<'a>> {
        self.0.iter()
    }

    /// By name, each with its labels and its value.
    pub fn to_json(&self) -> Value {
        let mut families: Map<String, Value> = Map::new();
        for sample in &self.0 {
            let family = families
                .entry(sample.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(samples) = family.as_array_mut() {
                samples.push(sample.labelled());
            }
        }
        Value::Object(families)
    }
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while let Some((label, after)) = rest.split_once("=\"") {
                let (value, after) = unquoted(after)?;
                labels.push((label.trim_start_matches(','), value));
                rest = after;
                if rest.starts_with('}') {
                    break;
                }
            }
            rest = rest.strip_prefix('}')?;
        }
        Some(Self {
            name,
            labels,
            value: rest.split_whitespace().next()?.parse().ok()?,
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The name, the labels without those that are `known`, and the value.
    pub fn to_json(&self, known: &[&str]) -> Value {
        let mut object = self.labelled();
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|label, _| !known.contains(&label.as_str()));
            fields.insert("metric".into(), self.name.into());
        }
        object
    }

    fn labelled(&self) -> Value {
        let labels = self.labels.iter();
        let mut fields: Map<String, Value> = labels
            .map(|(label, value)| ((*label).to_owned(), Value::from(value.as_str())))
            .collect();
        fields.insert("value".into(), self.value.into());
        Value::Object(fields)
    }
}

/// The text before the quote that ends it, without its escapes; and what follows the quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn samples_are_read_with_their_labels() {
        let page = "# HELP a_total Text.\n# TYPE a_total counter\na_total{x=\"1\",y=\"a \\\"b\\\" {c}, \\\\ \\n\"} 5\n\nb 1.5\nc_bucket{le=\"+Inf\"} 7\n";
        let samples = Exposition::parse(page);
        let all: Vec<_> = samples.all().collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].label("x"), Some("1"));
        assert_eq!(all[0].label("y"), Some("a \"b\" {c}, \\ \n"));
        assert_eq!(
            (all[1].name, all[1].value, all[2].label("le")),
            ("b", 1.5, Some("+Inf"))
        );
        assert_eq!(
            samples.to_json()["c_bucket"],
            serde_json::json!([{ "le": "+Inf", "value": 7.0 }])
        );
        assert_eq!(
            all[2].to_json(&["le"]),
            serde_json::json!({ "metric": "c_bucket", "value": 7.0 })
        );
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        for line in [
            "",
            "name",
            "name{",
            "name{a=\"b",
            "name{a=\"b\"",
            "name{a=\"b\"} x",
            "{} ",
        ] {
            assert_eq!(Exposition::parse(line).all().count(), 0, "{line}");
        }
    }
}
