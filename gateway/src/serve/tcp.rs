//! A connection of a listener whose protocol is TCP: authorized like any other, then joined to its upstream.
//!
//! It speaks nothing itself but, where configured, the PROXY protocol's header, ahead of the device's first byte.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::authorize::Denied;
use crate::identity;
use crate::live::Spoken;
use crate::metrics::TunnelOutcome;
use crate::proxy_protocol::{self, Told};
use crate::serve::{Served, joined};
use crate::tunnel;
use crate::upstream::pool::Dialled;

/// What a listener does with the bytes of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the upstream.
    pub upstream: String,
    /// Whether and how the upstream is told about the device.
    pub proxy_protocol: Option<proxy_protocol::Settings>,
    /// The application protocols that ALPN accepts, most preferred first. None of them accepts whatever is offered, and a
    /// device that offers none is accepted either way.
    pub alpn: Vec<String>,
    /// How long nothing may move.
    pub idle_timeout: Duration,
    /// Whether peers without a certificate are served, where their trust domain lets them in.
    pub allow_anonymous: bool,
}

/// Serves `served` to its end.
pub(super) async fn serve(served: Served, settings: &Settings) {
    let origin = &served.origin;
    origin.place.facts().speaks(Spoken::Tcp);
    let worker = Rc::clone(&origin.worker);
    let Some(metrics) = worker.metrics().listener(origin.listener) else {
        return;
    };
    if origin.permit.device().is_none() && !settings.allow_anonymous {
        worker.metrics().denied(Denied::NoDevice);
        return served.stream.close().await;
    }
    let header = match settings.proxy_protocol.map(|proxy| header(&served, proxy)) {
        None => Vec::new(),
        Some(Ok(header)) => header,
        Some(Err(problem)) => {
            tracing::warn!(%problem, device = origin.permit.device_id(), "no PROXY header");
            metrics
                .tunnels()
                .ended(TunnelOutcome::Unreachable, tunnel::Moved::default());
            return served.stream.close().await;
        }
    };
    let upstream = {
        let snapshot = worker.snapshot();
        worker.upstream_named(&snapshot, &settings.upstream)
    };
    let affinity = origin.permit.device().map(|device| device.device_id());
    let opened = match upstream {
        Some(upstream) => upstream
            .open(affinity)
            .await
            .map_err(|error| error.to_string()),
        None => Err("the configuration in force has no such upstream".to_owned()),
    };
    let opened = match opened {
        Ok((mut opened, in_flight)) => match opened.stream.write_all(&header).await {
            Ok(()) => Ok((opened, in_flight)),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error),
    };
    match opened {
        Ok((opened, in_flight)) => {
            let Dialled { stream, open } = opened;
            let (device, idle_timeout) = (*served.stream, settings.idle_timeout);
            joined::serve(device, stream, Vec::new(), &served.origin, idle_timeout).await;
            drop((open, in_flight));
        }
        // Without close_notify: the device sees a connection that broke, and comes again.
        Err(error) => {
            tracing::warn!(%error, upstream = settings.upstream, "no tunnel to the upstream");
            metrics
                .tunnels()
                .ended(TunnelOutcome::Unreachable, tunnel::Moved::default());
        }
    }
}

fn header(served: &Served, settings: proxy_protocol::Settings) -> Result<Vec<u8>, String> {
    let (stream, origin) = (&served.stream, &served.origin);
    let device = origin.permit.device();
    let der = device.and_then(|device| device.headers().end_entity());
    let common_name = der.as_deref().and_then(identity::common_name);
    let told = Told {
        source: origin.place.facts().address,
        destination: stream.local_address().map_err(|error| error.to_string())?,
        alpn: stream.state().alpn_protocol(),
        server_name: served.server_name.as_deref(),
        tls_version: match stream.state().protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher_suite: &stream.cipher_suite(),
        device: device.map(|device| proxy_protocol::Device {
            id: device.device_id(),
            common_name: common_name.as_deref(),
            certificate: der.as_deref().filter(|_| settings.certificate),
            resumed: stream.state().handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }),
    };
    proxy_protocol::header(&told).map_err(|error| error.to_string())
}
