//! Holds a connection back whose device comes back too often, between its handshake and its first request.
//!
//! It holds no turn and no buffer, only the connection. Whether and for how long is decided in `arrivals`.

use crate::clock;
use crate::handshake::Handshaked;
use crate::limits::{Arrival, Usage};
use crate::metrics::limits::Limit;
use crate::worker::Worker;

/// Waits for as long as `handshaked` is to be held back. Whether it is to be served after that: not where too many wait,
/// where the device left meanwhile, or where the gateway drains.
pub(crate) async fn back(worker: &Worker, handshaked: &Handshaked, usage: &Usage) -> bool {
    let settings = {
        let snapshot = worker.snapshot();
        let domain = &handshaked.peer_identity().trust_domain;
        snapshot.device_limits(domain).handshakes
    };
    let metrics = worker.metrics().limits();
    match usage.arrive(settings.as_ref(), clock::now()) {
        Arrival::Serve => true,
        Arrival::Refuse => {
            metrics.limited(Limit::HandshakesRefused);
            false
        }
        Arrival::Hold(delay, _held) => {
            metrics.limited(Limit::HandshakesDelayed);
            let device = handshaked.peer_identity().device_id();
            tracing::debug!(
                device,
                delay_ms = delay.as_millis(),
                "a device that comes back too often waits"
            );
            tokio::select! {
                () = tokio::time::sleep(delay) => true,
                () = handshaked.left() => false,
                () = worker.drain().started() => false,
            }
        }
    }
}
