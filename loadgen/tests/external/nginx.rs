//! nginx: its access log, connection by connection, and its status page.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mixes::{self, Counted, Fleets, LOSSY, MIXES};
use crate::process::{Running, free_address, hole, wait_for};

pub(crate) struct Nginx {
    pub(crate) tls: SocketAddr,
    status: SocketAddr,
    log: PathBuf,
    /// How often its status page was asked: a connection each.
    asked: Cell<u64>,
    _process: Running,
}

impl Nginx {
    pub(crate) fn start(folder: &Path) -> Nginx {
        let (tls, status, hole) = (free_address(), free_address(), hole());
        let here = folder.display();
        let configuration = format!(
            "daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/error.log;
             events {{ worker_connections 4096; }}
             http {{
               log_format counts '$connection $ssl_session_reused $status $ssl_client_verify';
               access_log off; keepalive_requests 1000000;
               client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
               uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
               split_clients $request_id $lost {{ 10% yes; * no; }}
               server {{
                 access_log {here}/access.log counts;
                 listen {tls} ssl http2;
                 ssl_certificate {here}/pki/server.pem; ssl_certificate_key {here}/pki/server.key;
                 ssl_client_certificate {here}/pki/trust-anchor.pem; ssl_verify_client on; ssl_verify_depth 3;
                 ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
                 location / {{ return 200 ok; }}
                 location {LOSSY} {{ if ($lost = no) {{ return 200 ok; }} proxy_pass http://{hole}; }}
               }}
               server {{ listen {status}; location / {{ stub_status; }} }}
             }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Running::start(Command::new("nginx").arg("-c").arg(&file));
        let nginx = Nginx {
            tls,
            status,
            log: folder.join("access.log"),
            asked: Cell::new(0),
            _process: process,
        };
        wait_for("nginx does not start", || {
            TcpStream::connect(status).is_ok().then_some(())
        });
        nginx
    }

    /// Connections accepted so far, this question's included; waits until nobody else is connected any more.
    fn accepted(&self) -> u64 {
        wait_for("nginx still counts connections", || {
            let (open, accepted) = self.ask();
            (open == 1).then_some(accepted)
        })
    }

    /// (open connections, those accepted since the start), both with this question's.
    fn ask(&self) -> (u64, u64) {
        self.asked.set(self.asked.get() + 1);
        let mut stream = TcpStream::connect(self.status).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (_, open) = reply.split_once("Active connections:").unwrap();
        let (_, accepted) = reply.split_once("requests").unwrap();
        let first = |text: &str| -> u64 {
            let word = text.split_ascii_whitespace().next().unwrap();
            word.parse().unwrap()
        };
        (first(open), first(accepted))
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// What new lines of the access log say, and on how many connections.
fn read(lines: &str) -> (Counted, u64) {
    let mut counted = Counted::default();
    let mut connections = BTreeMap::new();
    for line in lines.lines() {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let (connection, reused, status) = (next(), next() == "r", next());
        let refused = next().starts_with("FAILED");
        assert_eq!(*connections.entry(connection).or_insert(reused), reused);
        match status {
            "200" => counted.ok += 1,
            // The device has closed the connection before there was an answer.
            "499" => counted.timed_out += 1,
            "400" if refused => counted.refused += 1,
            _ => panic!("nobody meant this to happen: {line}"),
        }
    }
    counted.resumed = connections.values().filter(|reused| **reused).count() as u64;
    let all = connections.len() as u64;
    counted.full = all - counted.resumed;
    (counted, all)
}

#[test]
fn nginx_counts_what_the_generator_counts() {
    let fleets = Fleets::make();
    let nginx = Nginx::start(fleets.folder());
    for mix in MIXES {
        let (accepted, asked) = (nginx.accepted(), nginx.asked.get());
        let seen = nginx.log().len();
        let result = fleets.run(mix, nginx.tls);
        let accepted = nginx.accepted() - accepted - (nginx.asked.get() - asked);
        let log = nginx.log();
        let (theirs, connections) = read(log.get(seen..).unwrap());
        // It completes the handshake of whoever comes, and answers a stranger's request with 400.
        let ours = mixes::counted(&result, |error| {
            (error.class.as_str(), error.code.as_str()) == ("status", "400")
        });
        assert_eq!(ours, theirs, "{mix:?} {:?}", result.errors);
        assert_eq!(
            (connections, accepted),
            (ours.full + ours.resumed, connections)
        );
        mixes::check_that_it_happened(mix, &result, ours);
    }
}
