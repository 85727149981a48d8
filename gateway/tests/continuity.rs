//! Reloads, hand-over and drain under load: nothing that a device asked is lost, no handshake fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::HandshakeKind;
use support::device::{Device, Options};
use support::program::Program;
use support::upstream::ok;
use support::{Connection, Pki, Setup, Upstream, eventually, h2};

/// A gateway's files, and an upstream behind it.
struct Site {
    pki: Pki,
    _upstream: Upstream,
    setup: Setup,
}

impl Site {
    fn new(upstream: Upstream) -> Self {
        let mut setup = Setup::new(upstream.address());
        setup.workers = 2;
        // A drain has room for every request in its first quarter, however busy the machine.
        setup.grace = "8s\"\nhandover_socket = \"handover".into();
        setup.more = "[admin]\naddress = \"127.0.0.1:0\"\n".into();
        Self {
            pki: Pki::new(),
            _upstream: upstream,
            setup,
        }
    }

    fn config(&self) -> PathBuf {
        self.pki.write("gateway.toml", &self.setup.text())
    }

    fn run(&self) -> Program {
        Program::run(&self.config())
    }

    /// Another process that takes over from the one that runs.
    fn take_over(&self) -> Program {
        Program::start(&self.config(), &["--take-over"])
    }

    fn device(&self, number: usize, options: Options) -> Device {
        let credential = self.pki.device(&format!("device-{number:06}"));
        Device::with(&self.pki, Some(&credential), options)
    }
}

/// What devices did meanwhile.
#[derive(Default)]
struct Load {
    done: AtomicBool,
    visits: AtomicUsize,
    requests: AtomicUsize,
    h2_requests: AtomicUsize,
    reconnects: AtomicUsize,
}

/// Ends it, also when the test fails.
struct EndOfLoad<'a>(&'a Load);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::SeqCst);
    }
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::SeqCst)
    }

    fn counts(&self) -> [usize; 3] {
        [&self.visits, &self.requests, &self.h2_requests].map(|count| count.load(Ordering::SeqCst))
    }

    /// Waits until every kind of device has been served some more.
    fn wait(&self) {
        let before = self.counts();
        eventually("traffic", || {
            let now = self.counts();
            (0..3)
                .all(|kind| now[kind] > before[kind] + 3)
                .then_some(())
        });
    }

    /// New connections, one after the other: a full handshake first, then tickets.
    fn visit(&self, device: &Device, gateway: SocketAddr) {
        while self.goes_on() {
            assert_eq!(device.get(gateway, "/").0.status(), 200);
            self.visits.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Requests on one connection, which is only left when the gateway says so.
    fn keep(&self, device: &Device, gateway: SocketAddr) {
        let mut connection = device.connect(gateway);
        while self.goes_on() {
            let response = connection.get("/");
            assert_eq!(response.status(), 200);
            self.requests.fetch_add(1, Ordering::SeqCst);
            if response.fields("connection") == ["close"] {
                assert_eq!(connection.rest(), b"");
                connection = device.connect(gateway);
                self.reconnects.fetch_add(1, Ordering::SeqCst);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same over HTTP/2. A request that the connection did not take any more may be sent again: GOAWAY says so.
    fn keep_h2(&self, device: &Device, gateway: SocketAddr) {
        h2::run(async {
            let (mut sender, mut end) = h2::connect(device, gateway).await;
            while self.goes_on() {
                if sender.ready().await.is_err() {
                    end.await.unwrap().expect("closed in order");
                    (sender, end) = h2::connect(device, gateway).await;
                    self.reconnects.fetch_add(1, Ordering::SeqCst);
                }
                match sender.try_send_request(h2::get("/")).await {
                    Ok(response) => {
                        assert_eq!(h2::whole(response).await.status(), 200);
                        self.h2_requests.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(mut error) => {
                        assert!(error.take_message().is_some(), "lost: {:?}", error.error());
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
}

/// An upstream that answers at once, but `/stream` piece by piece, each when it is told to.
fn streaming() -> (Upstream, mpsc::Sender<()>) {
    let (next, pieces) = mpsc::channel();
    let pieces = std::sync::Mutex::new(pieces);
    let upstream = Upstream::by_hand(move |mut peer| {
        while let Ok(request) = peer.reader.request() {
            if request.target() != "/stream" {
                peer.send(ok("ok"));
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let pieces = pieces.lock().unwrap();
            while pieces.recv().is_ok() {
                peer.send("5\r\npiece\r\n");
            }
            peer.send("0\r\n\r\n");
        }
    });
    (upstream, next)
}

#[test]
fn ten_reloads_and_a_take_over_under_load_lose_nothing() {
    let (upstream, next_piece) = streaming();
    let mut site = Site::new(upstream);
    site.pki.write_server("other", &site.pki.server());
    let mut old = site.run();
    let gateway = old.devices();
    let load = Load::default();
    let visitors: Vec<Device> = (0..2).map(|n| site.device(n, Options::default())).collect();
    let keepers: Vec<Device> = (2..4).map(|n| site.device(n, Options::default())).collect();
    let h2_keepers: Vec<Device> = (4..6).map(|n| site.device(n, Options::h2())).collect();
    let mut streaming = site.device(6, Options::default()).connect(gateway);
    streaming.send("GET /stream HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(streaming.exactly(1));
    }
    let piece = |streaming: &mut Connection, next_piece: &mpsc::Sender<()>| {
        next_piece.send(()).unwrap();
        assert_eq!(streaming.exactly(10), b"5\r\npiece\r\n");
    };
    std::thread::scope(|scope| {
        let load = &load;
        let end = EndOfLoad(load);
        for device in &visitors {
            scope.spawn(move || load.visit(device, gateway));
        }
        for device in &keepers {
            scope.spawn(move || load.keep(device, gateway));
        }
        for device in &h2_keepers {
            scope.spawn(move || load.keep_h2(device, gateway));
        }
        // A device that fails ends its thread, and `wait` then says that traffic stands still.
        load.wait();
        for number in 1..=10 {
            site.setup.server = if number % 2 == 1 { "other" } else { "server" }.into();
            site.config();
            old.signal(Signal::HUP);
            let reloads = "gateway_reloads_total{outcome=\"ok\"}";
            // A file that changes is a reason to reload too, so there may be more of them.
            eventually("the reload", || {
                (old.counters().get(reloads) >= number).then_some(())
            });
            load.wait();
            piece(&mut streaming, &next_piece);
        }
        assert_eq!(
            load.reconnects.load(Ordering::SeqCst),
            0,
            "a reload closes nothing"
        );

        let new = site.take_over();
        old.logged("another process has taken over");
        new.logged("Fleetgate is ready");
        assert_eq!(new.devices(), gateway);
        load.wait();
        piece(&mut streaming, &next_piece);
        eventually("everybody to move over", || {
            (load.reconnects.load(Ordering::SeqCst) >= 4).then_some(())
        });
        piece(&mut streaming, &next_piece);
        drop(next_piece);
        assert_eq!(streaming.exactly(5), b"0\r\n\r\n");
        assert_eq!(old.ended().code(), Some(0));
        load.wait();
        drop(end);
        let counters = new.counters();
        for class in ["4xx", "5xx"] {
            let series =
                format!("gateway_requests_total{{status=\"{class}\",upstream=\"telemetry\"}}");
            assert_eq!(counters.get(&series), 0);
        }
    });
}

#[test]
fn whoever_takes_over_may_have_more_or_fewer_workers_and_honours_tickets() {
    let mut site = Site::new(Upstream::ok());
    site.setup.more += "[resumption]\ntickets = \"self_contained\"\n";
    let device = site.device(1, Options::default());
    let mut running = site.run();
    let address = running.devices();
    assert_eq!(device.get(address, "/").1, HandshakeKind::Full);
    for workers in [3, 1, 2] {
        site.setup.workers = workers;
        let next = site.take_over();
        assert_eq!(running.ended().code(), Some(0));
        running = next;
        running.logged("Fleetgate is ready");
        for _ in 0..20 {
            let (response, kind) = device.get(address, "/");
            assert_eq!((response.status(), kind), (200, HandshakeKind::Resumed));
        }
    }
}

#[test]
fn orders_by_hand_go_over_too() {
    let site = Site::new(Upstream::ok());
    let mut old = site.run();
    let order = r#"{"device_id": "device-000001"}"#;
    let json = "content-type: application/json\r\n";
    assert_eq!(old.send_admin("POST", "/revoke", json, order).status(), 200);
    let (admin, devices) = (old.admin(), old.devices());
    let new = site.take_over();
    assert_eq!(old.ended().code(), Some(0));
    new.logged("Fleetgate is ready");
    assert_eq!((new.admin(), new.devices()), (admin, devices));
    assert!(
        new.ask_admin("GET /revoke")
            .text()
            .contains("device-000001")
    );
    site.device(1, Options::default()).alert(devices);
}

#[test]
fn a_take_over_that_fails_changes_nothing() {
    let mut site = Site::new(Upstream::ok());
    let running = site.run();
    let device = site.device(1, Options::default());
    let mut open = device.connect(running.devices());
    let good = site.setup.clone();
    site.setup.server = "missing".into();
    let mut bad = site.take_over();
    assert_eq!(bad.ended().code(), Some(2));
    bad.logged("missing.pem");
    running.logged("a take-over came to nothing");
    site.setup = good;
    site.config();
    assert_eq!(open.get("/").status(), 200);
    assert_eq!(device.get(running.devices(), "/").0.status(), 200);
    assert_eq!(running.ask_admin("GET /readyz").status(), 200);
    // Nor does somebody who only talks nonsense, or nothing.
    let socket = site.pki.folder().join("handover");
    let mut nonsense = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(nonsense.read(&mut [0]).unwrap_or(0), 0);
    // A second one beside it says what to do instead.
    let mut second = Program::start(&site.config(), &[]);
    assert_eq!(second.ended().code(), Some(1));
    second.logged("--take-over takes over from it");
    assert_eq!(open.get("/").status(), 200);
}

#[test]
fn a_take_over_needs_somebody_to_take_over_from() {
    let mut site = Site::new(Upstream::ok());
    let mut alone = site.take_over();
    assert_eq!(alone.ended().code(), Some(1));
    alone.logged("start without --take-over");
    site.setup.grace = "5s".into();
    let mut nowhere = site.take_over();
    assert_eq!(nowhere.ended().code(), Some(2));
    nowhere.logged("server.handover_socket: --take-over needs this key");
}

#[test]
fn sigusr2_starts_the_program_anew_in_its_own_place() {
    let site = Site::new(Upstream::ok());
    let mut program = site.run();
    let device = site.device(1, Options::default());
    let address = program.devices();
    program.signal(Signal::USR2);
    program.logged("another process has taken over");
    assert_eq!(program.ended().code(), Some(0));
    assert_eq!(device.get(address, "/").0.status(), 200);
    // The new process has the old one's standard input, and ends with it.
    program.close_stdin();
    eventually("the new process to end", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn a_service_manager_passes_sockets_and_is_told_what_happens() {
    let mut site = Site::new(Upstream::ok());
    site.setup.workers = 3;
    let folder = site.pki.folder();
    let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
    manager.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 200];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    site.setup.listener = address.to_string();
    let start = |config: &PathBuf| {
        let mut command = Command::new("/bin/sh");
        let script =
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=devices exec \"$0\" \"$@\" 3<&0 </dev/null";
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_gateway")])
            .args(["run", "--log-format", "json", "--config"])
            .arg(config)
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        Program::spawn(&mut command)
    };
    let config = site.config();
    let mut program = start(&config);
    assert!(told().starts_with("READY=1\n"));
    assert_eq!(program.devices(), address);
    let device = site.device(1, Options::default());
    for _ in 0..20 {
        assert_eq!(device.get(address, "/").0.status(), 200);
    }
    program.signal(Signal::HUP);
    let reloading = told();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(told().starts_with("READY=1\n"));
    program.signal(Signal::TERM);
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(program.ended().code(), Some(0));
    // Whoever comes meanwhile waits in the queue for the next process.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.get(address, "/").0.status());
        let mut program = start(&config);
        assert_eq!(waiting.join().unwrap(), 200);
        program.signal(Signal::TERM);
        program.ended();
    });
    site.setup.listener = "127.0.0.1:0".into();
    site.setup = Setup {
        more: String::new(),
        ..site.setup
    };
    let renamed = site.setup.text().replace("\"devices\"", "\"meters\"");
    let mut program = start(&site.pki.write("renamed.toml", &renamed));
    assert_eq!(program.ended().code(), Some(1));
    program.logged("the socket \"devices\" on");
}

#[test]
fn a_drain_can_be_announced_first() {
    let mut site = Site::new(Upstream::ok());
    site.setup.grace = "1s\"\ndrain_delay = \"1h".into();
    let mut program = site.run();
    let device = site.device(1, Options::default());
    let mut open = device.connect(program.devices());
    program.signal(Signal::TERM);
    eventually("the announcement", || {
        (program.ask_admin("GET /readyz").status() == 503).then_some(())
    });
    let response = open.get("/");
    assert!(
        response.fields("connection").is_empty(),
        "{}",
        response.head
    );
    assert_eq!(device.get(program.devices(), "/").0.status(), 200);
    program.signal(Signal::TERM);
    assert_eq!(program.ended().code(), Some(0));
}
