//! Why an exchange failed, in a protocol above TLS.

use super::observed::Observation;
use crate::measure::Cause;

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The stream under it failed or ended: how was observed where its bytes pass.
    Stream,
    /// The protocol's own answer.
    Said(Cause),
}

impl Fault {
    /// The cause that is recorded.
    pub(crate) fn cause(self, observation: &Observation) -> Cause {
        match self {
            // A library that gives up on a stream where nothing was wrong has found fault with what came.
            Fault::Stream => observation.cause.get().unwrap_or(Cause::Protocol),
            Fault::Said(cause) => cause,
        }
    }
}
