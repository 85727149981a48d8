//! Which upstream serves a request: the longest path prefix wins.
//!
//! Pure: it knows names of upstreams, not connections to them.

use crate::authorize::Permit;

/// One configured route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Matches a path that is equal to it or continues it after a `/`.
    pub path_prefix: String,
    /// Index of the upstream in the configuration's list.
    pub upstream: usize,
    /// Whether it serves peers without a certificate too, where their trust domain lets them in.
    pub allow_anonymous: bool,
}

/// Why an authorized request has no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// No route matches.
    NoRoute,
    /// The route wants a device, and the peer presented no certificate; or the path may be another one to the upstream.
    NoDevice,
}

/// All routes, most specific first.
#[derive(Debug, Clone)]
pub struct Router {
    routes: Vec<Settings>,
}

/// Proof that an authorized request has an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    upstream: usize,
}

impl Routed {
    /// Index of the upstream in the configuration's list.
    pub fn upstream(self) -> usize {
        self.upstream
    }
}

impl Router {
    /// Sorts `routes` so that the most specific is tried first; equals keep their order.
    pub fn new(mut routes: Vec<Settings>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.path_prefix.len()));
        Self { routes }
    }

    /// The upstream for `path`. The permit is proof that the peer was authorized; one without a device opens only routes
    /// that say so.
    ///
    /// # Errors
    /// Why there is none.
    pub fn route(&self, permit: &Permit, path: &str) -> Result<Routed, Unrouted> {
        let route = self
            .routes
            .iter()
            .find(|route| matches(&route.path_prefix, path))
            .ok_or(Unrouted::NoRoute)?;
        if permit.device().is_none() && !(route.allow_anonymous && is_plain(path)) {
            return Err(Unrouted::NoDevice);
        }
        Ok(Routed {
            upstream: route.upstream,
        })
    }
}

/// Whole segments only: `/tele` does not match `/telemetry`.
fn matches(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Whether every upstream reads `path` as it stands, whatever it decodes and resolves (RFC 3986, 6.2): no dot segments, no
/// empty ones but the last, nothing encoded, no parameters, no backslash. Otherwise a path that is open to everybody could
/// lead an upstream to one that is not.
fn is_plain(path: &str) -> bool {
    let stands_for_itself =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.bytes().all(stands_for_itself)
    };
    path == "/"
        || path
            .strip_prefix('/')
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
            .is_some_and(|rest| rest.split('/').all(is_segment))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Router, Settings, Unrouted, is_plain, matches};
    use crate::authorize::{Permit, Policy, Revocation, Standing, authorize, authorize_anonymous};
    use crate::identity::Identified;

    fn permit() -> Permit {
        let device = Arc::new(Identified::for_tests("device-000001", 0, 10));
        let standing = Standing {
            anchor_is_trusted: true,
            revocation: Revocation::Good,
            responder: Revocation::Good,
        };
        authorize(&Policy::default(), &device, standing, 5).unwrap()
    }

    fn route(path_prefix: &str, upstream: usize) -> Settings {
        Settings {
            path_prefix: path_prefix.into(),
            upstream,
            allow_anonymous: false,
        }
    }

    #[test]
    fn prefixes_match_whole_segments() {
        assert!(matches("/", "/anything"));
        assert!(matches("/telemetry", "/telemetry"));
        assert!(matches("/telemetry", "/telemetry/7"));
        assert!(matches("/telemetry/", "/telemetry/7"));
        assert!(!matches("/tele", "/telemetry"));
        assert!(!matches("/telemetry/", "/telemetry"));
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let router = Router::new(vec![route("/", 0), route("/a/b", 2), route("/a", 1)]);
        let upstream = |path| router.route(&permit(), path).map(super::Routed::upstream);
        assert_eq!(upstream("/a/b/c"), Ok(2));
        assert_eq!(upstream("/a/c"), Ok(1));
        assert_eq!(upstream("/ab"), Ok(0));
    }

    #[test]
    fn no_route_is_an_answer() {
        let router = Router::new(vec![route("/a", 0)]);
        assert_eq!(router.route(&permit(), "/b"), Err(Unrouted::NoRoute));
    }

    #[test]
    fn nobody_reaches_only_what_is_open_to_nobody() {
        let open = Settings {
            allow_anonymous: true,
            ..route("/enrol", 1)
        };
        let router = Router::new(vec![route("/", 0), open]);
        let nobody = authorize_anonymous(true).unwrap();
        assert_eq!(
            router
                .route(&nobody, "/enrol/now")
                .map(super::Routed::upstream),
            Ok(1)
        );
        assert_eq!(router.route(&nobody, "/"), Err(Unrouted::NoDevice));
        assert_eq!(router.route(&nobody, "/enrolment"), Err(Unrouted::NoDevice));
    }

    #[test]
    fn plain_paths_are_one_path_to_every_reader() {
        for path in ["/", "/a", "/a/", "/a/b.c/~7", "/...", "/a/.b", "/a@b:c=d"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "", "*", "a", "//", "//a", "/a//b", "/a//", "/.", "/..", "/a/.", "/a/../b", "/%61",
            "/a%2fb", "/a\\b", "/a;b", "/\u{e9}",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn nobody_reaches_no_path_that_may_be_another() {
        let open = Settings {
            allow_anonymous: true,
            ..route("/enrol", 1)
        };
        let router = Router::new(vec![route("/", 0), open]);
        let nobody = authorize_anonymous(true).unwrap();
        let path = "/enrol/../admin";
        assert_eq!(router.route(&nobody, path), Err(Unrouted::NoDevice));
        assert_eq!(
            router.route(&permit(), path).map(super::Routed::upstream),
            Ok(1)
        );
    }
}
