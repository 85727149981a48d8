//! What goes on beside the requests: a task for each host name that is looked up, and one for each endpoint that is checked.
//!
//! Tasks end when this is dropped; what they found stays with the upstreams. They run on the caller's runtime, which is none of
//! the workers'.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use crate::clock;
use crate::upstream::check;
use crate::upstream::connect::Address;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::endpoints::Endpoints;
use crate::upstream::resolve;

/// The tasks for the upstreams of a configuration.
#[derive(Debug, Default)]
pub struct Upkeep {
    tasks: Vec<(Arc<Endpoints>, JoinSet<()>)>,
}

impl Upkeep {
    /// Goes on with `upstreams`, on the current runtime: tasks of those that are the same as before run on, those of others end.
    pub fn set(&mut self, upstreams: &[Arc<Endpoints>]) {
        let is_wanted =
            |known: &Arc<Endpoints>| upstreams.iter().any(|other| Arc::ptr_eq(known, other));
        self.tasks.retain(|(known, _)| is_wanted(known));
        for upstream in upstreams {
            if !self
                .tasks
                .iter()
                .any(|(known, _)| Arc::ptr_eq(known, upstream))
            {
                self.tasks.push((Arc::clone(upstream), start(upstream)));
            }
        }
    }
}

fn start(upstream: &Arc<Endpoints>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (index, entry) in upstream.settings().endpoints.iter().enumerate() {
        if let Address::Name { host, port } = &entry.address {
            tasks.spawn(resolve::keep(
                Arc::clone(upstream),
                index,
                host.clone(),
                *port,
            ));
        }
    }
    if let Some(settings) = upstream.settings().health_check.clone() {
        tasks.spawn(check_all(Arc::clone(upstream), settings));
    }
    tasks
}

/// Checks whichever endpoints there are.
async fn check_all(upstream: Arc<Endpoints>, settings: check::Settings) {
    let mut changes = upstream.changes();
    let mut tasks = JoinSet::new();
    let mut running: Vec<(Arc<Endpoint>, AbortHandle)> = Vec::new();
    loop {
        changes.mark_unchanged();
        let set = Arc::clone(&upstream.set());
        let is_there =
            |known: &Arc<Endpoint>| set.all.iter().any(|other| Arc::ptr_eq(known, other));
        running.retain(|(endpoint, task)| {
            let stays = is_there(endpoint);
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in &set.all {
            if !running
                .iter()
                .any(|(known, _)| Arc::ptr_eq(known, endpoint))
            {
                let (upstream, settings) = (Arc::clone(&upstream), settings.clone());
                let task = tasks.spawn(check_one(upstream, Arc::clone(endpoint), settings));
                running.push((Arc::clone(endpoint), task));
            }
        }
        // Those that were aborted.
        while tasks.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn check_one(upstream: Arc<Endpoints>, endpoint: Arc<Endpoint>, settings: check::Settings) {
    let entries = &upstream.settings().endpoints;
    let entry = entries.get(endpoint.entry());
    let name = entry.map_or_else(String::new, |entry| entry.address.to_string());
    loop {
        let outcome = check::run(endpoint.target(), &name, &settings).await;
        upstream.checked(&endpoint, outcome, clock::now());
        tokio::time::sleep(jittered(settings.interval)).await;
    }
}

/// `time`, give or take a tenth, so that gateways that started together do not go on together.
pub(super) fn jittered(time: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness there is no jitter, which is no reason to stop.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    time.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0)
}
