//! Asks responders, once for all who want to know, and remembers.
//!
//! One [`Checker`] serves all workers. Whoever is first to want to know about a certificate starts a task on its own
//! runtime; everybody waits for that, and it goes on when they leave. The one lock is held for look-ups and never while
//! waiting. It decides nothing about devices, and registers no metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::answers::{Answers, Limits};
use super::breakers::Breakers;
use super::request::{self, Hash, Nonce, Request};
use super::response::{self, Answer, Refusal, ResponseError};
use super::subject::{Key, Subject};
use super::{Outcome, Reason, Standing};
use crate::clock;
use crate::fetch::{self, FetchError, HttpUrl};

/// How often a check begins anew because the worker that asked for it ended.
const MAX_INTERRUPTIONS: usize = 3;

/// How responders are asked, and for how long answers are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The responder to ask in place of those that certificates name.
    pub responder: Option<HttpUrl>,
    /// How requests name the issuer.
    pub hash: Hash,
    /// Whether requests carry a nonce.
    pub nonce: bool,
    /// Bounds on one request. A check takes at most its total timeout for each responder, and that once more waiting.
    pub fetch: fetch::Settings,
    /// The longest time in which an answer is used without asking again, however long it is good.
    pub max_age: Duration,
    /// How long an answer is good that does not say so.
    pub without_next_update: Duration,
    /// How long a failure is remembered: the pause before a responder is tried again, or a certificate asked about again.
    pub retry_interval: Duration,
    /// The most certificates about which something is remembered.
    pub cache_entries: usize,
    /// The most requests under way; at least 1.
    pub max_in_flight: usize,
    /// The most questions that wait for one of these.
    pub max_waiting: usize,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// What is known of the certificate.
    pub standing: Standing,
    /// How that came about, for the metric that counts checks. All who waited for one answer get the same.
    pub outcome: Outcome,
}

/// Knows the standing of certificates, or finds it out.
#[derive(Debug)]
pub struct Checker {
    settings: Settings,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    answers: Answers,
    breakers: Breakers,
    flights: HashMap<Key, watch::Receiver<Option<Checked>>>,
}

/// What one who wants to know is to do.
enum Step {
    Known(Checked),
    Wait(watch::Receiver<Option<Checked>>),
}

/// Why there is no answer.
enum NoAnswer {
    /// Nobody was asked, as all responders failed shortly before.
    Suspended(Reason),
    Failed(Reason),
}

impl Checker {
    /// A checker that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        let limits = Limits {
            entries: settings.cache_entries,
            max_age: settings.max_age,
            retry_interval: settings.retry_interval,
        };
        let permits = settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Semaphore::new(permits),
            state: Mutex::new(State {
                answers: Answers::new(limits),
                breakers: Breakers::new(settings.retry_interval),
                flights: HashMap::new(),
            }),
            settings,
        }
    }

    /// How it asks.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The standing of `subject` at `now` (seconds since the Unix epoch). It may be dropped while it waits.
    ///
    /// # Panics
    /// When it is called outside a tokio runtime.
    pub async fn status(self: &Arc<Self>, subject: &Subject, now: u64) -> Checked {
        for _ in 0..MAX_INTERRUPTIONS {
            let mut flight = match self.step(subject, now) {
                Step::Known(checked) => return checked,
                Step::Wait(flight) => flight,
            };
            if let Ok(landed) = flight.wait_for(Option::is_some).await
                && let Some(checked) = *landed
            {
                return checked;
            }
        }
        self.state
            .lock()
            .without_answer(subject, NoAnswer::Failed(Reason::Interrupted), now)
    }

    /// Number of certificates about which something is remembered.
    pub fn cached(&self) -> usize {
        self.state.lock().answers.len()
    }

    /// Number of questions under way or waiting.
    pub fn in_flight(&self) -> usize {
        self.state.lock().flights.len()
    }

    fn step(self: &Arc<Self>, subject: &Subject, now: u64) -> Step {
        let mut state = self.state.lock();
        if let Some(standing) = state.answers.recall(subject.key(), now) {
            return Step::Known(Checked {
                standing,
                outcome: Outcome::Cached,
            });
        }
        if let Some(flight) = state.flights.get(subject.key()) {
            return Step::Wait(flight.clone());
        }
        if let Some(no_answer) = self.why_not_ask(&state, subject, now) {
            return Step::Known(state.without_answer(subject, no_answer, now));
        }
        let (sender, flight) = watch::channel(None);
        state.flights.insert(*subject.key(), flight.clone());
        drop(state);
        let under_way = Flight {
            checker: Arc::clone(self),
            subject: subject.clone(),
            sender,
        };
        tokio::spawn(under_way.fly(now));
        Step::Wait(flight)
    }

    /// Why nobody is to be asked, unless somebody is.
    fn why_not_ask(&self, state: &State, subject: &Subject, now: u64) -> Option<NoAnswer> {
        let responders = self.responders(subject);
        let suspended = |responder| state.breakers.suspended(responder, now);
        let Some(first) = responders.first() else {
            return Some(NoAnswer::Failed(Reason::NoResponder));
        };
        if responders.iter().all(|each| suspended(each).is_some()) {
            return suspended(first).map(NoAnswer::Suspended);
        }
        let bound = self
            .settings
            .max_in_flight
            .saturating_add(self.settings.max_waiting);
        (state.flights.len() >= bound.max(1)).then_some(NoAnswer::Failed(Reason::Busy))
    }

    fn responders<'a>(&'a self, subject: &'a Subject) -> &'a [HttpUrl] {
        match &self.settings.responder {
            Some(responder) => std::slice::from_ref(responder),
            None => subject.responders(),
        }
    }

    /// Asks one responder after the other until one answers.
    async fn ask(&self, subject: &Subject, now: u64) -> Result<Answer, NoAnswer> {
        let patience = self.settings.fetch.total_timeout;
        let Ok(Ok(_permit)) = tokio::time::timeout(patience, self.permits.acquire()).await else {
            return Err(NoAnswer::Failed(Reason::Busy));
        };
        let mut no_answer = NoAnswer::Failed(Reason::NoResponder);
        for responder in self.responders(subject) {
            // It may have failed while this question waited.
            let admitted = self.state.lock().breakers.admit(responder, now);
            if let Err(reason) = admitted {
                no_answer = NoAnswer::Suspended(reason);
                continue;
            }
            let began = clock::now();
            match self.ask_one(responder, subject, now).await {
                Ok(answer) => {
                    self.state.lock().breakers.answered(responder);
                    return Ok(answer);
                }
                Err(error) => {
                    tracing::warn!(%responder, serial = %subject, %error, "no OCSP answer");
                    let now = now + clock::now().saturating_duration_since(began).as_secs();
                    let mut state = self.state.lock();
                    match error.is_the_responders() {
                        true => state.breakers.failed(responder, error.reason(), now),
                        false => state.breakers.answered(responder),
                    }
                    no_answer = NoAnswer::Failed(error.reason());
                }
            }
        }
        Err(no_answer)
    }

    async fn ask_one(
        &self,
        responder: &HttpUrl,
        subject: &Subject,
        now: u64,
    ) -> Result<Answer, AskError> {
        let nonce = match self.settings.nonce {
            true => Some(nonce().ok_or(AskError::NoChance)?),
            false => None,
        };
        let request = Request::new(subject, self.settings.hash, nonce);
        let body = request.to_der().into();
        let settings = &self.settings.fetch;
        let response = fetch::post(responder, request::CONTENT_TYPE, body, settings).await?;
        Ok(response::verify(
            &response,
            &request,
            subject.issuer(),
            now,
            self.settings.without_next_update,
        )?)
    }
}

fn nonce() -> Option<Nonce> {
    let mut nonce = Nonce::default();
    rand::fill(&mut nonce).ok()?;
    Some(nonce)
}

impl State {
    fn without_answer(&self, subject: &Subject, no_answer: NoAnswer, now: u64) -> Checked {
        let (reason, outcome) = match no_answer {
            NoAnswer::Suspended(reason) => (reason, Outcome::Suspended),
            NoAnswer::Failed(reason) => (reason, Outcome::Failed(reason)),
        };
        Checked {
            standing: self.answers.without_answer(subject.key(), reason, now),
            outcome,
        }
    }
}

/// A question under way. Dropped before it lands, with its runtime, it lets somebody else start.
struct Flight {
    checker: Arc<Checker>,
    subject: Subject,
    sender: watch::Sender<Option<Checked>>,
}

impl Flight {
    async fn fly(self, now: u64) {
        let began = clock::now();
        let answer = self.checker.ask(&self.subject, now).await;
        let now = now + clock::now().saturating_duration_since(began).as_secs();
        let checked = self.conclude(answer, now);
        self.sender.send_replace(Some(checked));
    }

    fn conclude(&self, answer: Result<Answer, NoAnswer>, now: u64) -> Checked {
        let mut state = self.checker.state.lock();
        let key = *self.subject.key();
        match answer {
            Ok(answer) => {
                let standing = state.answers.learn(key, &answer, now);
                Checked {
                    standing,
                    outcome: match standing {
                        Standing::Good => Outcome::Good,
                        Standing::Revoked => Outcome::Revoked,
                        Standing::Unknown => Outcome::Unknown,
                        Standing::Unavailable(reason) => Outcome::Failed(reason),
                    },
                }
            }
            // These say nothing of the certificate.
            Err(no_answer @ (NoAnswer::Suspended(_) | NoAnswer::Failed(Reason::Busy))) => {
                state.without_answer(&self.subject, no_answer, now)
            }
            Err(NoAnswer::Failed(reason)) => Checked {
                standing: state.answers.fail(key, reason, now),
                outcome: Outcome::Failed(reason),
            },
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // What it found is remembered by now, so that nobody falls between.
        self.checker.state.lock().flights.remove(self.subject.key());
    }
}

/// Why one responder gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error("there is no randomness for a nonce")]
    NoChance,
}

impl AskError {
    fn reason(&self) -> Reason {
        match self {
            Self::Fetch(FetchError::Timeout) => Reason::Timeout,
            Self::Fetch(FetchError::NameNotResolved(_) | FetchError::Unreachable(_)) => {
                Reason::Unreachable
            }
            Self::Fetch(_) => Reason::BadStatus,
            Self::Response(ResponseError::Refused(_)) => Reason::Refused,
            Self::Response(_) => Reason::BadResponse,
            Self::NoChance => Reason::Interrupted,
        }
    }

    /// Whether it would fail the same way for another certificate.
    fn is_the_responders(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Status(status)) => {
                status.is_server_error() || *status == http::StatusCode::TOO_MANY_REQUESTS
            }
            Self::Fetch(FetchError::TooLarge(_)) => false,
            Self::Fetch(_) => true,
            Self::Response(ResponseError::Refused(refusal)) => {
                matches!(refusal, Refusal::InternalError | Refusal::TryLater)
            }
            Self::Response(_) | Self::NoChance => false,
        }
    }
}

#[cfg(test)]
mod tests;
