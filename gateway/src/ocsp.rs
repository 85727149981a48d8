//! Asks OCSP responders whether device certificates are revoked (RFC 6960, in the profile of RFC 5019).
//!
//! [`client::Checker`] answers one question: what is the standing of this certificate now? It asks by plain HTTP, believes
//! an answer only with the signature of the certificate's issuer or of a responder that the issuer itself appointed, and
//! remembers answers and failures, so that a fleet that reconnects is not a storm at the responder. What follows from a
//! standing is [`Mode::permits`], and when to ask is the caller's. It checks one certificate, not a chain, it serves no
//! stapled answers, and it does not ask whether an appointed responder's own certificate is revoked: those are short-lived.

mod answers;
mod breakers;
pub mod client;
pub mod request;
pub mod response;
pub mod subject;

#[cfg(test)]
mod fixture;

/// What is done with a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nobody is asked, and everybody is permitted.
    #[default]
    Off,
    /// Who is not known to be revoked is permitted: no answer counts as good, and so does a responder that does not know the
    /// certificate.
    Soft,
    /// Only who is known to be good is permitted.
    Hard,
}

impl Mode {
    /// Whether a device of this standing may go on.
    ///
    /// RFC 6960, 2.2 says of `unknown` only that the responder does not know the certificate, and leaves it to the client to
    /// ask elsewhere; so it is no answer, and treated as one that did not come. A responder that wants a certificate refused
    /// which was never issued answers `revoked` (the same section).
    pub fn permits(self, standing: Standing) -> bool {
        match (self, standing) {
            (Self::Off, _) | (_, Standing::Good) => true,
            (_, Standing::Revoked) => false,
            (mode, Standing::Unknown | Standing::Unavailable(_)) => mode == Self::Soft,
        }
    }
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A responder says that it is not revoked.
    Good,
    /// A responder says that it is revoked, for good or for now.
    Revoked,
    /// A responder says that it does not know it.
    Unknown,
    /// There is no answer that can be used.
    Unavailable(Reason),
}

/// Why there is no answer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// No responder is configured, and the certificate names none that can be asked.
    #[error("neither the configuration nor the certificate names a responder that can be asked")]
    NoResponder,
    /// Too many questions are waiting already.
    #[error("too many questions are waiting already")]
    Busy,
    /// The responder took too long.
    #[error("the responder took too long")]
    Timeout,
    /// The responder could not be resolved or connected to.
    #[error("the responder cannot be reached")]
    Unreachable,
    /// What the responder's server sent was no OCSP response: another status, too large, broken off, a bad redirection.
    #[error("the responder's server sent no response")]
    BadStatus,
    /// The responder said that it would not answer, or not now (RFC 6960, 2.3).
    #[error("the responder did not want to answer")]
    Refused,
    /// The response is malformed, ill-signed, out of date or about something else.
    #[error("the response cannot be believed")]
    BadResponse,
    /// The gateway's worker that had asked ended before the answer came.
    #[error("the worker that had asked ended")]
    Interrupted,
}

/// How a standing came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The responder said `good`.
    Good,
    /// The responder said `revoked`.
    Revoked,
    /// The responder said `unknown`.
    Unknown,
    /// An answer or a failure was remembered; nobody was asked.
    Cached,
    /// Every responder failed so recently that nobody was asked.
    Suspended,
    /// A responder was to be asked, and gave no answer that can be used. An older answer may still have served.
    Failed(Reason),
}

impl Outcome {
    /// Every outcome, for the metric that counts them.
    pub const ALL: [Self; 13] = [
        Self::Good,
        Self::Revoked,
        Self::Unknown,
        Self::Cached,
        Self::Suspended,
        Self::Failed(Reason::NoResponder),
        Self::Failed(Reason::Busy),
        Self::Failed(Reason::Timeout),
        Self::Failed(Reason::Unreachable),
        Self::Failed(Reason::BadStatus),
        Self::Failed(Reason::Refused),
        Self::Failed(Reason::BadResponse),
        Self::Failed(Reason::Interrupted),
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Cached => "cached",
            Self::Suspended => "suspended",
            Self::Failed(Reason::NoResponder) => "no_responder",
            Self::Failed(Reason::Busy) => "busy",
            Self::Failed(Reason::Timeout) => "timeout",
            Self::Failed(Reason::Unreachable) => "unreachable",
            Self::Failed(Reason::BadStatus) => "bad_status",
            Self::Failed(Reason::Refused) => "refused",
            Self::Failed(Reason::BadResponse) => "bad_response",
            Self::Failed(Reason::Interrupted) => "interrupted",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Mode, Outcome, Reason, Standing};

    #[test]
    fn modes_differ_where_there_is_no_answer() {
        let standings = [
            Standing::Good,
            Standing::Unknown,
            Standing::Unavailable(Reason::Timeout),
            Standing::Revoked,
        ];
        for (mode, permitted) in [(Mode::Off, 4), (Mode::Soft, 3), (Mode::Hard, 1)] {
            for (index, standing) in standings.into_iter().enumerate() {
                assert_eq!(
                    mode.permits(standing),
                    index < permitted,
                    "{mode:?} {standing:?}"
                );
            }
        }
    }

    #[test]
    fn every_outcome_has_a_label_of_its_own() {
        let labels: BTreeSet<_> = Outcome::ALL.into_iter().map(Outcome::label).collect();
        assert_eq!(labels.len(), Outcome::ALL.len());
    }
}
