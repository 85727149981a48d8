//! Keeps fetched revocation lists fresh: each configured list, and each that a device's certificate names where that is
//! wanted, has a task that fetches it, puts it into force, and waits for the next time.
//!
//! When and how often is `fetch::schedule`'s business, what is believed `trust::revocation`'s. A fetch that fails changes
//! nothing: the list stays until its own end, and what that means is the trust domain's policy.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use crate::clock;
use crate::fetch::{self, Fetched, HttpUrl, Validators, schedule};
use crate::metrics::Metrics;
use crate::trust::TrustDomain;

/// Which lists of a trust domain are fetched, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where lists are, whatever certificates say.
    pub urls: Vec<HttpUrl>,
    /// Whether lists are fetched too that verified certificates name.
    pub distribution_points: bool,
    /// When to fetch again.
    pub schedule: schedule::Settings,
    /// Bounds on one fetch.
    pub fetch: fetch::Settings,
}

/// Told after each list that came into force, so that open connections are looked at again.
pub type Changed = Arc<dyn Fn() + Send + Sync>;

/// The tasks that fetch the lists of one configuration. They end when it is dropped.
#[derive(Debug, Default)]
pub struct Refresh {
    tasks: JoinSet<()>,
}

impl Refresh {
    /// Starts a task for each list of `domains`, on the current runtime.
    pub fn start(
        domains: Vec<(Arc<TrustDomain>, Settings)>,
        metrics: &Arc<Metrics>,
        changed: &Changed,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for (domain, settings) in domains {
            if !settings.urls.is_empty() || settings.distribution_points {
                let keeper = Keeper {
                    domain,
                    settings,
                    metrics: Arc::clone(metrics),
                    changed: Arc::clone(changed),
                };
                tasks.spawn(Arc::new(keeper).run());
            }
        }
        Self { tasks }
    }

    /// Number of trust domains whose lists are fetched.
    pub fn domains(&self) -> usize {
        self.tasks.len()
    }
}

/// What the tasks of one trust domain share.
struct Keeper {
    domain: Arc<TrustDomain>,
    settings: Settings,
    metrics: Arc<Metrics>,
    changed: Changed,
}

impl Keeper {
    async fn run(self: Arc<Self>) {
        let mut fetching: HashSet<HttpUrl> = HashSet::new();
        let mut tasks = JoinSet::new();
        loop {
            let mut wanted: HashSet<HttpUrl> = self.settings.urls.iter().cloned().collect();
            if self.settings.distribution_points {
                wanted.extend(self.domain.revocations().named());
            }
            for url in wanted.difference(&fetching) {
                let _: AbortHandle = tasks.spawn(Arc::clone(&self).keep(url.clone()));
            }
            self.domain.revocations().keep_fetched(&wanted);
            fetching = wanted;
            self.domain.revocations().named_more().await;
        }
    }

    /// Keeps one list fresh, for ever.
    async fn keep(self: Arc<Self>, url: HttpUrl) {
        let mut validators = Validators::default();
        let mut failures = 0;
        let seed = seed();
        loop {
            let now = clock::unix_seconds();
            let outcome = self.fetch(&url, &mut validators).await;
            let schedule = &self.settings.schedule;
            let next = match outcome {
                Ok(outcome) => {
                    failures = 0;
                    self.metrics.list_fetched(outcome);
                    let next_update = self.domain.revocations().next_update_of(&url);
                    schedule.after_success(now, next_update, seed)
                }
                Err((outcome, error)) => {
                    failures += 1;
                    self.metrics.list_fetched(outcome);
                    let trust_domain = self.domain.name();
                    tracing::warn!(%trust_domain, %url, reason = outcome, %error, "a revocation list was not refreshed; what was in force stays");
                    schedule.after_failure(now, failures, seed)
                }
            };
            tokio::time::sleep(Duration::from_secs(next.saturating_sub(now).max(1))).await;
        }
    }

    async fn fetch(
        &self,
        url: &HttpUrl,
        validators: &mut Validators,
    ) -> Result<&'static str, (&'static str, String)> {
        let fetched = fetch::get(url, validators, &self.settings.fetch)
            .await
            .map_err(|error| (error.label(), error.to_string()))?;
        let Fetched::Body {
            bytes,
            validators: new,
        } = fetched
        else {
            return Ok("not_modified");
        };
        let domain = Arc::clone(&self.domain);
        let from = url.clone();
        // A list of a million entries takes half a second.
        let used = tokio::task::spawn_blocking(move || {
            domain
                .revocations()
                .fetched(&from, &bytes, domain.material())
        });
        let warnings = used
            .await
            .map_err(|error| ("internal", error.to_string()))?
            .map_err(|error| ("unusable_list", error.to_string()))?;
        *validators = new;
        for warning in warnings {
            tracing::warn!(%url, "{warning}");
        }
        (self.changed)();
        Ok("ok")
    }
}

/// Keeps gateways that started together from fetching together.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all of them fetch at once, which is no reason not to fetch.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
