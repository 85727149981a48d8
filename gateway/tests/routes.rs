//! Which requests reach which upstream, and in what form, over real sockets.

mod support;

use support::counters::expect_value;
use support::{Fleet, Setup, Upstream};

/// A fleet whose other routes, all to the upstream, are `routes`.
fn with_routes(routes: &str) -> Fleet {
    Fleet::start(|setup| setup.more = routes.into())
}

fn status(fleet: &Fleet, request: &str) -> u16 {
    fleet.connect().ask(request).status()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: fleet.test\r\n\r\n")
}

#[test]
fn the_prefix_is_rewritten_and_the_query_kept() {
    let fleet = with_routes(
        "[[routes]]\npath_prefix = \"/api\"\nupstream = \"telemetry\"\nrewrite_prefix = \"/v1\"\n",
    );
    let mut connection = fleet.connect();
    for (index, (asked, seen)) in [
        ("/api/things?id=1", "GET /v1/things?id=1 HTTP/1.1"),
        ("/api", "GET /v1 HTTP/1.1"),
        ("/apis", "GET /apis HTTP/1.1"),
        ("http://fleet.test/api/x", "GET /v1/x HTTP/1.1"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(connection.ask(&get(asked)).status(), 200);
        let request = fleet.upstream.request(index);
        assert_eq!(request.first_line(), seen);
        assert_eq!(request.field("host"), "fleet.test");
    }
}

#[test]
fn a_route_that_denies_and_no_way_around_it() {
    let fleet = with_routes("[[routes]]\npath_prefix = \"/secret\"\ndeny = true\n");
    for path in ["/secret", "/secret/", "/secret/a?b"] {
        assert_eq!(status(&fleet, &get(path)), 403, "{path}");
    }
    for path in [
        "/a/../secret",
        "/./secret",
        "//secret",
        "/%73ecret",
        "/secret%2fa",
        "/a/%2e%2e/secret",
        "/a/..%5csecret",
        "/a\\..\\secret",
        "/secret;x/a",
        "/a/%2E./secret",
        "/%2",
        "http://fleet.test/a/../secret",
    ] {
        assert_eq!(status(&fleet, &get(path)), 400, "{path}");
    }
    assert!(fleet.upstream.received().is_empty());
    assert_eq!(status(&fleet, &get("/secrets/a%20b?x=/../secret")), 200);
}

#[test]
fn a_single_route_for_everything_passes_every_path_on() {
    let fleet = with_routes("");
    let target = "/a/../%73ecret//;x";
    assert_eq!(status(&fleet, &get(target)), 200);
    assert_eq!(
        fleet.upstream.only_request().first_line(),
        format!("GET {target} HTTP/1.1")
    );
}

#[test]
fn what_no_route_serves_is_denied_where_that_is_the_default() {
    let other = Fleet::start(|setup| {
        setup.path_prefix = "/only".into();
        setup.more = "[routing]\ndefault = \"deny\"\n".into();
    });
    assert_eq!(status(&other, &get("/other")), 403);
    assert_eq!(status(&other, &get("/only/this")), 200);
}

#[test]
fn another_method_is_told_which_ones_are_allowed() {
    let fleet = Fleet::start(|setup| {
        setup.path_prefix = "/telemetry".into();
        setup.more =
            "[[routes]]\npath = \"/state\"\nmethods = [\"PUT\", \"GET\"]\nupstream = \"telemetry\"\n"
                .into();
    });
    let mut connection = fleet.connect();
    let refused = connection.ask("DELETE /state HTTP/1.1\r\nhost: fleet.test\r\n\r\n");
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.field("allow"), "GET, PUT");
    assert_eq!(connection.get("/state").status(), 200);
    assert_eq!(connection.get("/state/x").status(), 404);
}

#[test]
fn host_header_and_device_choose_the_upstream() {
    let other = Upstream::ok();
    let address = other.address();
    let fleet = Fleet::start(|setup| {
        setup.more = format!(
            "[[upstreams]]\nname = \"other\"\nendpoints = [\"http://{address}\"]\n\
             [[routes]]\nhost = \"*.other.test\"\nupstream = \"other\"\n\
             [[routes]]\nheaders = [\"X-Mode: raw\"]\nupstream = \"other\"\n\
             [[routes]]\npath_prefix = \"/pilot\"\ndevices = [\"device-*1\"]\nupstream = \"other\"\n"
        );
    });
    for (number, request) in [
        "GET / HTTP/1.1\r\nhost: a.Other.test:443\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: fleet.test\r\nx-mode: raw\r\n\r\n",
        "GET /pilot HTTP/1.1\r\nhost: fleet.test\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(status(&fleet, request), 200);
        assert_eq!(other.received().len(), number + 1, "{request}");
    }
    for request in [
        "GET / HTTP/1.1\r\nhost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: fleet.test\r\nx-mode: rawer\r\n\r\n",
    ] {
        assert_eq!(status(&fleet, request), 200);
    }
    assert_eq!(
        (other.received().len(), fleet.upstream.received().len()),
        (3, 2)
    );
}

#[test]
fn a_route_has_limits_of_its_own() {
    let routes = "[[routes]]\npath_prefix = \"/firmware\"\nupstream = \"telemetry\"\n\
         limits = { requests = \"1/h\", requests_burst = 2, request_body = \"4B\" }\n";
    let mut fleet = with_routes(routes);
    let mut connection = fleet.connect();
    let put = |length: usize| {
        let body = "x".repeat(length);
        format!(
            "PUT /firmware HTTP/1.1\r\nhost: fleet.test\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(connection.ask(&put(4)).status(), 200);
    assert_eq!(fleet.connect().ask(&put(5)).status(), 413);
    let refused = connection.get("/firmware/7");
    assert_eq!(refused.status(), 429);
    assert!(refused.field("retry-after").parse::<u64>().unwrap() > 3000);
    assert_eq!(
        connection
            .ask("PUT / HTTP/1.1\r\nhost: fleet.test\r\ncontent-length: 5\r\n\r\nxxxxx")
            .status(),
        200
    );
    expect_value(
        &fleet.gateway,
        "gateway_limited_total{limit=\"route_requests\",outcome=\"refused\"}",
        1,
    );
    // A reload that does not change the route does not forget what was used.
    let mut setup = Setup::new(fleet.upstream.address());
    setup.more = format!("[limits]\nstreams = 7\n{routes}");
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(connection.get("/firmware/7").status(), 429);
    setup.more = String::new();
    fleet.gateway.reload(&fleet.pki, &setup).unwrap();
    assert_eq!(connection.get("/firmware/7").status(), 200);
}

#[test]
fn a_route_has_a_response_timeout_of_its_own() {
    let upstream = Upstream::by_hand(|mut peer| {
        let _ = peer.reader.request();
        // Says nothing until the gateway has had enough.
        let _ = peer.reader.request();
    });
    let fleet = Fleet::with_upstream(upstream, |setup| {
        setup.more =
            "[[routes]]\npath_prefix = \"/quick\"\nupstream = \"telemetry\"\nlimits = { response_timeout = \"50ms\" }\n"
                .into();
    });
    assert_eq!(status(&fleet, &get("/quick")), 504);
}
