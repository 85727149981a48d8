//! What a handshake costs the client's side here: made in memory, without sockets, against a server in the same thread whose time is not
//! counted.
//!
//! The client is the one that runs use: same library, same verifier, one ticket slot. Identities are minted on the spot.

use std::ops::DerefMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec};
use certs_gen::credential::Credential;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
};

use super::facts::Handshakes;
use crate::drive::tls;
use crate::fleet::TrustAnchors;
use crate::fleet::ticket::TicketSlot;
use crate::plan::{Plan, Target};

/// Handshakes whose time is not counted: the first ones fill caches.
const WARM_UP: usize = 10;
/// How long each kind is tried.
const EACH: Duration = Duration::from_millis(300);
const SERVER: &str = "server.test";

/// Makes handshakes of both kinds for a little more than half a second.
///
/// # Errors
///
/// The machine cannot mint identities, or the two sides do not agree: neither is expected.
pub fn measure() -> anyhow::Result<Handshakes> {
    let laboratory = Laboratory::new()?;
    Ok(Handshakes {
        full_us: laboratory.cost_us(false)?,
        resumed_us: laboratory.cost_us(true)?,
    })
}

struct Laboratory {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    tickets: Arc<TicketSlot>,
    name: ServerName<'static>,
}

impl Laboratory {
    fn new() -> anyhow::Result<Laboratory> {
        let authority = Authority::trust_anchor(&AuthoritySpec::new("loadgen doctor"))?;
        let intermediate =
            authority.intermediate(&AuthoritySpec::new("loadgen doctor's intermediate"))?;
        let device = intermediate.issue(&EndEntitySpec::device("device-000000"))?;
        let server = intermediate.issue(&EndEntitySpec::server(&[SERVER
            .parse()
            .map_err(anyhow::Error::msg)?]))?;
        let mut anchors = TrustAnchors::empty();
        anchors.add(authority.certificate_der().to_vec().into())?;
        let anchors = Arc::new(anchors);

        let target = Target::parse(&format!("https://{SERVER}"))?;
        let plan = Plan::new(target, "");
        let provider = tls::provider(&plan.groups);
        let tickets = Arc::new(TicketSlot::default());
        let mut client = tls::base_configuration(&plan, &provider, &anchors)?;
        let (chain, key) = parts(&device);
        let credentials = CertifiedKey::from_der(chain, key, &provider)?;
        client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(credentials));
        client.resumption = Resumption::store(tickets.clone());
        Ok(Laboratory {
            client: Arc::new(client),
            server: Arc::new(server_configuration(&server, anchors, &provider)?),
            tickets,
            name: ServerName::try_from(SERVER)?,
        })
    }

    /// Mean CPU time of one on the client's side, in microseconds.
    fn cost_us(&self, resumed: bool) -> anyhow::Result<f64> {
        for _ in 0..WARM_UP {
            self.handshake(resumed)?;
        }
        let (began, mut spent, mut made) = (Instant::now(), Duration::ZERO, 0);
        while began.elapsed() < EACH {
            spent += self.handshake(resumed)?;
            made += 1;
        }
        Ok(spent.as_secs_f64() * 1e6 / f64::from(made))
    }

    /// Makes one, until the client has its ticket, and says what the client's side took.
    fn handshake(&self, resumed: bool) -> anyhow::Result<Duration> {
        self.tickets.prepare(resumed);
        let mut stopwatch = Stopwatch::default();
        let mut client = stopwatch
            .time(|| ClientConnection::new(Arc::clone(&self.client), self.name.clone()))?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut wire = Vec::new();
        loop {
            stopwatch.time(|| {
                while client.wants_write() {
                    client.write_tls(&mut wire)?;
                }
                anyhow::Ok(())
            })?;
            let from_client = wire.len();
            take_in(&mut server, &wire)?;
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            stopwatch.time(|| take_in(&mut client, &wire))?;
            if from_client + wire.len() == 0 {
                break;
            }
            wire.clear();
        }
        let kind = client.handshake_kind();
        let as_wanted = kind == Some(rustls::HandshakeKind::Resumed);
        anyhow::ensure!(
            as_wanted == resumed,
            "a handshake of the wrong kind: {kind:?}"
        );
        Ok(stopwatch.spent)
    }
}

/// Hands `bytes` to one side, which may take them in several bites.
fn take_in<S: SideData>(
    side: &mut impl DerefMut<Target = ConnectionCommon<S>>,
    mut bytes: &[u8],
) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        side.read_tls(&mut bytes)?;
        side.process_new_packets().context("the handshake failed")?;
    }
    Ok(())
}

/// CPU time of this thread while something was done.
#[derive(Default)]
struct Stopwatch {
    spent: Duration,
}

impl Stopwatch {
    fn time<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let done = what();
        self.spent += thread_time().saturating_sub(before);
        done
    }
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn parts(credential: &Credential) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = credential.chain.iter().cloned().map(Into::into).collect();
    (
        chain,
        PrivatePkcs8KeyDer::from(credential.key.clone()).into(),
    )
}

fn server_configuration(
    server: &Credential,
    anchors: Arc<TrustAnchors>,
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<ServerConfig> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(anchors, Arc::clone(provider)).build()?;
    let (chain, key) = parts(server);
    let mut configuration = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    configuration.send_tls13_tickets = 1;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_made_and_the_resumed_one_is_cheaper() {
        let cost = measure().unwrap();
        assert!(cost.resumed_us > 1.0, "{cost:?}");
        assert!(cost.full_us > cost.resumed_us, "{cost:?}");
    }
}
