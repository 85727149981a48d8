//! The thresholds of a plan file: texts, or tables that say more.

use std::time::Duration;

use super::section::Section;
use super::tree::Value;
use crate::plan::{Scenario, Threshold};

/// Reads the list; what it names must be among `scenarios`.
pub(super) fn read(section: &mut Section<'_>, scenarios: &[Scenario]) -> Vec<Threshold> {
    let nodes = section.list("thresholds").unwrap_or_default();
    let mut thresholds = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let (key, line) = (format!("thresholds[{index}]"), node.line);
        let read = match node.value {
            Value::Text(text) => text.parse::<Threshold>().map_err(|error| error.to_string()),
            Value::Table(_) => match aborting(section.inside(node, &key)) {
                Some(read) => read,
                None => continue,
            },
            other => Err(format!(
                "a text or a table is needed, not {}",
                other.shown()
            )),
        };
        let known = |name: &str| scenarios.iter().any(|scenario| scenario.name == name);
        match read {
            Ok(threshold) => match &threshold.selection.scenario {
                Some(name) if !known(name) => {
                    section.wrong(&key, line, format!("there is no scenario `{name}`"));
                }
                _ => thresholds.push(threshold),
            },
            Err(problem) => section.wrong(&key, line, problem),
        }
    }
    thresholds
}

/// `{ expression = "…", abort_on_fail = true, abort_after = "10s" }`; `None` if what is wrong has been noted.
fn aborting(mut table: Section<'_>) -> Option<Result<Threshold, String>> {
    let expression = table.text("expression");
    let expression = table.needed("expression", expression, "such as \"p99<50ms\"");
    let abort = table.boolean("abort_on_fail").unwrap_or(false);
    let after = table.duration("abort_after");
    if after.is_some() && !abort {
        table.lacks("abort_after", "means nothing without abort_on_fail = true");
    }
    table.finish();
    let threshold = match expression?.parse::<Threshold>() {
        Ok(threshold) => threshold,
        Err(error) => return Some(Err(error.to_string())),
    };
    if !abort {
        return Some(Ok(threshold));
    }
    if !threshold.can_abort() {
        return Some(Err(
            "only quantiles of the response time, error_rate and rate of the whole run can end it"
                .to_owned(),
        ));
    }
    Some(Ok(threshold.aborting_after(after.unwrap_or(Duration::ZERO))))
}
