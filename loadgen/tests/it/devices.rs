//! What a device does on its connection: each protocol, how long it stays, how it leaves, and each way in which that fails.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loadgen::plan::workload::exchange::{Publication, Qos, Subscription};
use loadgen::plan::{
    Activity, Close, ConstantDevices, Exchange, Executor, Limit, Mode, Protocol, Telemetry,
    TlsVersion,
};
use loadgen::{Plan, RunResult};

use crate::models::{execute, limit, open, plan, run, speak};
use crate::peers::{Broker, Echo};
use crate::pki;
use crate::server::{Behaviour, Counters, Options, Server};

const MQTT: [Protocol; 2] = [Protocol::Mqtt, Protocol::Mqtt5];

fn server(behaviour: Behaviour) -> Server {
    Server::start(Options {
        behaviour,
        ..Options::default()
    })
}

fn number(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn activity(plan: &mut Plan) -> &mut Activity {
    &mut plan.scenarios.first_mut().activity
}

/// A run of `mode` in `protocol` against a server of this behaviour.
fn driven(
    behaviour: Behaviour,
    mode: Mode,
    protocol: Protocol,
    change: impl FnOnce(&mut Plan),
) -> (RunResult, Arc<Counters>) {
    let server = server(behaviour);
    let mut plan = plan(&server, mode);
    speak(&mut plan, mode, protocol, 100);
    change(&mut plan);
    assert_eq!(activity(&mut plan).errors(), []);
    let result = run(&plan);
    (result, server.counted())
}

fn only_error(result: &RunResult) -> String {
    let [error] = &result.errors[..] else {
        panic!("{:?}", result.errors);
    };
    assert_eq!(result.counts.ok, 0);
    let text = format!(
        "{} {} {} {}",
        error.class, error.code, error.direction, error.when
    );
    text.replace("  ", " ")
}

#[test]
fn websockets_exchange_messages_in_every_mode() {
    for mode in [Mode::Full, Mode::Resume, Mode::Telemetry, Mode::Mixed] {
        let behaviour = Behaviour::WebSocket(Echo::Faithful);
        let (result, counted) = driven(behaviour, mode, Protocol::Websocket, |plan| {
            let Exchange::Websocket(websocket) = &mut activity(plan).exchange else {
                panic!("no WebSocket");
            };
            websocket.messages = 3;
            websocket.subprotocol = Some("telemetry.v1".to_owned());
        });
        assert_eq!(result.counts.ok, 60, "{mode:?} {:?}", result.errors);
        let attempts = 60 + result.before_window.counts.ok;
        assert_eq!(number(&counted.seen.messages), 3 * attempts, "{mode:?}");
        assert_eq!(number(&counted.seen.pings), 3 * attempts, "{mode:?}");
        // Whoever leaves says goodbye.
        assert_eq!(
            number(&counted.seen.disconnects),
            number(&counted.connections)
        );
        let accepted = result.resumption.accepted + result.before_window.resumption.accepted;
        assert_eq!(accepted, number(&counted.resumed), "{mode:?}");
        assert_eq!(mode == Mode::Resume, result.resumption.accepted == 60);
    }
}

#[test]
fn what_goes_wrong_on_a_websocket_has_its_name() {
    let failed = |behaviour, subprotocol: Option<&str>| {
        let (result, _) = driven(behaviour, Mode::Full, Protocol::Websocket, |plan| {
            limit(plan, Limit::Count(4));
            plan.timeout = Duration::from_secs(2);
            if let Exchange::Websocket(websocket) = &mut activity(plan).exchange {
                websocket.subprotocol = subprotocol.map(str::to_owned);
            }
        });
        assert_eq!(result.counts.failed, 4);
        only_error(&result)
    };
    let echo = |echo| Behaviour::WebSocket(echo);
    let wrong = failed(echo(Echo::Wrong), None);
    assert_eq!(wrong, "wrong_content  received response".replace("  ", " "));
    assert_eq!(
        failed(echo(Echo::Close(1011)), None),
        "websocket 1011 received response"
    );
    assert_eq!(failed(echo(Echo::Drop), None), "closed received response");
    let subprotocol = failed(echo(Echo::Faithful), Some("telemetry.v2"));
    assert_eq!(subprotocol, "websocket subprotocol sent response");
    assert_eq!(
        failed(Behaviour::Status(403), None),
        "status 403 received response"
    );
}

#[test]
fn mqtt_clients_connect_publish_and_subscribe() {
    for protocol in MQTT {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let behaviour = Behaviour::Mqtt(Broker::Accepts);
            let (result, counted) = driven(behaviour, Mode::Telemetry, protocol, |plan| {
                let (Exchange::Mqtt(mqtt) | Exchange::Mqtt5(mqtt)) = &mut activity(plan).exchange
                else {
                    panic!("no MQTT");
                };
                mqtt.publish = Some(Publication {
                    topic: "devices/{device}/up".to_owned(),
                    bytes: 100,
                    qos,
                });
                mqtt.subscribe = Some(Subscription {
                    filter: "devices/{device}/+".to_owned(),
                    qos,
                });
                mqtt.echo = qos == Qos::AtMostOnce;
            });
            assert_eq!(
                result.counts.ok, 60,
                "{protocol:?} {qos:?} {:?}",
                result.errors
            );
            let attempts = 60 + pki::DEVICES as u64;
            assert_eq!(
                number(&counted.seen.messages),
                attempts,
                "{protocol:?} {qos:?}"
            );
            assert_eq!(number(&counted.connections), pki::DEVICES as u64);
            assert_eq!(number(&counted.seen.disconnects), pki::DEVICES as u64);
            assert_eq!(result.metric("response_time", "request").unwrap().count, 60);
        }
    }
}

#[test]
fn what_goes_wrong_in_mqtt_has_its_reason_and_its_moment() {
    let failed = |behaviour, protocol| {
        let (result, _) = driven(behaviour, Mode::Full, protocol, |plan| {
            limit(plan, Limit::Count(4));
            plan.timeout = Duration::from_millis(300);
            let (Exchange::Mqtt(mqtt) | Exchange::Mqtt5(mqtt)) = &mut activity(plan).exchange
            else {
                panic!("no MQTT");
            };
            mqtt.publish.as_mut().unwrap().qos = Qos::AtLeastOnce;
        });
        assert_eq!(result.counts.failed, 4);
        // Whoever is refused by the protocol had been accepted by TLS.
        assert_eq!(result.counts.accepted, 4);
        only_error(&result)
    };
    let broker = |broker| Behaviour::Mqtt(broker);
    let refused = failed(broker(Broker::Refuses(5)), Protocol::Mqtt);
    assert_eq!(refused, "mqtt not_authorized received response");
    let refused = failed(broker(Broker::Refuses(0x8a)), Protocol::Mqtt5);
    assert_eq!(refused, "mqtt banned received response");
    for protocol in MQTT {
        let silent = failed(Behaviour::SilentHttp, protocol);
        assert_eq!(silent, "timeout local first_byte");
        let forgotten = failed(broker(Broker::Forgets), protocol);
        assert_eq!(forgotten, "timeout local response");
        let flooded = failed(broker(Broker::Floods), protocol);
        assert_eq!(flooded, "protocol too_large sent response");
    }
}

#[test]
fn a_held_mqtt_connection_is_kept_alive() {
    let server = server(Behaviour::Mqtt(Broker::Accepts));
    let mut plan = plan(&server, Mode::Full);
    speak(&mut plan, Mode::Full, Protocol::Mqtt5, 10);
    let activity = activity(&mut plan);
    activity.hold = Some(Duration::from_millis(1500));
    let Exchange::Mqtt5(mqtt) = &mut activity.exchange else {
        panic!("no MQTT");
    };
    mqtt.keep_alive = Duration::from_secs(1);
    limit(&mut plan, Limit::Count(4));
    let result = run(&plan);
    assert_eq!(result.counts.ok, 4, "{:?}", result.errors);
    // It lived until the device said goodbye.
    assert_eq!(number(&server.counted().seen.disconnects), 4);
}

#[test]
fn a_download_has_its_length() {
    let download = |behaviour, protocol, expected| {
        driven(behaviour, Mode::Full, protocol, |plan| {
            limit(plan, Limit::Count(6));
            let (Exchange::Http1(http) | Exchange::H2(http)) = &mut activity(plan).exchange else {
                panic!("no HTTP");
            };
            http.opening.path = Some("/firmware.bin".to_owned());
            http.opening.expect_bytes = expected;
        })
        .0
    };
    for protocol in [Protocol::Http1, Protocol::H2] {
        let whole = Behaviour::Body(300_000);
        let result = download(whole, protocol, Some(300_000));
        assert_eq!(result.counts.ok, 6, "{:?}", result.errors);
        let received = result.metric("bytes_received", "full").unwrap().value(0.5);
        assert!(received.unwrap() > 300_000, "{received:?}");
        assert_eq!(download(whole, protocol, None).counts.ok, 6);
        let wrong = only_error(&download(whole, protocol, Some(300_001)));
        assert_eq!(wrong, "wrong_content received response");
    }
    let broken_off = download(Behaviour::HalfBody(1000), Protocol::Http1, None);
    assert_eq!(only_error(&broken_off), "closed received response");
}

#[test]
fn an_upload_is_streamed_on_the_new_connection() {
    for protocol in [Protocol::Http1, Protocol::H2] {
        let (result, counted) = driven(Behaviour::Answers, Mode::Full, protocol, |plan| {
            limit(plan, Limit::Count(6));
            if let Exchange::Http1(http) | Exchange::H2(http) = &mut activity(plan).exchange {
                http.opening.send_bytes = 200_000;
            }
        });
        assert_eq!(result.counts.ok, 6, "{:?}", result.errors);
        assert_eq!(number(&counted.body_bytes), 6 * 200_000);
    }
}

#[test]
fn the_ratio_of_resumptions_is_as_asked() {
    let (result, counted) = driven(Behaviour::Answers, Mode::Full, Protocol::Http1, |plan| {
        limit(plan, Limit::Count(400));
        activity(plan).resume_ratio = 0.8;
    });
    assert_eq!(result.counts.ok, 400, "{:?}", result.errors);
    let resumed = result.handshakes.resumed;
    assert!((280..360).contains(&resumed), "{resumed}");
    assert_eq!(resumed, number(&counted.resumed));
    assert_eq!(result.handshakes.full, 400 - resumed);
}

#[test]
fn a_device_leaves_as_asked() {
    for protocol in [Protocol::Http1, Protocol::Tls] {
        for close in [Close::Notify, Close::Fin, Close::Reset] {
            let (result, counted) = driven(Behaviour::NotesEnds, Mode::Full, protocol, |plan| {
                limit(plan, Limit::Count(8));
                activity(plan).close = close;
            });
            assert_eq!(result.counts.ok, 8, "{close:?} {:?}", result.errors);
            let seen = &counted.seen;
            let ends = [&seen.close_notify, &seen.fin, &seen.reset].map(number);
            let expected = match close {
                Close::Notify => [8, 0, 0],
                Close::Fin => [0, 8, 0],
                Close::Reset => [0, 0, 8],
            };
            assert_eq!(ends, expected, "{protocol:?} {close:?}");
        }
    }
}

#[test]
fn a_device_that_says_nothing_knows_whether_it_was_accepted() {
    for tls in [TlsVersion::Tls12, TlsVersion::Tls13] {
        for (close, tickets) in [
            (Close::Notify, true),
            (Close::Notify, false),
            (Close::Fin, false),
            (Close::Reset, true),
        ] {
            let silent = |trusts| {
                let server = Server::start(Options {
                    behaviour: Behaviour::NotesEnds,
                    tickets,
                    trusts,
                    ..Options::default()
                });
                let mut plan = plan(&server, Mode::Full);
                speak(&mut plan, Mode::Full, Protocol::Tls, 0);
                activity(&mut plan).close = close;
                plan.tls = tls;
                limit(&mut plan, Limit::Count(8));
                run(&plan)
            };
            let served = silent(pki::ours());
            assert_eq!(served.counts.ok, 8, "{tls:?} {close:?} {:?}", served.errors);
            assert_eq!(served.counts.accepted, 8, "{tls:?} {close:?}");
            let refused = silent(pki::strangers());
            assert_eq!((refused.counts.accepted, refused.counts.ok), (0, 0));
            assert_eq!(refused.errors[0].code, "unknown_ca", "{tls:?} {close:?}");
        }
    }
}

#[test]
fn silence_has_to_do_for_a_device_that_stays() {
    let server = Server::start(Options {
        behaviour: Behaviour::NotesEnds,
        tickets: false,
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    speak(&mut plan, Mode::Full, Protocol::Tls, 0);
    activity(&mut plan).hold = Some(Duration::from_millis(10));
    limit(&mut plan, Limit::Count(4));
    let result = run(&plan);
    // Not refused, but never heard either.
    assert_eq!(
        (result.counts.ok, result.counts.accepted),
        (4, 0),
        "{:?}",
        result.errors
    );
    assert_eq!(number(&server.counted().seen.close_notify), 4);
}

#[test]
fn telemetry_goes_out_while_a_connection_is_held() {
    for protocol in [
        Protocol::Http1,
        Protocol::H2,
        Protocol::Websocket,
        Protocol::Mqtt,
    ] {
        let behaviour = match protocol {
            Protocol::Websocket => Behaviour::WebSocket(Echo::Faithful),
            Protocol::Mqtt => Behaviour::Mqtt(Broker::Accepts),
            _ => Behaviour::Answers,
        };
        let server = server(behaviour);
        let mut plan = plan(&server, Mode::Full);
        speak(&mut plan, Mode::Full, protocol, 50);
        let activity = activity(&mut plan);
        activity.hold = Some(Duration::from_secs(600));
        activity.telemetry = Some(Telemetry {
            every: Duration::from_millis(100),
            jitter: Duration::from_millis(20),
        });
        let until = Limit::DurationSeconds(Duration::from_millis(1000));
        execute(
            &mut plan,
            Executor::ConstantDevices(ConstantDevices::new(10, until)),
        );
        let result = run(&plan);
        assert_eq!(result.counts.failed, 0, "{:?}", result.errors);
        // Ten devices connect, and each has ten moments in the second, of which the first may come before it has connected.
        assert_eq!(result.handshakes.full, 10, "{protocol:?}");
        let messages = result.metric("response_time", "request").unwrap().count;
        assert!((60..=100).contains(&messages), "{protocol:?} {messages}");
        assert_eq!(result.open_connections_at_end, 10, "{protocol:?}");
        assert_eq!(number(&server.counted().connections), 10, "{protocol:?}");
    }
}

#[test]
fn a_device_that_lost_its_connection_opens_another_with_its_next_message() {
    // The server resets a connection when a request arrives.
    let server = server(Behaviour::Resets);
    let mut plan = plan(&server, Mode::Full);
    let activity = activity(&mut plan);
    activity.hold = Some(Duration::from_secs(600));
    activity.telemetry = Some(Telemetry {
        every: Duration::from_millis(100),
        jitter: Duration::ZERO,
    });
    let until = Limit::DurationSeconds(Duration::from_millis(1000));
    execute(
        &mut plan,
        Executor::ConstantDevices(ConstantDevices::new(2, until)),
    );
    let result = run(&plan);
    assert_eq!(result.counts.ok, 0);
    assert!(result.counts.failed >= 12, "{:?}", result.counts);
    assert!(result.errors.iter().all(|error| error.class == "reset"));
    assert_eq!(number(&server.counted().connections), result.counts.started);
}

#[test]
fn so_many_sessions_are_held_to_their_end() {
    let server = server(Behaviour::Answers);
    let mut plan = plan(&server, Mode::Full);
    activity(&mut plan).hold = Some(Duration::from_millis(300));
    execute(&mut plan, open(1000.0));
    limit(&mut plan, Limit::Count(20));
    plan.timeout = Duration::from_millis(200);
    let result = run(&plan);
    assert_eq!(
        (result.counts.ok, result.counts.overflow),
        (20, 0),
        "{:?}",
        result.errors
    );
    assert_eq!(result.open_connections_at_end, 0);
}

/// What the program says when it is run like this, and its exit code.
fn commanded(server: &Server, flags: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "run",
            "--count",
            "20",
            "--connections",
            "2",
            "--target",
            &server.url(),
        ])
        .arg("--pki")
        .arg(pki::ours())
        .args(flags.split(' '))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn flags_say_all_of_it() {
    let flags = "--protocol mqtt5 --payload 99 --mqtt-qos 2 --mqtt-topic a/{device} --mqtt-subscribe b/# --mqtt-keep-alive 5s \
                 --mqtt-will gone --resume-ratio 100% --close fin";
    let broker = server(Behaviour::Mqtt(Broker::Accepts));
    let (code, said) = commanded(&broker, flags);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("MQTT 5, new connections (100 % with a ticket), left by FIN alone"));
    assert_eq!(number(&broker.counted().seen.disconnects), 0);

    let flags = "--protocol websocket --ws-subprotocol telemetry.v1 --ws-messages 4 --hold 50ms";
    let echo = server(Behaviour::WebSocket(Echo::Faithful));
    let (code, said) = commanded(&echo, flags);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(number(&echo.counted().seen.messages), 80);
}

#[test]
fn flags_that_do_not_fit_are_all_named() {
    let server = server(Behaviour::Answers);
    for (flags, named) in [
        (
            "--protocol mqtt --ws-messages 3 --upload 5",
            &["--ws-messages", "--upload"][..],
        ),
        ("--mqtt-topic x", &["--mqtt-topic", "HTTP/1.1"]),
        (
            "--protocol mqtt --mqtt-echo",
            &["--mqtt-echo", "--mqtt-subscribe"],
        ),
        (
            "--protocol mqtt --mqtt-topic a/# --mqtt-subscribe a# --mqtt-keep-alive 20h",
            &["--mqtt-topic", "--mqtt-subscribe", "--mqtt-keep-alive"],
        ),
        (
            "--hold 9s --telemetry-every 1s --telemetry-jitter 2s",
            &["--telemetry-jitter"],
        ),
        (
            "--protocol tls --hold 9s --telemetry-every 1s",
            &["--telemetry-every"],
        ),
        (
            "--protocol websocket --payload 1GiB",
            &["--payload", "16MiB"],
        ),
    ] {
        let (code, said) = commanded(&server, flags);
        assert_eq!(code, Some(2), "{flags}: {said}");
        assert!(
            named.iter().all(|name| said.contains(name)),
            "{flags}: {said}"
        );
    }
}
