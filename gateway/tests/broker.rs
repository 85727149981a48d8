//! Tunnels between programs that the gateway did not grow up with: MQTT clients before it, a Mosquitto broker behind it, and
//! HAProxy and nginx as readers of the PROXY header.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gateway::trust::DEFAULT;
use gateway::trust::denylist::Order;
use support::pki::SERVER_NAME;
use support::{Fleet, Gateway, Upstream, eventually};

/// A program, ended with the test.
struct Running(Child);

impl Running {
    /// Starts `command`, and waits until it listens at `address`.
    fn start(command: &mut Command, address: SocketAddr) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        let running = Self(child);
        eventually("the program listens", || TcpStream::connect(address).ok());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn mosquitto(folder: &Path) -> (Running, SocketAddr) {
    let address = free_address();
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n",
        address.port()
    );
    let file = folder.join("mosquitto.conf");
    std::fs::write(&file, text).unwrap();
    let running = Running::start(Command::new("mosquitto").arg("-c").arg(file), address);
    (running, address)
}

/// HAProxy that takes the PROXY header off and joins what follows to `broker`; and at a second address answers HTTP with
/// what the header said.
fn haproxy(folder: &Path, broker: SocketAddr) -> (Running, SocketAddr, SocketAddr) {
    let (tunnel, teller) = (free_address(), free_address());
    let text = format!(
        "global\n log stderr local0\ndefaults\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
         frontend mqtt\n mode tcp\n bind {tunnel} accept-proxy\n default_backend broker\n\
         backend broker\n mode tcp\n server broker {broker}\n\
         frontend teller\n mode http\n bind {teller} accept-proxy\n\
         http-request return status 200 content-type text/plain lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority]\"\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let running = Running::start(Command::new("haproxy").arg("-f").arg(file), tunnel);
    (running, tunnel, teller)
}

fn nginx(folder: &Path) -> (Running, SocketAddr) {
    let address = free_address();
    let text = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}; server {{ listen {address} proxy_protocol;\n\
         location / {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port\"; }} }} }}",
        folder = folder.display(),
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let running = Running::start(Command::new("nginx").arg("-c").arg(file), address);
    (running, address)
}

/// A fleet whose devices reach `upstream` through a tunnel, told by the PROXY header or not.
fn fleet(upstream: SocketAddr, proxy_protocol: &str) -> Fleet {
    Fleet::with_upstream(Upstream::ok(), |setup| {
        setup.endpoints = vec![upstream];
        setup.more = format!(
            "[[listeners]]\nname = \"mqtt\"\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
             upstream = \"telemetry\"\nproxy_protocol = \"{proxy_protocol}\"\n"
        );
    })
}

fn tunnel(gateway: &Gateway) -> SocketAddr {
    gateway.server().listeners()[1].1
}

/// A device's certificate and key, each in a file.
fn credential(fleet: &Fleet, id: &str) -> (PathBuf, PathBuf) {
    let device = fleet.pki.device(id);
    let pem = device.pem();
    let key = pem.find("-----BEGIN PRIVATE KEY-----").unwrap();
    let certificate = fleet.pki.write(&format!("{id}.crt"), &pem[..key]);
    (
        certificate,
        fleet.pki.write(&format!("{id}.key"), &pem[key..]),
    )
}

/// `program`, a client of Mosquitto's, as the device `id`.
fn mqtt(program: &str, fleet: &Fleet, id: &str) -> Command {
    let (certificate, key) = credential(fleet, id);
    // Their lines are to be seen as they come.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    // The gateway's certificate is for a name, and the client asks for an address.
    command
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &tunnel(&fleet.gateway).port().to_string(),
        ])
        .arg("--insecure")
        .arg("--cafile")
        .arg(fleet.pki.folder().join("trust-anchor.pem"))
        .arg("--cert")
        .arg(certificate)
        .arg("--key")
        .arg(key)
        .args(["-V", "mqttv5", "-i", id, "-q", "1"]);
    command
}

/// Publishes by one device what another, which has subscribed, prints.
fn exchange(fleet: &Fleet, topic: &str) {
    let mut subscriber = mqtt("mosquitto_sub", fleet, "device-000002");
    subscriber.args(["-t", topic, "-C", "2", "-W", "20", "-d"]);
    let mut subscriber = subscriber
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub runs");
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    // A message that is published before the broker has confirmed the subscription is nobody's.
    while !lines.next().unwrap().unwrap().contains("SUBACK") {}
    let large = "x".repeat(200_000);
    for (number, message) in ["21.5", &large].iter().enumerate() {
        let file = fleet.pki.write(&format!("message-{number}"), message);
        let status = mqtt("mosquitto_pub", fleet, "device-000001")
            .args(["-t", topic, "-f"])
            .arg(file)
            .status();
        assert!(status.unwrap().success());
    }
    let printed: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(printed.iter().any(|line| line == "21.5"), "{printed:?}");
    assert!(printed.contains(&large));
    assert!(subscriber.wait().unwrap().success());
}

#[test]
fn mqtt_clients_reach_a_mosquitto_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, address) = mosquitto(folder.path());
    exchange(&fleet(address, "none"), "plant/7");
}

#[test]
fn haproxy_takes_the_header_off_before_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, broker) = mosquitto(folder.path());
    let (_haproxy, address, _) = haproxy(folder.path(), broker);
    exchange(&fleet(address, "v2"), "plant/8");
}

#[test]
fn a_revoked_device_loses_its_subscription() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, address) = mosquitto(folder.path());
    let fleet = fleet(address, "none");
    let mut subscriber = mqtt("mosquitto_sub", &fleet, "device-000002");
    subscriber.args(["-t", "plant/9", "-d", "-W", "20"]);
    let mut subscriber = subscriber.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("SUBACK") {}
    let order = Order::Device {
        trust_domain: DEFAULT.into(),
        device_id: "device-000002".into(),
    };
    fleet.gateway.server().revoke(order).unwrap();
    assert!(
        !subscriber.wait().unwrap().success(),
        "the connection is lost"
    );
    let mut again = mqtt("mosquitto_pub", &fleet, "device-000002");
    let status = again.args(["-t", "plant/9", "-m", "x"]).status();
    assert!(!status.unwrap().success());
    let refused = "gateway_handshakes_total{kind=\"full\",listener=\"mqtt\",outcome=\"revoked\"}";
    assert!(fleet.gateway.counters().get(refused) > 0);
}

/// What the upstream at the other end says, over HTTP through the tunnel, and the device's own address.
fn told(upstream: SocketAddr) -> (String, String, String) {
    let fleet = fleet(upstream, "v2");
    let gateway = tunnel(&fleet.gateway);
    let mut device = fleet.device().connect(gateway);
    let source = device.tcp().local_addr().unwrap().to_string();
    device.send(format!(
        "GET / HTTP/1.1\r\nhost: {SERVER_NAME}\r\nconnection: close\r\n\r\n"
    ));
    let said = device.response().text().to_owned();
    (said, source, gateway.to_string())
}

#[test]
fn haproxy_reads_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let (_haproxy, _, teller) = haproxy(folder.path(), free_address());
    let (said, source, gateway) = told(teller);
    assert_eq!(said, format!("{source} {gateway} {SERVER_NAME}"));
}

#[test]
fn nginx_reads_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, address) = nginx(folder.path());
    let (said, source, gateway) = told(address);
    assert_eq!(said, format!("{source} {gateway}"));
}
