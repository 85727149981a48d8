//! Against nginx: an independent server's own counters must agree with the generator's.
//!
//! Needs `nginx` in the path.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the whole target is a test: a panic is its way to fail"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::{ConstantDevices, Executor, Limit, Mode, Protocol, Target};
use loadgen::{Plan, Stop};

struct Nginx {
    process: Child,
    tls: SocketAddr,
    status: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

impl Nginx {
    fn start(folder: &Path) -> Nginx {
        let (tls, status) = (free_address(), free_address());
        let here = folder.display();
        let configuration = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; keepalive_requests 1000000;
               client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
               uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
               server {{
                 listen {tls} ssl http2;
                 ssl_certificate {here}/pki/server.pem; ssl_certificate_key {here}/pki/server.key;
                 ssl_client_certificate {here}/pki/trust-anchor.pem; ssl_verify_client on; ssl_verify_depth 3;
                 ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
                 location / {{ return 200 ok; }}
               }}
               server {{ listen {status}; location / {{ stub_status; }} }}
             }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new("nginx").arg("-c").arg(&file).spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(status).is_err() {
            assert!(Instant::now() < patience, "nginx does not start");
            std::thread::yield_now();
        }
        Nginx {
            process,
            tls,
            status,
        }
    }

    /// (connections accepted, requests) so far, this question included.
    fn counters(&self) -> (u64, u64) {
        let mut stream = TcpStream::connect(self.status).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let line = reply
            .lines()
            .skip_while(|line| !line.starts_with("server accepts"))
            .nth(1)
            .unwrap();
        let numbers: Vec<u64> = line
            .split_ascii_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        (numbers[0], numbers[2])
    }
}

#[test]
fn nginx_counts_what_the_generator_counts() {
    let folder = tempfile::tempdir().unwrap();
    generate(&FleetSpec::new(folder.path().join("pki"), 30), &Silent).unwrap();
    let nginx = Nginx::start(folder.path());
    for mode in [Mode::Full, Mode::Resume, Mode::Telemetry, Mode::Mixed] {
        let target = Target::parse(&format!("https://{}", nginx.tls)).unwrap();
        let executor = Executor::ConstantDevices(ConstantDevices::new(8, Limit::Count(500)));
        let mut plan = Plan::new(target, folder.path().join("pki"))
            .with_scenario(executor, mode.activity(Protocol::Http1, 256));
        plan.warmup = Duration::ZERO;
        let (connections, requests) = nginx.counters();
        let result = loadgen::run(&plan, Stop::never(), |_| ()).unwrap();
        let (connections_after, requests_after) = nginx.counters();
        let before = result.before_window;
        assert_eq!(result.counts.ok, 500, "{mode:?} {:?}", result.errors);
        let handshakes =
            |kinds: loadgen::report::Handshakes| kinds.full + kinds.full_hrr + kinds.resumed;
        // The second question to the status page is one connection and one request itself.
        assert_eq!(
            handshakes(result.handshakes) + handshakes(before.handshakes),
            connections_after - connections - 1,
            "{mode:?}"
        );
        assert_eq!(
            result.counts.ok + before.counts.ok,
            requests_after - requests - 1,
            "{mode:?}"
        );
        if mode == Mode::Resume {
            assert!(
                result.resumption.accepted_share.unwrap() >= 0.99,
                "{:?}",
                result.resumption
            );
        }
    }
}
