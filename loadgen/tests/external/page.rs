//! The reports in a real browser: they draw what they say, leave nothing on the console, and ask nobody for anything.
//!
//! With `FLEETGATE_PICTURES` set to a folder, what the browser shows is kept there.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use certs_gen::fleet::{FleetSpec, Silent, generate};
use loadgen::plan::{ConstantArrivalRate, Executor, Limit, Mode, Target};
use loadgen::report::compare::{Margins, compare};
use loadgen::report::{RunResult, html};
use loadgen::{Plan, Stop};

use crate::nginx::Nginx;

/// Serves one page, and says which paths were asked for.
struct Site {
    address: SocketAddr,
    asked: mpsc::Receiver<String>,
}

impl Site {
    fn of(page: &str) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        let page: Arc<str> = page.into();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tell, page) = (tell.clone(), Arc::clone(&page));
                // A browser opens connections that it does not use: each waits by itself.
                std::thread::spawn(move || {
                    let mut line = String::new();
                    let mut reader = BufReader::new(stream);
                    if !matches!(reader.read_line(&mut line), Ok(1..)) {
                        return;
                    }
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    let _ = tell.send(path);
                    let _ = write!(
                        reader.into_inner(),
                        "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
                        page.len()
                    );
                });
            }
        });
        Site { address, asked }
    }
}

/// What the browser made of a page.
struct Seen {
    document: String,
    /// What it logged about itself and the page.
    log: String,
}

fn browse(address: SocketAddr, more: &[&str]) -> Seen {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
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
            "--disable-sync",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args(["--disable-default-apps", "--enable-logging=stderr", "--v=0"])
        // Whatever the page might want of another host cannot be found, and that would be on the console.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let seen = Seen {
        document: text(output.stdout),
        log: text(output.stderr),
    };
    assert!(output.status.success(), "{}", seen.log);
    seen
}

/// Opens the page and checks what must be true of every page; returns the document as the browser has it.
fn look(name: &str, page: &str) -> String {
    let site = Site::of(page);
    let seen = browse(site.address, &["--dump-dom"]);
    let console: Vec<_> = seen
        .log
        .lines()
        .filter(|line| line.contains("CONSOLE") || line.contains("Refused to"))
        .collect();
    assert_eq!(console, [] as [&str; 0], "{name}");
    let asked: Vec<_> = site.asked.try_iter().collect();
    assert_eq!(asked, ["/"], "{name} asks for more than itself");
    for attribute in ["src=\"", "href=\"", "action=\"", "url("] {
        for value in seen.document.split(attribute).skip(1) {
            assert!(
                value.starts_with("data:,"),
                "{name}: {attribute}{value:.60}"
            );
        }
    }
    if let Some(folder) = std::env::var_os("FLEETGATE_PICTURES") {
        let file = Path::new(&folder).join(format!("{name}.png"));
        let picture = format!("--screenshot={}", file.display());
        browse(site.address, &[&picture, "--window-size=1280,3600"]);
    }
    seen.document
}

fn run(nginx: &Nginx, pki: &Path, rate: f64) -> RunResult {
    let target = Target::parse(&format!("https://{}/", nginx.tls));
    let mut plan = Plan::new(target.unwrap(), pki);
    plan.scenarios.first_mut().activity = Mode::Mixed.activity(loadgen::plan::Protocol::Http1, 256);
    let window = Limit::DurationSeconds(Duration::from_secs(4));
    plan.scenarios.first_mut().executor =
        Executor::ConstantArrivalRate(ConstantArrivalRate::new(rate, window));
    plan.warmup = Duration::from_secs(1);
    plan.thresholds = vec![
        "p99<500ms".parse().unwrap(),
        "rate>1000000/s".parse().unwrap(),
    ];
    loadgen::run(&plan, Stop::never(), |_| ()).unwrap()
}

#[test]
fn reports_are_drawn_by_a_browser_that_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    generate(&FleetSpec::new(&pki, 30), &Silent).unwrap();
    let nginx = Nginx::start(folder.path());
    let (mut first, second) = (run(&nginx, &pki, 100.0), run(&nginx, &pki, 150.0));
    let document = look("run", &html::page(&first));
    for shown in [
        "Latency by percentile",
        "Latency over time",
        "Where the time went",
        "✗ fails",
        "class=\"heat8\"",
        "<path class=\"line first\"",
        "TLS handshake",
    ] {
        assert!(document.contains(shown), "{shown} is not in {document}");
    }

    let comparison = compare(&first, &second, Margins::default());
    let page = html::comparison::page(&comparison, &first, &second);
    let document = look("comparison", &page);
    assert!(document.contains("baseline, response time") && document.contains("judgement"));

    // Hostile text is shown, not run: it would say so on the console.
    let hostile =
        "</title></style><script>console.log('ran')</script><img src=x onerror=console.log('ran')>";
    first.choices.target.path = hostile.to_owned();
    first.validity.reasons = vec![hostile.to_owned()];
    first.host.processor = Some(hostile.to_owned());
    let document = look("hostile", &html::page(&first));
    assert!(!document.contains("<script") && !document.contains("<img"));
    assert!(document.contains("&lt;script&gt;"));
}
