//! A server that takes one device for another serves both: only what it says about them shows it.

use loadgen::plan::{Limit, Mode, Protocol};
use loadgen::report::text;
use loadgen::{Plan, RunError, RunResult, Stop};

use crate::models::{limit, plan, run, speak};
use crate::server::{Behaviour, Honesty, Options, Server};

fn server(honesty: Honesty) -> Server {
    Server::start(Options {
        behaviour: Behaviour::NamesDevice(honesty),
        ..Options::default()
    })
}

fn looking_at(server: &Server, mode: Mode, place: &str) -> Plan {
    let mut plan = plan(server, mode);
    plan.verify_identity = Some(place.parse().unwrap());
    limit(&mut plan, Limit::Count(60));
    plan
}

fn error(result: &RunResult) -> (&str, &str, u64) {
    assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
    let error = &result.errors[0];
    (error.class.as_str(), error.code.as_str(), error.count)
}

#[test]
fn an_honest_server_is_believed_by_head_and_by_body() {
    for protocol in [Protocol::Http1, Protocol::H2] {
        for place in ["header:X-Device-Subject", "json:/who/subject"] {
            let server = server(Honesty::Honest);
            let mut plan = looking_at(&server, Mode::Mixed, place);
            speak(&mut plan, Mode::Mixed, protocol, 256);
            let result = run(&plan);
            assert_eq!(result.counts.ok, 60, "{:?}", result.errors);
            let identity = result.identity.unwrap();
            let before = result.before_window.counts.ok;
            assert_eq!(identity.checked, 60 + before, "{place}");
            assert_eq!((identity.mismatches, identity.absent), (0, 0), "{place}");
            assert!(result.thresholds_hold());
            assert_eq!(result.thresholds[0].expression, "identity_mismatches<1");
            assert!(text::render(&result).contains("0 of another device"));
        }
    }
}

#[test]
fn sessions_resumed_for_another_device_are_found_and_fail_the_run() {
    let server = server(Honesty::MistakenWhenResumed);
    let plan = looking_at(&server, Mode::Resume, "header:x-device-subject");
    let result = run(&plan);
    // Preparation is honest: full handshakes.
    assert_eq!(result.before_window.counts.failed, 0);
    assert_eq!(error(&result), ("identity", "mismatch", 60));
    let identity = result.identity.unwrap();
    assert_eq!((identity.mismatches, identity.mismatches_resumed), (60, 60));
    assert!(!result.thresholds_hold());
    let full = looking_at(&server, Mode::Full, "header:x-device-subject");
    let result = run(&full);
    assert_eq!(
        (result.counts.ok, result.identity.unwrap().mismatches),
        (60, 0)
    );
}

#[test]
fn a_server_that_names_nobody_proves_nothing() {
    let server = server(Honesty::Mute);
    for place in [
        "header:x-device-subject",
        "json:/who/subject",
        "received:x-device-id",
    ] {
        let result = run(&looking_at(&server, Mode::Full, place));
        assert_eq!(error(&result), ("identity", "absent", 60), "{place}");
        assert_eq!(result.identity.unwrap().absent, 60);
        assert!(!result.thresholds_hold(), "{place}");
    }
}

#[test]
fn nothing_is_looked_at_unless_asked_for_and_only_where_there_are_answers() {
    let server = server(Honesty::MistakenWhenResumed);
    let result = run(&plan(&server, Mode::Resume));
    assert_eq!((result.identity, result.counts.failed), (None, 0));
    let mut silent = looking_at(&server, Mode::Full, "header:x");
    speak(&mut silent, Mode::Full, Protocol::Tls, 0);
    let refused = loadgen::run(&silent, Stop::never(), |_| ());
    assert!(
        matches!(refused, Err(RunError::NothingEchoed)),
        "{refused:?}"
    );
}
