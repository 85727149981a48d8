//! The route of a request as HTTP has it: which refusal answers the want of one, and the path that the upstream is asked for.

use http::Uri;
use http::header::HeaderValue;
use http::request::Parts;

use crate::authorize::Permit;
use crate::forward::refused::Refused;
use crate::route::{Asked, Routed, Router, Unrouted};

/// The route of the request with `head` to `host`.
pub(super) fn route<'a>(
    router: &'a Router,
    permit: &Permit,
    head: &Parts,
    host: Option<&str>,
) -> Result<Routed<'a>, Refused> {
    let asked = Asked {
        host,
        path: head.uri.path(),
        method: &head.method,
        headers: &head.headers,
    };
    router
        .route(permit, &asked)
        .map_err(|unrouted| match unrouted {
            Unrouted::AmbiguousPath => Refused::AmbiguousPath,
            Unrouted::NoRoute => Refused::NoRoute,
            Unrouted::Denied => Refused::Denied,
            Unrouted::NoDevice => Refused::NoDevice,
            Unrouted::Method => {
                let allowed = HeaderValue::try_from(router.allowed(permit, &asked));
                allowed.map_or(Refused::Denied, Refused::MethodOfRoute)
            }
        })
}

/// Puts the path into `head` that the upstream is to see.
pub(super) fn rewrite(routed: &Routed<'_>, head: &mut Parts) {
    let asked = head.uri.path_and_query();
    if let Some(rewritten) = asked.and_then(|asked| routed.rewritten(asked)) {
        head.uri = Uri::from(rewritten);
    }
}
