//! The handshake stage: an admitted connection becomes a TLS connection with a known device (or, where the trust domain lets
//! them in, with nobody), or a reason why not.
//!
//! It drives the protocol under a deadline and asks for a turn before each piece of public-key work. Who is trusted is
//! decided in `trust`; whether the device is served is decided after this, in `authorize`.

mod opening;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{AlertDescription, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::admission::queue::Kind as TurnKind;
use crate::admission::turns::{Turn, Turns};
use crate::admission::{Admitted, Shed, Slot};
use crate::clock;
use crate::listener;
use crate::live::{Facts, Peer, Spoken};
use crate::ocsp::subject::Subject;
use crate::tls::hello::ClientHello;
use crate::tls::session::{Hooks, Session};
use crate::tls::stream::TlsStream;
use crate::tls::{ALPN_H2, resumption};
use crate::trust::revocation::Finding;
use crate::trust::{CacheResult, ClientAuth};
use crate::verify::Refusal;
use opening::Opening;

/// What a handshake goes by.
pub struct Configuration {
    /// The TLS library's side.
    pub tls: Arc<ServerConfig>,
    /// The trust domains' side, which is part of `tls` too.
    pub hooks: Arc<Hooks>,
    /// Bounds.
    pub settings: Settings,
}

/// How a handshake is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// From accept to the end of the handshake.
    pub timeout: Duration,
}

/// Which handshake it was (RFC 8446, 2): the metric label `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With certificates, in one round trip.
    Full,
    /// With certificates, after a HelloRetryRequest.
    FullWithRetry,
    /// With a session ticket.
    Resumed,
}

impl Kind {
    /// Every kind, for the metric that counts them.
    pub const ALL: [Self; 3] = [Self::Full, Self::FullWithRetry, Self::Resumed];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::FullWithRetry => "full_hrr",
            Self::Resumed => "resumed",
        }
    }
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The device's chain was refused.
    #[error("the device's certificates were refused: {0}")]
    Refused(Refusal),
    /// The device presented no certificate.
    #[error("the device presented no certificate")]
    NoCertificate,
    /// The device does not have the key of its certificate.
    #[error("the device's signature does not fit its certificate")]
    BadProof,
    /// Nothing in common: version, cipher suite, group, signature scheme or application protocol.
    #[error("nothing in common with the device")]
    Incompatible,
    /// HTTP without TLS.
    #[error("plain HTTP on a TLS port")]
    PlainHttp,
    /// Bytes that are no TLS.
    #[error("not TLS")]
    NotTls,
    /// TLS, but not as the RFC has it.
    #[error("the device broke the protocol")]
    Protocol,
    /// The device sent a fatal alert: it does not trust the gateway, for instance.
    #[error("the device refused: {0:?}")]
    PeerAlert(AlertDescription),
    /// The device closed the connection.
    #[error("the device left")]
    Closed,
    /// The device closed the connection, or it broke, while its hello waited for a turn.
    #[error("the device left before its turn came")]
    GaveUp,
    /// The connection broke.
    #[error("the connection broke")]
    Reset,
    /// The deadline passed.
    #[error("the deadline passed")]
    Timeout,
    /// The gateway's own fault.
    #[error("internal error")]
    Internal,
}

impl Failure {
    /// Labels of all reasons that are not a [`Refusal`], for the metric that counts them.
    pub const OTHERS: [Self; 12] = [
        Self::NoCertificate,
        Self::BadProof,
        Self::Incompatible,
        Self::PlainHttp,
        Self::NotTls,
        Self::Protocol,
        Self::PeerAlert(AlertDescription::UnknownCA),
        Self::Closed,
        Self::GaveUp,
        Self::Reset,
        Self::Timeout,
        Self::Internal,
    ];

    /// Whether it counts against the source that it came from: a client that says the wrong thing, not one that gave up
    /// or whose link broke.
    pub fn is_of_peer(self) -> bool {
        !matches!(
            self,
            Self::Closed | Self::Reset | Self::Timeout | Self::Internal
        )
    }

    /// The metric label `outcome`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.label(),
            Self::NoCertificate => "no_certificate",
            Self::BadProof => "bad_certificate_verify",
            Self::Incompatible => "incompatible",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::Protocol => "protocol_error",
            Self::PeerAlert(_) => "peer_alert",
            Self::Closed => "closed",
            Self::GaveUp => "gave_up",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }
}

/// A connection whose handshake is done and whose peer is known. Only [`perform`] makes one.
pub struct Handshaked {
    stream: TlsStream,
    peer_identity: Peer,
    subject: Option<Subject>,
    server_name: Option<Box<str>>,
    peer: std::net::SocketAddr,
    accepted: Instant,
    connection: Slot,
    is_h2: bool,
}

impl Handshaked {
    /// The trust domain that the server name chose, and the device whose certificates, or whose ticket, the handshake
    /// proved.
    pub fn peer_identity(&self) -> &Peer {
        &self.peer_identity
    }

    /// What a responder can be asked about.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// The device's address.
    pub fn peer(&self) -> std::net::SocketAddr {
        self.peer
    }

    /// The server name that the device asked for.
    pub(crate) fn take_server_name(&mut self) -> Option<Box<str>> {
        self.server_name.take()
    }

    /// Whether ALPN chose HTTP/2.
    pub fn is_h2(&self) -> bool {
        self.is_h2
    }

    /// Ready when the device has left, or its connection broke. What it sends meanwhile stays unread.
    pub(crate) async fn left(&self) {
        self.stream.closed().await;
    }

    /// The TLS version, as `1.3`.
    pub fn tls_version(&self) -> &'static str {
        match self.stream.state().protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "",
        }
    }

    /// What an operator may want to know of it, on the listener called `listener`, after the handshake that `report` tells of.
    pub fn facts(&self, listener: &Arc<str>, report: &Report) -> Facts {
        Facts {
            listener: Arc::clone(listener),
            address: self.peer,
            handshake: report.kind,
            tls_version: self.tls_version(),
            spoken: Cell::new(match self.is_h2 {
                true => Spoken::Http2,
                false => Spoken::Http1,
            }),
            accepted: self.accepted,
            handshake_took: report.took,
        }
    }

    /// Ends the connection of a device that is not to be served.
    pub(crate) async fn refuse(self) {
        self.stream.close().await;
    }

    /// The stream, and the slot that counts the connection as open.
    pub(crate) fn into_stream(self) -> (TlsStream, Slot) {
        (self.stream, self.connection)
    }
}

/// What a handshake came to, for metrics and logs.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Which handshake it was, as far as it came.
    pub kind: Kind,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// From accept to here.
    pub took: Duration,
    /// What the chain cache said, if it was asked.
    pub lookup: Option<CacheResult>,
    /// What the revocation lists said, if they were asked.
    pub finding: Option<Finding>,
    /// Why a ticket was declined, if one was.
    pub declined: Option<resumption::Declined>,
    /// Whether a ticket was honoured.
    pub resumed: bool,
    /// Tickets issued.
    pub tickets_issued: u32,
}

/// A handshake that may be begun.
pub struct Start {
    /// The connection.
    pub admitted: Admitted,
    /// What was read from it already.
    pub received: Vec<u8>,
    /// The turn for what was read, if it was waited for already.
    pub turn: Option<Turn>,
}

/// What a hello asks a turn for.
pub fn kind_of_hello(hello: &ClientHello<'_>, hooks: &Hooks) -> TurnKind {
    let now = clock::unix_seconds();
    let opens = |ticket| hooks.can_open(hello.server_name, ticket, now);
    match hello.ticket.is_some_and(opens) {
        true => TurnKind::ResumedHello,
        false => TurnKind::FullHello,
    }
}

/// Does the handshake of `start`. The report says how it went, also when it failed; the slot of the handshake is given
/// back in every case.
///
/// # Errors
/// The connection was shed: it was reset before any cryptography.
pub async fn perform(
    start: Start,
    configuration: Configuration,
    turns: &Rc<Turns>,
) -> Result<(Option<Handshaked>, Report), Shed> {
    let Start {
        admitted,
        received,
        turn,
    } = start;
    let (accepted, handshake_slot, connection) = admitted.into_parts();
    let (peer, at) = (accepted.peer(), accepted.at());
    let mut session = Session::default();
    let exchange = Exchange {
        turns,
        accepted: at,
        deadline: tokio::time::Instant::from_std(at + configuration.settings.timeout),
    };
    let (result, stream) = match accepted.into_tcp() {
        Ok(tcp) => {
            let opening = Opening::new(tcp, received);
            let driven = exchange.drive(opening, turn, &configuration, &mut session);
            driven.await?
        }
        Err(_) => (Err(Failure::Internal), None),
    };
    drop(handshake_slot);
    let result = result.and_then(|()| peer_of(&session, stream.as_ref()));
    let report = report(
        &session,
        stream.as_ref(),
        result.as_ref().err().copied(),
        at,
    );
    match (result, stream) {
        (Ok(peer_identity), Some(stream)) => {
            let is_h2 = stream.state().alpn_protocol() == Some(ALPN_H2);
            let handshaked = Handshaked {
                stream,
                peer_identity,
                subject: session.known().and_then(|known| known.subject.clone()),
                server_name: session.take_server_name(),
                peer,
                accepted: at,
                connection,
                is_h2,
            };
            Ok((Some(handshaked), report))
        }
        (_, stream) => {
            if let (Some(stream), Some(failure)) = (stream, report.failure) {
                close(stream, failure).await;
            }
            Ok((None, report))
        }
    }
}

/// Whom the handshake proved: a chain that was verified in this handshake if it was a full one, a ticket that was honoured
/// in it if it was resumed, nobody only where a full handshake saw no certificate and the domain allows that. Anything else
/// is a contradiction, and nobody is served on one.
fn peer_of(session: &Session, stream: Option<&TlsStream>) -> Result<Peer, Failure> {
    let resumed =
        stream.and_then(|stream| stream.state().handshake_kind()) == Some(HandshakeKind::Resumed);
    let domain = session.domain().ok_or(Failure::Internal)?;
    let device = match session.known() {
        Some(known) if session.is_resumed() == resumed => Some(Arc::clone(&known.device)),
        None if !resumed && domain.settings().client_auth == ClientAuth::Optional => None,
        _ => return Err(Failure::Internal),
    };
    Ok(Peer {
        trust_domain: Arc::clone(domain.name()),
        rules: domain.rules(),
        device,
    })
}

fn report(
    session: &Session,
    stream: Option<&TlsStream>,
    failure: Option<Failure>,
    at: Instant,
) -> Report {
    let kind = match stream.and_then(|stream| stream.state().handshake_kind()) {
        Some(HandshakeKind::Resumed) => Kind::Resumed,
        Some(HandshakeKind::FullWithHelloRetryRequest) => Kind::FullWithRetry,
        Some(HandshakeKind::Full) | None => Kind::Full,
    };
    Report {
        kind,
        failure,
        took: clock::now().saturating_duration_since(at),
        lookup: session.known().map(|known| known.lookup),
        finding: session.finding(),
        declined: session.declined(),
        resumed: kind == Kind::Resumed && failure.is_none(),
        tickets_issued: session.tickets_issued(),
    }
}

/// The exchange of flights on one connection.
struct Exchange<'a> {
    turns: &'a Rc<Turns>,
    accepted: Instant,
    deadline: tokio::time::Instant,
}

/// How the exchange came out, and the stream as far as one was made.
type Driven = (Result<(), Failure>, Option<TlsStream>);

impl Exchange<'_> {
    async fn drive(
        &self,
        mut opening: Opening,
        turn: Option<Turn>,
        configuration: &Configuration,
        session: &mut Session,
    ) -> Result<Driven, Shed> {
        let opened = match turn {
            Some(turn) => Ok(turn),
            None => {
                let open = self.open(&mut opening, &configuration.hooks);
                tokio::time::timeout_at(self.deadline, open)
                    .await
                    .unwrap_or(Err(End::Failed(Failure::Timeout)))
            }
        };
        let (tcp, received) = opening.into_parts();
        let turn = match opened {
            Ok(turn) => Ok(turn),
            // It is told so, on a stream.
            Err(End::Failed(Failure::PlainHttp)) => Err(Failure::PlainHttp),
            Err(End::Failed(failure)) => return Ok((Err(failure), None)),
            Err(End::Shed(reason)) => {
                listener::reset(&tcp);
                return Err(reason);
            }
        };
        let Ok(mut stream) = TlsStream::new(tcp, received, Arc::clone(&configuration.tls)) else {
            return Ok((Err(Failure::Internal), None));
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(failure) => return Ok((Err(failure), Some(stream))),
        };
        let flights = self.exchange_flights(&mut stream, turn, session);
        let result = tokio::time::timeout_at(self.deadline, flights)
            .await
            .unwrap_or(Err(End::Failed(Failure::Timeout)));
        match result {
            Ok(()) => Ok((Ok(()), Some(stream))),
            Err(End::Failed(failure)) => Ok((Err(failure), Some(stream))),
            Err(End::Shed(reason)) => Err(reason),
        }
    }

    /// Waits for the hello, and then for its turn.
    async fn open(&self, opening: &mut Opening, hooks: &Hooks) -> Result<Turn, End> {
        let look = |hello: ClientHello<'_>| kind_of_hello(&hello, hooks);
        let kind = opening.arrive(look).await.map_err(End::Failed)?;
        let kind = kind.unwrap_or(TurnKind::FullHello);
        tokio::select! {
            biased;
            // No work for those who are gone.
            () = opening.leaves() => {
                self.turns.left(self.accepted);
                self.turns.gave_up(kind);
                Err(End::Failed(Failure::GaveUp))
            }
            turn = self.turns.take(kind, self.accepted) => turn.map_err(End::Shed),
        }
    }

    /// Processes what came so far in `turn`, and what comes then in further ones.
    async fn exchange_flights(
        &self,
        stream: &mut TlsStream,
        turn: Turn,
        session: &mut Session,
    ) -> Result<(), End> {
        process(stream, turn, session, false).map_err(End::Failed)?;
        let mut sent = None;
        while stream.state().is_handshaking() {
            // Until the gateway has answered, what comes is still the hello, however many pieces it comes in.
            if stream.has_outgoing() {
                let result = stream.send().await;
                result.map_err(|error| End::Failed(of_socket(&error)))?;
                sent = Some(clock::now());
            }
            let received = stream.receive().await.map_err(|error| of_socket(&error));
            match (received, sent) {
                (Ok(1..), Some(sent)) => self.turns.answered(sent),
                (Ok(1..), None) => {}
                (received, sent) => {
                    if sent.is_some() {
                        self.turns.left(self.accepted);
                    }
                    return Err(End::Failed(received.err().unwrap_or(Failure::Closed)));
                }
            }
            let kind = match sent {
                Some(_) => TurnKind::Answer,
                None => TurnKind::FullHello,
            };
            let turn = self.turns.take(kind, self.accepted).await;
            let turn = turn.map_err(End::Shed)?;
            process(stream, turn, session, sent.is_some()).map_err(End::Failed)?;
        }
        Ok(())
    }
}

/// Why a handshake goes no further.
enum End {
    Failed(Failure),
    Shed(Shed),
}

/// Does one turn's work.
fn process(
    stream: &mut TlsStream,
    turn: Turn,
    session: &mut Session,
    has_answered: bool,
) -> Result<(), Failure> {
    let processed = session.enter(clock::unix_seconds(), || stream.process());
    drop(turn);
    processed.map_err(|error| of_protocol(&error, session, has_answered))
}

/// Ends a failed handshake in the way that tells the device most.
async fn close(stream: TlsStream, failure: Failure) {
    /// How long a device may take to read its alert.
    const LINGER: Duration = Duration::from_secs(1);
    const PLAIN: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 43\r\n\
        connection: close\r\n\r\nthis port speaks TLS; use https to reach it";
    let ending = async {
        match failure {
            Failure::PlainHttp => stream.close_with_plain(PLAIN).await,
            Failure::Closed | Failure::GaveUp | Failure::Reset | Failure::Timeout => {}
            _ => stream.close_after_alert().await,
        }
    };
    let _ = tokio::time::timeout(LINGER, ending).await;
}

/// Whether `bytes` start an HTTP request; `None` while only more of them can tell. No TLS record starts with a letter.
fn is_http(bytes: &[u8]) -> Option<bool> {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"PRI ",
        b"PATCH ",
        b"TRACE ",
        b"DELETE ",
        b"OPTIONS ",
        b"CONNECT ",
    ];
    if METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some(true);
    }
    let undecided = METHODS.iter().any(|method| method.starts_with(bytes));
    (!undecided).then_some(false)
}

fn of_socket(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::Closed,
        _ => Failure::Reset,
    }
}

fn of_protocol(error: &Error, session: &Session, has_answered: bool) -> Failure {
    match error {
        Error::InvalidCertificate(_) => session
            .refusal()
            .map_or(Failure::BadProof, Failure::Refused),
        Error::NoCertificatesPresented => Failure::NoCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Failure::Incompatible,
        Error::AlertReceived(alert) => Failure::PeerAlert(*alert),
        // Who has said a good hello speaks TLS, if badly.
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord if !has_answered => {
            Failure::NotTls
        }
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes | Error::General(_) => {
            Failure::Internal
        }
        _ => Failure::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::is_http;

    #[test]
    fn http_is_told_from_tls() {
        assert_eq!(is_http(b"GET / HTTP/1.1\r\n"), Some(true));
        assert_eq!(is_http(b"PRI * HTTP/2.0\r\n"), Some(true));
        assert_eq!(is_http(b"\x16\x03\x01\x02\x00"), Some(false));
        assert_eq!(is_http(b"GETAWAY"), Some(false));
        assert_eq!(is_http(b"CONNEC"), None);
        assert_eq!(is_http(b""), None);
    }
}
