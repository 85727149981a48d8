use std::path::Path;
use std::time::Duration;

use super::{Config, ConfigError};
use crate::tls;

const SMALLEST: &str = r#"
    [tls]
    certificate = "server.pem"
    private_key = "server.key"
    [trust]
    anchors = ["trust-anchor.pem"]
    [[listeners]]
    name = "devices"
    address = "127.0.0.1:8443"
    [[upstreams]]
    name = "telemetry"
    endpoints = ["http://127.0.0.1:9000"]
    [[routes]]
    path_prefix = "/"
    upstream = "telemetry"
"#;

fn parse(text: &str) -> Result<Config, Vec<ConfigError>> {
    Config::parse(text, Path::new("/etc/fleetgate"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_smallest_file_has_sound_defaults() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.certificate, Path::new("/etc/fleetgate/server.pem"));
    assert_eq!(
        config.trust_domains[0].files.anchors,
        [Path::new("/etc/fleetgate/trust-anchor.pem")]
    );
    assert_eq!(config.tls.min_version, tls::Version::Tls12);
    assert_eq!(config.tls.groups, [tls::Group::X25519, tls::Group::P256]);
    assert!(config.resumption.enabled && config.resumption.secret_file.is_none());
    assert_eq!(config.settings.handshake.timeout, Duration::from_secs(10));
    assert_eq!(config.settings.forward.max_request_body, None);
    assert_eq!(config.server.workers, None);
    assert_eq!(config.admin, None);
}

#[test]
fn the_example_in_the_repository_parses() {
    let text = include_str!("../../gateway.example.toml");
    let config = parse(text).unwrap();
    assert!(config.admin.is_some());
    let commented: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
                .unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    parse(&commented).expect("what the example has commented out parses too");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = SMALLEST
        .replace("private_key", "private_kye")
        .replace("\"127.0.0.1:8443\"", "8443")
        .replace("upstream = \"telemetry\"", "upstream = \"nowhere\"")
        + "[timeouts]\nidle = \"soon\"\nhandshake = 5\n[limits]\nstreams = 0\nrequest_head = \"1KB\"\n[sever]\nworkers = 2\n";
    let problems = problems(&text);
    for expected in [
        "tls.private_key: this key is needed",
        "tls.private_kye: unknown key; did you mean \"private_key\"?",
        "listeners[0].address: an address and a port such as \"127.0.0.1:8443\" is needed, not 8443",
        "routes[0].upstream: no upstream is called \"nowhere\"",
        "timeouts.idle: \"soon\" is no duration; write 500ms, 30s, 5m, 12h or 90d",
        "timeouts.handshake: a duration such as \"500ms\" or \"30s\" is needed, not 5",
        "limits.streams: 0 is not between 1 and 10000",
        "limits.request_head: \"1KB\" is no size; write 512B, 64KiB, 10MiB or 1GiB",
        "sever: unknown key; did you mean \"server\"?",
    ] {
        assert!(
            problems.iter().any(|problem| problem == expected),
            "{expected}\nis not in\n{problems:#?}"
        );
    }
    assert_eq!(problems.len(), 9, "{problems:#?}");
}

#[test]
fn an_empty_file_names_what_is_needed_and_no_more() {
    assert_eq!(
        problems(""),
        [
            "tls: this section is needed",
            "upstreams: at least one [[upstreams]] is needed",
            "listeners: at least one [[listeners]] is needed",
            "routes: at least one [[routes]] is needed",
            "trust: this section is needed",
        ]
    );
}

#[test]
fn a_syntax_error_says_where() {
    let problems = problems("[tls\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("line 1"), "{problems:?}");
}

#[test]
fn doubles_are_refused() {
    let again = "[[listeners]]\nname = \"devices\"\naddress = \"127.0.0.1:8443\"\n";
    assert_eq!(
        problems(&(SMALLEST.to_owned() + again)),
        [
            "listeners[1].name: another listener is called \"devices\" too",
            "listeners[1].address: another listener has 127.0.0.1:8443 too",
        ]
    );
}

#[test]
fn a_response_may_not_take_longer_than_a_connection_may_stand_still() {
    let text = SMALLEST.to_owned() + "[timeouts]\nidle = \"20s\"\n";
    assert_eq!(
        problems(&text),
        [
            "upstreams[0].response_timeout: it is longer than timeouts.idle, which would end the connection first"
        ]
    );
}
