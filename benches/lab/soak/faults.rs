//! What goes wrong in a soak: an upstream that is killed and returns, reloads, and clients that are none.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{self, Client};
use crate::gateway_process::GatewayProcess;
use crate::upstream_process::UpstreamProcess;

/// How long the upstream is away.
const AWAY: Duration = Duration::from_secs(1);
/// Patience with the gateway's answer to a client that is none.
const PATIENCE: Duration = Duration::from_secs(2);
/// The beginning of a ClientHello of 512 bytes.
const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7];
/// A request head that no limit lets pass.
const OVERSIZED: usize = 64 * 1024;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The upstream is killed, and returns a second later.
    Outage,
    /// The gateway is told to reload.
    Reload,
    /// Random bytes.
    RandomBytes,
    /// Half a ClientHello, and then nothing.
    HalfHello,
    /// A ClientHello, byte by byte, given up half-way.
    SlowHello,
    /// HTTP in clear text.
    PlainHttp,
    /// A known device with a head that is far too large.
    OversizedHead,
}

impl Fault {
    /// All, in the order in which they come round.
    pub(super) const ALL: [Fault; 7] = [
        Fault::RandomBytes,
        Fault::Outage,
        Fault::HalfHello,
        Fault::Reload,
        Fault::SlowHello,
        Fault::PlainHttp,
        Fault::OversizedHead,
    ];

    /// In words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Fault::Outage => "upstream killed and returned",
            Fault::Reload => "reload",
            Fault::RandomBytes => "random bytes",
            Fault::HalfHello => "half a ClientHello",
            Fault::SlowHello => "a ClientHello byte by byte",
            Fault::PlainHttp => "HTTP in clear text",
            Fault::OversizedHead => "a request head of 64 KiB",
        }
    }
}

/// Makes them.
#[derive(Debug)]
pub(super) struct Faults<'run> {
    work: &'run Path,
    gateway: &'run GatewayProcess,
    upstream: Option<UpstreamProcess>,
    device: Client,
    random: StdRng,
}

impl<'run> Faults<'run> {
    pub(super) fn new(
        work: &'run Path,
        gateway: &'run GatewayProcess,
        upstream: UpstreamProcess,
        device: Client,
        seed: u64,
    ) -> Faults<'run> {
        Faults {
            work,
            gateway,
            upstream: Some(upstream),
            device,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Makes one, to its end; when the upstream was away, if it was.
    pub(super) fn make(&mut self, fault: Fault) -> anyhow::Result<Option<(Instant, Instant)>> {
        let address = self.gateway.devices;
        match fault {
            Fault::Outage => return self.outage().map(Some),
            Fault::Reload => self.gateway.reload()?,
            Fault::RandomBytes => {
                let mut bytes = [0; 4096];
                self.random.fill_bytes(&mut bytes);
                speak(address, &bytes)?;
            }
            Fault::HalfHello => speak(address, HALF_HELLO)?,
            Fault::SlowHello => {
                let mut stream = TcpStream::connect(address)?;
                for byte in HALF_HELLO.chunks(1) {
                    stream.write_all(byte)?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Fault::PlainHttp => speak(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?,
            Fault::OversizedHead => oversized(&self.device, address)?,
        }
        Ok(None)
    }

    fn outage(&mut self) -> anyhow::Result<(Instant, Instant)> {
        let upstream = self.upstream.take().context("the upstream is away")?;
        let from = Instant::now();
        let address = upstream.kill()?;
        std::thread::sleep(AWAY);
        self.upstream = Some(UpstreamProcess::return_at(self.work, address)?);
        Ok((from, Instant::now()))
    }
}

/// Says `bytes` and listens for an end; what comes and how it ends is the gateway's choice.
fn speak(address: SocketAddr, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).context("the gateway accepts nobody")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // It may end the connection at any byte.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

fn oversized(device: &Client, address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut connection = client::open(device, address).await?;
        let head = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n",
            "x".repeat(OVERSIZED)
        );
        let _ = connection.write_all(head.as_bytes()).await;
        let _ = connection.flush().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
        Ok(())
    })
}
