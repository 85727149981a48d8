//! The published schema describes what is written, all of it, and what was written before.

use std::time::Duration;

use loadgen::plan::{Limit, Mode};
use loadgen::report::{csv, html, json, markdown, merge, text};
use loadgen::{RunResult, Stop, stop_channel};
use serde_json::Value;

use crate::models::{execute, limit, open, plan, run};
use crate::server::{Behaviour, Options, Server};

const SCHEMA: &str = include_str!("../../result.schema.json");
/// A result of before there were scenarios, segments or a histogram per second.
const FIRST: &str = include_str!("../data/result-of-first-version.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The same schema with every object closed: a key that it does not describe is an error. The plan is described by its own schema.
fn closed(mut schema: Value) -> Value {
    fn close(value: &mut Value, name: &str) {
        match value {
            Value::Object(keys) => {
                if keys.contains_key("properties") && name != "choices" {
                    keys.insert("additionalProperties".to_owned(), false.into());
                }
                for (key, value) in keys.iter_mut() {
                    if name != "choices" {
                        close(value, key);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| close(item, name)),
            _ => {}
        }
    }
    close(&mut schema, "");
    schema
}

fn complaints(schema: &Value, instance: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// What is written to a file for this result must be described, key by key.
fn check(what: &str, result: &RunResult) {
    let written = serde_json::to_value(result).unwrap();
    assert_eq!(
        complaints(&closed(schema()), &written),
        [] as [String; 0],
        "{what}: describe new keys in loadgen/result.schema.json"
    );
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let mut wrong = serde_json::from_str::<Value>(FIRST).unwrap();
    wrong["counts"]["ok"] = "many".into();
    wrong["schema"] = "loadgen.result/2".into();
    wrong.as_object_mut().unwrap().remove("errors");
    assert_eq!(complaints(&schema(), &wrong).len(), 3);
}

#[test]
fn every_mode_writes_what_the_schema_describes() {
    let server = Server::start(Options::default());
    for mode in [Mode::Full, Mode::Resume, Mode::Telemetry, Mode::Mixed] {
        let mut plan = plan(&server, mode);
        plan.watch_pids = vec![std::process::id()];
        plan.thresholds = vec!["p99<1s".parse().unwrap()];
        check(&format!("{mode:?}"), &run(&plan));
    }
    let mut plan = plan(&server, Mode::Full);
    execute(&mut plan, open(300.0));
    check("open model", &run(&plan));
}

#[test]
fn failures_write_what_the_schema_describes() {
    for behaviour in [
        Behaviour::Status(503),
        Behaviour::Resets,
        Behaviour::SilentTls,
    ] {
        let server = Server::start(Options {
            behaviour,
            ..Options::default()
        });
        let mut plan = plan(&server, Mode::Full);
        plan.timeout = Duration::from_millis(50);
        let result = run(&plan);
        assert!(!result.errors.is_empty());
        check(&format!("{behaviour:?}"), &result);
    }
}

#[test]
fn an_interrupted_run_and_a_merged_one_write_what_the_schema_describes() {
    let server = Server::start(Options::default());
    let mut endless = plan(&server, Mode::Mixed);
    limit(
        &mut endless,
        Limit::DurationSeconds(Duration::from_secs(600)),
    );
    let (handle, stop) = stop_channel();
    let interrupted = loadgen::run(&endless, stop, |_| handle.stop()).unwrap();
    assert!(interrupted.run.interrupted);
    check("interrupted", &interrupted);

    let parts = ["0/2", "1/2"].map(|segment| {
        let mut plan = plan(&server, Mode::Full);
        plan.segment = segment.parse().unwrap();
        plan.shards = Some(1);
        plan.watch_pids = vec![std::process::id()];
        let result = loadgen::run(&plan, Stop::never(), |_| ()).unwrap();
        (segment.to_owned(), result)
    });
    check("merged", &merge::merge(&parts).unwrap());
}

#[test]
fn the_first_results_are_still_read_and_reported() {
    let written: Value = serde_json::from_str(FIRST).unwrap();
    assert_eq!(complaints(&schema(), &written), [] as [String; 0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("first.json");
    std::fs::write(&path, FIRST).unwrap();
    let result = json::load(&path).unwrap();
    assert_eq!(result.counts.ok, 300);
    check("read and written again", &result);
    assert!(text::render(&result).contains("300 ok"));
    assert!(markdown::render(&result).contains("response time"));
    assert_eq!(
        csv::series(&result).lines().count(),
        result.seconds.len() + 1
    );
    let page = html::page(&result);
    assert!(page.contains("Latency by percentile") && !page.contains("NaN"));
}
