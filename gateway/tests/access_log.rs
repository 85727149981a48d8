//! The access log, over real sockets: what is logged of requests, connections, handshakes and shed connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::collections::HashSet;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use support::device::Options;
use support::pki::authority;
use support::program::Program;
use support::upstream::{ok, refusing_address};
use support::{Device, Fleet, Pki, Setup, Upstream, eventually, h2};

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // A line without its end is being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// The log's records, once there are so many.
fn records(path: &Path, count: usize) -> Vec<Value> {
    let lines = eventually(&format!("{count} records"), || {
        Some(lines(path)).filter(|lines| lines.len() >= count)
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A gateway that logs to `access.log` in its folder, with these further keys of `[access_log]`.
fn logging(upstream: Upstream, more: &str) -> (Fleet, std::path::PathBuf) {
    let more = format!("[access_log]\ndestination = \"access.log\"\n{more}\n");
    let fleet = Fleet::with_upstream(upstream, |setup| setup.more = more);
    let path = fleet.pki.folder().join("access.log");
    (fleet, path)
}

#[test]
fn a_request_is_told_whole() {
    let (fleet, log) = logging(Upstream::ok(), "");
    let mut connection = fleet.connect();
    let answer = connection.ask(
        "POST /telemetry/7?token=secret HTTP/1.1\r\nhost: fleet.test\r\nuser-agent: sensor/1\r\ncontent-length: 5\r\n\r\nhello",
    );
    assert_eq!(answer.status(), 200);
    assert_eq!(connection.get("/again").status(), 200);
    let records = records(&log, 2);
    let first = &records[0];
    let endpoint = fleet.upstream.address().to_string();
    for (field, expected) in [
        ("event", "request"),
        ("listener", "devices"),
        ("trust_domain", "default"),
        ("device_id", "device-000001"),
        ("handshake", "full"),
        ("tls_version", "1.3"),
        ("protocol", "http1"),
        ("method", "POST"),
        ("host", "fleet.test"),
        ("path", "/telemetry/7"),
        ("user_agent", "sensor/1"),
        ("upstream", "telemetry"),
        ("endpoint", &endpoint),
    ] {
        assert_eq!(first[field], expected, "{field}");
    }
    assert_eq!(
        first["peer"],
        connection.tcp().local_addr().unwrap().to_string()
    );
    assert_eq!(
        (&first["status"], &first["bytes_in"], &first["bytes_out"]),
        (&200.into(), &5.into(), &2.into())
    );
    assert!(first.get("query").is_none() && first.get("reason").is_none());
    let milliseconds = |record: &Value, name: &str| record[name].as_f64();
    for name in ["handshake_ms", "connect_ms", "first_byte_ms", "total_ms"] {
        assert!(milliseconds(first, name).unwrap() > 0.0, "{name}");
    }
    assert!(milliseconds(first, "total_ms") >= milliseconds(first, "first_byte_ms"));
    // The second came over open connections on both sides.
    let second = &records[1];
    assert!(
        milliseconds(second, "handshake_ms").is_none()
            && milliseconds(second, "connect_ms").is_none()
    );
    assert!(second["time"].as_str().unwrap() >= first["time"].as_str().unwrap());
}

#[test]
fn http2_and_the_query_are_logged_where_wanted() {
    let (fleet, log) = logging(Upstream::ok(), "query = true");
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        Options::h2(),
    );
    h2::run(async {
        let (mut sender, _) = h2::connect(&device, fleet.gateway.address()).await;
        let answer = h2::ask(&mut sender, h2::get("/telemetry?a=b")).await;
        assert_eq!(answer.status(), 200);
    });
    let record = &records(&log, 1)[0];
    assert_eq!(
        (&record["protocol"], &record["query"]),
        (&"h2".into(), &"a=b".into())
    );
    assert_eq!(record["host"], "fleet.test");
}

#[test]
fn refusals_have_their_reason() {
    let (fleet, log) = logging(Upstream::ok(), "");
    let mut connection = fleet.connect();
    connection.ask("GET / HTTP/1.1\r\nhost: a b\r\n\r\n");
    assert_eq!(records(&log, 1)[0]["reason"], "bad_host");
    fleet.connect().ask("this is no HTTP\r\n\r\n");
    let record = &records(&log, 2)[1];
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&400.into(), &"malformed".into())
    );
    assert_eq!(record["device_id"], "device-000001");

    let pki = Pki::new();
    let mut setup = Setup::new(refusing_address());
    setup.path_prefix = "/telemetry".into();
    setup.more = "[access_log]\ndestination = \"access.log\"\n".into();
    let gateway = support::Gateway::start(&pki, &setup);
    let mut connection =
        Device::new(&pki, Some(&pki.device("device-000001"))).connect(gateway.address());
    assert_eq!(connection.get("/telemetry").status(), 503);
    assert_eq!(connection.get("/elsewhere").status(), 404);
    let records = records(&pki.folder().join("access.log"), 2);
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["status"].clone(), record["reason"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (503.into(), "upstream_unreachable".into()),
            (404.into(), "no_route".into())
        ]
    );
}

#[test]
fn who_leaves_before_the_answer_and_who_is_cut_off_are_told_apart() {
    let upstream = Upstream::by_hand(|mut peer| {
        let request = peer.reader.request().unwrap();
        if request.target() == "/cut" {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        } else {
            let _ = peer.reader.request();
        }
    });
    let (fleet, log) = logging(upstream, "");
    let mut connection = fleet.connect();
    connection.send("GET /cut HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    connection.error();
    let record = &records(&log, 1)[0];
    assert_eq!(
        (&record["status"], &record["reason"], &record["bytes_out"]),
        (&200.into(), &"broken_off".into(), &4.into())
    );
    let mut connection = fleet.connect();
    connection.send("GET /never HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    eventually("the request at the upstream", || {
        (fleet.upstream.connections() == 2).then_some(())
    });
    connection.reset();
    let record = &records(&log, 2)[1];
    assert_eq!(
        (record.get("status"), &record["reason"]),
        (None, &"device_left".into())
    );
}

#[test]
fn connections_handshakes_and_shed_ones_are_logged_where_wanted() {
    let more = "[access_log]\ndestination = \"access.log\"\nrecords = [\"connections\", \"handshakes\", \"shed\"]\n\
        [limits]\nconnections = 2\n";
    let fleet = Fleet::start(|setup| {
        setup.more = more.into();
        setup.trust = "[trust.policy]\ndeny = [\"device-000013\"]".into();
    });
    let log = fleet.pki.folder().join("access.log");
    let stranger = authority("strangers")
        .issue(&certs_gen::authority::EndEntitySpec::device("x"))
        .unwrap();
    Device::new(&fleet.pki, Some(&stranger)).alert(fleet.gateway.address());
    let record = &records(&log, 1)[0];
    assert_eq!(
        (&record["event"], &record["reason"]),
        (&"handshake".into(), &"unknown_issuer".into())
    );
    let mut denied = Device::new(&fleet.pki, Some(&fleet.pki.device("device-000013")))
        .connect(fleet.gateway.address());
    denied.wait_for_end();
    let record = &records(&log, 2)[1];
    assert_eq!(
        (&record["reason"], &record["device_id"]),
        (&"policy".into(), &"device-000013".into())
    );
    let mut open = fleet.connect();
    let mut other = fleet.connect();
    assert_eq!(
        (open.get("/").status(), other.get("/").status()),
        (200, 200)
    );
    assert_eq!(open.get("/").status(), 200);
    let _ = fleet.device().try_connect(fleet.gateway.address());
    let record = &records(&log, 3)[2];
    assert_eq!(
        (&record["event"], &record["reason"]),
        (&"shed".into(), &"too_many_connections".into())
    );
    open.close();
    let record = &records(&log, 4)[3];
    assert_eq!(
        (&record["event"], &record["requests"]),
        (&"connection".into(), &2.into())
    );
    assert_eq!(record["device_id"], "device-000001");
}

#[test]
fn devices_cannot_forge_records() {
    for format in ["json", "text"] {
        let (fleet, log) = logging(
            Upstream::ok(),
            &format!("format = \"{format}\"\nquery = true"),
        );
        let mut connection = fleet.connect();
        let mut request = b"GET /a%0aforged\"\\?x=\" HTTP/1.1\r\nhost: fleet.test\r\nuser-agent: \" 200 9 reason=\"none\" \x80\xff\t\\\"\r\n\r\n".to_vec();
        connection.send(&request);
        let status = connection.response().status();
        // Whether or not the path is one, what is logged of it is one line of visible ASCII.
        request.clear();
        let logged = match status {
            200 => eventually("the record", || lines(&log).pop()),
            _ => continue,
        };
        assert_eq!(lines(&log).len(), 1);
        assert!(
            logged.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{logged}"
        );
        assert!(!logged.contains("reason=\"none"), "{logged}");
        if format == "json" {
            let record: Value = serde_json::from_str(&logged).unwrap();
            assert!(record.get("reason").is_none());
            assert!(
                record["user_agent"]
                    .as_str()
                    .unwrap()
                    .ends_with("\\x80\\xff\\x09\\x5c\\x22")
            );
        }
    }
}

#[test]
fn good_requests_are_sampled_and_bad_ones_are_not() {
    let upstream = Upstream::answering(|received| match received.message.target() {
        "/bad" => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => ok("ok"),
    });
    let (fleet, log) = logging(upstream, "sample = 0.25");
    let mut connection = fleet.connect();
    for _ in 0..200 {
        assert_eq!(connection.get("/good").status(), 200);
    }
    for _ in 0..20 {
        assert_eq!(connection.get("/bad").status(), 500);
    }
    let lines = eventually("the last records", || {
        Some(lines(&log))
            .filter(|lines| lines.iter().filter(|line| line.contains("/bad")).count() == 20)
    });
    let good = lines.iter().filter(|line| line.contains("/good")).count();
    assert!((30..=70).contains(&good), "{good}");
}

#[test]
fn a_rotated_log_is_opened_again_and_the_last_records_are_kept() {
    let pki = Pki::new();
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    setup.more = "[access_log]\ndestination = \"access.log\"\nformat = \"text\"\n".into();
    let config = pki.write("gateway.toml", &setup.text());
    let mut program = Program::run(&config);
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    let log = pki.folder().join("access.log");
    let rotated = pki.folder().join("access.log.1");
    device.get(program.devices(), "/before");
    eventually("the first record", || {
        (lines(&log).len() == 1).then_some(())
    });
    std::fs::rename(&log, &rotated).unwrap();
    program.signal(Signal::HUP);
    eventually("the new file", || log.exists().then_some(()));
    device.get(program.devices(), "/after");
    eventually("the second record", || {
        (lines(&log).len() == 1).then_some(())
    });
    // A configuration that is wrong meanwhile keeps nobody from rotating.
    pki.write("gateway.toml", "nonsense");
    program.logged("the configuration was not reloaded");
    let rotated_again = pki.folder().join("access.log.2");
    std::fs::rename(&log, &rotated_again).unwrap();
    program.signal(Signal::HUP);
    eventually("the next new file", || log.exists().then_some(()));
    device.get(program.devices(), "/last");
    program.signal(Signal::TERM);
    assert!(program.ended().success());
    // The last one was written before the process ended.
    for (path, asked) in [
        (&rotated, "/before"),
        (&rotated_again, "/after"),
        (&log, "/last"),
    ] {
        let lines = lines(path);
        let expected = format!("\"GET {asked} HTTP/1.1\" 200 2 ");
        assert!(
            lines.len() == 1 && lines[0].contains(&expected),
            "{lines:?}"
        );
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_records_and_no_requests() {
    // Every write to this device fails, as on a full disk.
    let more = "[access_log]\ndestination = \"/dev/full\"\n";
    let fleet = Fleet::start(|setup| setup.more = more.into());
    let mut connection = fleet.connect();
    for _ in 0..50 {
        assert_eq!(connection.get("/").status(), 200);
    }
    support::counters::expect_value(&fleet.gateway, "gateway_access_log_lost_total", 50);
}

#[test]
fn a_slow_reader_of_the_log_slows_no_request() {
    // A pipe that nobody reads is full after some hundred records; the queue after eight more; the rest is lost.
    let pki = Pki::new();
    let fifo = pki.folder().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    setup.more = "[access_log]\ndestination = \"pipe\"\nqueue = 8\n".into();
    let gateway = support::Gateway::start(&pki, &setup);
    let mut connection =
        Device::new(&pki, Some(&pki.device("device-000001"))).connect(gateway.address());
    for _ in 0..1000 {
        assert_eq!(connection.get("/").status(), 200);
    }
    let lost = gateway.counters().get("gateway_access_log_lost_total");
    assert!(lost > 500, "{lost}");
    drop(reader);
}

#[test]
fn checking_a_configuration_touches_no_log() {
    let pki = Pki::new();
    let mut setup = Setup::new("127.0.0.1:1".parse().unwrap());
    setup.more = "[access_log]\ndestination = \"access.log\"\n".into();
    let config = pki.write("gateway.toml", &setup.text());
    let output = support::program::gateway(&["check", "--config", config.to_str().unwrap()]);
    assert!(output.status.success());
    assert!(!pki.folder().join("access.log").exists());
    setup.more = "[access_log]\ndestination = \"no/such/folder/access.log\"\n".into();
    let error = gateway::server::Server::start(setup.config(&pki)).unwrap_err();
    assert!(
        error.to_string().starts_with("access_log.destination: "),
        "{error}"
    );
    setup.more = "[access_log]\ndestination = \"x\"\nsample = 1.5\nrecords = [\"all\"]\nerrors = \"never\"\n".into();
    let problems = gateway::config::Config::parse(&setup.text(), pki.folder()).unwrap_err();
    let keys: HashSet<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "access_log.sample",
            "access_log.records",
            "access_log.errors"
        ]
        .into()
    );
}

#[test]
fn a_connection_is_told_by_what_was_spoken_on_it() {
    let upstream = Upstream::by_hand(|mut peer| {
        let is_request = peer.reader.exactly(4).is_ok_and(|bytes| bytes == b"GET ");
        if is_request {
            peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n",
            );
        } else {
            peer.send("done");
        }
    });
    let (fleet, log) = logging(
        upstream,
        "records = [\"connections\"]\n[[listeners]]\nname = \"broker\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nupstream = \"telemetry\"",
    );
    let broker = fleet.gateway.server().listeners()[1].1;
    let mut tunnel = fleet.device().connect(broker);
    tunnel.send("MQTT");
    assert_eq!(tunnel.exactly(4), b"done");
    drop(tunnel);
    let told = records(&log, 1).remove(0);
    assert_eq!(
        (&told["listener"], &told["protocol"], &told["requests"]),
        (&"broker".into(), &"tcp".into(), &0.into())
    );
    let mut switching = fleet.connect();
    switching.send(
        "GET / HTTP/1.1\r\nhost: fleet.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    );
    assert_eq!(switching.response_to_head().status(), 101);
    drop(switching);
    let told = records(&log, 2).remove(1);
    assert_eq!(
        (&told["listener"], &told["protocol"], &told["requests"]),
        (&"devices".into(), &"websocket".into(), &1.into())
    );
}
