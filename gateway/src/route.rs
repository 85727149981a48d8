//! Which route serves a request: the most specific one whose conditions it meets.
//!
//! Pure: it knows names of upstreams, not connections to them. What is matched is what the upstream gets to see, which is why
//! paths that an upstream may take for others are refused first ([`Policy`]).

mod condition;
mod path;

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use crate::authorize::Permit;
use crate::rate::Rate;
pub use condition::{Conditions, Field, Host, Path};
pub use path::Policy;
use path::{Plain, is_plain};

/// One configured route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it asks of a request.
    pub conditions: Conditions,
    /// What becomes of a request that it serves.
    pub action: Action,
    /// Whether it serves peers without a certificate too, where their trust domain lets them in.
    pub allow_anonymous: bool,
    /// Bounds that stand beside or in place of the general ones.
    pub limits: Limits,
    /// Tells it from other routes, and is the same after a reload that does not change its conditions.
    pub id: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes to an upstream.
    Forward {
        /// The upstream's index in the configuration's list.
        upstream: usize,
        /// What stands in the place of the path that the route names.
        rewrite: Option<String>,
    },
    /// It is refused.
    Deny,
}

/// Bounds of a route. `None` is what holds in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests of one device to this route.
    pub requests: Option<Rate>,
    /// The largest request body in bytes.
    pub request_body: Option<u64>,
    /// From the last byte of the request to the end of the response's head.
    pub response_timeout: Option<Duration>,
}

/// What holds for all routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct General {
    /// Which paths are refused before any route is looked at; `None` is strict where routes tell requests apart, and raw
    /// where one serves them all.
    pub path_policy: Option<Policy>,
    /// Whether what no route serves is refused, rather than not found.
    pub deny_by_default: bool,
}

/// What routes look at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host, perhaps with a port.
    pub host: Option<&'a str>,
    /// The path.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// Why an authorized request has no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// An upstream may take the path for another one.
    AmbiguousPath,
    /// No route matches.
    NoRoute,
    /// A route, or the want of one, refuses it.
    Denied,
    /// A route would serve it with another method; [`Router::allowed`] says with which.
    Method,
    /// The route wants a device, and the peer presented no certificate; or the path may be another one to the upstream.
    NoDevice,
}

/// All routes, most specific first.
#[derive(Debug, Clone)]
pub struct Router {
    routes: Vec<Settings>,
    deny_by_default: bool,
    /// `None` where any path goes.
    strict: Option<Plain>,
}

/// Proof that an authorized request has an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Routed<'a> {
    route: &'a Settings,
    upstream: usize,
    rewrite: Option<&'a str>,
}

impl Routed<'_> {
    /// Index of the upstream in the configuration's list.
    pub fn upstream(&self) -> usize {
        self.upstream
    }

    /// The route's name among the others.
    pub fn id(&self) -> u64 {
        self.route.id
    }

    /// The route's own bounds.
    pub fn limits(&self) -> &Limits {
        &self.route.limits
    }

    /// What the upstream is asked for in place of `asked`; `None` is the same.
    pub fn rewritten(&self, asked: &PathAndQuery) -> Option<PathAndQuery> {
        let to = self.rewrite?;
        let from = self.route.conditions.path.text();
        let rest = asked.path().strip_prefix(from)?;
        let tail = match (to.ends_with('/'), rest.strip_prefix('/')) {
            (true, Some(rest)) => rest,
            _ => rest,
        };
        // A prefix that ends with a slash took it from the rest.
        let between = if from.ends_with('/') && !to.ends_with('/') && !rest.is_empty() {
            "/"
        } else {
            ""
        };
        let mut text = [to, between, tail].concat();
        if let Some(query) = asked.query() {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::try_from(text).ok()
    }
}

impl Router {
    /// Sorts `routes` so that the most specific is tried first; equals keep their order.
    pub fn new(mut routes: Vec<Settings>, general: General) -> Self {
        routes.sort_by_key(|route| route.conditions.specificity());
        let tells_apart = match routes.as_slice() {
            [only] => !only.serves_everything(),
            _ => true,
        };
        let policy = general.path_policy.unwrap_or(if tells_apart {
            Policy::Strict
        } else {
            Policy::Raw
        });
        let paths = || routes.iter().map(|route| route.conditions.path.text());
        let strict = (policy == Policy::Strict).then(|| Plain::new(paths()));
        Self {
            routes,
            deny_by_default: general.deny_by_default,
            strict,
        }
    }

    /// The route for what is `asked`. The permit is proof that the peer was authorized; one without a device opens only routes
    /// that say so.
    ///
    /// # Errors
    /// Why there is none.
    pub fn route(&self, permit: &Permit, asked: &Asked<'_>) -> Result<Routed<'_>, Unrouted> {
        if let Some(strict) = &self.strict
            && !strict.is_unambiguous(asked.path)
        {
            return Err(Unrouted::AmbiguousPath);
        }
        let mut but_for_method = false;
        let found = self.matching(permit, asked).find(|route| {
            let matches = route.conditions.match_method(asked.method);
            but_for_method |= !matches;
            matches
        });
        let Some(route) = found else {
            return Err(match (but_for_method, self.deny_by_default) {
                (true, _) => Unrouted::Method,
                (false, true) => Unrouted::Denied,
                (false, false) => Unrouted::NoRoute,
            });
        };
        let Action::Forward { upstream, rewrite } = &route.action else {
            return Err(Unrouted::Denied);
        };
        if permit.device().is_none() && !(route.allow_anonymous && is_plain(asked.path)) {
            return Err(Unrouted::NoDevice);
        }
        Ok(Routed {
            route,
            upstream: *upstream,
            rewrite: rewrite.as_deref(),
        })
    }

    /// The methods with which a route would serve what is `asked` with another, as `Allow` has them (RFC 9110, 10.2.1).
    pub fn allowed(&self, permit: &Permit, asked: &Asked<'_>) -> String {
        let mut methods: Vec<&str> = self
            .matching(permit, asked)
            .filter(|route| route.action != Action::Deny)
            .flat_map(|route| route.conditions.methods.iter().map(Method::as_str))
            .collect();
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }

    /// The routes whose conditions are met, whatever the method.
    fn matching<'a>(
        &'a self,
        permit: &Permit,
        asked: &Asked<'_>,
    ) -> impl Iterator<Item = &'a Settings> {
        let device = permit.device().map(|device| device.device_id());
        self.routes.iter().filter(move |route| {
            let conditions = &route.conditions;
            conditions.match_all_but_method(asked.host, asked.path, asked.headers, device)
        })
    }
}

impl Settings {
    /// Whether it takes every request, and passes its path on as it is.
    fn serves_everything(&self) -> bool {
        let everything = Conditions {
            host: None,
            path: Path::Prefix("/".to_owned()),
            methods: Vec::new(),
            headers: Vec::new(),
            devices: None,
        };
        let forwards = matches!(self.action, Action::Forward { rewrite: None, .. });
        self.conditions == everything && forwards
    }
}

#[cfg(test)]
mod tests;
