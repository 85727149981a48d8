//! A connection that is joined to an upstream's, from its first byte or once it has switched to WebSocket; counted.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::forward::Origin;
use crate::metrics::TunnelOutcome;
use crate::tls::stream::TlsStream;
use crate::tunnel::{self, End};

/// Joins `device` and `upstream` to their end. `ahead` was read from the upstream already.
pub(super) async fn serve<U: AsyncRead + AsyncWrite + Unpin>(
    device: TlsStream,
    upstream: U,
    ahead: Vec<u8>,
    origin: &Rc<Origin>,
    idle_timeout: Duration,
) {
    let Some(metrics) = origin.worker.metrics().listener(origin.listener) else {
        return;
    };
    let open = metrics.tunnels().opened();
    let (end, moved) = tunnel::join(device, upstream, ahead, &origin.place, idle_timeout).await;
    drop(open);
    if let End::Denied(denied) = end {
        origin.ended(denied);
    }
    metrics.tunnels().ended(TunnelOutcome::Ended(end), moved);
}
