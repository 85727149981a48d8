//! The closed list of ways in which an attempt can fail.

use std::fmt;

/// What an attempt was waiting for when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The TCP connection.
    Tcp,
    /// The TLS handshake.
    Handshake,
    /// The server's first byte.
    FirstByte,
    /// The rest of the response.
    Response,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The server refused with this TLS alert (RFC 8446 section 6).
    Refused(u8),
    /// This side refused the server: its certificate, or its side of the TLS protocol.
    RefusedServer(ServerFault),
    /// Nobody listens: the TCP connection was refused.
    ConnectRefused,
    /// The server cannot be reached (no route, host or network unreachable, kernel timeout).
    Unreachable,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection before the response was complete.
    Closed,
    /// The plan's timeout passed.
    Timeout,
    /// The device's patience ended before the server had accepted it, and it left.
    GaveUp,
    /// The response's status is not 2xx.
    Status(u16),
    /// The response is not what the protocol allows.
    Protocol,
    /// This machine ran out of something.
    Local(LocalCause),
    /// The run was stopped while the attempt was in flight.
    Abandoned,
}

/// What is wrong with the server's side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerFault {
    /// Its certificate does not verify.
    Certificate,
    /// Anything else.
    Tls,
    /// It did not choose the wanted protocol by ALPN (RFC 7301).
    Alpn,
}

/// What this machine ran out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalCause {
    /// File descriptors.
    Descriptors,
    /// Local ports, or a local address that cannot be used.
    Addresses,
    /// Memory for sockets.
    Memory,
    /// Something else.
    Other,
}

/// A failure, and when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// When.
    pub moment: Moment,
}

impl Moment {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Tcp => "tcp",
            Moment::Handshake => "handshake",
            Moment::FirstByte => "first_byte",
            Moment::Response => "response",
        }
    }
}

impl Cause {
    /// The class used in results.
    pub fn class(self) -> &'static str {
        match self {
            Cause::Refused(_) => "refused",
            Cause::RefusedServer(_) => "refused_server",
            Cause::ConnectRefused | Cause::Unreachable => "connect",
            Cause::Reset => "reset",
            Cause::Closed => "closed",
            Cause::Timeout => "timeout",
            Cause::GaveUp => "gave_up",
            Cause::Status(_) => "status",
            Cause::Protocol => "protocol",
            Cause::Local(_) => "local",
            Cause::Abandoned => "abandoned",
        }
    }

    /// The code within the class.
    pub fn code(self) -> String {
        match self {
            Cause::Refused(alert) => {
                alert_name(alert).map_or_else(|| format!("alert {alert}"), str::to_owned)
            }
            Cause::RefusedServer(ServerFault::Certificate) => "certificate".to_owned(),
            Cause::RefusedServer(ServerFault::Tls) => "tls".to_owned(),
            Cause::RefusedServer(ServerFault::Alpn) => "alpn".to_owned(),
            Cause::ConnectRefused => "refused".to_owned(),
            Cause::Unreachable => "unreachable".to_owned(),
            Cause::Status(status) => status.to_string(),
            Cause::Local(LocalCause::Descriptors) => "descriptors".to_owned(),
            Cause::Local(LocalCause::Addresses) => "addresses".to_owned(),
            Cause::Local(LocalCause::Memory) => "memory".to_owned(),
            Cause::Local(LocalCause::Other) => "other".to_owned(),
            Cause::Reset
            | Cause::Closed
            | Cause::Timeout
            | Cause::GaveUp
            | Cause::Protocol
            | Cause::Abandoned => String::new(),
        }
    }

    /// Who said no: `received` from the server, `sent` by this side, or `local` to this machine.
    pub fn direction(self) -> &'static str {
        match self {
            Cause::Refused(_)
            | Cause::ConnectRefused
            | Cause::Reset
            | Cause::Closed
            | Cause::Status(_)
            | Cause::Unreachable => "received",
            Cause::RefusedServer(_) | Cause::Protocol => "sent",
            Cause::Timeout | Cause::GaveUp | Cause::Local(_) | Cause::Abandoned => "local",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.cause.code();
        let space = if code.is_empty() { "" } else { " " };
        write!(
            formatter,
            "{}{space}{code} at {}",
            self.cause.class(),
            self.moment.name()
        )
    }
}

/// The alert of a server that speaks no offered TLS version.
pub const PROTOCOL_VERSION: u8 = 70;
/// The alert of a server that speaks no offered application protocol (RFC 7301).
pub const NO_APPLICATION_PROTOCOL: u8 = 120;

/// The IANA name of a TLS alert.
pub fn alert_name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        PROTOCOL_VERSION => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        NO_APPLICATION_PROTOCOL => "no_application_protocol",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_words() {
        let failure = Failure {
            cause: Cause::Refused(116),
            moment: Moment::FirstByte,
        };
        assert_eq!(
            failure.to_string(),
            "refused certificate_required at first_byte"
        );
        let failure = Failure {
            cause: Cause::Timeout,
            moment: Moment::Tcp,
        };
        assert_eq!(failure.to_string(), "timeout at tcp");
        assert_eq!(Cause::Refused(200).code(), "alert 200");
    }
}
