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

    /// The upstream for `path`, or `None` where no route matches. The permit is proof, not input: nothing is routed
    /// for a device that was not authorized.
    pub fn route(&self, _permit: &Permit, path: &str) -> Option<Routed> {
        self.routes
            .iter()
            .find(|route| matches(&route.path_prefix, path))
            .map(|route| Routed {
                upstream: route.upstream,
            })
    }
}

/// Whole segments only: `/tele` does not match `/telemetry`.
fn matches(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Router, Settings, matches};
    use crate::authorize::{Permit, Policy, authorize};
    use crate::identity::Identified;

    fn permit() -> Permit {
        let device = Arc::new(Identified::for_tests("device-000001", 0, 10));
        authorize(&Policy::AllowAll, &device, |_| true, 5).unwrap()
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
        let route = |path_prefix: &str, upstream| Settings {
            path_prefix: path_prefix.into(),
            upstream,
        };
        let router = Router::new(vec![route("/", 0), route("/a/b", 2), route("/a", 1)]);
        let upstream = |path| router.route(&permit(), path).map(super::Routed::upstream);
        assert_eq!(upstream("/a/b/c"), Some(2));
        assert_eq!(upstream("/a/c"), Some(1));
        assert_eq!(upstream("/ab"), Some(0));
    }

    #[test]
    fn no_route_is_an_answer() {
        let router = Router::new(vec![Settings {
            path_prefix: "/a".into(),
            upstream: 0,
        }]);
        assert_eq!(router.route(&permit(), "/b"), None);
    }
}
