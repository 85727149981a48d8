//! HAProxy: the counters of its stats socket, and its log, request by request.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mixes::{self, Counted, Fleets, LOSSY, MIXES};
use crate::process::{Running, free_address, hole, wait_for};

/// Its code for a client certificate that does not verify (`fc_err`).
const CHAIN_NOT_VERIFIED: &str = "30";

struct Haproxy {
    tls: SocketAddr,
    stats: PathBuf,
    log: PathBuf,
    _process: Running,
}

impl Haproxy {
    fn start(folder: &Path) -> Haproxy {
        let (tls, hole) = (free_address(), hole());
        let here = folder.display();
        let part = |name: &str| fs::read_to_string(folder.join("pki").join(name)).unwrap();
        fs::write(
            folder.join("server-all.pem"),
            part("server.pem") + &part("server.key"),
        )
        .unwrap();
        let configuration = format!(
            "global
               nbthread 1
               maxconn 2000
               log stdout format raw local0
               stats socket {here}/stats mode 600
             defaults
               mode http
               log global
               timeout client 60s
               timeout server 60s
               timeout connect 5s
               option abortonclose
             frontend devices
               bind {tls} ssl crt {here}/server-all.pem ca-file {here}/pki/trust-anchor.pem verify required alpn h2,http/1.1
               log-format \"request %[var(txn.first)] %[ssl_fc_is_resumed] %ST %tsc\"
               error-log-format \"failure %[fc_err]\"
               http-request set-var(txn.first) int(1) unless {{ var(sess.seen) -m found }}
               http-request set-var(sess.seen) int(1)
               http-request set-var(txn.lot) rand(10) if {{ path {LOSSY} }}
               http-request return status 200 content-type text/plain string ok unless {{ var(txn.lot) -m int 0 }}
               default_backend hole
             backend hole
               server hole {hole}
"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let log = folder.join("haproxy.log");
        let output = File::create(&log).unwrap();
        let process = Running::start(
            Command::new("haproxy")
                .args(["-db", "-f"])
                .arg(&file)
                .stdout(output.try_clone().unwrap())
                .stderr(output),
        );
        let haproxy = Haproxy {
            tls,
            stats: folder.join("stats"),
            log,
            _process: process,
        };
        wait_for("HAProxy does not start", || {
            UnixStream::connect(&haproxy.stats).is_ok().then_some(())
        });
        haproxy
    }

    /// What it has counted since it started, once nobody is connected any more; and all connections.
    fn counted(&self) -> (Counted, u64) {
        wait_for("HAProxy still counts connections", || {
            let rows = self.rows();
            let front = rows.get("devices FRONTEND").unwrap();
            let back = rows.get("hole BACKEND").unwrap();
            let number = |row: &BTreeMap<String, String>, column: &str| -> u64 {
                row.get(column).unwrap().parse().unwrap_or(0)
            };
            let counted = Counted {
                full: number(front, "ssl_sess"),
                resumed: number(front, "ssl_reused_sess"),
                ok: number(front, "hrsp_2xx"),
                refused: number(front, "ssl_failed_handshake"),
                timed_out: number(back, "cli_abrt"),
            };
            (number(front, "scur") == 0).then_some((counted, number(front, "conn_tot")))
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its table of counters by name of proxy and server, as columns by name.
    fn rows(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut socket = UnixStream::connect(&self.stats).unwrap();
        socket.write_all(b"show stat\n").unwrap();
        let mut table = String::new();
        socket.read_to_string(&mut table).unwrap();
        let mut lines = table.trim().lines();
        let head = lines.next().unwrap().trim_start_matches("# ");
        let names: Vec<&str> = head.split(',').collect();
        lines
            .map(|line| {
                let row: BTreeMap<String, String> = names
                    .iter()
                    .zip(line.split(','))
                    .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
                    .collect();
                let of = |name: &str| row.get(name).unwrap().clone();
                (format!("{} {}", of("pxname"), of("svname")), row)
            })
            .collect()
    }
}

impl Counted {
    fn since(self, earlier: Counted) -> Counted {
        Counted {
            full: self.full - earlier.full,
            resumed: self.resumed - earlier.resumed,
            ok: self.ok - earlier.ok,
            refused: self.refused - earlier.refused,
            timed_out: self.timed_out - earlier.timed_out,
        }
    }
}

/// What new lines of its log say: of each request whether it was the first of its connection, and of failed handshakes.
fn read(lines: &str) -> Counted {
    let mut counted = Counted::default();
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["request", first, resumed, status, ended] => {
                match (*first, *resumed) {
                    ("1", "0") => counted.full += 1,
                    ("1", "1") => counted.resumed += 1,
                    _ => {}
                }
                match (*status, ended.get(..2)) {
                    // Answered by HAProxy itself ("local").
                    ("200", Some("LR")) => counted.ok += 1,
                    // The client went while the response's head was awaited.
                    (_, Some("CH")) => counted.timed_out += 1,
                    _ => panic!("nobody meant this to happen: {line}"),
                }
            }
            ["failure", CHAIN_NOT_VERIFIED] => counted.refused += 1,
            _ => panic!("nobody meant this to happen: {line}"),
        }
    }
    counted
}

#[test]
fn haproxy_counts_what_the_generator_counts() {
    let fleets = Fleets::make();
    let haproxy = Haproxy::start(fleets.folder());
    for mix in MIXES {
        let ((before, connections), seen) = (haproxy.counted(), haproxy.log().len());
        let result = fleets.run(mix, haproxy.tls);
        let (after, all) = haproxy.counted();
        let log = haproxy.log();
        let ours = mixes::counted(&result, |error| {
            (error.class.as_str(), error.code.as_str()) == ("refused", "unknown_ca")
        });
        assert_eq!(ours, after.since(before), "{mix:?} {:?}", result.errors);
        assert_eq!(ours, read(log.get(seen..).unwrap()), "{mix:?}");
        // It refuses in the handshake.
        let connected = ours.full + ours.resumed + ours.refused;
        assert_eq!(connected, all - connections, "{mix:?}");
        mixes::check_that_it_happened(mix, &result, ours);
    }
}
