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
    /// An MQTT server said no: a CONNACK return code of MQTT 3.1.1 (section 3.2.2.3), or a reason code of MQTT 5 (section 2.4).
    MqttReason(u8),
    /// A WebSocket server closed with this code (RFC 6455 section 7.4) before the exchange was complete.
    WebSocketClose(u16),
    /// A WebSocket server chose another subprotocol than the one offered, or none.
    Subprotocol,
    /// A message from the server is larger than any that it can have a reason to send.
    TooLarge,
    /// What came back is well formed, and not what was sent or asked for.
    WrongContent,
    /// The server takes the device for another, or for none.
    Identity(IdentityFault),
    /// A device that had to be refused was served.
    NotRefused,
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

/// How the identity that the server echoes differs from the one in the device's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityFault {
    /// It is another's.
    Mismatch,
    /// There is none where the plan says that it is.
    Absent,
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

/// How an attempt ended, seen against what was to be expected of its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Served, as it had to be.
    Ok,
    /// Refused, as it had to be.
    RefusedAsExpected,
    /// Anything else.
    Failed(Failure),
}

impl Outcome {
    /// The outcome of an attempt that ended in `result` at `moment`, of a device that the server has to refuse or not.
    pub fn of(result: Result<(), Failure>, to_be_refused: bool, moment: Moment) -> Outcome {
        match result {
            Ok(()) if to_be_refused => Outcome::Failed(Failure {
                cause: Cause::NotRefused,
                moment,
            }),
            Ok(()) => Outcome::Ok,
            Err(failure) if to_be_refused && failure.cause.refuses_the_device() => {
                Outcome::RefusedAsExpected
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }
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
    /// Whether the server has said that it does not want this device: by an alert about certificates or access, a status as
    /// of a server that lets the handshake pass and refuses the request (nginx answers 400), or an MQTT reason. A connection
    /// that ends without a word is none: that may have any reason.
    pub fn refuses_the_device(self) -> bool {
        match self {
            // handshake_failure is what some stacks send where they might say more.
            Cause::Refused(alert) => matches!(alert, 40 | 42..=46 | 48 | 49 | 51 | 116),
            Cause::Status(status) => matches!(status, 400 | 401 | 403 | 495 | 496),
            Cause::MqttReason(reason) => matches!(reason, 2 | 4 | 5 | 0x85..=0x87 | 0x8C),
            _ => false,
        }
    }

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
            Cause::MqttReason(_) => "mqtt",
            Cause::WebSocketClose(_) | Cause::Subprotocol => "websocket",
            Cause::WrongContent => "wrong_content",
            Cause::Identity(_) => "identity",
            Cause::NotRefused => "not_refused",
            Cause::Protocol | Cause::TooLarge => "protocol",
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
            Cause::MqttReason(reason) => mqtt_reason_name(reason)
                .map_or_else(|| format!("reason {reason:#04x}"), str::to_owned),
            Cause::WebSocketClose(code) => code.to_string(),
            Cause::Subprotocol => "subprotocol".to_owned(),
            Cause::TooLarge => "too_large".to_owned(),
            Cause::Identity(IdentityFault::Mismatch) => "mismatch".to_owned(),
            Cause::Identity(IdentityFault::Absent) => "absent".to_owned(),
            Cause::Local(LocalCause::Descriptors) => "descriptors".to_owned(),
            Cause::Local(LocalCause::Addresses) => "addresses".to_owned(),
            Cause::Local(LocalCause::Memory) => "memory".to_owned(),
            Cause::Local(LocalCause::Other) => "other".to_owned(),
            Cause::Reset
            | Cause::Closed
            | Cause::Timeout
            | Cause::GaveUp
            | Cause::WrongContent
            | Cause::NotRefused
            | Cause::Protocol
            | Cause::Abandoned => String::new(),
        }
    }

    /// Where the failure came from: `received` from the server, `sent` (this side refused what the server did), or `local` to
    /// this machine.
    pub fn direction(self) -> &'static str {
        match self {
            Cause::Refused(_)
            | Cause::ConnectRefused
            | Cause::Reset
            | Cause::Closed
            | Cause::Status(_)
            | Cause::MqttReason(_)
            | Cause::WebSocketClose(_)
            | Cause::WrongContent
            | Cause::Identity(_)
            | Cause::NotRefused
            | Cause::Unreachable => "received",
            Cause::RefusedServer(_) | Cause::Subprotocol | Cause::TooLarge | Cause::Protocol => {
                "sent"
            }
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

/// The name of an MQTT reason: of MQTT 5 (section 2.4) from 0x80 on, of MQTT 3.1.1's CONNACK (section 3.2.2.3) below.
pub fn mqtt_reason_name(reason: u8) -> Option<&'static str> {
    Some(match reason {
        1 => "unacceptable_protocol_version",
        2 => "identifier_rejected",
        3 => "server_unavailable",
        4 => "bad_user_name_or_password",
        5 => "not_authorized",
        0x80 => "unspecified_error",
        0x81 => "malformed_packet",
        0x82 => "protocol_error",
        0x83 => "implementation_specific_error",
        0x84 => "unsupported_protocol_version",
        0x85 => "client_identifier_not_valid",
        0x86 => "bad_user_name_or_password",
        0x87 => "not_authorized",
        0x88 => "server_unavailable",
        0x89 => "server_busy",
        0x8a => "banned",
        0x8b => "server_shutting_down",
        0x8c => "bad_authentication_method",
        0x8d => "keep_alive_timeout",
        0x8e => "session_taken_over",
        0x8f => "topic_filter_invalid",
        0x90 => "topic_name_invalid",
        0x91 => "packet_identifier_in_use",
        0x92 => "packet_identifier_not_found",
        0x93 => "receive_maximum_exceeded",
        0x94 => "topic_alias_invalid",
        0x95 => "packet_too_large",
        0x96 => "message_rate_too_high",
        0x97 => "quota_exceeded",
        0x98 => "administrative_action",
        0x99 => "payload_format_invalid",
        0x9a => "retain_not_supported",
        0x9b => "qos_not_supported",
        0x9c => "use_another_server",
        0x9d => "server_moved",
        0x9e => "shared_subscriptions_not_supported",
        0x9f => "connection_rate_exceeded",
        0xa0 => "maximum_connect_time",
        0xa1 => "subscription_identifiers_not_supported",
        0xa2 => "wildcard_subscriptions_not_supported",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_success_where_it_is_due_and_its_absence_a_failure() {
        let at = Moment::FirstByte;
        let failed = |cause| Failure { cause, moment: at };
        let refused = Err(failed(Cause::Refused(45)));
        let of = |result, due| Outcome::of(result, due, at);
        assert_eq!(of(refused, true), Outcome::RefusedAsExpected);
        assert_eq!(
            of(refused, false),
            Outcome::Failed(failed(Cause::Refused(45)))
        );
        assert_eq!(of(Ok(()), false), Outcome::Ok);
        assert_eq!(of(Ok(()), true), Outcome::Failed(failed(Cause::NotRefused)));
        let by_status = Err(failed(Cause::Status(400)));
        assert_eq!(of(by_status, true), Outcome::RefusedAsExpected);
        // What does not say why it ended is no refusal.
        for cause in [
            Cause::Reset,
            Cause::Closed,
            Cause::Timeout,
            Cause::Status(503),
            Cause::Refused(80),
        ] {
            assert_eq!(of(Err(failed(cause)), true), Outcome::Failed(failed(cause)));
        }
    }

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

    #[test]
    fn reasons_of_the_protocols_above_tls_keep_their_codes() {
        let describe = |cause| {
            let moment = Moment::FirstByte;
            Failure { cause, moment }.to_string()
        };
        let refused = describe(Cause::MqttReason(0x87));
        assert_eq!(refused, "mqtt not_authorized at first_byte");
        let unknown = describe(Cause::MqttReason(0xfe));
        assert_eq!(unknown, "mqtt reason 0xfe at first_byte");
        let closed = describe(Cause::WebSocketClose(1011));
        assert_eq!(closed, "websocket 1011 at first_byte");
        let another = describe(Cause::Identity(IdentityFault::Mismatch));
        assert_eq!(another, "identity mismatch at first_byte");
    }
}
