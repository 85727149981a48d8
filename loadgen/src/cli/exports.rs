//! What a run tells others while it goes on: `--prometheus` and `--otlp`.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use loadgen::export::Shared;
use loadgen::export::push::{Collector, Push};
use loadgen::export::scrape::Scrape;

/// Where the metrics go.
#[derive(Debug, Args)]
pub(crate) struct Exports {
    /// Serve the run's metrics at http://ADDRESS:PORT/metrics for Prometheus to scrape while it lasts.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    prometheus: Option<SocketAddr>,
    /// Send the run's metrics to an OTLP collector (HTTP, JSON), every 5 s and at the end: http://127.0.0.1:4318.
    #[arg(long, value_name = "URL")]
    otlp: Option<Collector>,
}

/// What is under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Exporting {
    _scrape: Option<Scrape>,
    push: Option<Push>,
}

impl Exports {
    /// Starts what is wanted.
    pub(crate) fn start(&self, shared: &Shared) -> anyhow::Result<Exporting> {
        let scrape = self
            .prometheus
            .map(|address| {
                Scrape::start(address, shared.clone())
                    .with_context(|| format!("cannot listen on {address} (--prometheus)"))
            })
            .transpose()?;
        if let Some(scrape) = &scrape {
            eprintln!("metrics at http://{}/metrics", scrape.address());
        }
        let push = self
            .otlp
            .clone()
            .map(|collector| Push::start(collector, shared.clone()).context("--otlp"))
            .transpose()?;
        Ok(Exporting {
            _scrape: scrape,
            push,
        })
    }
}

impl Exporting {
    /// Sends what there is to send a last time. What a collector did not take is a warning: the run has its result all the same.
    pub(crate) fn finish(self) {
        let Some(sent) = self.push.map(Push::finish) else {
            return;
        };
        if let Some(error) = &sent.last_error {
            eprintln!(
                "loadgen: warning: {} of {} requests to the OTLP collector failed, the last with: {error}",
                sent.failed,
                sent.failed + sent.taken
            );
        }
    }
}
