//! The command line: arguments, logs, signals, exit codes.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::admin::log_level::LogLevel;
use crate::admin::{self, Admin};
use crate::config::{Config, ConfigError};
use crate::server::handover::{self, Handover, Upgrade};
use crate::server::notify::ServiceManager;
use crate::server::{Server, ServerError, activation, check, load_config};
use crate::upstream::upkeep::Upkeep;
use crate::watch::Watch;

/// Version, commit and TLS stack.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("FLEETGATE_COMMIT"),
    "), rustls 0.23 with aws-lc-rs"
);

/// A mutual-TLS gateway for fleets of certificate-bearing devices.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version = VERSION,
    about = "Fleetgate's gateway: terminates mutual TLS for a fleet of devices and forwards their requests",
    after_help = "Exit codes: 0 clean, 1 runtime failure, 2 bad configuration or usage.\n\
        Signals: SIGHUP reloads the configuration, SIGUSR2 starts the program anew with --take-over, \
        SIGTERM or SIGINT drains and exits, a second one exits at once.\n\n\
        Examples:\n  gateway check --config gateway.toml\n  gateway run --config gateway.toml"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How logs are written to standard error; text on a terminal and JSON elsewhere, unless said
        #[arg(long, value_enum)]
        log_format: Option<LogFormat>,
        /// Which logs are written: error, warn, info, debug or trace, or a filter such as "info,gateway=debug"
        #[arg(long, value_name = "FILTER", default_value = "info")]
        log_level: String,
        /// Drain and exit when standard input is closed, so that the gateway does not outlive a supervisor that was killed
        #[arg(long)]
        exit_with_stdin: bool,
        /// Take the listening sockets over from the gateway that runs with the same server.handover_socket; it drains once this
        /// one is ready, and goes on as it was if this one does not get that far
        #[arg(long)]
        take_over: bool,
    },
    /// Read the configuration and everything it names, report all errors at once, and serve nothing
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

const RUNTIME_FAILURE: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;

/// Does what `arguments` say, and says how it went.
pub fn execute(arguments: Arguments) -> ExitCode {
    match arguments.command {
        Command::Run {
            config,
            log_format,
            log_level,
            exit_with_stdin,
            take_over,
        } => match start_logs(log_format, &log_level) {
            Ok(level) => finish(run(config, exit_with_stdin, take_over, level)),
            Err(problem) => fail(&format!("--log-level: {problem}"), BAD_CONFIGURATION),
        },
        Command::Check { config } => finish(check(&config).map(|()| {
            let _ = writeln!(io::stdout(), "the configuration is good");
        })),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "gateway",
                &mut io::stdout(),
            );
            ExitCode::SUCCESS
        }
        Command::Man => match clap_mangen::Man::new(Arguments::command()).render(&mut io::stdout())
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot write: {error}"), RUNTIME_FAILURE),
        },
    }
}

fn finish(result: Result<(), ServerError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            &error.to_string(),
            if error.is_configuration() {
                BAD_CONFIGURATION
            } else {
                RUNTIME_FAILURE
            },
        ),
    }
}

fn fail(problem: &str, code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    for line in problem.lines() {
        let _ = writeln!(stderr, "gateway: {line}");
    }
    ExitCode::from(code)
}

fn start_logs(format: Option<LogFormat>, level: &str) -> Result<LogLevel, String> {
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|error| error.to_string())?;
    let (filter, handle) = reload::Layer::new(filter);
    let on_terminal = io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false);
    let json = match format {
        Some(LogFormat::Json) => true,
        Some(LogFormat::Text) => false,
        None => !on_terminal,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(logs.json().flatten_event(true)).init();
    } else {
        let colours = on_terminal && std::env::var_os("NO_COLOR").is_none();
        registry.with(logs.with_ansi(colours)).init();
    }
    let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
    Ok(LogLevel::new(level, Box::new(set)))
}

fn run(
    path: PathBuf,
    exit_with_stdin: bool,
    take_over: bool,
    level: LogLevel,
) -> Result<(), ServerError> {
    let system = |error: io::Error| ServerError::System(error.to_string());
    let config = load_config(&path)?;
    let handover_socket = config.server.handover_socket.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(system)?;
    let server = Rc::new(RefCell::new(start(config, take_over)?));
    let manager = ServiceManager::from_env();
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(system)?;
        let handover = match handover_socket.map(|socket| Handover::listen(&socket, take_over)) {
            None => None,
            Some(Ok(handover)) => Some(handover),
            Some(Err(error)) if take_over => {
                // The old process drains already.
                tracing::error!(%error, "no other process can take over from this one");
                None
            }
            Some(Err(error)) => return Err(error),
        };
        let admin = server.borrow().admin_socket().transpose().map_err(system)?;
        let admin = admin.map(|socket| {
            let admin = Rc::new(Admin::new(Rc::clone(&server), level));
            tokio::task::spawn_local(admin::serve(socket, admin))
        });
        say_what_is_bound(&server.borrow());
        manager.ready();
        let stdin_closed = stdin_closed(exit_with_stdin);
        supervise(
            &server,
            &path,
            signals,
            stdin_closed,
            handover,
            admin,
            &manager,
        )
        .await
        .map_err(system)
    });
    // A resolver that does not answer is not waited for.
    runtime.shutdown_background();
    result?;
    match Rc::try_unwrap(server) {
        Ok(server) => server.into_inner().join().map_err(system),
        Err(_) => Err(ServerError::System("the admin listener did not end".into())),
    }
}

/// Starts the gateway: in the place of one that runs, on sockets that a service manager passes, or on its own.
fn start(config: Config, take_over: bool) -> Result<Server, ServerError> {
    if !take_over {
        let mut inherited = activation::sockets()?.unwrap_or_default();
        return Server::start_with(config, &mut inherited);
    }
    let Some(socket) = &config.server.handover_socket else {
        let key = "server.handover_socket".to_owned();
        let problem = "--take-over needs this key, here and in the gateway that runs".to_owned();
        return Err(ServerError::Config(vec![ConfigError { key, problem }]));
    };
    let (predecessor, mut inherited) = handover::take_over(socket)?;
    let server = Server::start_with(config, &mut inherited)?;
    predecessor.release(&server, &inherited);
    Ok(server)
}

fn say_what_is_bound(server: &Server) {
    for (name, address) in server.listeners() {
        tracing::info!(listener = name, %address, workers = server.workers(), "Fleetgate listens for devices");
    }
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "Fleetgate's admin listener is up");
        let speaks_tls = server.access().is_some_and(|access| access.tls().is_some());
        if !address.ip().is_loopback() && !speaks_tls {
            tracing::warn!(
                "whoever is on the way can read the admin listener's token; admin.tls encrypts it"
            );
        }
    }
    tracing::info!(version = VERSION, "Fleetgate is ready");
}

/// What serves the admin listener.
type AdminTask = tokio::task::JoinHandle<io::Result<()>>;

/// Why the gateway stops serving.
enum Ending {
    /// It was told to.
    Told,
    /// Another process serves in its place.
    Succeeded,
}

/// Serves until told to end, and drains.
async fn supervise(
    server: &Rc<RefCell<Server>>,
    path: &Path,
    mut signals: Signals,
    stdin_closed: impl Future<Output = ()>,
    handover: Option<Handover>,
    admin: Option<AdminTask>,
    manager: &ServiceManager,
) -> io::Result<()> {
    let drain_asked_for = server.borrow().drain_asked_for();
    let ending = tokio::select! {
        result = serve(server, path, &mut signals.others, manager) => return result,
        () = signals.stop.next() => Ending::Told,
        () = drain_asked_for.notified() => Ending::Told,
        () = stdin_closed => Ending::Told,
        () = successor(handover.as_ref(), server, manager) => Ending::Succeeded,
    };
    drop(handover);
    match ending {
        Ending::Succeeded => {
            // Operators look at the new process now, on the same socket.
            if let Some(admin) = admin {
                admin.abort();
            }
        }
        Ending::Told => {
            manager.stopping();
            let delay = server.borrow().leave();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = signals.stop.next() => exit_at_once(),
            }
            server.borrow().drain();
        }
    }
    tracing::info!("Fleetgate is draining");
    let mut poll = tokio::time::interval(Duration::from_millis(10));
    while !server.borrow().is_drained() {
        tokio::select! {
            _ = poll.tick() => {}
            () = signals.stop.next() => exit_at_once(),
        }
    }
    tracing::info!("Fleetgate is drained");
    Ok(())
}

fn exit_at_once() -> ! {
    tracing::warn!("told twice: Fleetgate exits at once");
    std::process::exit(0)
}

/// The signals that mean something. From here on none of them kills the process.
struct Signals {
    stop: StopSignals,
    others: OtherSignals,
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

struct OtherSignals {
    reload: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            stop: StopSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            others: OtherSignals {
                reload: signal(SignalKind::hangup())?,
                upgrade: signal(SignalKind::user_defined2())?,
            },
        })
    }
}

impl StopSignals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Reloads, and keeps what has to be kept, until something is wrong.
async fn serve(
    server: &Rc<RefCell<Server>>,
    path: &Path,
    signals: &mut OtherSignals,
    manager: &ServiceManager,
) -> io::Result<()> {
    let mut upgrade = Upgrade::of_this_process();
    let mut upkeep = tokio::time::interval(Duration::from_secs(1));
    let mut lists = server.borrow().refresh_lists();
    let mut upkeep_of_upstreams = Upkeep::default();
    upkeep_of_upstreams.set(&server.borrow().upstreams());
    let mut watch = start_watch(server, path);
    loop {
        tokio::select! {
            _ = signals.reload.recv() => {}
            changed = changed(&mut watch) => {
                let first = changed.unwrap_or_default();
                tracing::info!(file = %first.display(), "a file has changed");
            }
            _ = signals.upgrade.recv() => {
                upgrade.start();
                continue;
            }
            _ = upkeep.tick() => {
                upgrade.reap();
                server.borrow_mut().upkeep();
                if server.borrow().has_failed() {
                    return Err(io::Error::other("a worker ended"));
                }
                continue;
            }
        }
        manager.reloading();
        if reload(server, path) {
            // What is not wanted any more must not come into force after the reload.
            drop(lists);
            lists = server.borrow().refresh_lists();
            upkeep_of_upstreams.set(&server.borrow().upstreams());
        }
        rewatch(&mut watch, server, path);
        manager.ready();
    }
}

/// Ready when another process serves in this one's place; never, where none can.
async fn successor(
    handover: Option<&Handover>,
    server: &RefCell<Server>,
    manager: &ServiceManager,
) {
    let Some(handover) = handover else {
        return std::future::pending().await;
    };
    loop {
        let successor = handover.successor(server).await;
        let pid = successor.pid();
        // Said first: from a process that is not the service any more, nothing is believed.
        manager.succeeded_by(pid);
        match successor.release(&server.borrow()) {
            Ok(()) => return tracing::info!(pid, "another process has taken over"),
            Err(error) => {
                manager.succeeded_by(std::process::id());
                tracing::warn!(pid, %error, "it has gone before it took over; this process goes on");
            }
        }
    }
}

/// Whether it was reloaded.
fn reload(server: &Rc<RefCell<Server>>, path: &Path) -> bool {
    match server.borrow_mut().reload_from(path) {
        Ok(()) => {
            tracing::info!("reloaded the configuration");
            true
        }
        Err(error) => {
            tracing::error!(%error, "the configuration was not reloaded; the last good one stays");
            false
        }
    }
}

/// Starts to watch what the configuration names, where that is wanted and possible.
fn start_watch(server: &Rc<RefCell<Server>>, config: &Path) -> Option<Watch> {
    let files = server.borrow().watched(config)?;
    Watch::new(&files)
        .inspect_err(|error| tracing::warn!(%error, "files are not watched; SIGHUP reloads"))
        .ok()
}

/// Watches what the configuration names now.
fn rewatch(watch: &mut Option<Watch>, server: &Rc<RefCell<Server>>, config: &Path) {
    match (watch.as_mut(), server.borrow().watched(config)) {
        (Some(watch), Some(files)) => {
            if let Err(error) = watch.set_paths(&files) {
                tracing::warn!(%error, "what the configuration names now is not watched");
            }
        }
        (Some(_), None) => *watch = None,
        (None, _) => *watch = start_watch(server, config),
    }
}

/// Ready when a watched file has changed; never, where none is watched.
async fn changed(watch: &mut Option<Watch>) -> Option<PathBuf> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Ready when standard input is closed; never, unless that was asked for.
async fn stdin_closed(asked_for: bool) {
    if !asked_for {
        return std::future::pending().await;
    }
    let (closed, wait) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
        drop(closed);
    });
    let _ = wait.await;
}
