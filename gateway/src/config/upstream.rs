//! `[[upstreams]]`.

use std::path::Path;
use std::time::Duration;

use http::header::HeaderValue;

use crate::config::section::Section;
use crate::config::units;
use crate::upstream::balance::Policy;
use crate::upstream::check::{self, Probe};
use crate::upstream::connect::Protocol;
use crate::upstream::health::{EjectionSettings, Thresholds};
use crate::upstream::{Entry, Limits, RetrySettings, Settings, tls};

/// The greatest weight of an endpoint.
const MAX_WEIGHT: usize = 100;

/// Reads all upstreams; what is wrong is noted, and its place kept, because routes name upstreams by place.
pub(super) fn read(file: &mut Section<'_>, base: &Path) -> Vec<Settings> {
    let mut upstreams: Vec<Settings> = Vec::new();
    for mut section in file.tables("upstreams") {
        let upstream = upstream(&mut section, base);
        if upstreams.iter().any(|other| other.name == upstream.name) {
            let problem = format!("another upstream is called \"{}\" too", upstream.name);
            section.error("name", &problem);
        }
        section.finish();
        upstreams.push(upstream);
    }
    upstreams
}

fn upstream(section: &mut Section<'_>, base: &Path) -> Settings {
    let name = section.required("name").unwrap_or_default();
    let endpoints = endpoints(section, base);
    let protocols = [("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    let protocol = section.choice("protocol", &protocols).unwrap_or_default();
    let tls = tls(section, &endpoints, base);
    let balance = section.choice("balance", &Policy::NAMES);
    let limits = limits(section);
    let request_timeout = section.optional_duration("request_timeout");
    if request_timeout.is_some_and(|total| total < limits.response_timeout) {
        let problem = "it is shorter than response_timeout, which is for one attempt";
        section.error("request_timeout", problem);
    }
    Settings {
        name,
        endpoints,
        balance: balance.unwrap_or_default(),
        protocol,
        tls,
        limits,
        retry: RetrySettings {
            attempts: section.count("retries", 1, 0, 10),
            budget: section.percent("retry_budget", 20),
        },
        request_timeout,
        dns_refresh: section.duration("dns_refresh", Duration::from_secs(30)),
        health_check: section.optional_table("health_check").map(health_check),
        ejection: section.optional_table("ejection").map(ejection),
        slow_start: section
            .optional_duration("slow_start")
            .unwrap_or(Duration::ZERO),
    }
}

fn endpoints(section: &mut Section<'_>, base: &Path) -> Vec<Entry> {
    let mut endpoints: Vec<Entry> = Vec::new();
    for mut entry in section.texts_or_tables("endpoints", "url") {
        let parsed = entry.required("url").and_then(|url| {
            let parsed = units::endpoint(&url, base);
            parsed.map_err(|problem| entry.error("url", &problem)).ok()
        });
        let weight = entry.count("weight", 1, 1, MAX_WEIGHT);
        if let Some(parsed) = parsed {
            let address = &parsed.address;
            if endpoints.iter().any(|other| other.address == *address) {
                entry.error("url", &format!("{address} is there twice"));
            }
            endpoints.push(Entry { weight, ..parsed });
        }
        entry.finish();
    }
    if endpoints.is_empty() {
        section.error(
            "endpoints",
            "name at least one, such as \"http://127.0.0.1:9000\"",
        );
    }
    endpoints
}

fn limits(section: &mut Section<'_>) -> Limits {
    Limits {
        connect_timeout: section.duration("connect_timeout", Duration::from_secs(3)),
        response_timeout: section.duration("response_timeout", Duration::from_secs(30)),
        pool_idle_timeout: section.duration("pool_idle_timeout", Duration::from_secs(55)),
        pool_max_idle: section.integer("pool_max_idle", 64, 0, 100_000),
        max_connections: section.integer("max_connections", 1024, 1, 100_000),
        max_pending: section.integer("max_pending", 1024, 0, 1_000_000),
        queue_timeout: section.duration("queue_timeout", Duration::from_secs(1)),
        max_connection_age: section.optional_duration("max_connection_age"),
        max_requests: section
            .optional_integer("max_connection_requests", 1, 1_000_000_000)
            .map(|most| most as u64),
        ping_interval: section.optional_duration("ping_interval"),
    }
}

fn tls(section: &mut Section<'_>, endpoints: &[Entry], base: &Path) -> tls::Settings {
    let encrypted = endpoints.iter().any(|endpoint| endpoint.encrypted);
    let Some(mut table) = section.optional_table("tls") else {
        if encrypted {
            section.error(
                "tls.anchors",
                "https endpoints need the anchors that their certificates lead to",
            );
        }
        return tls::Settings::default();
    };
    if !encrypted && !endpoints.is_empty() {
        section.error("tls", "no endpoint of this upstream is reached by https");
    }
    let anchors = table.strings("anchors").unwrap_or_default();
    if anchors.is_empty() {
        table.error(
            "anchors",
            "name at least one file or folder with trust anchors",
        );
    }
    let settings = tls::Settings {
        anchors: anchors.iter().map(|path| base.join(path)).collect(),
        credentials: table.credentials(base),
        server_name: table.string("server_name"),
    };
    table.finish();
    settings
}

fn health_check(mut section: Section<'_>) -> check::Settings {
    let is_http = section.choice("type", &[("http", true), ("tcp", false)]);
    let path = section.parsed_text("path", "a path such as \"/healthz\"", |text| {
        text.parse().ok().filter(|_| text.starts_with('/'))
    });
    let host = section.parsed_text("host", "a host name, with a port or none", |text| {
        let authority: http::uri::Authority = text.parse().ok()?;
        HeaderValue::from_str(authority.as_str()).ok()
    });
    let status = section.statuses("status");
    let probe = match is_http.unwrap_or(true) {
        true => {
            if path.is_none() {
                section.missing("path");
            }
            Probe::Http {
                path: path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
                host,
                status: status.unwrap_or((http::StatusCode::OK, http::StatusCode::OK)),
            }
        }
        false => {
            for (key, is_there) in [
                ("path", path.is_some()),
                ("host", host.is_some()),
                ("status", status.is_some()),
            ] {
                if is_there {
                    section.error(key, "a check of type \"tcp\" asks nothing");
                }
            }
            Probe::Tcp
        }
    };
    let settings = check::Settings {
        probe,
        interval: section.duration("interval", Duration::from_secs(5)),
        timeout: section.duration("timeout", Duration::from_secs(2)),
        thresholds: Thresholds {
            healthy_after: section.count("healthy_after", 2, 1, 1000),
            unhealthy_after: section.count("unhealthy_after", 3, 1, 1000),
        },
    };
    section.finish();
    settings
}

fn ejection(mut section: Section<'_>) -> EjectionSettings {
    let settings = EjectionSettings {
        consecutive_failures: section.count("consecutive_failures", 5, 1, 1_000_000),
        time: section.duration("time", Duration::from_secs(30)),
        max_time: section.duration("max_time", Duration::from_secs(5 * 60)),
        max_share: section.percent("max_share", 50),
    };
    if settings.max_time < settings.time {
        section.error("max_time", "it is shorter than time");
    }
    section.finish();
    settings
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::section::{Errors, Section};
    use crate::upstream::Settings;
    use crate::upstream::balance::Policy;
    use crate::upstream::check::Probe;

    /// Reads the keys of one upstream.
    fn read(keys: &str) -> (Settings, Vec<String>) {
        let text = format!("[[upstreams]]\nname = \"telemetry\"\n{keys}");
        let errors = Errors::default();
        let mut file = Section::new(text.parse().unwrap(), String::new(), &errors);
        let settings = super::read(&mut file, Path::new("/base")).remove(0);
        file.finish();
        let (_, problems) = errors.into_inner();
        let problems = problems.iter().map(ToString::to_string).collect();
        (settings, problems)
    }

    const ENDPOINT: &str = "endpoints = [\"http://127.0.0.1:9000\"]\n";

    #[test]
    fn endpoints_are_texts_or_tables() {
        let (settings, problems) = read(
            "endpoints = [\"http://127.0.0.1:9000\", { url = \"http://backend.example:80\", weight = 3 }, \"unix:app.sock\"]",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let all: Vec<_> = settings
            .endpoints
            .iter()
            .map(|entry| (entry.address.to_string(), entry.weight))
            .collect();
        assert_eq!(
            all,
            [
                ("127.0.0.1:9000".into(), 1),
                ("backend.example:80".into(), 3),
                ("unix:/base/app.sock".into(), 1)
            ]
        );
    }

    #[test]
    fn the_defaults_are_sound() {
        let (settings, problems) = read(ENDPOINT);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.balance, Policy::RoundRobin);
        assert_eq!((settings.retry.attempts, settings.retry.budget), (1, 20));
        assert!(settings.health_check.is_none() && settings.ejection.is_none());
        assert_eq!(settings.request_timeout, None);
        assert_eq!(settings.slow_start, Duration::ZERO);
    }

    #[test]
    fn a_health_check_needs_a_path_or_the_type_tcp() {
        let (settings, problems) =
            read(&format!("{ENDPOINT}health_check = {{ type = \"tcp\" }}\n"));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.health_check.unwrap().probe, Probe::Tcp);
        let keys = "health_check = { path = \"/healthz?deep=1\", host = \"app.example\", status = \"200-299\" }\n";
        let (settings, problems) = read(&format!("{ENDPOINT}{keys}"));
        assert!(problems.is_empty(), "{problems:?}");
        let Probe::Http { path, host, status } = settings.health_check.unwrap().probe else {
            panic!("not HTTP");
        };
        assert_eq!(
            (path.as_str(), host.unwrap().as_bytes()),
            ("/healthz?deep=1", &b"app.example"[..])
        );
        assert_eq!((status.0.as_u16(), status.1.as_u16()), (200, 299));
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let (_, problems) = read(
            r#"
            endpoints = ["http://127.0.0.1:9000", { url = "http://127.0.0.1:9000", weight = 0 }, { wieght = 2 }, 7, "unix:"]
            balance = "random"
            retries = 11
            retry_budget = "101%"
            request_timeout = "1s"
            slow_start = "never"
            [upstreams.health_check]
            type = "tcp"
            path = "healthz"
            host = "a b"
            status = "299-200"
            healthy_after = 0
            [upstreams.ejection]
            consecutive_failures = 0
            time = "10m"
            max_share = 50
            "#,
        );
        for expected in [
            "upstreams[0].endpoints[1].url: 127.0.0.1:9000 is there twice",
            "upstreams[0].endpoints[1].weight: 0 is not between 1 and 100",
            "upstreams[0].endpoints[2].url: this key is needed",
            "upstreams[0].endpoints[2].wieght: unknown key; did you mean \"weight\"?",
            "upstreams[0].endpoints[3]: a text or a table is needed, not 7",
            "upstreams[0].endpoints[4].url: \"unix:\" has no path; write http://HOST:PORT, https://HOST:PORT or unix:PATH",
            "upstreams[0].balance: \"round_robin\" or \"least_request\" or \"device_hash\" is needed, not \"random\"",
            "upstreams[0].retries: 11 is not between 0 and 10",
            "upstreams[0].retry_budget: \"101%\" is no share; write 20%, at most 100%",
            "upstreams[0].request_timeout: it is shorter than response_timeout, which is for one attempt",
            "upstreams[0].slow_start: \"never\" is no duration; write 500ms, 30s, 5m, 12h or 90d",
            "upstreams[0].health_check.path: a path such as \"/healthz\" is needed, not \"healthz\"",
            "upstreams[0].health_check.host: a host name, with a port or none is needed, not \"a b\"",
            "upstreams[0].health_check.status: a status such as 200 or \"200-299\" is needed, not \"299-200\"",
            "upstreams[0].health_check.healthy_after: 0 is not between 1 and 1000",
            "upstreams[0].ejection.consecutive_failures: 0 is not between 1 and 1000000",
            "upstreams[0].ejection.max_time: it is shorter than time",
            "upstreams[0].ejection.max_share: a share such as \"20%\" is needed, not 50",
        ] {
            assert!(
                problems.iter().any(|problem| problem == expected),
                "{expected}\nis not in\n{problems:#?}"
            );
        }
        assert_eq!(problems.len(), 18, "{problems:#?}");
    }

    #[test]
    fn a_check_without_a_question_has_no_expectations() {
        let keys = "health_check = { type = \"tcp\", path = \"/\", status = 200 }\n";
        let (_, problems) = read(&format!("{ENDPOINT}{keys}"));
        assert_eq!(
            problems,
            [
                "upstreams[0].health_check.path: a check of type \"tcp\" asks nothing",
                "upstreams[0].health_check.status: a check of type \"tcp\" asks nothing",
            ]
        );
        let (_, problems) = read(&format!("{ENDPOINT}health_check = {{}}\n"));
        assert_eq!(
            problems,
            ["upstreams[0].health_check.path: this key is needed"]
        );
    }
}
