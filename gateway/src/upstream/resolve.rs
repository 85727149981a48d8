//! Keeps the addresses of an upstream's host names up to date, with the system's resolver.
//!
//! It runs beside the workers, so that a slow resolver stalls none of them. A look-up that fails changes nothing: the last
//! known addresses stay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::upstream::endpoints::Endpoints;

/// The most addresses of one name that are used; nobody has so many, and each costs state and connections.
const MOST_ADDRESSES: usize = 256;

/// How long to wait after a failure as long as no address is known.
const SOON: Duration = Duration::from_secs(1);

/// Looks `host` up again and again, for the entry of `upstream` with index `entry`, for ever.
pub(super) async fn keep(upstream: Arc<Endpoints>, entry: usize, host: String, port: u16) {
    let refresh = upstream.settings().dns_refresh;
    let (mut is_first, mut is_known, mut has_failed) = (true, false, false);
    loop {
        let name = &upstream.settings().name;
        match look_up(&host, port).await {
            Ok(addresses) => {
                if has_failed {
                    tracing::info!(upstream = name, host, "a host name resolves again");
                }
                upstream.resolved(entry, &addresses, clock::now());
                (is_known, has_failed) = (true, false);
            }
            Err(error) => {
                if !has_failed {
                    tracing::warn!(upstream = name, host, %error, "a host name does not resolve; the addresses known before stay");
                }
                has_failed = true;
            }
        }
        if std::mem::take(&mut is_first) {
            upstream.looked_up_first();
        }
        let wait = match is_known {
            true => refresh,
            false => refresh.min(SOON),
        };
        tokio::time::sleep(super::upkeep::jittered(wait)).await;
    }
}

/// All addresses of `host`, sorted, each once.
async fn look_up(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    if addresses.is_empty() {
        return Err(std::io::Error::other("it has no address"));
    }
    Ok(addresses)
}
