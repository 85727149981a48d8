//! The command line: arguments, logs, signals, exit codes.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::admin::log_level::LogLevel;
use crate::admin::{self, Admin};
use crate::server::{Server, ServerError, check, load_config};
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
        Signals: SIGHUP reloads the configuration, SIGTERM or SIGINT drains and exits, a second one exits at once.\n\n\
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
        } => match start_logs(log_format, &log_level) {
            Ok(level) => finish(run(config, exit_with_stdin, level)),
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

fn run(path: PathBuf, exit_with_stdin: bool, level: LogLevel) -> Result<(), ServerError> {
    let server = Server::start(load_config(&path)?)?;
    say_what_is_bound(&server);
    let system = |error: io::Error| ServerError::System(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(system)?;
    let server = Rc::new(RefCell::new(server));
    let admin = Rc::new(Admin::new(Rc::clone(&server), level));
    let result = runtime.block_on(supervise(&server, admin, path, exit_with_stdin));
    drop(runtime);
    result.map_err(system)?;
    match Rc::try_unwrap(server) {
        Ok(server) => server.into_inner().join().map_err(system),
        Err(_) => Err(ServerError::System("the admin listener did not end".into())),
    }
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

/// Handles signals until the gateway is drained.
async fn supervise(
    server: &Rc<RefCell<Server>>,
    admin: Rc<Admin>,
    path: PathBuf,
    exit_with_stdin: bool,
) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin_closed = stdin_closed(exit_with_stdin);
    tokio::pin!(stdin_closed);
    if let Some(socket) = server.borrow().admin_socket() {
        tokio::task::spawn_local(admin::serve(socket?, Rc::clone(&admin)));
    }
    let mut upkeep = tokio::time::interval(Duration::from_secs(1));
    let mut lists = server.borrow().refresh_lists();
    let mut watch = start_watch(server, &path);
    loop {
        let reload_it = tokio::select! {
            _ = hangup.recv() => true,
            changed = changed(&mut watch) => {
                let first = changed.unwrap_or_default();
                tracing::info!(file = %first.display(), "a file has changed");
                true
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut stdin_closed => break,
            () = admin.drain_wanted() => break,
            _ = upkeep.tick() => {
                server.borrow_mut().upkeep();
                if server.borrow().has_failed() {
                    return Err(io::Error::other("a worker ended"));
                }
                false
            }
        };
        if reload_it {
            if reload(server, &path) {
                // What is not wanted any more must not come into force after the reload.
                drop(lists);
                lists = server.borrow().refresh_lists();
            }
            rewatch(&mut watch, server, &path);
        }
    }
    drop(lists);
    tracing::info!("Fleetgate is draining");
    server.borrow().drain();
    let mut poll = tokio::time::interval(Duration::from_millis(10));
    while !server.borrow().is_drained() {
        tokio::select! {
            _ = poll.tick() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    if !server.borrow().is_drained() {
        tracing::warn!("told twice: Fleetgate exits at once");
        std::process::exit(0);
    }
    tracing::info!("Fleetgate is drained");
    Ok(())
}

/// Whether it was reloaded.
fn reload(server: &Rc<RefCell<Server>>, path: &std::path::Path) -> bool {
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
fn start_watch(server: &Rc<RefCell<Server>>, config: &std::path::Path) -> Option<Watch> {
    let files = server.borrow().watched(config)?;
    Watch::new(&files)
        .inspect_err(|error| tracing::warn!(%error, "files are not watched; SIGHUP reloads"))
        .ok()
}

/// Watches what the configuration names now.
fn rewatch(watch: &mut Option<Watch>, server: &Rc<RefCell<Server>>, config: &std::path::Path) {
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
