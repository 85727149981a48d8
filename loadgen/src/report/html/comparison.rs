//! Two runs over each other, as a page.

use super::element::{document, escape, list, section, table};
use super::percentiles::{self, Curve};
use super::{date, heat, rates};
use crate::report::RunResult;
use crate::report::compare::text::{cells, conclusion};
use crate::report::compare::{Comparison, Judgement};

/// The page of a comparison.
pub fn page(comparison: &Comparison, first: &RunResult, second: &RunResult) -> String {
    let runs = [("baseline", first), ("candidate", second)];
    let mut html = heading(comparison, &runs);
    html += &section(
        "Figures",
        "An interval holds with at least 95 % confidence. It is of ranks and counts, widened by how much the seconds of a run \
         differ from each other; what only another day or machine would show is not in it.",
        &figures(comparison),
    );
    html += &section(
        "Latency by percentile",
        "Each step to the right is ten times rarer. Solid is the response time, from the intended start; dashed the service time, from the actual one.",
        &curves(&runs),
    );
    for (name, result) in runs {
        if let Some(map) = heat::draw(&result.seconds) {
            html += &section(&format!("Latency over time, {name}"), "", &map);
        }
        let drawn = rates::draw(&result.seconds);
        if !drawn.is_empty() {
            html += &section(&format!("Over time, {name}"), "", &drawn);
        }
    }
    html += &section("Choices that differ", "", &differences(comparison));
    document(&format!("{}: two runs", word(comparison)), &html)
}

fn word(comparison: &Comparison) -> &'static str {
    match comparison.judgement {
        Judgement::Worse => "regression",
        Judgement::Inconclusive => "inconclusive",
        Judgement::Better | Judgement::NotWorse => "no regression",
    }
}

fn heading(comparison: &Comparison, runs: &[(&str, &RunResult)]) -> String {
    let class = match comparison.judgement {
        Judgement::Worse => "bad",
        Judgement::Inconclusive => "doubt",
        Judgement::Better | Judgement::NotWorse => "good",
    };
    let runs: Vec<_> = runs
        .iter()
        .map(|(name, result)| {
            let target = &result.choices.target;
            format!(
                "{name}: https://{}{}, {}, {}",
                target.authority(),
                target.path,
                date(&result.run.started_at),
                result.validity.verdict.name()
            )
        })
        .collect();
    format!(
        "<header class=\"{class}\">\n<p class=\"verdict\">{}</p>\n<h1>Two runs compared</h1>\n<p class=\"lead\">{}</p>\n{}{}</header>\n",
        escape(word(comparison)),
        escape(&conclusion(comparison)),
        list("runs", &runs),
        list("reasons", &comparison.notes)
    )
}

fn figures(comparison: &Comparison) -> String {
    let rows: Vec<_> = comparison
        .figures
        .iter()
        .map(|figure| {
            let mut row = vec![figure.name.clone()];
            row.extend(cells(figure));
            row
        })
        .collect();
    let headings = [
        "",
        "baseline",
        "candidate",
        "change",
        "interval",
        "judgement",
    ];
    table(1, &headings, &rows)
}

fn curves(runs: &[(&str, &RunResult); 2]) -> String {
    let [(_, first), (_, second)] = runs;
    let of = |result: &RunResult, name: &str, label: &str, class| {
        Curve::of(result.metric(name, "all")?, label, class)
    };
    let curves: Vec<_> = [
        of(
            second,
            "response_time",
            "candidate, response time",
            "second",
        ),
        of(first, "response_time", "baseline, response time", "first"),
        of(second, "service_time", "candidate, service time", "upper"),
        of(first, "service_time", "baseline, service time", "lower"),
    ]
    .into_iter()
    .flatten()
    .collect();
    percentiles::draw(&curves, &[])
}

fn differences(comparison: &Comparison) -> String {
    if comparison.differences.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
    let rows: Vec<_> = comparison
        .differences
        .iter()
        .map(|difference| {
            vec![
                difference.name.clone(),
                show(&difference.first),
                show(&difference.second),
            ]
        })
        .collect();
    table(3, &["choice", "baseline", "candidate"], &rows)
}
