//! The live page in a real browser: it draws what the gateway does, says nothing on its console, and asks nobody else.
//!
//! Needs chromium.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::pki::authority;
use support::program::Program;
use support::{Device, Pki, Setup, Upstream};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What the browser made of a page.
struct Seen {
    document: String,
    /// What it logged about itself and the page.
    log: String,
}

/// Opens `url` for so many (virtual) milliseconds, and keeps a picture where one is wanted.
fn browse(url: &str, milliseconds: u32, picture: Option<&Path>) -> Seen {
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new("timeout");
    browser
        .args([
            "120",
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
        ])
        .args([
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-sync",
        ])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        .args([
            "--enable-logging=stderr",
            "--v=0",
            "--window-size=1400,1100",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--virtual-time-budget={milliseconds}"));
    match picture {
        Some(file) => browser.arg(format!("--screenshot={}", file.display())),
        None => browser.arg("--dump-dom"),
    };
    let output = browser.arg(url).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let seen = Seen {
        document: text(output.stdout),
        log: text(output.stderr),
    };
    assert!(output.status.success(), "{}", seen.log);
    seen
}

/// Lines that a page's script, its policy or a failed request left on the console.
fn console(seen: &Seen) -> Vec<&str> {
    let is_of_page = |line: &&str| line.contains("CONSOLE") || line.contains("Refused to");
    seen.log.lines().filter(is_of_page).collect()
}

/// A device that comes and asks, again and again, until this is dropped.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn start(pki: &Pki, gateway: SocketAddr) -> Self {
        let device = Device::new(pki, Some(&pki.device("device-000001")));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                device.get(gateway, "/telemetry");
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A program with some traffic behind it: handshakes of two kinds, refusals, requests of several classes.
fn busy(admin: &str) -> (Pki, Upstream, Program) {
    let pki = Pki::new();
    pki.write("token", TOKEN);
    let upstream = Upstream::ok();
    let mut setup = Setup::new(upstream.address());
    setup.path_prefix = "/telemetry".into();
    setup.more = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\n{admin}\n[limits.device.handshakes]\nenabled = false\n"
    );
    let program = Program::run(&pki.write("gateway.toml", &setup.text()));
    for number in 0..20 {
        let device = Device::new(&pki, Some(&pki.device(&format!("device-{number:06}"))));
        for _ in 0..2 {
            assert_eq!(device.get(program.devices(), "/telemetry").0.status(), 200);
        }
    }
    let device = Device::new(&pki, Some(&pki.device("device-000001")));
    assert_eq!(device.get(program.devices(), "/elsewhere").0.status(), 404);
    let stranger = authority("strangers")
        .issue(&certs_gen::authority::EndEntitySpec::device("x"))
        .unwrap();
    for _ in 0..3 {
        Device::new(&pki, Some(&stranger)).alert(program.devices());
    }
    (pki, upstream, program)
}

#[test]
fn the_page_draws_what_the_gateway_does_and_asks_nobody_else() {
    let (pki, _upstream, program) = busy("");
    let url = format!("http://{}/", program.admin());
    let traffic = Traffic::start(&pki, program.devices());
    let seen = browse(&url, 4500, None);
    assert_eq!(console(&seen), [] as [&str; 0], "{}", seen.log);
    let page = &seen.document;
    let answers = page
        .split("data-answers=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    assert!(answers.unwrap().parse::<u32>().unwrap() >= 3, "{answers:?}");
    for shown in [
        ">ready<",
        "Open connections",
        "unknown_issuer",
        "handshake, full",
        "handshake, resumed",
        "request, telemetry",
        "too_many_handshakes",
        "<polyline",
        // Some of the latency of what goes on meanwhile.
        " ms</td>",
    ] {
        assert!(page.contains(shown), "{shown} is not in {page}");
    }
    let upstream = program.ask_admin("GET /upstreams").text().to_owned();
    let endpoint = upstream
        .split("\"address\": \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let serving = format!("<td>{endpoint}</td><td class=\"number\">1</td>");
    assert!(page.contains(&serving), "{serving} is not in {page}");
    // Every address that the document could load anything from.
    for attribute in ["src=\"", "href=\"", "action=\""] {
        for value in page.split(attribute).skip(1) {
            assert!(value.starts_with("data:,"), "{attribute}{value}");
        }
    }
    if let Some(folder) = std::env::var_os("FLEETGATE_PICTURES") {
        browse(&url, 4500, Some(&Path::new(&folder).join("page.png")));
    }
    drop(traffic);
}

#[test]
fn with_a_token_the_page_asks_for_it() {
    let (_pki, _upstream, program) = busy("token_file = \"token\"");
    let url = format!("http://{}/", program.admin());
    let seen = browse(&url, 2500, None);
    assert!(seen.document.contains(">token needed<"));
    assert!(
        seen.document.contains("<form id=\"login\">"),
        "the form is hidden"
    );
    assert!(!seen.document.contains("unknown_issuer"));
    // The browser's own word about the answer 401, and nothing else.
    assert!(
        console(&seen).iter().all(|line| line.contains("401")),
        "{}",
        seen.log
    );
    if let Some(folder) = std::env::var_os("FLEETGATE_PICTURES") {
        browse(&url, 2500, Some(&Path::new(&folder).join("login.png")));
    }
}
