//! One attempt: when each of its steps happened.
//!
//! ```text
//! intended ─▶ started ─▶ tcp_done ─▶ client_finished ─▶ accepted ─▶ first_byte ─▶ done
//! ╰──lag────╯╰──tcp────╯╰─handshake─╯╰──acceptance──╯
//!                                    ╰────────first byte─────────╯╰──transfer──╯
//! ╰──────────────────────────────response time──────────────────────────────────╯
//!            ╰───────────────────service time───────────────────────────────────╯
//! ```
//!
//! On a connection that was open already the first byte is awaited from `started`. Acceptance and first byte coincide unless the server
//! sends a session ticket first (TLS 1.3).

use std::time::{Duration, Instant};

use super::outcome::{Failure, IdentityFault, Moment, Outcome};

/// Handshake kind as the TLS library reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeKind {
    /// Full handshake.
    Full,
    /// Full handshake after a HelloRetryRequest (RFC 8446 section 4.1.4).
    FullHrr,
    /// Resumed with a session ticket.
    Resumed,
}

/// One attempt of one device.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Whether it belongs to the measured window (and not to the preparation or the warm-up).
    pub measured: bool,
    /// Which of the fleet's faults its device has, where the server has to refuse it.
    pub fault: Option<u16>,
    /// When the plan wanted it to start.
    pub intended: Instant,
    /// When it did start.
    pub started: Instant,
    /// Whether it uses a connection that was open already: then neither TCP nor TLS is awaited.
    pub on_open_connection: bool,
    /// TCP connection established; `None` on a connection that was open already.
    pub tcp_done: Option<Instant>,
    /// The client's last handshake flight was written. In TLS 1.3 the server may still refuse.
    pub client_finished: Option<Instant>,
    /// First sign that the server has accepted the client: a session ticket or a byte of data.
    pub accepted: Option<Instant>,
    /// First byte of data from the server.
    pub first_byte: Option<Instant>,
    /// Response complete.
    pub done: Option<Instant>,
    /// Kind of the handshake; `None` on a connection that was open already.
    pub handshake: Option<HandshakeKind>,
    /// Whether the server takes the device for the one that it is; `None` where that was not looked at.
    pub identity: Option<Result<(), IdentityFault>>,
    /// Whether the attempt was to resume.
    pub resumption_wanted: bool,
    /// Whether it had a ticket to offer.
    pub resumption_offered: bool,
    /// Session tickets received.
    pub tickets_received: u32,
    /// Bytes sent on the TCP connection, TLS included; on a connection that was open already, those of this attempt.
    pub bytes_sent: u64,
    /// Bytes received on it, likewise.
    pub bytes_received: u64,
}

impl Attempt {
    /// An attempt that starts now.
    pub fn start(intended: Instant, measured: bool) -> Attempt {
        Attempt {
            measured,
            fault: None,
            intended,
            started: Instant::now(),
            on_open_connection: false,
            tcp_done: None,
            client_finished: None,
            accepted: None,
            first_byte: None,
            done: None,
            handshake: None,
            identity: None,
            resumption_wanted: false,
            resumption_offered: false,
            tickets_received: 0,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    /// What the attempt is waiting for, for a failure that happens now.
    pub fn moment(&self) -> Moment {
        match self {
            attempt if attempt.first_byte.is_some() => Moment::Response,
            attempt if attempt.on_open_connection || attempt.client_finished.is_some() => {
                Moment::FirstByte
            }
            attempt if attempt.tcp_done.is_some() => Moment::Handshake,
            _ => Moment::Tcp,
        }
    }

    /// What the attempt's end is worth.
    pub fn judge(&self, result: Result<(), Failure>) -> Outcome {
        Outcome::of(result, self.fault.is_some(), self.moment())
    }

    /// From the intended start to the complete response.
    pub fn response_time(&self) -> Option<Duration> {
        Some(self.done?.saturating_duration_since(self.intended))
    }

    /// From the actual start to the complete response.
    pub fn service_time(&self) -> Option<Duration> {
        Some(self.done?.saturating_duration_since(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_follows_from_what_has_happened() {
        let now = Instant::now();
        let mut attempt = Attempt::start(now, true);
        assert_eq!(attempt.moment(), Moment::Tcp);
        attempt.tcp_done = Some(now);
        assert_eq!(attempt.moment(), Moment::Handshake);
        attempt.client_finished = Some(now);
        assert_eq!(attempt.moment(), Moment::FirstByte);
        attempt.first_byte = Some(now);
        assert_eq!(attempt.moment(), Moment::Response);
        let mut request = Attempt::start(now, true);
        request.on_open_connection = true;
        assert_eq!(request.moment(), Moment::FirstByte);
    }
}
