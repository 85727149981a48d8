//! `[[routes]]` and `[routing]`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::Method;
use http::header::{HeaderName, HeaderValue};

use crate::authorize::DeviceIds;
use crate::config::section::Section;
use crate::route::{Action, Conditions, Field, General, Host, Limits, Path, Policy, Settings};
use crate::upstream;

/// Reads `[routing]`.
pub(super) fn general(file: &mut Section<'_>) -> General {
    let mut section = file.table("routing", false);
    let policies = [("strict", Policy::Strict), ("raw", Policy::Raw)];
    let general = General {
        path_policy: section.choice("path_policy", &policies),
        deny_by_default: section
            .choice("default", &[("not_found", false), ("deny", true)])
            .unwrap_or(false),
    };
    section.finish();
    general
}

/// Reads all routes; those that name no upstream are noted and left out.
pub(super) fn read(file: &mut Section<'_>, upstreams: &[upstream::Settings]) -> Vec<Settings> {
    let mut routes: Vec<Settings> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for mut section in file.tables("routes") {
        let (conditions, name) = conditions(&mut section);
        if seen.contains(&name) {
            section.error(
                "path_prefix",
                "another route has all of these conditions too",
            );
        }
        let mut id = DefaultHasher::new();
        name.hash(&mut id);
        seen.push(name);
        let allow_anonymous = section.boolean("allow_anonymous", false);
        let limits = limits(&mut section);
        if let Some(action) = action(&mut section, upstreams) {
            routes.push(Settings {
                conditions,
                action,
                allow_anonymous,
                limits,
                id: id.finish(),
            });
        }
        section.finish();
    }
    routes
}

fn action(section: &mut Section<'_>, upstreams: &[upstream::Settings]) -> Option<Action> {
    let rewrite = section.string("rewrite_prefix");
    if rewrite.as_ref().is_some_and(|path| !is_path(path)) {
        section.error("rewrite_prefix", NO_PATH);
    }
    if section.boolean("deny", false) {
        if section.string("upstream").is_some() || rewrite.is_some() {
            section.error(
                "deny",
                "a route that denies has no upstream and rewrites nothing",
            );
        }
        return Some(Action::Deny);
    }
    let name = section.required("upstream")?;
    let upstream = upstreams.iter().position(|upstream| upstream.name == name);
    if upstream.is_none() {
        section.error("upstream", &format!("no upstream is called \"{name}\""));
    }
    Some(Action::Forward {
        upstream: upstream?,
        rewrite,
    })
}

fn limits(section: &mut Section<'_>) -> Limits {
    let mut section = section.table("limits", false);
    let limits = Limits {
        requests: section.rate("requests", "requests_burst"),
        request_body: section
            .optional_size("request_body")
            .map(|size| size as u64),
        response_timeout: section.optional_duration("response_timeout"),
    };
    section.finish();
    limits
}

/// The conditions, and a text that two routes share only if they have the same ones.
fn conditions(section: &mut Section<'_>) -> (Conditions, String) {
    let host = section.string("host").and_then(|text| host(section, &text));
    let path = path(section);
    let mut methods: Vec<Method> = Vec::new();
    for name in section.strings("methods").unwrap_or_default() {
        match Method::from_bytes(name.as_bytes()) {
            Ok(Method::CONNECT) => section.error("methods", "CONNECT is never served"),
            Ok(method) => methods.push(method),
            Err(_) => section.error("methods", &format!("\"{name}\" is no method")),
        }
    }
    methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    let mut lines = section.strings("headers").unwrap_or_default();
    lines.sort();
    let headers: Vec<Field> = lines
        .iter()
        .filter_map(|line| field(section, line))
        .collect();
    let devices = section.strings("devices").map(|mut list| {
        if list.is_empty() {
            section.error("devices", "name at least one, or leave the key out");
        }
        list.sort();
        list
    });
    let name = format!("{host:?} {path:?} {methods:?} {headers:?} {devices:?}");
    let conditions = Conditions {
        host,
        path,
        methods,
        headers,
        devices: devices.map(DeviceIds::new),
    };
    (conditions, name)
}

const NO_PATH: &str =
    "a path starts with /, has no . or .. segment, no empty one, and nothing encoded";

/// Paths of routes are written as they are meant: what a device writes otherwise is for the path policy.
fn is_path(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_graphic() && !b"%\\;?#\"<>^`{|}".contains(&byte);
    let segments = text
        .strip_prefix('/')
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    text == "/"
        || segments.is_some_and(|segments| {
            segments
                .split('/')
                .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(sound))
        })
}

fn path(section: &mut Section<'_>) -> Path {
    let (exact, prefix) = (section.string("path"), section.string("path_prefix"));
    if exact.is_some() && prefix.is_some() {
        section.error("path", "give path or path_prefix, not both");
    }
    let (key, path) = match (exact, prefix) {
        (Some(exact), _) => ("path", Path::Exact(exact)),
        (None, prefix) => (
            "path_prefix",
            Path::Prefix(prefix.unwrap_or_else(|| "/".to_owned())),
        ),
    };
    if !is_path(path.text()) {
        section.error(key, NO_PATH);
    }
    path
}

fn host(section: &Section<'_>, text: &str) -> Option<Host> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    let (name, wildcard) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower, false),
    };
    let label = |label: &str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(sound)
    };
    let is_address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if !(name.split('.').all(label) || is_address && !wildcard) {
        let problem = format!(
            "\"{text}\" is no host; write a name, *. and a name, or an address, without a port"
        );
        section.error("host", &problem);
        return None;
    }
    Some(match wildcard {
        true => Host::Below(format!(".{name}")),
        false => Host::Exact(name.to_owned()),
    })
}

/// `Name`, or `Name: value`.
fn field(section: &Section<'_>, line: &str) -> Option<Field> {
    let (name, value) = match line.split_once(':') {
        Some((name, value)) => (name, Some(value.trim())),
        None => (line, None),
    };
    let name = name.trim().parse::<HeaderName>().ok();
    let value = value.map(HeaderValue::from_str).transpose().ok();
    let (Some(name), Some(value)) = (name, value) else {
        let problem = format!("\"{line}\" is no field; write \"Name\" or \"Name: value\"");
        section.error("headers", &problem);
        return None;
    };
    Some(Field { name, value })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{SMALLEST, parse, problems};
    use crate::route::{Action, Host, Path, Policy};

    fn with(more: &str) -> String {
        format!("{SMALLEST}{more}")
    }

    #[test]
    fn every_key_of_a_route_is_read() {
        let config = parse(&with(
            "[[routes]]\nhost = \"*.Plant.example\"\npath = \"/a/b\"\nmethods = [\"PUT\", \"GET\"]\n\
             headers = [\"X-Debug\", \"X-Mode: raw\"]\ndevices = [\"pilot-*\"]\nupstream = \"telemetry\"\n\
             rewrite_prefix = \"/v1\"\n[routes.limits]\nrequests = \"5/m\"\nrequest_body = \"1KiB\"\nresponse_timeout = \"5s\"\n\
             [[routes]]\npath_prefix = \"/secret\"\ndeny = true\n\
             [routing]\ndefault = \"deny\"\npath_policy = \"raw\"\n",
        ))
        .unwrap();
        let [_, all, deny] = config.routes.as_slice() else {
            panic!("{:?}", config.routes);
        };
        assert_eq!(
            all.conditions.host,
            Some(Host::Below(".plant.example".into()))
        );
        assert_eq!(all.conditions.path, Path::Exact("/a/b".into()));
        assert_eq!(
            (all.conditions.methods.len(), all.conditions.headers.len()),
            (2, 2)
        );
        assert!(all.conditions.devices.as_ref().unwrap().contains("pilot-7"));
        assert!(all.limits.requests.is_some() && all.limits.response_timeout.is_some());
        assert_eq!(all.limits.request_body, Some(1024));
        assert_eq!(deny.action, Action::Deny);
        assert_ne!(all.id, deny.id);
        assert!(config.routing.deny_by_default);
        assert_eq!(config.routing.path_policy, Some(Policy::Raw));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let same = "[[routes]]\nmethods = [\"GET\", \"PUT\"]\nupstream = \"telemetry\"\n\
                    [[routes]]\nmethods = [\"PUT\", \"GET\"]\nupstream = \"telemetry\"\n";
        assert_eq!(
            problems(&with(same)),
            ["routes[2].path_prefix: another route has all of these conditions too"]
        );
        let wrong = "[[routes]]\nhost = \"a:80\"\npath = \"/a/../b\"\npath_prefix = \"/c\"\nmethods = [\"G T\", \"CONNECT\"]\n\
                     headers = [\"a b\"]\ndevices = []\ndeny = true\nupstream = \"telemetry\"\nrewrite_prefix = \"v1\"\n\
                     [[routes]]\npath_prefix = \"/%61\"\nupstream = \"nowhere\"\n";
        let problems = problems(&with(wrong));
        for key in [
            "host",
            "path",
            "path",
            "methods",
            "methods",
            "headers",
            "devices",
            "deny",
            "rewrite_prefix",
        ] {
            let key = format!("routes[1].{key}: ");
            assert!(
                problems.iter().any(|problem| problem.starts_with(&key)),
                "{key} {problems:#?}"
            );
        }
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with("routes[2].path_prefix: "))
        );
        assert!(
            problems.contains(&"routes[2].upstream: no upstream is called \"nowhere\"".to_owned())
        );
        assert_eq!(problems.len(), 11, "{problems:#?}");
    }
}
