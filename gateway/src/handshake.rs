//! The handshake stage: an admitted connection becomes a TLS connection with a known device (or, where the trust domain lets
//! them in, with nobody), or a reason why not.
//!
//! It drives the protocol under a deadline and asks for a turn before each piece of public-key work. Who is trusted is
//! decided in `trust`; whether the device is served is decided after this, in `authorize`.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{AlertDescription, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::admission::queue::Kind as TurnKind;
use crate::admission::turns::Turns;
use crate::admission::{Admitted, Slot};
use crate::clock;
use crate::listener::Accepted;
use crate::live::{Facts, Peer, Spoken};
use crate::ocsp::subject::Subject;
use crate::tls::session::Session;
use crate::tls::stream::TlsStream;
use crate::tls::{ALPN_H2, resumption};
use crate::trust::revocation::Finding;
use crate::trust::{CacheResult, ClientAuth};
use crate::verify::Refusal;

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
    pub const OTHERS: [Self; 11] = [
        Self::NoCertificate,
        Self::BadProof,
        Self::Incompatible,
        Self::PlainHttp,
        Self::NotTls,
        Self::Protocol,
        Self::PeerAlert(AlertDescription::UnknownCA),
        Self::Closed,
        Self::Reset,
        Self::Timeout,
        Self::Internal,
    ];

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

/// Does the handshake of `admitted`. The report says how it went, also when it failed; the slot of the handshake is given
/// back in both cases.
pub async fn perform(
    admitted: Admitted,
    config: Arc<ServerConfig>,
    turns: &std::rc::Rc<Turns>,
    settings: Settings,
) -> (Option<Handshaked>, Report) {
    let (accepted, handshake_slot, connection) = admitted.into_parts();
    let (peer, at) = (accepted.peer(), accepted.at());
    let mut session = Session::default();
    let deadline = tokio::time::Instant::from_std(at + settings.timeout);
    let (result, stream) = drive(accepted, config, turns, &mut session, deadline).await;
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
            (
                Some(Handshaked {
                    stream,
                    peer_identity,
                    subject: session.known().and_then(|known| known.subject.clone()),
                    server_name: session.take_server_name(),
                    peer,
                    accepted: at,
                    connection,
                    is_h2,
                }),
                report,
            )
        }
        (_, stream) => {
            if let (Some(stream), Some(failure)) = (stream, report.failure) {
                close(stream, failure).await;
            }
            (None, report)
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

async fn drive(
    accepted: Accepted,
    config: Arc<ServerConfig>,
    turns: &std::rc::Rc<Turns>,
    session: &mut Session,
    deadline: tokio::time::Instant,
) -> (Result<(), Failure>, Option<TlsStream>) {
    let Ok(mut stream) = TlsStream::new(accepted.into_tcp(), config) else {
        return (Err(Failure::Internal), None);
    };
    let exchange = exchange_flights(&mut stream, turns, session);
    let result = tokio::time::timeout_at(deadline, exchange)
        .await
        .unwrap_or(Err(Failure::Timeout));
    (result, Some(stream))
}

async fn exchange_flights(
    stream: &mut TlsStream,
    turns: &std::rc::Rc<Turns>,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut turn_kind = TurnKind::Hello;
    while stream.state().is_handshaking() {
        let received = stream.receive().await.map_err(|error| of_socket(&error))?;
        if received == 0 {
            return Err(Failure::Closed);
        }
        if turn_kind == TurnKind::Hello {
            match is_http(stream.unprocessed()) {
                Some(true) => return Err(Failure::PlainHttp),
                Some(false) => {}
                None => continue,
            }
        }
        let turn = turns.take(turn_kind).await;
        let processed = session.enter(clock::unix_seconds(), || stream.process());
        drop(turn);
        processed.map_err(|error| of_protocol(&error, session, turn_kind))?;
        // Until the gateway has answered, what comes is still the hello, however many pieces it comes in.
        if stream.state().is_handshaking() && stream.has_outgoing() {
            stream.send().await.map_err(|error| of_socket(&error))?;
            turn_kind = TurnKind::Answer;
        }
    }
    Ok(())
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
            Failure::Closed | Failure::Reset | Failure::Timeout => {}
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

fn of_protocol(error: &Error, session: &Session, turn_kind: TurnKind) -> Failure {
    match error {
        Error::InvalidCertificate(_) => session
            .refusal()
            .map_or(Failure::BadProof, Failure::Refused),
        Error::NoCertificatesPresented => Failure::NoCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Failure::Incompatible,
        Error::AlertReceived(alert) => Failure::PeerAlert(*alert),
        // Who has said a good hello speaks TLS, if badly.
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord
            if turn_kind == TurnKind::Hello =>
        {
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
