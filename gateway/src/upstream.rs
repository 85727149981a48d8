//! A named set of endpoints that requests are forwarded to.
//!
//! How the endpoints are is known to the whole process (`endpoints`); each worker has its own pools and makes its own choice. It
//! knows no device, only that requests of one belong together: who may ask for what was decided before.

pub mod balance;
pub mod body;
pub mod check;
pub mod connect;
pub mod endpoint;
pub mod endpoints;
pub mod error;
pub mod health;
mod http1;
mod http2;
mod member;
mod patience;
pub mod pool;
mod resolve;
pub mod retry;
pub mod stream;
pub mod tls;
pub mod upkeep;
pub mod view;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use http_body::Body as _;

use crate::clock;
use crate::forward::body::RequestBody;
use crate::metrics::upstream::Retry;
use crate::metrics::{self, Metrics};
use balance::{Balancer, Candidate, Policy};
use body::UpstreamBody;
use connect::{Address, Protocol};
use endpoint::Endpoint;
use endpoints::Endpoints;
pub use error::{Fault, Left, SendError, UpstreamError};
use health::EjectionSettings;
pub use http1::Upgraded;
pub use member::InFlight;
use member::{Member, Members};
use pool::{Dialled, Pool};

/// One configured upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in logs and metrics.
    pub name: String,
    /// Where it is; at least one.
    pub endpoints: Vec<Entry>,
    /// How they are chosen.
    pub balance: Policy,
    /// What is spoken there.
    pub protocol: Protocol,
    /// TLS to those endpoints that are reached by it.
    pub tls: tls::Settings,
    /// Bounds on talking to it.
    pub limits: Limits,
    /// What is sent again.
    pub retry: RetrySettings,
    /// From the first attempt to the end of the response's head; `None` is no bound but those of the attempts.
    pub request_timeout: Option<Duration>,
    /// How often host names are looked up.
    pub dns_refresh: Duration,
    /// How endpoints are checked; `None` is not at all.
    pub health_check: Option<check::Settings>,
    /// When they are taken out for their answers; `None` is never.
    pub ejection: Option<EjectionSettings>,
    /// How long an endpoint that is back takes to its full weight.
    pub slow_start: Duration,
}

/// An entry in the list of endpoints: one endpoint, or all that a host name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub address: Address,
    /// Whether it is reached by TLS.
    pub encrypted: bool,
    /// Its share of the requests, or that of each address of a host name, relative to the others.
    pub weight: u32,
}

/// Bounds on talking to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a TCP connection to an endpoint.
    pub connect_timeout: Duration,
    /// From the last byte of the request to the end of the response's head.
    pub response_timeout: Duration,
    /// How long a connection may stay in the pool unused. Keep it below the endpoint's own keep-alive time.
    pub pool_idle_timeout: Duration,
    /// The most unused connections kept for each endpoint, in each worker.
    pub pool_max_idle: usize,
    /// The most connections to each endpoint, in each worker.
    pub max_connections: usize,
    /// The most requests that wait for a connection to an endpoint, in each worker.
    pub max_pending: usize,
    /// How long a request waits for a connection.
    pub queue_timeout: Duration,
    /// How long a connection gets new requests; `None` is for ever.
    pub max_connection_age: Option<Duration>,
    /// How many requests a connection carries; `None` is no limit.
    pub max_requests: Option<u64>,
    /// How often a ping on an HTTP/2 connection asks whether the endpoint is still there, and how long its answer may take;
    /// `None` is never.
    pub ping_interval: Option<Duration>,
}

impl Limits {
    /// Whether a connection that was opened at `opened` gets no new requests at `now`.
    fn is_aged(&self, opened: Instant, now: Instant) -> bool {
        self.max_connection_age
            .is_some_and(|age| now.saturating_duration_since(opened) > age)
    }
}

/// What is sent again of what was sent once and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often one request is.
    pub attempts: u32,
    /// The most of all requests that are, in percent of those of the last seconds.
    pub budget: u32,
}

/// How often a request is taken back from connections that were open, before the endpoint counts as failed.
const MAX_REFUSALS: u32 = 3;

/// An upstream as one worker uses it.
pub struct Upstream {
    name: Arc<str>,
    shared: Arc<Endpoints>,
    members: RefCell<Rc<Members>>,
    balancer: RefCell<Balancer>,
    /// Kept from choice to choice, so that none allocates.
    candidates: RefCell<Vec<Candidate>>,
    /// The state of a sequence of random numbers.
    chance: Cell<u64>,
    /// Requests that the retry budget has not heard of.
    uncounted: Cell<u64>,
    metrics: metrics::Upstream,
    registry: Arc<Metrics>,
}

impl Upstream {
    /// An upstream with empty pools.
    pub fn new(shared: &Arc<Endpoints>, metrics: &Arc<Metrics>) -> Self {
        let settings = shared.settings();
        let mut seed = [0; 8];
        // Without randomness all workers draw the same; that is no reason not to serve.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Self {
            name: settings.name.as_str().into(),
            members: RefCell::default(),
            balancer: RefCell::new(Balancer::new(settings.balance)),
            candidates: RefCell::default(),
            chance: Cell::new(u64::from_ne_bytes(seed)),
            uncounted: Cell::new(0),
            metrics: metrics.upstream(&settings.name),
            registry: Arc::clone(metrics),
            shared: Arc::clone(shared),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its metrics.
    pub fn metrics(&self) -> &metrics::Upstream {
        &self.metrics
    }

    /// Whether a connection may go on in another protocol, which HTTP/2 cannot (RFC 9113, 8.6).
    pub fn may_switch(&self) -> bool {
        self.shared.settings().protocol == Protocol::Http1
    }

    /// Whether it is `shared` as this worker uses it.
    pub fn is_of(&self, shared: &Arc<Endpoints>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Closes pooled connections that were not used for too long, and those to endpoints that are gone.
    pub fn sweep(&self) {
        for member in &self.members().all {
            member.pool.sweep();
        }
        self.count_requests(clock::now());
    }

    /// Opens a connection of its own to an endpoint, for a tunnel of the device `affinity`; to the next one where that fails.
    ///
    /// # Errors
    /// No endpoint could be connected to.
    pub async fn open(&self, affinity: Option<&str>) -> Result<(Dialled, InFlight), UpstreamError> {
        let mut failed: Vec<Rc<Member>> = Vec::new();
        let mut first_error = None;
        loop {
            let Some(member) = self.choose(affinity, clock::now(), &failed) else {
                if !failed.is_empty() || !self.is_resolved_now().await {
                    return Err(first_error.unwrap_or(UpstreamError::NoEndpoint));
                }
                continue;
            };
            let in_flight = InFlight::new(&member);
            match member.pool.dial().await {
                Ok(dialled) => return Ok((dialled, in_flight)),
                Err(error) => {
                    self.observe(&member, Err(&error), false);
                    first_error.get_or_insert(error);
                    failed.push(member);
                }
            }
        }
    }

    /// Sends `request` at `now` to an endpoint, and waits for the head of the response. Requests with the same `affinity` belong
    /// to one device.
    ///
    /// A request of which nothing was sent goes to the next endpoint, whatever it is. What was sent is sent again only where that
    /// changes nothing (see [`retry`]), as often as configured, and while the budget lasts.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        affinity: Option<&str>,
        now: Instant,
    ) -> Result<(Response<UpstreamBody>, InFlight), UpstreamError> {
        self.uncounted.set(self.uncounted.get() + 1);
        let attempts = self.attempts(request, affinity, now);
        match self.shared.settings().request_timeout {
            None => attempts.await,
            Some(timeout) => tokio::time::timeout(timeout, attempts)
                .await
                .unwrap_or(Err(UpstreamError::RequestTimeout)),
        }
    }

    async fn attempts(
        &self,
        mut request: Request<RequestBody>,
        affinity: Option<&str>,
        mut now: Instant,
    ) -> Result<(Response<UpstreamBody>, InFlight), UpstreamError> {
        let mut repeats_left = match is_repeatable(&request) {
            true => self.shared.settings().retry.attempts,
            false => 0,
        };
        let mut refusals_left = MAX_REFUSALS;
        let mut failed: Vec<Rc<Member>> = Vec::new();
        let mut first_error = None;
        // Whether one that failed may be asked again, where there is no other one.
        let mut may_return = false;
        let mut is_moved = false;
        loop {
            let Some(member) = self.choose(affinity, now, &failed) else {
                if std::mem::take(&mut may_return) {
                    failed.clear();
                } else if !failed.is_empty() || !self.is_resolved_now().await {
                    return Err(first_error.unwrap_or(UpstreamError::NoEndpoint));
                }
                continue;
            };
            if std::mem::take(&mut is_moved) {
                self.shared.events().retried(Retry::Unsent);
            }
            let mut in_flight = InFlight::new(&member);
            let waiting = in_flight.pending();
            let leased = Pool::lease(&member.pool, now).await;
            drop(waiting);
            let lease = match leased {
                Ok(lease) => lease,
                Err(error) => {
                    self.observe(&member, Err(&error), false);
                    first_error.get_or_insert(error);
                    failed.push(member);
                    (is_moved, now) = (true, clock::now());
                    continue;
                }
            };
            let is_reused = lease.is_reused();
            in_flight.is_connected(lease.connect_took());
            let SendError { error, left } = match lease.send(request).await {
                Ok(response) => {
                    self.observe(&member, Ok(response.status()), is_reused);
                    return Ok((response, in_flight));
                }
                Err(failed) => failed,
            };
            self.observe(&member, Err(&error), is_reused);
            match left {
                Left::Unsent(unsent) => {
                    // A pooled connection that had ended says nothing about the endpoint, unless that happens again and again.
                    match is_reused && refusals_left > 0 {
                        true => refusals_left -= 1,
                        false => failed.push(member),
                    }
                    is_moved = true;
                    request = unsent;
                }
                Left::Sent(again)
                    if repeats_left > 0 && is_unanswered(&error) && self.may_repeat() =>
                {
                    repeats_left -= 1;
                    failed.push(member);
                    may_return = true;
                    request = again;
                }
                Left::Sent(_) | Left::Nothing => return Err(error),
            }
            first_error.get_or_insert(error);
            now = clock::now();
        }
    }

    /// The endpoint for a request; none that is among `failed`. Where all are out, all are used: some may be fit all the same,
    /// and there is nothing to lose.
    fn choose(
        &self,
        affinity: Option<&str>,
        now: Instant,
        failed: &[Rc<Member>],
    ) -> Option<Rc<Member>> {
        let members = self.members();
        let settings = self.shared.settings();
        let now = self.shared.time(now);
        let mut candidates = self.candidates.borrow_mut();
        candidates.clear();
        candidates.extend(members.all.iter().map(|member| Candidate {
            weight: member.endpoint.weight_at(now, settings.slow_start),
            in_flight: member.in_flight(),
            hash: member.endpoint.hash(),
        }));
        let all_are_out = candidates.iter().all(|candidate| candidate.weight == 0);
        for (candidate, member) in candidates.iter_mut().zip(&members.all) {
            if all_are_out {
                candidate.weight = member.endpoint.weight();
            }
            if failed.iter().any(|failed| Rc::ptr_eq(failed, member)) {
                candidate.weight = 0;
            }
        }
        let key = match settings.balance {
            Policy::DeviceHash => affinity.map(|affinity| balance::hash(affinity.as_bytes())),
            _ => None,
        };
        let mut balancer = self.balancer.borrow_mut();
        let index = balancer.choose(&candidates, key, self.draw())?;
        members.all.get(index).cloned()
    }

    /// The endpoints as of now.
    fn members(&self) -> Rc<Members> {
        let set = self.shared.set();
        let mut members = self.members.borrow_mut();
        if !members.is_of(&set) {
            *members = Rc::new(Members::of(&set, &members, |endpoint| self.pool(endpoint)));
            self.balancer.borrow_mut().reset();
        }
        Rc::clone(&members)
    }

    fn pool(&self, endpoint: &Endpoint) -> Pool {
        let settings = self.shared.settings();
        // The addresses of a host name come and go; labels do not.
        let entry = settings.endpoints.get(endpoint.entry());
        let label = entry.map_or_else(String::new, |entry| entry.address.to_string());
        let metrics = self.registry.endpoint(&settings.name, &label);
        Pool::new(endpoint.target().clone(), settings.limits, metrics)
    }

    /// Waits for the first look-up of the host names, where no address is known yet, and says whether that brought any.
    async fn is_resolved_now(&self) -> bool {
        let mut changes = self.shared.changes();
        let resolved = changes.wait_for(|_| !self.shared.is_first_look_up_pending());
        let timeout = self.shared.settings().limits.connect_timeout;
        let _ = tokio::time::timeout(timeout, resolved).await;
        !self.shared.set().all.is_empty()
    }

    /// A random number, good enough to spread load.
    fn draw(&self) -> u64 {
        let next = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(next);
        balance::mix(next)
    }

    /// Tells the whole process what became of a request at `member`, on a connection that `is_reused`.
    fn observe(
        &self,
        member: &Member,
        outcome: Result<StatusCode, &UpstreamError>,
        is_reused: bool,
    ) {
        let is_good = match outcome {
            Ok(status) => !status.is_server_error(),
            Err(error) if is_of_endpoint(error, is_reused) => false,
            Err(_) => return,
        };
        self.shared.observe(&member.endpoint, is_good, clock::now);
    }

    /// Whether the budget allows to send one more request again; if so, it counts.
    fn may_repeat(&self) -> bool {
        let now = clock::now();
        self.count_requests(now);
        let allowed = self.shared.withdraw_retry(now);
        self.shared.events().retried(match allowed {
            true => Retry::Repeated,
            false => Retry::OverBudget,
        });
        allowed
    }

    fn count_requests(&self, now: Instant) {
        let count = self.uncounted.take();
        if count > 0 {
            self.shared.count_requests(count, now);
        }
    }
}

/// Whether `error` speaks against the endpoint. That a pooled connection ended does not: it had been quiet, and the next one
/// will be new.
fn is_of_endpoint(error: &UpstreamError, is_reused: bool) -> bool {
    match error {
        UpstreamError::Unreachable(_)
        | UpstreamError::ConnectTimeout
        | UpstreamError::Tls(_)
        | UpstreamError::ResponseTimeout => true,
        UpstreamError::Broken(_) => !is_reused,
        // The request's body comes from the device.
        UpstreamError::Upload(_)
        | UpstreamError::QueueFull
        | UpstreamError::QueueTimeout
        | UpstreamError::NoEndpoint
        | UpstreamError::RequestTimeout => false,
    }
}

/// Whether no byte of a response came: an endpoint that answered nonsense would answer it again.
fn is_unanswered(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::ResponseTimeout
            | UpstreamError::Broken(Fault::ClosedBeforeHead(_) | Fault::Http2(_))
    )
}

fn is_repeatable(request: &Request<RequestBody>) -> bool {
    retry::is_repeatable(request.method(), !request.body().is_end_stream())
}
