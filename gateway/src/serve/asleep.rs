//! A connection at rest: nothing of it is in memory but its TLS state and who it belongs to.
//!
//! It only waits; what is put together again when the device says something is each protocol's own.

use crate::forward::Origin;
use crate::metrics::{Deadline, Listener};
use crate::serve::Settings;
use crate::tls::stream::TlsStream;

/// Why a connection rests no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The device sent something, or left.
    Device,
    /// The connection is not to be served any more.
    Denied,
    /// The worker drains.
    Drain,
    /// Nothing was asked for too long.
    Idle,
}

/// Waits for the next byte, or for a reason to end the connection; `turn` is ready when a drain wants it to end.
pub(super) async fn asleep(
    stream: &TlsStream,
    origin: &Origin,
    turn: impl Future<Output = ()>,
    settings: Settings,
) -> Woken {
    if stream.has_plaintext() {
        return Woken::Device;
    }
    let metrics = origin.worker.metrics();
    let _hibernates = metrics.listener(origin.listener).map(Listener::hibernates);
    let (_, since) = origin.activity.phase();
    let idle = tokio::time::Instant::from_std(since + settings.idle_timeout);
    tokio::select! {
        biased;
        denied = origin.place.denied() => {
            origin.ended(denied);
            Woken::Denied
        }
        // Before the drain, so that a request that has come already is answered in a drain too. Of a broken socket, reading
        // tells more.
        _ = stream.readable() => Woken::Device,
        () = turn => Woken::Drain,
        () = tokio::time::sleep_until(idle) => {
            metrics.timed_out(Deadline::Idle);
            Woken::Idle
        }
    }
}
