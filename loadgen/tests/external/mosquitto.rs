//! Mosquitto: a broker that knows its clients by their certificates, and what it has logged.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::workload::exchange::{Mqtt, Publication, Qos, Subscription};
use loadgen::plan::{Close, ConstantDevices, Exchange, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, RunResult, Stop};

use crate::process::{Running, free_address, wait_for};

const DEVICES: usize = 20;
const PROTOCOLS: [Protocol; 2] = [Protocol::Mqtt, Protocol::Mqtt5];

struct Mosquitto {
    address: SocketAddr,
    folder: PathBuf,
    _process: Running,
}

impl Mosquitto {
    /// Mutual TLS; each device may use the topics below its own name, which comes from its certificate.
    fn start(folder: &Path, more: &str) -> Mosquitto {
        let address = free_address();
        let here = folder.display();
        fs::write(folder.join("acl"), "pattern readwrite devices/%u/#\n").unwrap();
        let configuration = format!(
            "per_listener_settings false\nlistener {port} 127.0.0.1\nuser root\n\
             cafile {here}/pki/trust-anchor.pem\ncertfile {here}/pki/server.pem\nkeyfile {here}/pki/server.key\n\
             require_certificate true\nuse_identity_as_username true\nacl_file {here}/acl\npersistence false\n\
             log_dest file {here}/log\nlog_type all\n{more}\n",
            port = address.port()
        );
        let file = folder.join("mosquitto.conf");
        fs::write(&file, configuration).unwrap();
        let process = Running::start(Command::new("mosquitto").arg("-c").arg(&file));
        wait_for("mosquitto does not start", || {
            TcpStream::connect(address).ok()
        });
        Mosquitto {
            address,
            folder: folder.to_owned(),
            _process: process,
        }
    }

    /// Lines of its log that contain `text`.
    fn logged(&self, text: &str) -> u64 {
        let log = fs::read_to_string(self.folder.join("log")).unwrap();
        log.lines().filter(|line| line.contains(text)).count() as u64
    }

    fn plan(&self, mode: Mode, protocol: Protocol, change: impl FnOnce(&mut Mqtt)) -> Plan {
        let target = Target::parse(&format!("https://{}", self.address)).unwrap();
        let executor = ConstantDevices::new(8, Limit::Count(200));
        let mut activity = mode.activity(protocol, 300);
        if let Exchange::Mqtt(mqtt) | Exchange::Mqtt5(mqtt) = &mut activity.exchange {
            change(mqtt);
        }
        assert_eq!(activity.errors(), []);
        let mut plan = Plan::new(target, self.folder.join("pki"))
            .with_scenario(Executor::ConstantDevices(executor), activity);
        plan.warmup = Duration::ZERO;
        plan
    }
}

fn pki() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spec = FleetSpec::new(folder.path().join("pki"), DEVICES);
    generate(&spec, &Silent).unwrap();
    folder
}

fn run(plan: &Plan) -> RunResult {
    loadgen::run(plan, Stop::never(), |_| ()).unwrap()
}

fn publish(topic: &str, qos: Qos) -> Publication {
    Publication {
        topic: topic.to_owned(),
        bytes: 300,
        qos,
    }
}

#[test]
fn the_broker_counts_the_clients_and_messages_that_the_generator_counts() {
    for protocol in PROTOCOLS {
        for (mode, qos) in [
            (Mode::Full, Qos::AtLeastOnce),
            (Mode::Telemetry, Qos::AtMostOnce),
            (Mode::Telemetry, Qos::ExactlyOnce),
            (Mode::Mixed, Qos::AtLeastOnce),
        ] {
            let folder = pki();
            let broker = Mosquitto::start(folder.path(), "");
            let result = run(&broker.plan(mode, protocol, |mqtt| {
                mqtt.publish = Some(publish("devices/{device}/up", qos));
                mqtt.subscribe = Some(Subscription {
                    filter: "devices/{device}/+".to_owned(),
                    qos,
                });
                mqtt.will = Some(publish("devices/{device}/gone", Qos::AtMostOnce));
                mqtt.echo = true;
            }));
            let what = format!("{protocol:?} {mode:?} {qos:?}");
            assert_eq!(result.counts.ok, 200, "{what} {:?}", result.errors);
            let before = &result.before_window;
            let connections = [result.handshakes, before.handshakes]
                .map(|kinds| kinds.full + kinds.full_hrr + kinds.resumed);
            let connections: u64 = connections.iter().sum();
            let messages = 200 + before.counts.ok;
            wait_for("mosquitto logs the last goodbye", || {
                (broker.logged("Received DISCONNECT from") == connections).then_some(())
            });
            assert_eq!(
                broker.logged("New client connected from"),
                connections,
                "{what}"
            );
            assert_eq!(broker.logged("Received PUBLISH from"), messages, "{what}");
            assert_eq!(broker.logged("Sending PUBLISH to"), messages, "{what}");
            // Nobody was lost: no will was published.
            assert_eq!(
                broker.logged("devices/device-000000/gone', ... ("),
                0,
                "{what}"
            );
            // The broker knows each client by its certificate, and the client called itself the same.
            assert!(broker.logged("as device-000003 (p") > 0, "{what}");
            assert!(broker.logged("u'device-000003'") > 0, "{what}");
        }
    }
}

#[test]
fn what_the_broker_refuses_keeps_its_reason() {
    let refused = |broker: &Mosquitto, protocol, change: &dyn Fn(&mut Mqtt)| {
        let result = run(&broker.plan(Mode::Full, protocol, change));
        assert_eq!(result.counts.ok, 0, "{:?}", result.errors);
        assert_eq!(result.errors.len(), 1, "{:?}", result.errors);
        let error = &result.errors[0];
        format!("{} {}", error.class, error.code)
    };
    let folder = pki();
    let broker = Mosquitto::start(folder.path(), "");
    let anothers = |mqtt: &mut Mqtt| {
        mqtt.publish = Some(publish(
            "devices/device-000001/of/{device}",
            Qos::AtLeastOnce,
        ));
    };
    let result = run(&broker.plan(Mode::Full, Protocol::Mqtt5, anothers));
    let error = &result.errors[0];
    assert_eq!((&*error.class, &*error.code), ("mqtt", "not_authorized"));
    // About one attempt in twenty is that other one's.
    assert!((5..=15).contains(&result.counts.ok), "{:?}", result.counts);
    assert_eq!(error.count, 200 - result.counts.ok);
    // MQTT 3.1.1 has no word for it: the broker acknowledges the message and drops it.
    let result = run(&broker.plan(Mode::Full, Protocol::Mqtt, anothers));
    assert_eq!(result.counts.ok, 200, "{:?}", result.errors);
    drop(broker);

    let folder = pki();
    let broker = Mosquitto::start(folder.path(), "clientid_prefixes fleet-");
    assert_eq!(
        refused(&broker, Protocol::Mqtt, &|_| ()),
        "mqtt not_authorized"
    );
    assert_eq!(
        refused(&broker, Protocol::Mqtt5, &|_| ()),
        "mqtt not_authorized"
    );
    let named = run(&broker.plan(Mode::Full, Protocol::Mqtt5, |mqtt| {
        mqtt.client_id = "fleet-{device}".to_owned();
    }));
    assert_eq!(named.counts.ok, 200, "{:?}", named.errors);
}

#[test]
fn a_device_that_leaves_without_a_word_leaves_its_will_to_its_next_session() {
    for protocol in PROTOCOLS {
        let folder = pki();
        let broker = Mosquitto::start(folder.path(), "");
        let mut plan = broker.plan(Mode::Full, protocol, |mqtt| {
            mqtt.will = Some(publish("devices/{device}/gone", Qos::AtLeastOnce));
            mqtt.subscribe = Some(Subscription {
                filter: "devices/{device}/gone".to_owned(),
                qos: Qos::AtLeastOnce,
            });
            mqtt.clean_start = false;
        });
        plan.scenarios.first_mut().activity.close = Close::Reset;
        let result = run(&plan);
        assert_eq!(result.counts.ok, 200, "{:?}", result.errors);
        assert_eq!(broker.logged("Received DISCONNECT from"), 0);
        // All but the last wills are there for the device when it comes again.
        let wills = || broker.logged("/gone', ... (300 bytes)");
        wait_for("mosquitto publishes the wills", || {
            (wills() >= 200 - DEVICES as u64).then_some(())
        });
    }
}
