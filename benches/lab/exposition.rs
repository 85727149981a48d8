//! Prometheus's text format, as far as counters and gauges need it; pure.
//!
//! Histograms come apart into their `_bucket`, `_sum` and `_count` samples, which is all that anybody here wants of them.

/// One page of `/metrics`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Exposition {
    /// Reads a page; lines that are no samples are passed over.
    pub(crate) fn parse(text: &str) -> Exposition {
        Exposition {
            samples: text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(Sample::parse)
                .collect(),
        }
    }

    /// Sum of all samples of this name which have these labels, whatever others they have.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples
            .iter()
            .filter(|sample| sample.name == name && sample.has(labels))
            // `Iterator::sum` begins at -0, which reads oddly.
            .fold(0.0, |sum, sample| sum + sample.value)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Sample> {
        let end_of_name = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end_of_name);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        // A timestamp may follow the value.
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Sample {
            name: name.to_owned(),
            labels,
            value,
        })
    }

    fn has(&self, wanted: &[(&str, &str)]) -> bool {
        wanted.iter().all(|(name, value)| {
            self.labels
                .iter()
                .any(|(own_name, own_value)| own_name == name && own_value == value)
        })
    }
}

/// `name="value",…}` and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, escapes undone, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(index + 1..)?)),
            '\\' => match characters.next()?.1 {
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
    use super::*;

    const PAGE: &str = r#"# HELP handshakes_total By kind.
# TYPE handshakes_total counter
handshakes_total{listener="devices",kind="full",outcome="ok"} 12
handshakes_total{listener="others", kind="full",outcome="ok"} 3 1700000000
handshakes_total{listener="devices",kind="resumed",outcome="ok"} 5
odd_total{path="a \"b\" {c}, \\d"} 1
entries 2.5e1
seconds_bucket{le="+Inf"} 9
broken{unclosed="
"#;

    #[test]
    fn samples_are_summed_over_the_labels_not_asked_for() {
        let page = Exposition::parse(PAGE);
        assert_eq!(page.sum("handshakes_total", &[("kind", "full")]), 15.0);
        let labels = [("kind", "full"), ("listener", "devices")];
        assert_eq!(page.sum("handshakes_total", &labels), 12.0);
        assert_eq!(page.sum("handshakes_total", &[]), 20.0);
        assert_eq!(page.sum("entries", &[]), 25.0);
        assert_eq!(page.sum("absent", &[]), 0.0);
    }

    #[test]
    fn escapes_in_labels_are_undone() {
        let page = Exposition::parse(PAGE);
        assert_eq!(page.sum("odd_total", &[("path", "a \"b\" {c}, \\d")]), 1.0);
        assert_eq!(page.sum("seconds_bucket", &[("le", "+Inf")]), 9.0);
        assert_eq!(page.sum("broken", &[]), 0.0);
    }
}
