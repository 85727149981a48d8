//! Devices that are connected all the time and ask now and then: whom a storm must not keep waiting.
//!
//! They ask by a schedule, and time counts from when they meant to ask: one that is still waiting for its last answer is
//! late with the next, and that is the server's doing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use crate::client::{self, Client, Connection};
use crate::cores::Cores;
use crate::gateway_process::PKI;

/// Longest wait for an answer, or for a new connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// A pause before another attempt to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// When it was meant to be made.
    pub(super) intended: Instant,
    /// From then until it was answered; `None` if it was not.
    pub(super) took: Option<Duration>,
    /// How late the device itself was, where no earlier request kept it.
    pub(super) lag: Duration,
}

/// The devices, connected.
#[derive(Debug)]
pub(super) struct Established {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Established {
    /// Connects `count` devices, which ask `rate` times a second in all, from a thread on the server's core: its quota leaves
    /// room there, and the generator of the storm does not.
    pub(super) fn connect(
        work: &Path,
        address: SocketAddr,
        count: usize,
        rate: f64,
        cores: Cores,
    ) -> anyhow::Result<Established> {
        let fleet = client::fleet(&work.join(PKI), count)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connected = runtime.block_on(async {
            let mut connected = Vec::new();
            for client in fleet {
                let connection = client::connect(&client, address).await?;
                connected.push((client, connection));
            }
            anyhow::Ok(connected)
        });
        let connected = connected.context("the established devices cannot connect")?;
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(false);
        let interval = Duration::from_secs_f64(count as f64 / rate);
        let into = Arc::clone(&samples);
        let thread = cores.with_server(|| {
            std::thread::Builder::new()
                .name("established".to_owned())
                .spawn(move || {
                    runtime.block_on(ask_all(connected, address, interval, into, stopped))
                })
        })??;
        Ok(Established {
            samples,
            stop,
            thread: Some(thread),
        })
    }

    /// Requests that were meant to be made from `from` until before `to`.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(|held| held.into_inner());
        let within = |sample: &&Sample| sample.intended >= from && sample.intended < to;
        let mut found: Vec<Sample> = samples.iter().filter(within).copied().collect();
        found.sort_by_key(|sample| sample.intended);
        found
    }
}

impl Drop for Established {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn ask_all(
    connected: Vec<(Client, Connection)>,
    address: SocketAddr,
    interval: Duration,
    samples: Arc<Mutex<Vec<Sample>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let count = u32::try_from(connected.len()).unwrap_or(1).max(1);
    let began = Instant::now();
    let mut lives = tokio::task::JoinSet::new();
    for (index, (client, connection)) in (0..).zip(connected) {
        let first = began + interval * index / count;
        lives.spawn(live(
            client,
            connection,
            address,
            first,
            interval,
            Arc::clone(&samples),
        ));
    }
    // Whoever could ask for a stop is gone: that is one too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    lives.shutdown().await;
}

/// One device's life.
async fn live(
    client: Client,
    mut connection: Connection,
    address: SocketAddr,
    first: Instant,
    interval: Duration,
    samples: Arc<Mutex<Vec<Sample>>>,
) {
    let mut intended = first;
    loop {
        let kept = Instant::now() > intended;
        sleep_until(intended.into()).await;
        let woke = Instant::now();
        // The runtime's timers tick once a millisecond; that is no fault of the server's.
        let from = if kept { intended } else { woke };
        let answer = timeout(PATIENCE, client::ask(&mut connection)).await;
        let answered = matches!(answer, Ok(Ok(())));
        let sample = Sample {
            intended,
            took: answered.then(|| from.elapsed()),
            lag: if kept {
                Duration::ZERO
            } else {
                woke - intended
            },
        };
        samples
            .lock()
            .unwrap_or_else(|held| held.into_inner())
            .push(sample);
        if !answered {
            connection = connect_again(&client, address).await;
        }
        intended += interval;
    }
}

async fn connect_again(client: &Client, address: SocketAddr) -> Connection {
    loop {
        if let Ok(Ok(connection)) = timeout(PATIENCE, client::connect(client, address)).await {
            return connection;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
