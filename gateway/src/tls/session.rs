//! The trust domains' side of a handshake: rustls asks here which certificate to show, whether a client's certificates
//! are good, what goes into a ticket, and whether a ticket is honoured.
//!
//! The server name is the first thing it asks about, and chooses the trust domain; everything after goes by that domain.
//!
//! rustls's hooks are shared by all connections of a configuration and say nothing about the connection that they are
//! called for. So the connection whose records are being processed leaves its [`Session`] with the thread for the length
//! of that (synchronous) call; see [`Session::enter`]. A hook that finds no session refuses.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::authorize::Revocation;
use crate::tls::proof;
use crate::tls::resumption::{Declined, Settings, TicketContents, certificates_of};
use crate::tls::stek::TicketKeys;
use crate::trust::domains::Domains;
use crate::trust::revocation::Finding;
use crate::trust::{CacheResult, ClientAuth, KnownDevice, TrustDomain};
use crate::verify::{PresentedChain, Refusal};

/// What the hooks found out about one connection during its handshake.
#[derive(Debug, Default)]
pub struct Session {
    now: u64,
    domain: Option<Arc<TrustDomain>>,
    /// The index of `domain` among the hooks' domains.
    index: usize,
    known: Option<KnownDevice>,
    lineage_start: Option<u64>,
    refusal: Option<Refusal>,
    declined: Option<Declined>,
    tickets_issued: u32,
    server_name: Option<Box<str>>,
}

thread_local! {
    static ACTIVE: RefCell<Option<Session>> = const { RefCell::new(None) };
}

impl Session {
    /// Runs `process` with this session as the thread's. `now` is in seconds since the Unix epoch.
    pub fn enter<R>(&mut self, now: u64, process: impl FnOnce() -> R) -> R {
        /// Takes the session back, also when `process` panics.
        struct Restore<'a>(&'a mut Session);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                if let Some(session) = ACTIVE.with_borrow_mut(Option::take) {
                    *self.0 = session;
                }
            }
        }
        self.now = now;
        ACTIVE.with_borrow_mut(|active| *active = Some(std::mem::take(self)));
        let restore = Restore(self);
        let result = process();
        drop(restore);
        result
    }

    /// The trust domain that the client's server name chose. `None` before there was a hello.
    pub fn domain(&self) -> Option<&Arc<TrustDomain>> {
        self.domain.as_ref()
    }

    /// The device whose chain was verified, or whose ticket was honoured.
    pub fn known(&self) -> Option<&KnownDevice> {
        self.known.as_ref()
    }

    /// Whether [`Session::known`] was found by a ticket.
    pub fn is_resumed(&self) -> bool {
        self.lineage_start.is_some()
    }

    /// Why the client's chain was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Why a ticket was declined, if one was presented and the handshake went on without it.
    pub fn declined(&self) -> Option<Declined> {
        self.declined
    }

    /// What the revocation lists said about the client's chain, if they were asked.
    pub fn finding(&self) -> Option<Finding> {
        match self.refusal {
            Some(Refusal::Revoked) => Some(Finding::Revoked),
            _ => self.known.as_ref()?.finding,
        }
    }

    /// The server name that the client asked for.
    pub fn take_server_name(&mut self) -> Option<Box<str>> {
        self.server_name.take()
    }

    /// Number of tickets sealed for the client.
    pub fn tickets_issued(&self) -> u32 {
        self.tickets_issued
    }

    /// Forgets whom an honoured ticket named. rustls opens tickets before it decides whether to resume (it does not under
    /// another server name, say), and before the client has proved that it has the ticket's secret.
    fn forget_ticket(&mut self) {
        self.lineage_start = None;
        self.known = None;
    }
}

fn with_active<R>(hook: impl FnOnce(&mut Session) -> R) -> Option<R> {
    ACTIVE.with_borrow_mut(|active| active.as_mut().map(hook))
}

/// One trust domain as the hooks see it.
#[derive(Debug)]
pub struct DomainSessions {
    domain: Arc<TrustDomain>,
    keys: TicketKeys,
    credentials: Arc<CertifiedKey>,
    hints: Vec<DistinguishedName>,
}

/// The most bytes of anchors' names that are sent to clients as a hint; more of them and none is sent.
const MAX_HINT_BYTES: usize = 2048;

impl DomainSessions {
    /// Sessions of `domain`. `keys` must be of its resumption scope; `credentials` are what the gateway shows.
    pub fn new(domain: Arc<TrustDomain>, keys: TicketKeys, credentials: Arc<CertifiedKey>) -> Self {
        let subjects: Vec<DistinguishedName> = domain
            .material()
            .subjects()
            .map(DistinguishedName::in_sequence)
            .collect();
        let bytes: usize = subjects.iter().map(|subject| subject.as_ref().len()).sum();
        let hints = if bytes <= MAX_HINT_BYTES {
            subjects
        } else {
            Vec::new()
        };
        Self {
            domain,
            keys,
            credentials,
            hints,
        }
    }

    /// The trust domain.
    pub fn domain(&self) -> &Arc<TrustDomain> {
        &self.domain
    }
}

/// rustls's hooks for all trust domains of a configuration.
#[derive(Debug)]
pub struct Hooks {
    domains: Arc<Domains>,
    /// In the order of `domains`.
    sessions: Vec<DomainSessions>,
    resumption: Settings,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Hooks {
    /// Hooks for `domains`; `sessions` are theirs, in the same order.
    pub fn new(domains: Arc<Domains>, sessions: Vec<DomainSessions>, resumption: Settings) -> Self {
        Self {
            domains,
            sessions,
            resumption,
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
        }
    }

    fn honour(
        &self,
        sessions: &DomainSessions,
        ticket: &[u8],
        now: u64,
    ) -> Result<(KnownDevice, u64, Vec<u8>), Declined> {
        let opened = sessions
            .keys
            .open(ticket, now)
            .ok_or(Declined::UnknownKey)?;
        let contents = TicketContents::decode(&opened).ok_or(Declined::Malformed)?;
        if !contents.lineage_is_young(self.resumption.max_lineage_age, now) {
            return Err(Declined::LineageTooOld);
        }
        let known = match sessions.domain.recall(contents.chain, now) {
            Ok(known) => known,
            Err(why) => verify_again(sessions, &contents, why, now)?,
        };
        sessions
            .domain
            .authorize(Some(&known.device), Revocation::Good, now)
            .map_err(Declined::of_denied)?;
        Ok((known, contents.lineage_start, contents.session.to_vec()))
    }

    /// Makes `session` one of the trust domain that `server_name` belongs to.
    pub fn choose(
        &self,
        session: &mut Session,
        server_name: Option<&str>,
    ) -> Option<&DomainSessions> {
        let index = self.domains.index_of(server_name);
        let sessions = self.sessions.get(index)?;
        session.index = index;
        session.server_name = server_name.map(Into::into);
        session.domain = Some(Arc::clone(&sessions.domain));
        Some(sessions)
    }

    fn chosen(&self, session: &Session) -> Option<&DomainSessions> {
        session.domain.as_ref()?;
        self.sessions.get(session.index)
    }

    fn domain_of_this_thread(&self) -> Option<&DomainSessions> {
        with_active(|session| self.chosen(session))?
    }
}

/// For a chain that the cache does not hold: after a restart, or a full handshake with another instance.
fn verify_again(
    sessions: &DomainSessions,
    contents: &TicketContents<'_>,
    why: CacheResult,
    now: u64,
) -> Result<KnownDevice, Declined> {
    let certificates = certificates_of(contents.session).ok_or(Declined::Malformed)?;
    let Some((end_entity, intermediates)) = certificates.split_first() else {
        return Err(match why {
            CacheResult::Stale => Declined::ChainRefused,
            CacheResult::Hit | CacheResult::Miss => Declined::ChainForgotten,
        });
    };
    let presented = PresentedChain {
        end_entity,
        intermediates,
    };
    sessions
        .domain
        .check(presented, now)
        .map_err(Declined::of_refusal)
}

impl ResolvesServerCert for Hooks {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sessions = with_active(|session| self.choose(session, hello.server_name()))??;
        Some(Arc::clone(&sessions.credentials))
    }
}

impl ClientCertVerifier for Hooks {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Asked for with the client's certificates, so this is a full handshake. If the client then shows none, nothing
        // else is called before its ticket is sealed, and that must not name whom another ticket named.
        with_active(Session::forget_ticket);
        match self.domain_of_this_thread() {
            Some(sessions) => &sessions.hints,
            None => &[],
        }
    }

    fn client_auth_mandatory(&self) -> bool {
        self.domain_of_this_thread()
            .is_none_or(|sessions| sessions.domain.settings().client_auth == ClientAuth::Required)
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = with_active(|session| {
            // A full handshake starts a new lineage, whatever a ticket said.
            session.forget_ticket();
            let sessions = self.chosen(session)?;
            let presented = PresentedChain {
                end_entity,
                intermediates,
            };
            Some(match sessions.domain.check(presented, session.now) {
                Ok(known) => {
                    session.known = Some(known);
                    Ok(ClientCertVerified::assertion())
                }
                Err(refusal) => {
                    session.refusal = Some(refusal);
                    Err(Error::InvalidCertificate(refusal.to_certificate_error()))
                }
            })
        });
        verdict
            .flatten()
            .unwrap_or_else(|| Err(Error::General("no session for this handshake".into())))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof::verify_tls12(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof::verify_tls13(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ProducesTickets for Hooks {
    fn enabled(&self) -> bool {
        self.resumption.enabled
    }

    fn lifetime(&self) -> u32 {
        // RFC 8446, 4.6.1: seven days at the most.
        const SEVEN_DAYS: u64 = 7 * 24 * 60 * 60;
        let seconds = self
            .resumption
            .rotation
            .min(self.resumption.max_lineage_age)
            .min(SEVEN_DAYS);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session_value: &[u8]) -> Option<Vec<u8>> {
        with_active(|session| {
            let sessions = self.chosen(session)?;
            // Who presented no certificate has nothing worth resuming, and nothing to check it by.
            let known = session.known.as_ref()?;
            let contents = TicketContents {
                lineage_start: session.lineage_start.unwrap_or(session.now),
                chain: known.chain,
                session: session_value,
            };
            let contents = contents.encode(self.resumption.tickets)?;
            let ticket = sessions.keys.seal(&contents, session.now)?;
            session.tickets_issued += 1;
            Some(ticket)
        })?
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        with_active(|session| {
            let sessions = self.chosen(session)?;
            match self.honour(sessions, ticket, session.now) {
                Ok((known, lineage_start, session_value)) => {
                    session.known = Some(known);
                    session.lineage_start = Some(lineage_start);
                    session.declined = None;
                    Some(session_value)
                }
                Err(declined) => {
                    session.declined = Some(declined);
                    None
                }
            }
        })?
    }
}
