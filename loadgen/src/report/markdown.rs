//! A result as Markdown, short enough for a pull request: verdict, headline figures, failures; the rest folded away.

use std::fmt::Write as _;

use super::RunResult;
use super::bad_devices;
use super::headline::{found, shown_names, shown_quantiles};
use super::number::{count, percent, plain, quantity, time};

/// The whole report.
pub fn render(result: &RunResult) -> String {
    let mut text = format!(
        "### loadgen: {} against {}\n\n{}\n\n",
        result.validity.verdict.name(),
        escape(&result.choices.target.authority()),
        escape(&result.conclusion())
    );
    for reason in &result.validity.reasons {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "- {}", escape(reason));
    }
    if !result.validity.reasons.is_empty() {
        text.push('\n');
    }
    let rows: Vec<_> = result
        .thresholds
        .iter()
        .map(|threshold| {
            vec![
                threshold.expression.clone(),
                if threshold.holds {
                    "holds"
                } else {
                    "**fails**"
                }
                .to_owned(),
                found(&threshold.expression, threshold.value),
            ]
        })
        .collect();
    text += &table(&["threshold", "", "found"], &rows);
    text += &figures(result);
    text += &times(result);
    text += &errors(result);
    text += &table(
        &bad_devices::HEADINGS,
        &bad_devices::rows(&result.bad_devices),
    );
    text += &choices(result);
    text
}

fn figures(result: &RunResult) -> String {
    let counts = result.counts;
    let mut rows = vec![
        vec![
            "rate".to_owned(),
            format!(
                "{} /s of {} /s intended",
                quantity(result.rate_per_second),
                quantity(result.intended_per_second())
            ),
        ],
        vec![
            "failed or not sent".to_owned(),
            format!(
                "{} ({} of {})",
                percent(result.failed_share()),
                count(counts.failed + counts.overflow),
                count(counts.intended)
            ),
        ],
        vec![
            "handshakes".to_owned(),
            format!(
                "{} full, {} resumed",
                count(result.handshakes.full + result.handshakes.full_hrr),
                count(result.handshakes.resumed)
            ),
        ],
    ];
    if let Some(share) = result.resumption.accepted_share {
        rows.push(vec!["resumption".to_owned(), percent(share)]);
    }
    if let Some(cpu) = result
        .watched
        .as_ref()
        .and_then(|watched| watched.cpu_us_per_operation)
    {
        rows.push(vec!["server CPU per operation".to_owned(), time(cpu)]);
    }
    table(&["", "in the window"], &rows)
}

fn times(result: &RunResult) -> String {
    let rows: Vec<_> = ["response_time", "service_time"]
        .into_iter()
        .filter_map(|name| {
            let metric = result.metric(name, "all")?;
            let mut row = vec![name.replace('_', " ")];
            row.extend(shown_quantiles(metric, time));
            Some(row)
        })
        .collect();
    let names = shown_names();
    let mut headings = vec![""];
    headings.extend(names.iter().map(String::as_str));
    table(&headings, &rows)
}

fn errors(result: &RunResult) -> String {
    let rows: Vec<_> = result
        .errors
        .iter()
        .map(|error| {
            vec![
                error.class.clone(),
                error.code.clone(),
                error.direction.clone(),
                error.when.clone(),
                count(error.count),
            ]
        })
        .collect();
    table(&["error", "code", "direction", "awaiting", "count"], &rows)
}

fn choices(result: &RunResult) -> String {
    let rows: Vec<_> = result
        .choices_as_text()
        .into_iter()
        .map(|(name, value)| vec![name, value])
        .collect();
    format!(
        "<details><summary>What the run was told</summary>\n\n{}</details>\n",
        table(&["choice", "value"], &rows)
    )
}

/// A table of plain texts; the words that are bold by the report's own will stay so. Nothing without a row.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &mut dyn Iterator<Item = String>| -> String {
        cells.fold("|".to_owned(), |line, cell| format!("{line} {cell} |")) + "\n"
    };
    let mut text = line(&mut headings.iter().map(|heading| (*heading).to_owned()));
    text += &line(&mut headings.iter().map(|_| "---".to_owned()));
    for row in rows {
        text += &line(&mut row.iter().map(|cell| match cell.as_str() {
            "**fails**" => cell.clone(),
            cell => escape(cell),
        }));
    }
    text.push('\n');
    text
}

/// Text of others, so that it is neither mark-up nor HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_no_markup() {
        let hostile = "a|b](x) <img src=x> `c`\n# d";
        let escaped = escape(hostile);
        assert!(
            !escaped.contains('<') && !escaped.contains('\n'),
            "{escaped}"
        );
        let table = table(&["x"], &[vec![hostile.to_owned()]]);
        assert_eq!(table.trim_end().lines().count(), 3, "{table}");
        assert!(table.contains("a\\|b\\]"), "{table}");
    }
}
