use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use super::{
    Action, Asked, Conditions, Field, General, Host, Limits, Path, Policy, Router, Settings,
    Unrouted,
};
use crate::authorize::{DeviceIds, Permit, Revocation, Standing, authorize, authorize_anonymous};
use crate::clock;
use crate::identity::Identified;

fn permit_of(id: &str) -> Permit {
    let device = Arc::new(Identified::for_tests(id, 0, 10));
    let standing = Standing {
        anchor_is_trusted: true,
        revocation: Revocation::Good,
        responder: Revocation::Good,
    };
    authorize(&crate::authorize::Policy::default(), &device, standing, 5).unwrap()
}

fn permit() -> Permit {
    permit_of("device-000001")
}

fn route(prefix: &str, upstream: usize) -> Settings {
    Settings {
        conditions: Conditions {
            host: None,
            path: Path::Prefix(prefix.into()),
            methods: Vec::new(),
            headers: Vec::new(),
            devices: None,
        },
        action: Action::Forward {
            upstream,
            rewrite: None,
        },
        allow_anonymous: false,
        limits: Limits::default(),
        id: upstream as u64,
    }
}

fn with(mut route: Settings, change: impl FnOnce(&mut Conditions)) -> Settings {
    change(&mut route.conditions);
    route
}

fn router(routes: Vec<Settings>) -> Router {
    let general = General {
        path_policy: None,
        deny_by_default: false,
    };
    Router::new(routes, general)
}

fn get<'a>(path: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
    Asked {
        host: Some("fleet.test"),
        path,
        method: &Method::GET,
        headers,
    }
}

fn upstream(router: &Router, permit: &Permit, asked: &Asked<'_>) -> Result<usize, Unrouted> {
    router.route(permit, asked).map(|routed| routed.upstream())
}

fn at(router: &Router, path: &str) -> Result<usize, Unrouted> {
    upstream(router, &permit(), &get(path, &HeaderMap::new()))
}

#[test]
fn the_longest_prefix_wins_whatever_the_order() {
    let router = router(vec![route("/", 0), route("/a/b", 2), route("/a", 1)]);
    assert_eq!(at(&router, "/a/b/c"), Ok(2));
    assert_eq!(at(&router, "/a/c"), Ok(1));
    assert_eq!(at(&router, "/ab"), Ok(0));
}

#[test]
fn host_goes_before_path_and_path_before_the_number_of_conditions() {
    let exact = |name: &str| Some(Host::Exact(name.into()));
    let router = router(vec![
        with(route("/", 0), |all| all.methods = vec![Method::GET]),
        route("/a/long/prefix", 1),
        with(route("", 2), |all| {
            all.path = Path::Exact("/a/long/prefix".into())
        }),
        with(route("/", 3), |all| {
            all.host = Some(Host::Below(".test".into()))
        }),
        with(route("/", 4), |all| {
            all.host = Some(Host::Below(".plant.test".into()))
        }),
        with(route("/", 5), |all| all.host = exact("fleet.test")),
        route("/", 6),
    ]);
    let headers = HeaderMap::new();
    let at = |host, path| {
        let asked = Asked {
            host,
            ..get(path, &headers)
        };
        upstream(&router, &permit(), &asked)
    };
    assert_eq!(at(Some("FLEET.test:8443"), "/a/long/prefix"), Ok(5));
    assert_eq!(at(Some("a.plant.test"), "/"), Ok(4));
    assert_eq!(at(Some("a.test"), "/"), Ok(3));
    assert_eq!(at(Some("other.example"), "/a/long/prefix"), Ok(2));
    assert_eq!(at(Some("other.example"), "/a/long/prefix/x"), Ok(1));
    assert_eq!(at(None, "/b"), Ok(0));
}

#[test]
fn header_fields_and_devices_choose_too() {
    let field = |value: Option<&'static str>| Field {
        name: HeaderName::from_static("x-mode"),
        value: value.map(HeaderValue::from_static),
    };
    let router = router(vec![
        route("/", 0),
        with(route("/", 1), |all| all.headers = vec![field(None)]),
        with(route("/", 2), |all| {
            all.headers = vec![field(Some("raw")), field(None)];
        }),
        with(route("/pilot", 3), |all| {
            all.devices = Some(DeviceIds::new(vec!["pilot-*".into()]));
        }),
    ]);
    let mut headers = HeaderMap::new();
    let mode = |headers: &HeaderMap| upstream(&router, &permit(), &get("/", headers));
    assert_eq!(mode(&headers), Ok(0));
    headers.append("x-mode", HeaderValue::from_static("cooked"));
    assert_eq!(mode(&headers), Ok(1));
    headers.append("x-mode", HeaderValue::from_static("raw"));
    assert_eq!(mode(&headers), Ok(2));
    let none = HeaderMap::new();
    let pilot = get("/pilot", &none);
    assert_eq!(upstream(&router, &permit_of("pilot-7"), &pilot), Ok(3));
    assert_eq!(upstream(&router, &permit(), &pilot), Ok(0));
    let nobody = authorize_anonymous(true).unwrap();
    assert_eq!(upstream(&router, &nobody, &pilot), Err(Unrouted::NoDevice));
}

#[test]
fn what_no_route_serves_is_not_found_denied_or_of_another_method() {
    let methods = |list: &[Method]| list.to_vec();
    let routes = vec![
        with(route("/a", 0), |all| {
            all.methods = methods(&[Method::PUT, Method::POST])
        }),
        with(route("/a/b", 1), |all| {
            all.methods = methods(&[Method::POST])
        }),
        Settings {
            action: Action::Deny,
            ..route("/a/secret", 9)
        },
    ];
    let found = router(routes.clone());
    assert_eq!(at(&found, "/b"), Err(Unrouted::NoRoute));
    assert_eq!(at(&found, "/a/secret/x"), Err(Unrouted::Denied));
    assert_eq!(at(&found, "/a/b"), Err(Unrouted::Method));
    let headers = HeaderMap::new();
    assert_eq!(
        found.allowed(&permit(), &get("/a/b", &headers)),
        "POST, PUT"
    );
    let post = Asked {
        method: &Method::PUT,
        ..get("/a/b", &headers)
    };
    assert_eq!(
        upstream(&found, &permit(), &post),
        Ok(0),
        "the less specific one serves it"
    );
    let denying = Router::new(
        routes,
        General {
            path_policy: None,
            deny_by_default: true,
        },
    );
    assert_eq!(at(&denying, "/b"), Err(Unrouted::Denied));
}

#[test]
fn a_path_that_may_be_another_is_refused_where_routes_tell_paths_apart() {
    let policy = |routes: &[Settings], path_policy| {
        let general = General {
            path_policy,
            deny_by_default: false,
        };
        at(&Router::new(routes.to_vec(), general), "/a/../secret")
    };
    let denied = Settings {
        action: Action::Deny,
        ..route("/secret", 9)
    };
    let several = [route("/", 0), denied];
    assert_eq!(policy(&several, None), Err(Unrouted::AmbiguousPath));
    assert_eq!(policy(&several, Some(Policy::Raw)), Ok(0));
    let one = [route("/", 0)];
    assert_eq!(policy(&one, None), Ok(0));
    assert_eq!(
        policy(&one, Some(Policy::Strict)),
        Err(Unrouted::AmbiguousPath)
    );
    assert_eq!(
        policy(&[route("/a", 0)], None),
        Err(Unrouted::AmbiguousPath)
    );
}

#[test]
fn prefixes_are_rewritten_with_one_slash_between() {
    for (from, to, asked, wanted) in [
        ("/api", "/v1", "/api/x?q=1", "/v1/x?q=1"),
        ("/api", "/v1", "/api", "/v1"),
        ("/api", "/", "/api/x", "/x"),
        ("/api", "/", "/api", "/"),
        ("/api/", "/", "/api/x/", "/x/"),
        ("/api/", "/v1", "/api/x", "/v1/x"),
        ("/api", "/v1/", "/api/x", "/v1/x"),
        ("/", "/all", "/x", "/all/x"),
        ("/", "/all", "/", "/all"),
    ] {
        let rewriting = Settings {
            action: Action::Forward {
                upstream: 0,
                rewrite: Some(to.into()),
            },
            ..route(from, 0)
        };
        let router = router(vec![rewriting]);
        let asked: PathAndQuery = asked.parse().unwrap();
        let headers = HeaderMap::new();
        let permit = permit();
        let question = get(asked.path(), &headers);
        let routed = router.route(&permit, &question).unwrap();
        assert_eq!(
            routed.rewritten(&asked).unwrap(),
            *wanted,
            "{from} {to} {asked}"
        );
    }
}

#[test]
fn nobody_reaches_only_what_is_open_to_nobody() {
    let open = Settings {
        allow_anonymous: true,
        ..route("/enrol", 1)
    };
    let general = General {
        path_policy: Some(Policy::Raw),
        deny_by_default: false,
    };
    let router = Router::new(vec![route("/", 0), open], general);
    let nobody = authorize_anonymous(true).unwrap();
    let headers = HeaderMap::new();
    let at = |permit: &Permit, path| upstream(&router, permit, &get(path, &headers));
    assert_eq!(at(&nobody, "/enrol/now"), Ok(1));
    for path in ["/", "/enrolment", "/enrol/../admin", "/enrol/%2e%2e/admin"] {
        assert_eq!(at(&nobody, path), Err(Unrouted::NoDevice), "{path}");
    }
    assert_eq!(at(&permit(), "/enrol/../admin"), Ok(1));
}

/// What a look-up costs among a hundred routes. A figure to look at (`--nocapture`, release) with a bound that only a mistake
/// of kind exceeds.
#[test]
fn a_look_up_among_a_hundred_routes_costs_little() {
    let routes = (0..100).map(|number| route(&format!("/service-{number}/v1"), number));
    let router = router(routes.collect());
    let (permit, headers) = (permit(), HeaderMap::new());
    let asked = get("/service-99/v1/devices/7/telemetry", &headers);
    const TIMES: u32 = 10_000;
    let start = clock::now();
    for _ in 0..TIMES {
        assert_eq!(upstream(&router, &permit, &asked), Ok(99));
    }
    let each = clock::now().duration_since(start) / TIMES;
    println!("{each:?} for each look-up");
    assert!(each < Duration::from_micros(200));
}
