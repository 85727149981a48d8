//! Plan files: the ready ones, the schema, and the program that reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use loadgen::plan::{Executor, FleetSpec, Limit, Plan, PlanFile, Target};
use loadgen::report::json;
use loadgen::{RunResult, Stop};
use serde_json::Value;

use crate::pki;
use crate::server::{Options, Server};

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn ready_plans() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(crate_folder().join("plans")).unwrap();
    let mut plans: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    plans.sort();
    assert!(plans.len() >= 7);
    plans
}

fn schema() -> Value {
    let text = std::fs::read_to_string(crate_folder().join("plan.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn as_json(toml: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(toml).unwrap()).unwrap()
}

/// The TOML examples in the README that are whole plans.
fn examples() -> Vec<String> {
    let readme = std::fs::read_to_string(crate_folder().join("README.md")).unwrap();
    let blocks = readme.split("```toml\n").skip(1);
    let examples: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect();
    assert!(!examples.is_empty());
    examples
}

#[test]
fn ready_plans_and_examples_are_read_and_fit_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let ready = ready_plans().into_iter().map(|(_, text)| text);
    for text in ready.chain(examples()) {
        let errors: Vec<_> = validator
            .iter_errors(&as_json(&text))
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{text}\n{errors:#?}");
        PlanFile::read(&text, Path::new("")).unwrap_or_else(|wrong| panic!("{text}\n{wrong:#?}"));
    }
}

#[test]
fn what_the_program_refuses_the_schema_refuses_too() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for text in [
        "",
        "scenarios = 3",
        "[scenarios]",
        "[scenarios.a]",
        "[scenarios.a]\nexecutor = \"constant\"\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"hold\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"half\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nrate = \"3/s\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nduration = \"soon\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nshare = 2",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nshare = \"130%\"",
        "[scenarios.\"a b\"]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "[scenarios.a]\nexecutor = \"constant-arrival-rate\"\nrate = 30\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"ramping-devices\"\nstages = []\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"reconnect-storm\"\nbackoff = { first = \"1s\" }\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = { reuse = 2 }",
        "target = \"http://a\"\n[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "thresholds = [\"p99\"]\n[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "targt = \"https://a\"\n[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "[fleet]\npkj = \"x\"\n[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"",
    ] {
        assert!(!validator.is_valid(&as_json(text)), "{text}");
        assert!(PlanFile::read(text, Path::new("")).is_err(), "{text}");
    }
}

/// The keys that the program says it knows in the table where `text` has the key `zzzzzzzzzz`.
fn known_keys(text: &str) -> BTreeSet<String> {
    let wrong = PlanFile::read(text, Path::new("")).unwrap_err();
    let unknown = wrong.iter().find(|wrong| wrong.key.ends_with("zzzzzzzzzz"));
    let problem = &unknown
        .unwrap_or_else(|| panic!("{text}\n{wrong:#?}"))
        .problem;
    let list = problem.split_once("known are ").unwrap().1;
    list.split(", ").map(str::to_owned).collect()
}

fn keys_of(schema: &Value) -> BTreeSet<String> {
    schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn schema_and_program_know_the_same_keys() {
    let schema = schema();
    assert_eq!(known_keys("zzzzzzzzzz = 1"), keys_of(&schema));
    assert_eq!(
        known_keys("[fleet]\nzzzzzzzzzz = 1"),
        keys_of(&schema["properties"]["fleet"])
    );
    let variants = schema["$defs"]["scenario"]["oneOf"].as_array().unwrap();
    let names: Vec<_> = variants
        .iter()
        .map(|variant| variant["title"].as_str().unwrap())
        .collect();
    assert_eq!(names, Executor::NAMES);
    for variant in variants {
        let name = variant["title"].as_str().unwrap();
        // With what it needs, so that it is read to its end.
        let needs = "rate = \"1/s\"\ndevices = 1\niterations = 1\nstages = [{ duration = \"1s\", target = 1 }]";
        let text = format!(
            "[scenarios.a]\nexecutor = \"{name}\"\nactivity = \"full\"\n{needs}\nzzzzzzzzzz = 1"
        );
        assert_eq!(known_keys(&text), keys_of(variant), "{name}");
    }
    let storm = "[scenarios.a]\nexecutor = \"reconnect-storm\"\nbackoff = { zzzzzzzzzz = 1 }";
    assert_eq!(known_keys(storm), keys_of(&schema["$defs"]["backoff"]));
    let activity = "[scenarios.a]\nexecutor = \"hold\"\nactivity = { zzzzzzzzzz = 1 }";
    assert_eq!(
        known_keys(activity),
        keys_of(&schema["$defs"]["activity"]["oneOf"][1])
    );
}

/// The same plan in a second: every time in it is shorter in the same proportion.
fn in_a_second(plan: &mut Plan) {
    let longest = plan
        .scenarios
        .iter()
        .filter_map(|scenario| Some(scenario.start + scenario.executor.duration()?))
        .max();
    let factor = 1.0 / longest.map_or(1.0, |longest| longest.as_secs_f64());
    plan.warmup = Duration::ZERO;
    for scenario in plan.scenarios.iter_mut() {
        let shorten = |time: &mut Duration| *time = time.mul_f64(factor);
        shorten(&mut scenario.start);
        match &mut scenario.executor {
            Executor::RampingArrivalRate(ramping) => {
                ramping
                    .stages
                    .iter_mut()
                    .for_each(|stage| shorten(&mut stage.duration));
            }
            Executor::RampingDevices(ramping) => {
                ramping
                    .stages
                    .iter_mut()
                    .for_each(|stage| shorten(&mut stage.duration));
            }
            Executor::ReconnectStorm(storm) => shorten(&mut storm.first.over),
            Executor::TicketExpiryWave(wave) => shorten(&mut wave.returns.over),
            Executor::RotateCertificates(rotation) => shorten(&mut rotation.changes.over),
            Executor::Hold(hold) => shorten(&mut hold.duration),
            executor => {
                if let Some(Limit::DurationSeconds(duration)) = executor.limit_mut() {
                    shorten(duration);
                }
            }
        }
    }
}

fn for_a_second(text: &str) -> RunResult {
    let server = Server::start(Options::default());
    let file = PlanFile::read(text, Path::new("")).unwrap();
    let target = Target::parse(&server.url()).unwrap();
    let mut fleet = FleetSpec::folder(pki::ours());
    let loadgen::plan::fleet::Identities::Folder { next_pki, .. } = &mut fleet.identities else {
        unreachable!()
    };
    *next_pki = Some(pki::ours().into());
    let mut plan = file.into_plan(target, fleet);
    in_a_second(&mut plan);
    loadgen::run(&plan, Stop::never(), |_| ()).unwrap()
}

#[test]
fn every_ready_plan_runs() {
    for (path, text) in ready_plans() {
        let result = for_a_second(&text);
        assert_eq!(
            result.counts.failed,
            0,
            "{}: {:?}",
            path.display(),
            result.errors
        );
        assert!(result.counts.ok > 10, "{}", path.display());
        for scenario in &result.scenarios {
            assert!(
                scenario.counts.ok > 0,
                "{}: {}",
                path.display(),
                scenario.name
            );
        }
        for threshold in &result.thresholds {
            let found = threshold.value.is_some();
            assert!(
                found,
                "{}: {} has no value",
                path.display(),
                threshold.expression
            );
        }
    }
}

fn loadgen(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

#[test]
fn check_says_all_that_is_wrong_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "duration = 3\n[scenarios.a]\nexecutor = \"hodl\"\n").unwrap();
    let good = crate_folder().join("plans/smoke.toml");
    let (bad, good) = (bad.to_str().unwrap(), good.to_str().unwrap());
    assert_eq!(loadgen(&["plan", "check", good]).0, Some(0));
    let (code, _, complaint) = loadgen(&["plan", "check", good, bad, "no-such.toml"]);
    assert_eq!(code, Some(2));
    for wanted in [
        "line 1: duration",
        "did you mean \"hold\"",
        "a.activity",
        "no-such.toml",
    ] {
        assert!(complaint.contains(wanted), "{wanted}: {complaint}");
    }
    let (code, _, complaint) = loadgen(&["run", bad]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("line 1: duration"), "{complaint}");
}

#[test]
fn flags_override_the_file() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let (plan, result) = (folder.path().join("a.toml"), folder.path().join("a.json"));
    let text = "target = \"https://127.0.0.1:1\"\nseed = 5\n[fleet]\npki = \"nowhere\"\n\
                [scenarios.only]\nexecutor = \"constant-devices\"\ndevices = 3\nactivity = \"full\"\n";
    std::fs::write(&plan, text).unwrap();
    let (plan, result, url) = (
        plan.to_str().unwrap(),
        result.to_str().unwrap(),
        server.url(),
    );
    let pki = pki::ours().to_str().unwrap();
    let run = |more: &[&str]| {
        let mut all = vec!["run", plan, "--target", &url, "--pki", pki];
        all.extend(more);
        loadgen(&all)
    };
    let (code, printed, complaint) =
        run(&["--count", "30", "--connections", "2", "--json", result]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(printed.contains("30 ok"), "{printed}");
    let result = json::load(Path::new(result)).unwrap();
    assert_eq!((result.choices.seed, result.counts.ok), (5, 30));
    let Executor::ConstantDevices(constant) = &result.choices.scenarios.first().executor else {
        panic!("{:?}", result.choices);
    };
    assert_eq!(constant.devices, 2);
    for (arguments, flag) in [
        (&["--rate", "3/s"][..], "--rate"),
        (&["--mode", "resume"], "--mode"),
        (&["--interval", "3s"], "--interval"),
    ] {
        let (code, _, complaint) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(complaint.contains(flag), "{complaint}");
    }
}

#[test]
fn no_flag_is_dropped_beside_a_file() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let (plan, result) = (folder.path().join("a.toml"), folder.path().join("a.json"));
    let text = format!(
        "target = \"{}\"\n[fleet]\npki = \"{}\"\n[scenarios.only]\nexecutor = \"per-device-iterations\"\n\
         iterations = 1\nactivity = \"full\"\n",
        server.url(),
        pki::ours().display()
    );
    std::fs::write(&plan, text).unwrap();
    let (plan, result) = (plan.to_str().unwrap(), result.to_str().unwrap());
    // The fleet of the file, another trust anchor: the server's certificate does not verify.
    let other_anchor = pki::strangers().join("trust-anchor.pem");
    let (code, _, complaint) = loadgen(&["run", plan, "--ca", other_anchor.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{complaint}");
    // What answers say of identities is looked at: this server says nothing of them.
    let looks = [
        "run",
        plan,
        "--verify-identity",
        "header:x-device",
        "--json",
        result,
    ];
    loadgen(&looks);
    let looked = json::load(Path::new(result)).unwrap();
    assert!(looked.choices.verify_identity.is_some());
    // Every device has its share of work, none goes on for a time.
    let (code, _, complaint) = loadgen(&["run", plan, "--duration", "3s"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--duration"), "{complaint}");
}

#[test]
fn a_threshold_can_end_a_run() {
    let server = Server::start(Options {
        behaviour: crate::server::Behaviour::Status(503),
        ..Options::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("a.toml");
    let text = "duration = \"10m\"\nwarmup = \"0s\"\nthresholds = [{ expression = \"error_rate<5%\", abort_on_fail = true }]\n\
                [scenarios.a]\nexecutor = \"constant-devices\"\ndevices = 1\nactivity = \"full\"\n";
    std::fs::write(&plan, text).unwrap();
    let pki = pki::ours().to_str().unwrap();
    let (code, printed, complaint) = loadgen(&[
        "run",
        plan.to_str().unwrap(),
        "--target",
        &server.url(),
        "--pki",
        pki,
    ]);
    assert_eq!(code, Some(99), "{complaint}");
    assert!(
        complaint.contains("ended early: error_rate<5%"),
        "{complaint}"
    );
    assert!(printed.contains("FAILS"), "{printed}");
}
