//! `[trust]` and `[[trust_domains]]`: the same keys, but that the default domain is called `default` and needs no server
//! names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::authorize::{DeviceIds, Policy};
use crate::config::section::Section;
use crate::fetch::{self, HttpUrl, schedule};
use crate::identity::{Pattern, Rule, Source};
use crate::trust::names::NamePattern;

use crate::ocsp::Mode;
use crate::ocsp::client;
use crate::ocsp::request::Hash;
use crate::refresh;
use crate::trust::{self, ClientAuth, Settings, revocation};
use crate::verify::Rules;
use crate::{headers, verify};

/// One trust domain as configured.
#[derive(Debug, Clone)]
pub struct TrustDomain {
    /// The configuration section, as `trust` or `trust_domains[0]`.
    pub section: String,
    /// What is said about it.
    pub settings: Settings,
    /// What it names.
    pub files: Files,
    /// Which lists are fetched.
    pub fetch: refresh::Settings,
    /// How responders are asked.
    pub ocsp: client::Settings,
}

/// The files and folders of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain and the private key that the gateway shows for this domain's names; `None` is those of `[tls]`.
    pub credentials: Option<(PathBuf, PathBuf)>,
    /// Trust anchors.
    pub anchors: Vec<PathBuf>,
    /// Intermediates that devices need not present.
    pub intermediates: Vec<PathBuf>,
    /// Revocation lists.
    pub crls: Vec<PathBuf>,
}

/// Reads `[trust]` and every `[[trust_domains]]`; the default is the first.
pub(super) fn read(
    file: &mut Section<'_>,
    base: &Path,
    limits: verify::Settings,
    headers: headers::Settings,
) -> Vec<TrustDomain> {
    let common = Common {
        base,
        limits,
        headers,
    };
    let mut default = file.table("trust", true);
    let mut domains = vec![common.domain(&mut default, trust::DEFAULT.into(), Vec::new(), None)];
    default.finish();
    let mut claimed: Vec<NamePattern> = Vec::new();
    for mut section in file.optional_tables("trust_domains") {
        let name = section.required("name").unwrap_or_default();
        if domains.iter().any(|other| *other.settings.name == *name) {
            let problem = format!("another trust domain is called \"{name}\" too");
            section.error("name", &problem);
        }
        let server_names = server_names(&mut section, &mut claimed);
        let credentials = section.credentials(base);
        domains.push(common.domain(&mut section, name, server_names, credentials));
        section.finish();
    }
    domains
}

/// What all domains share.
struct Common<'a> {
    base: &'a Path,
    limits: verify::Settings,
    headers: headers::Settings,
}

impl Common<'_> {
    fn domain(
        &self,
        section: &mut Section<'_>,
        name: String,
        server_names: Vec<NamePattern>,
        credentials: Option<(PathBuf, PathBuf)>,
    ) -> TrustDomain {
        let anchors = self.paths(section, "anchors");
        if anchors.is_empty() {
            section.error(
                "anchors",
                "name at least one file or folder with trust anchors",
            );
        }
        let crls = self.paths(section, "crls");
        let (revocation, fetch) = revocation(section, !crls.is_empty());
        let (mode, ocsp) = ocsp(section);
        let modes = [
            ("required", ClientAuth::Required),
            ("optional", ClientAuth::Optional),
        ];
        TrustDomain {
            section: section.path().to_owned(),
            settings: Settings {
                name: Arc::from(name),
                server_names,
                client_auth: section
                    .choice("client_auth", &modes)
                    .unwrap_or(ClientAuth::Required),
                limits: self.limits,
                rules: rules(section),
                identity: identity(section),
                headers: self.headers,
                policy: policy(section),
                revocation,
                ocsp: mode,
            },
            files: Files {
                credentials,
                anchors,
                intermediates: self.paths(section, "intermediates"),
                crls,
            },
            fetch,
            ocsp,
        }
    }

    fn paths(&self, section: &mut Section<'_>, key: &'static str) -> Vec<PathBuf> {
        let paths = section.strings(key).unwrap_or_default();
        paths.iter().map(|path| self.base.join(path)).collect()
    }
}

fn server_names(section: &mut Section<'_>, claimed: &mut Vec<NamePattern>) -> Vec<NamePattern> {
    let texts = section.strings("server_names").unwrap_or_default();
    if texts.is_empty() {
        section.error(
            "server_names",
            "name at least one, such as \"*.plant-7.example\"",
        );
    }
    let mut names = Vec::new();
    for text in texts {
        match text.parse::<NamePattern>() {
            Ok(name) if claimed.contains(&name) => {
                section.error("server_names", &format!("\"{name}\" is claimed twice"));
            }
            Ok(name) => {
                claimed.push(name.clone());
                names.push(name);
            }
            Err(error) => section.error("server_names", &error.to_string()),
        }
    }
    names
}

fn rules(section: &mut Section<'_>) -> Rules {
    let defaults = Rules::default();
    Rules {
        min_rsa_bits: section.integer("min_rsa_bits", defaults.min_rsa_bits, 1024, 8192),
        legacy_end_entities: section.boolean("legacy_end_entities", defaults.legacy_end_entities),
    }
}

fn identity(section: &mut Section<'_>) -> Rule {
    let mut identity = section.table("identity", false);
    let sources = [
        ("common_name", Source::CommonName),
        ("san_uri", Source::SanUri),
        ("san_dns", Source::SanDns),
        ("serial", Source::Serial),
        ("fingerprint", Source::Fingerprint),
    ];
    let source = identity
        .choice("device_id", &sources)
        .unwrap_or(Source::CommonName);
    let pattern = identity.string("pattern").and_then(|text| {
        Pattern::new(&text)
            .map_err(|error| identity.error("pattern", &error.to_string()))
            .ok()
    });
    identity.finish();
    Rule { source, pattern }
}

fn revocation(
    section: &mut Section<'_>,
    has_files: bool,
) -> (revocation::Policy, refresh::Settings) {
    let mut table = section.table("revocation", false);
    let mut urls = Vec::new();
    for text in table.strings("fetch").unwrap_or_default() {
        match text.parse::<HttpUrl>() {
            Ok(url) => urls.push(url),
            Err(error) => table.error("fetch", &format!("\"{text}\": {error}")),
        }
    }
    let refuse_or_accept = [("refuse", false), ("accept", true)];
    let accept_unknown_issuer = table.choice("unknown_issuer", &refuse_or_accept);
    let accept_stale = table.choice("stale_list", &refuse_or_accept);
    let grace = table.duration("stale_grace_period", Duration::ZERO);
    let refresh_interval = table.duration("refresh_interval", Duration::from_secs(60 * 60));
    let fetch = refresh::Settings {
        urls,
        distribution_points: table.boolean("distribution_points", false),
        schedule: schedule::Settings {
            refresh_interval,
            retry_min: Duration::from_secs(5).min(refresh_interval),
            retry_max: Duration::from_secs(10 * 60),
        },
        fetch: fetch::Settings {
            connect_timeout: Duration::from_secs(5),
            total_timeout: table.duration("fetch_timeout", Duration::from_secs(60)),
            max_bytes: table.size("max_list_size", 64 * 1024 * 1024),
        },
    };
    table.finish();
    let policy = revocation::Policy {
        asked: has_files || !fetch.urls.is_empty() || fetch.distribution_points,
        fetches: !fetch.urls.is_empty() || fetch.distribution_points,
        follow_points: fetch.distribution_points,
        accept_unknown_issuer: accept_unknown_issuer.unwrap_or(false),
        stale_grace: (accept_stale != Some(true)).then_some(grace.as_secs()),
    };
    (policy, fetch)
}

fn ocsp(section: &mut Section<'_>) -> (Mode, client::Settings) {
    let mut table = section.table("ocsp", false);
    let modes = [
        ("off", Mode::Off),
        ("soft", Mode::Soft),
        ("hard", Mode::Hard),
    ];
    let mode = table.choice("mode", &modes).unwrap_or(Mode::Off);
    let responder = table.string("responder").and_then(|text| {
        text.parse::<HttpUrl>()
            .map_err(|error| table.error("responder", &format!("\"{text}\": {error}")))
            .ok()
    });
    let hashes = [("sha1", Hash::Sha1), ("sha256", Hash::Sha256)];
    let timeout = table.duration("timeout", Duration::from_secs(2));
    let settings = client::Settings {
        responder,
        hash: table.choice("hash", &hashes).unwrap_or(Hash::Sha1),
        nonce: table.boolean("nonce", false),
        fetch: fetch::Settings {
            connect_timeout: timeout,
            total_timeout: timeout,
            // A response with a delegated responder's RSA-4096 certificate has some three thousand.
            max_bytes: 64 * 1024,
        },
        max_age: table.duration("max_age", Duration::from_secs(24 * 60 * 60)),
        without_next_update: table.duration("without_next_update", Duration::from_secs(60)),
        retry_interval: table.duration("retry_interval", Duration::from_secs(10)),
        cache_entries: table.integer("cache_entries", 100_000, 1, 100_000_000),
        max_in_flight: table.integer("requests", 64, 1, 10_000),
        max_waiting: table.integer("waiting", 10_000, 1, 1_000_000),
    };
    table.finish();
    (mode, settings)
}

fn policy(section: &mut Section<'_>) -> Policy {
    let mut policy = section.table("policy", false);
    let allow = policy.strings("allow").map(DeviceIds::new);
    let deny = DeviceIds::new(policy.strings("deny").unwrap_or_default());
    policy.finish();
    Policy { allow, deny }
}
