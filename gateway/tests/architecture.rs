//! The rules between the gateway's modules, checked on the sources: who may import whom, who may read a clock, how long a
//! file may be. A failure names the file, the rule and the way out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source file without its comments and its unit tests.
struct Source {
    /// As `verify/cache.rs`.
    name: String,
    code: String,
    lines: usize,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        let text = without_tests(text);
        Self {
            name: name.to_owned(),
            code: without_comments(text),
            lines: text.lines().count(),
        }
    }

    /// The module that the file is, as `["verify", "cache"]`.
    fn module(&self) -> Vec<&str> {
        let path = self.name.trim_end_matches(".rs");
        match path {
            "lib" | "main" => Vec::new(),
            path => path.split('/').collect(),
        }
    }

    /// Whether the file is `module` (as `admission/queue`) or below it.
    fn is_in(&self, module: &str) -> bool {
        let path = self.name.trim_end_matches(".rs");
        path.strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Everything it names by path: imports written out one by one, and paths in the code; those of this crate start
    /// with `crate::`.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (at, _) in self.code.match_indices("use ") {
            let starts_a_word =
                self.code[..at].ends_with(|before: char| before.is_whitespace()) || at == 0;
            if let (true, Some(end)) = (starts_a_word, self.code[at..].find(';')) {
                expand("", &self.code[at + 4..at + end], &mut names);
            }
        }
        names.extend(paths(&self.code));
        names.iter().map(|name| self.resolved(name)).collect()
    }

    /// `super::x` and `self::x` as seen from the crate's root.
    fn resolved(&self, name: &str) -> String {
        let mut module = self.module();
        let mut rest = name;
        let mut relative = false;
        if let Some(inner) = rest.strip_prefix("self::") {
            rest = inner;
            relative = true;
        }
        while let Some(outer) = rest.strip_prefix("super::") {
            module.pop();
            rest = outer;
            relative = true;
        }
        if relative {
            let parts: Vec<&str> = std::iter::once("crate")
                .chain(module)
                .chain([rest])
                .collect();
            parts.join("::")
        } else {
            name.to_owned()
        }
    }

    /// The first thing it names that is `path` or below it.
    fn use_of(&self, path: &str) -> Option<String> {
        self.names().into_iter().find(|name| {
            name.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
    }

    fn says(&self, word: &str) -> bool {
        self.code.match_indices(word).any(|(at, _)| {
            let part_of_a_name = |character: char| character.is_alphanumeric() || character == '_';
            !self.code[..at].ends_with(part_of_a_name)
                && !self.code[at + word.len()..].starts_with(part_of_a_name)
        })
    }
}

/// Unit tests come last in a file and may do what the code may not.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests")
        .map_or(text, |at| &text[..at])
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.find("//").map_or(line, |at| &line[..at]))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes out `a::{b, c::{d, e as f}}` below `prefix`.
fn expand(prefix: &str, tree: &str, names: &mut BTreeSet<String>) {
    let mut depth = 0;
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match part.split_once('{') {
            Some((head, inner)) => {
                let inner = inner.trim_end().trim_end_matches('}');
                expand(&format!("{prefix}{}", head.trim()), inner, names);
            }
            None => {
                let path = part.split(" as ").next().unwrap_or(part).trim();
                names.insert(
                    format!("{prefix}{path}")
                        .trim_end_matches("::self")
                        .to_owned(),
                );
            }
        }
    }
}

/// Every `a::b::c` in the code.
fn paths(code: &str) -> impl Iterator<Item = String> {
    code.split(|character: char| {
        !(character.is_alphanumeric() || character == '_' || character == ':')
    })
    .map(|word| word.trim_matches(':'))
    .filter(|word| word.contains("::"))
    .map(str::to_owned)
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let name = file
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            Source::new(&name, &std::fs::read_to_string(file).unwrap())
        })
        // Unit tests in files of their own.
        .filter(|source| !source.name.ends_with("/tests.rs"))
        .collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(sources.len() > 30, "the sources are not where they were");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with every violation that `find` reports, and with what to do about them.
fn rule(what_to_do: &str, find: impl Fn(&Source) -> Vec<String>) {
    let violations: Vec<String> = sources()
        .iter()
        .flat_map(|source| {
            find(source)
                .into_iter()
                .map(|what| format!("  gateway/src/{}: {what}", source.name))
        })
        .collect();
    assert!(
        violations.is_empty(),
        "\n{}\n{what_to_do}\n",
        violations.join("\n")
    );
}

/// Reports each of `paths` that `source` names.
fn imports(source: &Source, paths: &[&str]) -> Vec<String> {
    paths
        .iter()
        .filter_map(|path| source.use_of(path))
        .map(|name| format!("names {name}"))
        .collect()
}

fn any_in(source: &Source, modules: &[&str]) -> bool {
    modules.iter().any(|module| source.is_in(module))
}

#[test]
fn stages_do_not_know_the_configuration_file() {
    rule(
        "Only what builds the gateway may import config. Define a Settings type in the stage, let config.rs fill it, and take \
         it as an argument.",
        |source| match any_in(source, &["config", "snapshot", "server", "cli", "main"]) {
            true => Vec::new(),
            false => imports(source, &["crate::config"]),
        },
    );
}

#[test]
fn the_configuration_opens_nothing() {
    rule(
        "config parses text and checks it. What opens files or sockets, or knows TLS types, belongs into snapshot.rs, which \
         builds what the configuration names.",
        |source| match source.is_in("config") {
            true => imports(
                source,
                &[
                    "tokio",
                    "rustls",
                    "std::fs",
                    "std::net::TcpStream",
                    "std::net::TcpListener",
                ],
            ),
            false => Vec::new(),
        },
    );
}

/// The stages that only compute.
const PURE: [&str; 19] = [
    "fetch/schedule",
    "identity",
    "authorize",
    "route",
    "headers",
    "admission/queue",
    "upstream/balance",
    "upstream/health",
    "upstream/retry",
    "verify/authority",
    "der",
    "signed",
    "verify/revocation/error",
    "verify/revocation/issuer",
    "verify/revocation/list",
    "verify/revocation/reason",
    "verify/revocation/scope",
    "verify/revocation/set",
    "verify/revocation/table",
];

#[test]
fn pure_stages_only_compute() {
    rule(
        "This module is pure: no runtime, no I/O, no clock, no globals, so that it can be tested without any of them. Take the \
         time or the bytes as an argument, and do the waiting in the stage that calls it.",
        |source| {
            if !any_in(source, &PURE) {
                return Vec::new();
            }
            let mut found = imports(
                source,
                &[
                    "tokio",
                    "hyper",
                    "socket2",
                    "std::fs",
                    "std::io",
                    "std::thread",
                    "std::net::TcpStream",
                    "std::net::TcpListener",
                    "std::net::UdpSocket",
                    "std::time::Instant",
                    "std::time::SystemTime",
                    "crate::clock",
                    "crate::worker",
                ],
            );
            for word in ["async", "await", "static", "thread_local"] {
                // A lifetime is no global.
                let code = source.code.replace("'static", "");
                if (Source {
                    code,
                    name: String::new(),
                    lines: 0,
                })
                .says(word)
                {
                    found.push(format!("says {word}"));
                }
            }
            found
        },
    );
}

#[test]
fn only_the_clock_reads_a_clock() {
    rule(
        "Ask crate::clock, as far out as possible, and pass the time in as an argument.",
        |source| {
            if source.is_in("clock") {
                return Vec::new();
            }
            [
                "Instant::now",
                "SystemTime::now",
                "UnixTime::now",
                "OffsetDateTime::now_utc",
            ]
            .into_iter()
            .filter(|call| source.code.contains(call))
            .map(|call| format!("calls {call}"))
            .chain(
                source
                    .code
                    .contains(".elapsed()")
                    .then(|| "calls elapsed()".to_owned()),
            )
            .collect()
        },
    );
}

#[test]
fn verification_holds_no_policy() {
    rule(
        "verify says whether a chain leads to an anchor; whether its device may be served is for authorize, after it.",
        |source| match source.is_in("verify") {
            true => imports(
                source,
                &[
                    "crate::authorize",
                    "crate::route",
                    "crate::trust",
                    "crate::handshake",
                ],
            ),
            false => Vec::new(),
        },
    );
}

#[test]
fn authorization_knows_no_tls() {
    rule(
        "authorize decides by what identity says. Put what it needs into Identified.",
        |source| match source.is_in("authorize") {
            true => imports(
                source,
                &[
                    "rustls",
                    "webpki",
                    "crate::tls",
                    "crate::handshake",
                    "crate::verify",
                ],
            ),
            false => Vec::new(),
        },
    );
}

#[test]
fn upstreams_know_no_device() {
    rule(
        "An upstream gets a finished request. What depends on the device is written into the request by headers.rs.",
        |source| match source.is_in("upstream") {
            true => imports(
                source,
                &[
                    "crate::identity",
                    "crate::authorize",
                    "crate::tls",
                    "crate::trust",
                ],
            ),
            false => Vec::new(),
        },
    );
}

#[test]
fn revocation_clients_know_only_documents_and_servers() {
    rule(
        "fetch brings bytes, ocsp asks about a certificate and its issuer. Who trusts whom, and what follows from an answer, \
         is for those who call them. Pass in what they need.",
        |source| {
            let mut others = vec![
                "crate::config",
                "crate::snapshot",
                "crate::trust",
                "crate::tls",
                "crate::verify",
                "crate::authorize",
                "crate::handshake",
                "crate::connection",
                "crate::worker",
                "crate::metrics",
            ];
            if source.is_in("fetch") {
                others.push("crate::ocsp");
            }
            match any_in(source, &["fetch", "ocsp"]) {
                true => imports(source, &others),
                false => Vec::new(),
            }
        },
    );
}

#[test]
fn only_the_worker_runs_connections() {
    rule(
        "connection.rs puts the stages into order and stands above all of them. Move what you need into the stage that owns it.",
        |source| match any_in(source, &["worker", "connection"]) {
            true => Vec::new(),
            false => imports(source, &["crate::connection"]),
        },
    );
}

#[test]
fn one_file_chooses_the_crypto_provider() {
    rule(
        "One provider in the whole gateway: take what tls::provider() gives, or add to tls.rs.",
        |source| {
            let mut found = Vec::new();
            if !any_in(source, &["tls/key_schedule", "tls/session"]) && source.name != "tls.rs" {
                found.extend(imports(
                    source,
                    &["rustls::crypto::aws_lc_rs", "rustls::crypto::ring"],
                ));
                if source.says("default_provider") {
                    found.push("says default_provider".to_owned());
                }
            }
            if !source.is_in("tls") {
                found.extend(imports(source, &["rustls::crypto"]));
            }
            found
        },
    );
}

#[test]
fn files_are_short_enough_to_read() {
    const LIMIT: usize = 600;
    rule(
        "A file of more than 600 lines without its tests has more than one job. Split it.",
        |source| {
            (source.lines > LIMIT)
                .then(|| format!("has {} lines", source.lines))
                .into_iter()
                .collect()
        },
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    rule(
        "Begin the file with a //! comment: what it does, and what it deliberately does not.",
        |source| {
            let text = std::fs::read_to_string(root.join(&source.name)).unwrap();
            (!text.starts_with("//! "))
                .then(|| "does not say what it is for".to_owned())
                .into_iter()
                .collect()
        },
    );
}

// The checker itself

fn names_in(name: &str, text: &str) -> Vec<String> {
    Source::new(name, text).names().into_iter().collect()
}

#[test]
fn imports_are_found_however_they_are_written() {
    assert_eq!(
        names_in(
            "route.rs",
            "use crate::{clock, config::{Config, section as part}};\nuse std::fs;"
        ),
        [
            "crate::clock",
            "crate::config::Config",
            "crate::config::section",
            "std::fs"
        ]
    );
    assert_eq!(
        names_in("route.rs", "use super::config::Config;"),
        ["crate::config::Config"]
    );
    assert_eq!(
        names_in("verify/cache.rs", "use super::super::authorize;"),
        ["crate::authorize"]
    );
    assert_eq!(
        names_in("verify/cache.rs", "use super::Anchors;"),
        ["crate::verify::Anchors"]
    );
    assert_eq!(
        names_in("route.rs", "fn f() { crate::config::load(); }"),
        ["crate::config::load"]
    );
    assert_eq!(
        names_in("route.rs", "pub(crate) use crate::config::{self};"),
        ["crate::config"]
    );
}

#[test]
fn comments_and_tests_are_not_looked_at() {
    let text =
        "// use crate::config;\nuse std::fmt;\n#[cfg(test)]\nmod tests {\n use crate::config;\n}\n";
    let source = Source::new("route.rs", text);
    assert_eq!(source.use_of("crate::config"), None);
    assert_eq!(source.lines, 2);
    assert_eq!(
        Source::new("a.rs", "use crate::configuration;").use_of("crate::config"),
        None
    );
}
