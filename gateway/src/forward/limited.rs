//! Whether a device may make a request now, by its own limits and by those of a route.

use std::time::Duration;

use crate::forward::Exchange;
use crate::forward::refused::Refused;
use crate::limits::device::{self, Limited};
use crate::metrics::limits::Limit;
use crate::route::Routed;

/// When to ask again where nothing says when the requests that are being answered will be.
const SOON: Duration = Duration::from_secs(1);

/// Starts the request of `exchange`, which counts as being answered until the exchange ends.
pub(super) fn start(exchange: &Exchange, settings: &device::Settings) -> Result<(), Refused> {
    let (limit, wait) = match exchange
        .origin
        .usage
        .start_request(settings, exchange.started)
    {
        Ok(in_progress) => {
            if let Some(in_progress) = in_progress {
                let _ = exchange.in_progress.set(in_progress);
            }
            return Ok(());
        }
        Err(Limited::Requests(wait)) => (Limit::Requests, wait),
        Err(Limited::ConcurrentRequests) => (Limit::ConcurrentRequests, SOON),
    };
    exchange.origin.worker.metrics().limits().limited(limit);
    Err(Refused::Limited(wait))
}

/// Takes the request of `exchange` from what its device may ask of the route.
pub(super) fn by_route(exchange: &Exchange, routed: &Routed<'_>) -> Result<(), Refused> {
    let Some(rate) = routed.limits().requests else {
        return Ok(());
    };
    let usage = &exchange.origin.usage;
    usage
        .take_from_route(routed.id(), rate, exchange.started)
        .map_err(|wait| {
            let metrics = exchange.origin.worker.metrics().limits();
            metrics.limited(Limit::RouteRequests);
            Refused::Limited(wait)
        })
}
