//! A fleet whose connections are held open and watched: each device says when its connection ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{timeout, timeout_at};

use crate::client::{self, Client, Connection};

/// Handshakes at a time.
const AT_A_TIME: usize = 64;
/// Longest wait for one device to connect or to be answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that happened to the device of this number.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) number: usize,
    pub(super) what: What,
}

/// What happened.
#[derive(Debug)]
pub(super) enum What {
    /// It is connected, and its first request was answered.
    Connected,
    /// The gateway ended its connection.
    Ended(Instant),
    /// A later request was answered, over the same connection.
    Answered,
    /// It could not connect, or was not answered.
    Failed(anyhow::Error),
}

/// Connected devices.
#[derive(Debug)]
pub(super) struct Held {
    seen: mpsc::UnboundedReceiver<Seen>,
    ask: watch::Sender<bool>,
}

impl Held {
    /// Connects each of the fleet, and waits until all are.
    pub(super) async fn connect(fleet: Vec<Client>, address: SocketAddr) -> anyhow::Result<Held> {
        let (report, seen) = mpsc::unbounded_channel();
        let (ask, asked) = watch::channel(false);
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let count = fleet.len();
        for client in fleet {
            let life = live(
                client,
                address,
                Arc::clone(&turns),
                asked.clone(),
                report.clone(),
            );
            tokio::spawn(life);
        }
        let mut held = Held { seen, ask };
        for _ in 0..count {
            let Seen { number, what } = held.seen.recv().await.context("the fleet is gone")?;
            match what {
                What::Connected => {}
                What::Failed(error) => {
                    return Err(error.context(format!("device {number} could not connect")));
                }
                What::Ended(_) | What::Answered => {
                    bail!("the connection of device {number} ended before anybody was revoked");
                }
            }
        }
        Ok(held)
    }

    /// What happens next; `None` if nothing does until then.
    pub(super) async fn next_until(&mut self, until: Instant) -> Option<Seen> {
        timeout_at(until.into(), self.seen.recv()).await.ok()?
    }

    /// Has every device whose connection is open make a request.
    pub(super) fn ask_all(&self) {
        self.ask.send_replace(true);
    }
}

/// One device's life.
async fn live(
    client: Client,
    address: SocketAddr,
    turns: Arc<Semaphore>,
    mut asked: watch::Receiver<bool>,
    report: mpsc::UnboundedSender<Seen>,
) {
    let number = client.number;
    let tell = |what| {
        // Nobody listens any more where the experiment is over.
        let _ = report.send(Seen { number, what });
    };
    let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
        return;
    };
    let connected = timeout(PATIENCE, client::connect(&client, address)).await;
    drop(turn);
    let mut connection = match connected.context("not connected in time") {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) | Err(error) => return tell(What::Failed(error)),
    };
    tell(What::Connected);
    tokio::select! {
        at = end_of(&mut connection) => return tell(What::Ended(at)),
        changed = asked.changed() => if changed.is_err() { return },
    }
    let Ok(_turn) = turns.acquire().await else {
        return;
    };
    match timeout(PATIENCE, client::ask(&mut connection)).await {
        Ok(Ok(())) => tell(What::Answered),
        Ok(Err(error)) => tell(What::Failed(error.into())),
        Err(late) => tell(What::Failed(late.into())),
    }
}

/// When the connection is not one any more. Nothing is to be read from it before.
async fn end_of(connection: &mut Connection) -> Instant {
    let mut byte = [0; 1];
    let _ = connection.read(&mut byte).await;
    Instant::now()
}
