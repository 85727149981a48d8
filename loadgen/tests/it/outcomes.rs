//! Each way in which an attempt fails has its own name.

use std::net::TcpListener;
use std::time::Duration;

use loadgen::plan::{FleetSpec, Limit, Mode, Protocol, TlsVersion};
use loadgen::report::ErrorCount;
use loadgen::{RunError, Stop};

use crate::models::{closed, execute, limit, plan, run, speak};
use crate::pki;
use crate::server::{Behaviour, Options, Server};

fn only_error(behaviour: Behaviour, timeout: Duration) -> ErrorCount {
    let server = Server::start(Options {
        behaviour,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    limit(&mut plan, Limit::Count(8));
    plan.timeout = timeout;
    let result = run(&plan);
    assert_eq!(result.counts.failed, 8);
    assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
    result.errors[0].clone()
}

fn described(error: &ErrorCount) -> String {
    format!(
        "{} {} {} {}",
        error.class, error.code, error.direction, error.when
    )
}

const PATIENT: Duration = Duration::from_secs(5);
const IMPATIENT: Duration = Duration::from_millis(100);

#[test]
fn statuses_and_silence_are_told_apart() {
    let error = only_error(Behaviour::Status(503), PATIENT);
    assert_eq!(described(&error), "status 503 received response");
    let error = only_error(Behaviour::SilentTls, IMPATIENT);
    assert_eq!(described(&error), "timeout  local handshake");
    let error = only_error(Behaviour::SilentHttp, IMPATIENT);
    assert_eq!(described(&error), "timeout  local first_byte");
    let error = only_error(Behaviour::Resets, PATIENT);
    assert_eq!(described(&error), "reset  received first_byte");
    let error = only_error(Behaviour::Closes, PATIENT);
    assert_eq!(described(&error), "closed  received first_byte");
}

#[test]
fn a_device_gives_up_while_it_is_not_accepted_and_waits_once_it_is() {
    let given_up = |behaviour, tickets| {
        let server = Server::start(Options {
            behaviour,
            tickets,
            ..Options::default()
        });
        let mut plan = plan(&server, Mode::Full);
        limit(&mut plan, Limit::Count(8));
        plan.timeout = 3 * IMPATIENT;
        plan.patience = Some(IMPATIENT);
        let result = run(&plan);
        assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
        described(&result.errors[0])
    };
    let handshake = given_up(Behaviour::SilentTls, true);
    assert_eq!(handshake, "gave_up  local handshake");
    let unheard = given_up(Behaviour::SilentHttp, false);
    assert_eq!(unheard, "gave_up  local first_byte");
    // The ticket says that it was accepted.
    let accepted = given_up(Behaviour::SilentHttp, true);
    assert_eq!(accepted, "timeout  local first_byte");
}

#[test]
fn a_refused_device_was_never_accepted() {
    for (tls, moment) in [
        (TlsVersion::Tls13, "first_byte"),
        (TlsVersion::Tls12, "handshake"),
    ] {
        let server = Server::start(Options {
            trusts: pki::strangers(),
            ..Options::default()
        });
        let mut plan = plan(&server, Mode::Full);
        plan.tls = tls;
        let result = run(&plan);
        assert_eq!((result.counts.accepted, result.counts.ok), (0, 0));
        assert_eq!(result.counts.failed, 60);
        // In TLS 1.3 the client is through before the server has looked at its certificate.
        assert_eq!(result.counts.client_finished > 0, tls == TlsVersion::Tls13);
        assert_eq!(result.handshakes.full, 0);
        let error = &result.errors[0];
        assert_eq!(
            described(error),
            format!("refused unknown_ca received {moment}")
        );
        assert_eq!(error.count, 60, "{:?}", result.errors);
    }
}

#[test]
fn a_ticket_is_a_sign_of_acceptance() {
    let server = Server::start(Options {
        behaviour: Behaviour::SilentHttp,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    limit(&mut plan, Limit::Count(4));
    plan.timeout = Duration::from_millis(200);
    let result = run(&plan);
    assert_eq!((result.counts.accepted, result.counts.ok), (4, 0));
    assert_eq!(result.handshakes.full, 4);
}

fn refused(change: impl FnOnce(&mut loadgen::Plan), options: Options) -> RunError {
    let server = Server::start(options);
    let mut plan = plan(&server, Mode::Full);
    change(&mut plan);
    loadgen::run(&plan, Stop::never(), |_| ()).unwrap_err()
}

#[test]
fn what_only_the_operator_can_mend_ends_the_run_at_once() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = refused(
        |plan| plan.target.connect_to = Some(unused),
        Options::default(),
    );
    assert!(matches!(nobody, RunError::NobodyListens(_)), "{nobody}");

    let presents = Options {
        presents: pki::strangers(),
        ..Options::default()
    };
    let certificate = refused(|_| (), presents).to_string();
    assert!(certificate.contains("--pki"), "{certificate}");

    let http1_only = Options {
        alpn: &[b"http/1.1"],
        ..Options::default()
    };
    let alpn = refused(|plan| speak(plan, Mode::Full, Protocol::H2, 0), http1_only).to_string();
    assert!(alpn.contains("--protocol"), "{alpn}");

    let address = refused(
        |plan| plan.source_addresses = "192.0.2.1".parse().unwrap(),
        Options::default(),
    );
    assert!(address.to_string().contains("--source-ips"), "{address}");

    let family = refused(
        |plan| plan.source_addresses = "::1".parse().unwrap(),
        Options::default(),
    );
    assert!(family.to_string().contains("IPv6"), "{family}");

    let crowd = refused(|plan| execute(plan, closed(99)), Options::default());
    assert!(
        crowd.to_string().contains("99 devices at a time")
            && crowd.to_string().contains("--connections"),
        "{crowd}"
    );

    let few = refused(|plan| plan.devices = Some(99), Options::default());
    assert!(few.to_string().contains("--devices"), "{few}");

    let missing = refused(
        |plan| plan.fleet = FleetSpec::folder("no-such-folder"),
        Options::default(),
    );
    let missing = missing.to_string();
    assert!(
        missing.contains("no-such-folder") && missing.contains("--pki"),
        "{missing}"
    );

    let pid = refused(
        |plan| plan.watch_pids = vec![u32::MAX / 4],
        Options::default(),
    );
    assert!(pid.to_string().contains("--watch-pid"), "{pid}");
}
