//! What plan files say, and what is said about bad ones.

use super::*;
use crate::plan::fleet::Identities;
use crate::plan::threshold::Subject;
use crate::plan::{
    Backoff, Connect, Executor, Part, Protocol, ReconnectStorm, Spread, Stage, workload::Exchange,
};

fn read(text: &str) -> Result<PlanFile, Vec<String>> {
    PlanFile::read(text, Path::new("/plans"))
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

fn problems(text: &str) -> Vec<String> {
    read(text).unwrap_err()
}

const SMALLEST: &str = "
[scenarios.load]
executor = \"constant-devices\"
devices = 4
activity = \"full\"
";

#[test]
fn the_smallest_plan_has_the_command_line_s_defaults() {
    let target = Target::parse("https://127.0.0.1:8443").unwrap();
    let fleet = FleetSpec::folder("pki");
    let plan = read(SMALLEST)
        .unwrap()
        .into_plan(target.clone(), fleet.clone());
    let mut wanted = Plan::new(target, "");
    wanted.fleet = fleet;
    let Executor::ConstantDevices(constant) = &mut wanted.scenarios.first_mut().executor else {
        panic!("{wanted:?}");
    };
    constant.devices = 4;
    assert_eq!(plan, wanted);
}

#[test]
fn everything_can_be_said() {
    let file = read(
        r#"
target = "https://gateway.example:8443/telemetry"
connect_to = "127.0.0.1:8443"
duration = "5m"
warmup = "10s"
tls = "1.2"
groups = ["X25519MLKEM768", "P-256"]
source_ips = "127.0.1.1-127.0.1.9"
timeout = "3s"
distance = "60ms,300ms"
patience = "1500ms"
seed = 7
shards = 1
watch_pids = [4711]
thresholds = ["p99<50ms", { expression = "error_rate<5%", abort_on_fail = true, abort_after = "10s" }]

[fleet]
mint_ca = "ca.pem"
mint_key = "/keys/ca.key"
keys = "p256:80,ed25519:20"
bad = "expired:1%"
devices = 5000

[scenarios.steady]
executor = "ramping-arrival-rate"
stages = [{ duration = "1m", target = "200/s" }, { duration = "30s", target = "0/s" }]
arrivals = "poisson"
share = "70%"
activity = "telemetry"
protocol = "h2"
payload = "1KiB"

[scenarios.storm]
executor = "reconnect-storm"
range = "100-199"
start = "30s"
over = "5s"
max_retries = 9
backoff = { initial = "500ms", factor = 3, cap = "20s", jitter = "50%" }

[scenarios.storm.activity]
resume_ratio = 0.8
close = "reset"
exchange = { protocol = "mqtt5", publish = { topic = "t/{device}", bytes = "1KiB", qos = 1 } }
"#,
    )
    .unwrap();
    assert_eq!(file.target.as_ref().unwrap().host, "gateway.example");
    assert_eq!(
        file.target.as_ref().unwrap().connect_to.unwrap().port(),
        8443
    );
    let fleet = file.fleet.as_ref().unwrap();
    let Identities::Minted { mint } = &fleet.identities else {
        panic!("{fleet:?}");
    };
    // Relative to the file.
    assert_eq!(mint.ca, Path::new("/plans/ca.pem"));
    assert_eq!(mint.key, Path::new("/keys/ca.key"));
    assert_eq!((file.devices, file.tls), (Some(5000), TlsVersion::Tls12));
    assert_eq!(file.groups, [Group::X25519MlKem768, Group::P256]);
    assert_eq!(file.thresholds[0].subject, Subject::ResponseTime(0.99));
    assert_eq!(
        file.thresholds[1].abort_on_fail,
        Some(Duration::from_secs(10))
    );
    let scenarios: Vec<_> = file.scenarios.iter().collect();
    assert_eq!(scenarios[0].devices, Part::Share(0.7));
    let Executor::RampingArrivalRate(ramping) = &scenarios[0].executor else {
        panic!("{:?}", scenarios[0]);
    };
    let stage = |target, seconds| Stage {
        target,
        duration: Duration::from_secs(seconds),
    };
    assert_eq!(ramping.stages, [stage(200.0, 60), stage(0.0, 30)]);
    assert_eq!(scenarios[0].activity.exchange.protocol(), Protocol::H2);
    let storm = ReconnectStorm {
        first: Spread {
            over: Duration::from_secs(5),
            ..Spread::default()
        },
        backoff: Backoff {
            initial: Duration::from_millis(500),
            factor: 3.0,
            cap: Duration::from_secs(20),
            jitter: 0.5,
        },
        max_retries: Some(9),
        at_most: Some(Duration::from_secs(600)),
    };
    assert_eq!(scenarios[1].executor, Executor::ReconnectStorm(storm));
    assert_eq!(scenarios[1].devices, Part::Range(100, 199));
    assert!(matches!(scenarios[1].activity.exchange, Exchange::Mqtt5(_)));
    let preparation = scenarios[1].executor.preparation(&scenarios[1].activity);
    assert_eq!(preparation.unwrap().connect, Connect::Full);
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_line() {
    let found = problems(
        r#"
targt = "https://a"
duration = 30
tls = "1.1"
groups = ["X25519", "P-999"]
watch_pids = [0]
thresholds = ["p99<50", "p99{scenario=nobody}<1s", { expression = "overflow<1", abort_on_fail = true }]

[fleet]
pki = "pki"
keys = "p256"
devices = 0

[scenarios.a]
executor = "constant-arrivals-rate"

[scenarios.b]
executor = "constant-arrival-rate"
rate = "fast"
duraton = "3s"
activity = "half"
share = 1.5

[scenarios.c]
executor = "ramping-devices"
stages = [{ duration = "1s", target = -3 }, { target = 4 }]
activity = { resume_ratio = 3, reuze = 1 }
"#,
    );
    let wanted = [
        "line 2: targt: unknown key; did you mean \"target\"?",
        "line 3: duration: a duration such as \"500ms\" or \"30s\" is needed, not 30",
        "line 4: tls: unknown: \"1.1\"; did you mean \"1.2\"?",
        "line 5: groups: \"P-999\" is not one of",
        "line 6: watch_pids: 0 is not a process id",
        "line 7: thresholds[0]: `p99<50`: the limit must be",
        "line 7: thresholds[1]: there is no scenario `nobody`",
        "line 7: thresholds[2]: only quantiles",
        "line 9: fleet.keys: means nothing without mint_ca",
        "line 12: fleet.devices: 0 is not a whole number of at least 1",
        "line 15: scenarios.a.executor: unknown: \"constant-arrivals-rate\"; did you mean \"constant-arrival-rate\"?",
        "line 14: scenarios.a.activity: this key is needed",
        "line 19: scenarios.b.rate: `fast` is not a rate",
        "line 20: scenarios.b.duraton: unknown key; did you mean \"duration\"?",
        "line 21: scenarios.b.activity: unknown: \"half\"",
        "line 22: scenarios.b.share: 1.5 is not between 0 and 1",
        "line 26: scenarios.c.stages[0].target: -3 is not a whole number",
        "line 26: scenarios.c.stages[1].duration: this key is needed",
        "line 27: scenarios.c.activity.reuze: unknown key; did you mean \"reuse\"?",
        "line 27: scenarios.c.activity: `resume_ratio` is 3",
    ];
    for wanted in wanted {
        assert!(
            found.iter().any(|found| found.starts_with(wanted)),
            "{wanted}\n{found:#?}"
        );
    }
    assert!(found.is_sorted_by_key(|found| {
        let number = found.trim_start_matches("line ").split(':').next();
        number.unwrap().parse::<usize>().unwrap()
    }));
}

#[test]
fn errors_of_syntax_have_their_lines() {
    let found = problems("a = \n[scenarios\nb = 'x");
    assert!(
        found.iter().any(|found| found.starts_with("line 1")),
        "{found:?}"
    );
    assert!(found.len() >= 2, "{found:?}");
    let twice = problems("seed = 1\nseed = 2\n");
    assert!(
        twice[0].contains("line 2") && twice[0].contains("duplicate"),
        "{twice:?}"
    );
}

#[test]
fn garbage_of_any_kind_is_an_error_and_no_panic() {
    for text in [
        "",
        "\u{0}",
        "scenarios = 3",
        "[scenarios]",
        "[[scenarios]]\nname = \"x\"",
        "[scenarios.\"\"]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "[scenarios.\"a b\"]\nexecutor = \"hold\"\nactivity = \"idle\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = [1]",
        "[scenarios.a]\nexecutor = 1979-05-27\nactivity = \"idle\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nduration = \"0s\"",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nshare = nan",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nshare = 0.5\nnumber = 3",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nrange = \"9-1\"",
        "[scenarios.a]\nexecutor = \"constant-devices\"\ndevices = 99999999999999999999\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"constant-devices\"\ndevices = 1\ncount = 1\nduration = \"1s\"\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"ramping-devices\"\nstages = []\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"ramping-devices\"\nstages = [{duration = \"0s\", target = 1}]\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"reconnect-storm\"\nbackoff = { initial = \"9s\", cap = \"1s\" }\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"reconnect-storm\"\nbackoff = { factor = 0.5 }\nactivity = \"full\"",
        "[scenarios.a]\nexecutor = \"hold\"\nprotocol = \"h2\"\nactivity = { reuse = 1 }",
        "[scenarios.a]\nexecutor = \"hold\"\nactivity = \"idle\"\nrate = \"3/s\"",
    ] {
        assert!(!problems(text).is_empty(), "{text}");
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!problems(&deep).is_empty());
}

#[test]
fn a_warm_up_is_usual_only_where_something_can_warm_up() {
    let storm = "[scenarios.a]\nexecutor = \"reconnect-storm\"\nactivity = \"resume\"\n";
    assert_eq!(read(storm).unwrap().warmup, Duration::ZERO);
    assert_eq!(read(SMALLEST).unwrap().warmup, Duration::from_secs(2));
    let counted = format!("{SMALLEST}count = 5\n");
    assert_eq!(read(&counted).unwrap().warmup, Duration::ZERO);
}

#[test]
fn scenarios_that_cannot_share_devices_are_named() {
    let with = |part: &str, activity: &str| {
        format!(
            "[scenarios.telemetry]\nexecutor = \"constant-arrival-rate\"\nrate = \"9/s\"\nactivity = \"telemetry\"\n\
             [scenarios.updates]\nexecutor = \"constant-devices\"\ndevices = 1\n{part}\n{activity}"
        )
    };
    let mqtt = "activity = \"telemetry\"\nprotocol = \"mqtt5\"";
    let said = problems(&with("", mqtt));
    assert_eq!(said.len(), 1, "{said:?}");
    for wanted in [
        "line 5: scenarios: ",
        "`telemetry`",
        "`updates`",
        "HTTP/1.1",
        "MQTT 5",
    ] {
        assert!(said[0].contains(wanted), "{wanted}: {said:?}");
    }
    let visits = "activity = \"full\"\nprotocol = \"h2\"";
    assert!(problems(&with("range = \"0-9\"", visits))[0].contains("HTTP/2"));
    assert!(read(&with("", "activity = \"mixed\"")).is_ok());
}
