//! Puts the gateway together: binds, starts the workers, and holds the strings by which it is reloaded and drained.
//!
//! It runs on the caller's thread until it is told to; signals and exit codes are the command line's business.

pub mod activation;
mod error;
pub mod handover;
mod inherit;
pub mod notify;
mod orders;
mod report;
mod sockets;

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::admin::access::Access;
use crate::admin::revoke;
use crate::admission;
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::drain::{Ending, Stop};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::refresh::{Changed, Refresh};
use crate::snapshot::observing::Observing;
use crate::snapshot::{BuildError, Lasting, Snapshot};
use crate::trust::revocation::Prepared;
use crate::upstream::endpoints::Endpoints;
use crate::upstream::view::UpstreamView;
use crate::verify::revocation::{ListInfo, Warning};
use crate::worker::asks::{self, Asked, Asks};
use crate::worker::{self, Start};
pub use error::ServerError;
pub use inherit::Inherited;
pub use orders::OrderError;
use sockets::Sockets;

/// Descriptors that are not for devices: upstreams, files, the admin listener.
const RESERVED_SHARE: f64 = 0.2;

/// How long the end of the process may wait for the last records of the access log to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Reads and parses the configuration file at `path`.
///
/// # Errors
/// It cannot be read, or everything that is wrong with it.
pub fn load_config(path: &std::path::Path) -> Result<Config, ServerError> {
    let (text, base) = read(path)?;
    Config::parse(&text, base).map_err(ServerError::Config)
}

/// The file's text, and the folder that its relative paths are relative to.
fn read(path: &std::path::Path) -> Result<(String, &std::path::Path), ServerError> {
    let text = std::fs::read_to_string(path).map_err(|error| ServerError::Read {
        path: path.to_owned(),
        error,
    })?;
    let base = path.parent().unwrap_or_else(|| std::path::Path::new(""));
    Ok((text, base))
}

/// Reads the configuration file at `path` and everything that it names, as starting would, and binds nothing.
///
/// # Errors
/// Everything that is wrong, with the text and with the files.
pub fn check(path: &std::path::Path) -> Result<(), ServerError> {
    let (text, base) = read(path)?;
    let (config, problems) = Config::parse_all(&text, base);
    // A section that is wrong may name no file; the files behind sound sections can be looked at.
    let names_files = |problem: &ConfigError| {
        ["tls", "trust", "resumption"]
            .iter()
            .any(|section| problem.key.starts_with(section))
    };
    let files_are_named = !problems.iter().any(names_files);
    let mut errors: Vec<BuildError> = problems.into_iter().map(BuildError::from).collect();
    if let Some(config) = config.filter(|_| files_are_named) {
        let system = |error: &dyn std::fmt::Display| ServerError::System(error.to_string());
        let metrics = Metrics::new(&[]).map_err(|error| system(&error))?;
        let lasting = Lasting::new(config.chain_cache_entries, None, metrics)
            .map_err(|error| system(&error))?;
        if let Err(more) = Snapshot::build(&config, &lasting, 0) {
            errors.extend(more);
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ServerError::Build(errors))
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Server {
    config: Config,
    lasting: Lasting,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    /// Issuers whose lists were said to have run out.
    stale_issuers: BTreeSet<String>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    trust_changed: watch::Sender<u64>,
    stop: watch::Sender<Stop>,
    /// Whether it is said already that the gateway is going to end.
    leaving: AtomicBool,
    drain_asked_for: Arc<Notify>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    listeners: Vec<(String, SocketAddr)>,
    sockets: Sockets,
    asks: Vec<Asks>,
}

impl Server {
    /// Builds `config`, binds what it names, and starts the workers.
    ///
    /// # Errors
    /// Why it cannot; nothing is left running.
    pub fn start(config: Config) -> Result<Self, ServerError> {
        Self::start_with(config, &mut Inherited::default())
    }

    /// Like [`Server::start`], going on with what another process began. When it returns every worker accepts.
    ///
    /// # Errors
    /// Why it cannot; nothing is left running.
    pub fn start_with(config: Config, inherited: &mut Inherited) -> Result<Self, ServerError> {
        let system = |error: &dyn std::fmt::Display| ServerError::System(error.to_string());
        let workers = config.server.workers.unwrap_or_else(cores);
        let sockets = Sockets::bind(&config, workers, inherited)?;
        let listeners = sockets.addresses();
        let names: Vec<String> = listeners.iter().map(|(name, _)| name.clone()).collect();
        let metrics = Metrics::new(&names).map_err(|error| system(&error))?;
        let secret = inherited.ticket_secret.take();
        let lasting = Lasting::new(config.chain_cache_entries, secret, Arc::clone(&metrics))
            .map_err(|error| system(&error))?;
        let mut orders = std::mem::take(&mut inherited.orders);
        if let Some(path) = &config.revocations_file {
            orders.extend(revoke::load(path).map_err(ServerError::Orders)?);
        }
        lasting.denylist().set(orders);
        let (snapshot, lists) =
            Snapshot::build(&config, &lasting, 0).map_err(ServerError::Build)?;
        let shares = sockets.share(workers).map_err(|error| system(&error))?;
        let observing = Observing::default().renewed(&config, &metrics);
        let observing = observing.map_err(|error| ServerError::Build(vec![error]))?;
        let snapshot = snapshot.observed_by(observing);
        put_into_force(&snapshot, lists);
        let mut server = Self {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            limits: Limits::new(config.remembered, clock::now()),
            trust_changed: watch::Sender::new(0),
            stop: watch::Sender::default(),
            leaving: AtomicBool::new(false),
            drain_asked_for: Arc::default(),
            workers: Vec::new(),
            config,
            lasting,
            metrics,
            stale_issuers: BTreeSet::new(),
            listeners,
            sockets,
            asks: Vec::new(),
        };
        let (accepting, accepts) = mpsc::channel();
        for (index, sockets) in shares.into_iter().enumerate() {
            let (asks, asked) = asks::channel();
            server.asks.push(asks);
            let start = server.start_of(sockets, workers, accepting.clone(), asked);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker::run(start))
                .map_err(|error| system(&error))?;
            server.workers.push(thread);
        }
        drop(accepting);
        for _ in 0..workers {
            let failed = |_| ServerError::System("a worker ended at once".to_owned());
            accepts.recv().map_err(failed)?;
        }
        Ok(server)
    }

    fn start_of(
        &self,
        sockets: Vec<(usize, TcpListener)>,
        workers: usize,
        accepting: mpsc::Sender<()>,
        asked: Asked,
    ) -> Start {
        let max_connections = self
            .config
            .max_connections
            .unwrap_or(usize::MAX)
            .min(descriptors_for_devices());
        Start {
            sockets,
            accepting,
            snapshot: Arc::clone(&self.snapshot),
            metrics: Arc::clone(&self.metrics),
            admission: admission::Settings {
                max_handshakes: self.config.max_handshakes.div_ceil(workers),
                max_connections: max_connections.div_ceil(workers),
            },
            limits: Arc::clone(&self.limits),
            trust_changed: self.trust_changed.subscribe(),
            asked,
            stop: self.stop.subscribe(),
        }
    }

    /// Names and addresses of what is listened on.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.listeners
    }

    /// The admin listener's address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.sockets
            .admin()
            .and_then(|admin| admin.local_addr().ok())
    }

    /// Another handle to the admin listener's socket.
    pub fn admin_socket(&self) -> Option<io::Result<TcpListener>> {
        self.sockets.admin().map(TcpListener::try_clone)
    }

    /// The public keys of the tokens that upstreams get, as a JWK set.
    pub fn jwks(&self) -> String {
        self.lasting.jwks()
    }

    /// Which files are a reason to reload when they change: the configuration file at `path`, what it names, and what it named
    /// when it was last put into force. `None` where none is to be.
    pub fn watched(&self, path: &std::path::Path) -> Option<Vec<PathBuf>> {
        if !self.config.server.watch {
            return None;
        }
        let mut files = vec![path.to_owned()];
        files.extend(self.config.files());
        // A reload that failed may have failed for want of a file that comes later.
        let named = read(path)
            .ok()
            .and_then(|(text, base)| Config::parse_all(&text, base).0);
        files.extend(named.iter().flat_map(Config::files));
        Some(files)
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The metrics in Prometheus's text format.
    pub fn render_metrics(&self) -> String {
        let entries = self.lasting.cache().len();
        self.metrics.show_upstreams(&self.upstream_views());
        self.metrics
            .render(entries, &self.lists(), clock::unix_seconds())
    }

    /// Where each worker can be asked.
    pub fn asks(&self) -> Vec<Asks> {
        self.asks.clone()
    }

    /// Who may use the admin listener; `None` where there is none.
    pub fn access(&self) -> Option<Arc<Access>> {
        self.snapshot.load().access().cloned()
    }

    /// Folds recorded samples away, and says when a revocation list has run out; to be called every few seconds.
    pub fn upkeep(&mut self) {
        self.metrics.upkeep();
        let now = clock::unix_seconds();
        let stale: BTreeSet<String> = self
            .lists()
            .into_iter()
            .filter(|list| list.next_update <= now)
            .map(|list| list.issuer)
            .collect();
        for issuer in stale.difference(&self.stale_issuers) {
            tracing::warn!(
                issuer,
                "a revocation list has run out; trust.revocation.stale_list says what happens now"
            );
        }
        self.stale_issuers = stale;
    }

    fn lists(&self) -> Vec<ListInfo> {
        let snapshot = self.snapshot.load();
        let domains = snapshot.domains().all().iter();
        domains
            .flat_map(|domain| {
                domain
                    .revocations()
                    .set()
                    .lists()
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Starts fetching the revocation lists that the configuration in force wants fetched, on the current runtime.
    pub fn refresh_lists(&self) -> Refresh {
        let snapshot = self.snapshot.load();
        let domains = self.config.trust_domains.iter().filter_map(|configured| {
            let domain = snapshot.domains().named(&configured.settings.name)?;
            Some((Arc::clone(domain), configured.fetch.clone()))
        });
        let trust_changed = self.trust_changed.clone();
        let changed: Changed = Arc::new(move || trust_changed.send_modify(|count| *count += 1));
        Refresh::start(domains.collect(), &self.metrics, &changed)
    }

    /// The upstreams of the configuration in force, in its order, for [`Upkeep`](crate::upstream::upkeep::Upkeep).
    pub fn upstreams(&self) -> Vec<Arc<Endpoints>> {
        self.snapshot.load().upstreams().to_vec()
    }

    /// How the upstreams and their endpoints are now.
    pub fn upstream_views(&self) -> Vec<UpstreamView> {
        let now = clock::now();
        let snapshot = self.snapshot.load();
        let upstreams = snapshot.upstreams().iter();
        upstreams
            .map(|upstream| UpstreamView::of(upstream, now))
            .collect()
    }

    /// Whether the gateway takes new connections, and will go on to.
    pub fn is_ready(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed)
            && self.workers.iter().all(|worker| !worker.is_finished())
    }

    /// Whether a worker ended although nobody asked it to.
    pub fn has_failed(&self) -> bool {
        matches!(*self.stop.borrow(), Stop::No) && self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Reads the configuration file at `path` again and puts it into force, whole, or leaves everything as it was.
    ///
    /// # Errors
    /// Why it stays as it was.
    pub fn reload_from(&mut self, path: &std::path::Path) -> Result<(), ServerError> {
        match load_config(path) {
            Ok(config) => self.reload(config),
            Err(error) => {
                self.not_reloaded();
                Err(error)
            }
        }
    }

    /// Puts `config` into force, whole, or leaves everything as it was.
    ///
    /// # Errors
    /// Why it stays as it was.
    pub fn reload(&mut self, config: Config) -> Result<(), ServerError> {
        let result = self.try_reload(config);
        match result {
            Ok(()) => self.metrics.reloaded(true),
            Err(_) => self.not_reloaded(),
        }
        result
    }

    /// Counts a reload that came to nothing. The access log is opened again all the same: whoever rotated it has no part in
    /// what is wrong with the configuration.
    fn not_reloaded(&self) {
        self.metrics.reloaded(false);
        if let Some(log) = &self.snapshot.load().observing().access_log {
            log.reopen();
        }
    }

    fn try_reload(&mut self, config: Config) -> Result<(), ServerError> {
        let old = &self.config;
        let fixed = [
            ("listeners", old.listeners == config.listeners),
            (
                "admin.address",
                old.admin.as_ref().map(|admin| admin.address)
                    == config.admin.as_ref().map(|admin| admin.address),
            ),
            (
                "admin.revocations_file",
                old.revocations_file == config.revocations_file,
            ),
            (
                "server.workers",
                old.server.workers == config.server.workers,
            ),
            (
                "server.handover_socket",
                old.server.handover_socket == config.server.handover_socket,
            ),
            (
                "limits.connections",
                old.max_connections == config.max_connections,
            ),
            (
                "limits.handshakes",
                old.max_handshakes == config.max_handshakes,
            ),
            (
                "limits.device.remembered and admission.source.remembered",
                old.remembered == config.remembered,
            ),
            (
                "chain_cache.entries",
                old.chain_cache_entries == config.chain_cache_entries,
            ),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, same)| !same) {
            return Err(ServerError::NeedsRestart(key));
        }
        let generation = self.snapshot.load().generation() + 1;
        let (snapshot, lists) =
            Snapshot::build(&config, &self.lasting, generation).map_err(ServerError::Build)?;
        let observing = self
            .snapshot
            .load()
            .observing()
            .renewed(&config, &self.metrics);
        let observing = observing.map_err(|error| ServerError::Build(vec![error]))?;
        let snapshot = snapshot.observed_by(observing);
        put_into_force(&snapshot, lists);
        self.snapshot.store(Arc::new(snapshot));
        self.config = config;
        self.review_connections();
        Ok(())
    }

    /// Has every worker authorize its open connections again.
    fn review_connections(&self) {
        self.trust_changed
            .send_modify(|generation| *generation += 1);
    }

    /// Asks whoever runs this gateway to drain it, as SIGTERM does.
    pub fn ask_for_drain(&self) {
        self.drain_asked_for.notify_one();
    }

    /// Rings when [`Server::ask_for_drain`] was called.
    pub fn drain_asked_for(&self) -> Arc<Notify> {
        Arc::clone(&self.drain_asked_for)
    }

    /// Says that the gateway is not ready any more, and how long to wait before [`Server::drain`], so that whoever sends
    /// devices here can send them elsewhere first.
    pub fn leave(&self) -> Duration {
        self.leaving.store(true, Ordering::Relaxed);
        self.config.server.drain.delay
    }

    /// Stops accepting and lets the open connections end, each in its turn, for as long as the grace period.
    pub fn drain(&self) {
        self.end(&BTreeSet::new());
    }

    /// Drains, and leaves what waits in the kernel's queues of the addresses `taken` to whoever took their sockets over.
    fn end(&self, taken: &BTreeSet<SocketAddr>) {
        self.leave();
        let settings = self.config.server.drain;
        let workers = self.workers.len().max(1) as f64;
        self.stop.send_if_modified(|stop| {
            let begins = matches!(stop, Stop::No);
            if begins {
                *stop = Stop::Now(Arc::new(Ending {
                    grace: settings.grace,
                    pace: settings.pace.map(|pace| f64::from(pace) / workers),
                    lives_on: self.sockets.release(taken),
                }));
            }
            begins
        });
    }

    /// Whether every worker is done.
    pub fn is_drained(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Waits for every worker to be done.
    ///
    /// # Errors
    /// The first worker's that failed.
    pub fn join(self) -> io::Result<()> {
        for worker in self.workers {
            worker
                .join()
                .map_err(|_| io::Error::other("a worker panicked"))??;
        }
        if let Some(log) = &self.snapshot.load().observing().access_log {
            log.flush(LAST_WORDS);
        }
        Ok(())
    }
}

/// Swaps the revocation lists, and says what an operator should know about the trust material.
fn put_into_force(snapshot: &Snapshot, lists: Vec<Prepared>) {
    let now = clock::unix_seconds();
    for domain in snapshot.domains().all() {
        for authority in domain.material().expired(now) {
            let (trust_domain, authority) = (domain.name(), authority.name());
            tracing::warn!(%trust_domain, authority, "a trust anchor or intermediate has expired; what leads to it is refused");
        }
    }
    let lists: Vec<Warning> = lists
        .into_iter()
        .flat_map(Prepared::put_into_force)
        .collect();
    for domain in snapshot.domains().all() {
        for authority in domain.without_list() {
            let (trust_domain, authority) = (domain.name(), authority.name());
            tracing::warn!(%trust_domain, authority, "it has no revocation list; certificates that it issued are refused (trust.revocation.unknown_issuer)");
        }
    }
    for warning in lists {
        tracing::warn!("{warning}");
    }
}

/// Cores that this process may use: its affinity, and its control group's quota.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many descriptors are left for devices, after raising the limit as far as it goes.
fn descriptors_for_devices() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    match limit.current {
        None => usize::MAX,
        Some(current) => (current as f64 * (1.0 - RESERVED_SHARE)) as usize,
    }
}
