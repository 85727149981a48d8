//! The configuration, parsed and final: one field for each stage, of the type that the stage defines.
//!
//! It opens nothing. Files it names are read when the configuration is built into a `snapshot`. All errors are reported
//! at once, each with the key to change.

mod admin;
mod admission;
mod limits;
mod listener;
mod route;
mod section;
mod server;
mod telemetry;
mod trust_domain;
mod units;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderName;

use crate::admission::queue;
use crate::headers::token::{DEFAULT_HEADER, TokenError, TokenSettings};
use crate::limits::{Capacity, device, source};
use crate::tls;
use crate::tls::resumption;
use crate::{forward, handshake, headers, serve, verify};
use section::{Errors, Section};
pub use server::Server;
pub use trust_domain::{Files, TrustDomain};

/// A configuration that parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the gateway speaks.
    pub tls: tls::Settings,
    /// The certificate chain file, end entity first.
    pub certificate: PathBuf,
    /// The private key file.
    pub private_key: PathBuf,
    /// Whom to trust; the default domain is the first.
    pub trust_domains: Vec<TrustDomain>,
    /// How sessions are resumed.
    pub resumption: resumption::Settings,
    /// The most chains in the verified-chain cache; 0 switches it off.
    pub chain_cache_entries: usize,
    /// Where devices connect.
    pub listeners: Vec<crate::listener::Settings>,
    /// Where requests go.
    pub upstreams: Vec<crate::upstream::Settings>,
    /// Which requests go where.
    pub routes: Vec<crate::route::Settings>,
    /// What holds for all routes.
    pub routing: crate::route::General,
    /// Plain settings of the stages.
    pub settings: Settings,
    /// The most connections open at once; `None` is what the descriptor limit allows.
    pub max_connections: Option<usize>,
    /// The most handshakes in progress at once.
    pub max_handshakes: usize,
    /// Of how many devices and sources it is remembered what they used.
    pub remembered: Capacity,
    /// Where operators look.
    pub admin: Option<crate::admin::access::Settings>,
    /// The file that keeps an administrator's revocations; without one they end with the process.
    pub revocations_file: Option<PathBuf>,
    /// Threads, how the process ends, and who goes on in its place.
    pub server: Server,
    /// The signed token that upstreams get, if any.
    pub token: Option<Token>,
    /// What is logged of requests and connections, if anything.
    pub access_log: Option<crate::access_log::Settings>,
    /// How requests are traced, if they are.
    pub traces: Option<crate::trace::Settings>,
    /// Every key that was read, as errors name it, with its value or its default; what is secret is left out.
    pub in_force: BTreeMap<String, toml::Value>,
}

/// The signed token that tells upstreams who the device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The file with the P-256 key that signs it.
    pub key: PathBuf,
    /// What it says, and where it is put.
    pub settings: TokenSettings,
}

/// Settings without files or sockets behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which identity headers are sent.
    pub headers: headers::Settings,
    /// Bounds on handshakes.
    pub handshake: handshake::Settings,
    /// Who may start one, when many come.
    pub queue: queue::Settings,
    /// Bounds on a device's side of a connection.
    pub serve: serve::Settings,
    /// Bounds on a request.
    pub forward: forward::Settings,
    /// What may come from one address, and from all, before TLS.
    pub source_limits: source::Settings,
    /// What a device may use, where its trust domain does not say otherwise.
    pub device_limits: device::Settings,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The key, as `listeners[0].address`; empty for the file as a whole.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl Config {
    /// Parses `text`. Relative paths are taken from `base`, the folder of the configuration file.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<ConfigError>> {
        match Self::parse_all(text, base) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    /// Every file and folder that it names and that a reload reads again.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.certificate.clone(), self.private_key.clone()];
        files.extend(self.resumption.secret_file.clone());
        files.extend(self.token.as_ref().map(|token| token.key.clone()));
        files.extend(
            self.admin
                .iter()
                .flat_map(|admin| admin.files().map(Path::to_owned)),
        );
        for domain in &self.trust_domains {
            let named = &domain.files;
            if let Some((certificate, key)) = &named.credentials {
                files.extend([certificate.clone(), key.clone()]);
            }
            let lists = [&named.anchors, &named.intermediates, &named.crls];
            files.extend(lists.into_iter().flatten().cloned());
        }
        for upstream in &self.upstreams {
            files.extend(upstream.tls.anchors.iter().cloned());
            if let Some((certificate, key)) = &upstream.tls.credentials {
                files.extend([certificate.clone(), key.clone()]);
            }
        }
        files
    }

    /// Parses `text` as far as it goes: what is wrong, and the configuration with placeholders in its place, so that the
    /// files it names can be looked at all the same. `None` where the text is not even TOML.
    pub(crate) fn parse_all(text: &str, base: &Path) -> (Option<Self>, Vec<ConfigError>) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let problem = toml::de::Error::to_string(&error).trim_end().to_owned();
                let key = "syntax".to_owned();
                return (None, vec![ConfigError { key, problem }]);
            }
        };
        let errors = Errors::default();
        let mut file = Section::new(table, String::new(), &errors);
        let mut config = read(&mut file, base);
        file.finish();
        let (in_force, problems) = errors.into_inner();
        config.in_force = in_force;
        (Some(config), problems)
    }
}

/// Reads everything; where something is wrong an error is noted and a placeholder goes on.
fn read(file: &mut Section<'_>, base: &Path) -> Config {
    let mut tls = file.table("tls", true);
    let certificate = base.join(tls.required("certificate").unwrap_or_default());
    let private_key = base.join(tls.required("private_key").unwrap_or_default());
    let tls_settings = tls_settings(&mut tls);
    tls.finish();

    let upstreams = upstream::read(file, base);
    let listeners = listener::read(file, &upstreams);
    let routes = route::read(file, &upstreams);
    let routing = route::general(file);
    let mut cache = file.table("chain_cache", false);
    let chain_cache_entries = cache.integer("entries", 100_000, 0, 100_000_000);
    cache.finish();
    let resumption = resumption_settings(file, base, chain_cache_entries > 0);

    let (settings, presented, token, bounds) = settings(file, base);
    let trust_domains = trust_domain::read(file, base, presented, settings.headers);
    for (index, upstream) in upstreams.iter().enumerate() {
        if upstream.limits.response_timeout > settings.serve.idle_timeout {
            file.error(
                &format!("upstreams[{index}].response_timeout"),
                "it is longer than timeouts.idle, which would end the connection first",
            );
        }
        if upstream.request_timeout > Some(settings.serve.idle_timeout) {
            file.error(
                &format!("upstreams[{index}].request_timeout"),
                "it is longer than timeouts.idle, which would end the connection first",
            );
        }
    }

    for (index, route) in routes.iter().enumerate() {
        if route.limits.response_timeout > Some(settings.serve.idle_timeout) {
            file.error(
                &format!("routes[{index}].limits.response_timeout"),
                "it is longer than timeouts.idle, which would end the connection first",
            );
        }
    }

    let (admin, revocations_file) = admin::read(file, base);

    let access_log = telemetry::access_log(file, base);
    let traces = telemetry::traces(file);

    let server = server::read(file, base);

    Config {
        tls: tls_settings,
        certificate,
        private_key,
        trust_domains,
        resumption,
        chain_cache_entries,
        listeners,
        upstreams,
        routes,
        routing,
        settings,
        max_connections: bounds.connections,
        max_handshakes: bounds.handshakes,
        remembered: bounds.remembered,
        admin,
        revocations_file,
        server,
        token,
        access_log,
        traces,
        in_force: BTreeMap::new(),
    }
}

fn tls_settings(section: &mut Section<'_>) -> tls::Settings {
    let versions = [("1.2", tls::Version::Tls12), ("1.3", tls::Version::Tls13)];
    let min_version = section
        .choice("min_version", &versions)
        .unwrap_or(tls::Version::Tls12);
    let names = section.strings("groups");
    let mut groups = Vec::new();
    for name in names.iter().flatten() {
        match tls::Group::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some((_, group)) => groups.push(*group),
            None => {
                let known = tls::Group::NAMES.map(|(known, _)| known).join(", ");
                section.error("groups", &format!("\"{name}\" is not one of {known}"));
            }
        }
    }
    if names.is_none() {
        groups = vec![tls::Group::X25519, tls::Group::P256];
    } else if groups.is_empty() {
        section.error("groups", "name at least one group");
    }
    tls::Settings {
        min_version,
        groups,
    }
}

fn resumption_settings(
    file: &mut Section<'_>,
    base: &Path,
    has_cache: bool,
) -> resumption::Settings {
    let mut section = file.table("resumption", false);
    let enabled = section.boolean("enabled", true);
    let rotation = section.duration("key_rotation", Duration::from_secs(12 * 60 * 60));
    let max_lineage_age = section.duration("max_lineage_age", Duration::from_secs(24 * 60 * 60));
    let secret_file = section.string("secret_file").map(|path| base.join(path));
    let formats = [
        ("compact", resumption::Format::Compact),
        ("self_contained", resumption::Format::SelfContained),
    ];
    // Where a secret is shared, a session may come to an instance (or a next process) that never saw the chain.
    let tickets =
        section
            .choice("tickets", &formats)
            .unwrap_or(if secret_file.is_none() && has_cache {
                resumption::Format::Compact
            } else {
                resumption::Format::SelfContained
            });
    section.finish();
    resumption::Settings {
        enabled,
        rotation: rotation.as_secs().max(1),
        max_lineage_age: max_lineage_age.as_secs(),
        tickets,
        secret_file,
    }
}

/// What is fixed at the start.
struct Bounds {
    connections: Option<usize>,
    handshakes: usize,
    remembered: Capacity,
}

fn settings(
    file: &mut Section<'_>,
    base: &Path,
) -> (Settings, verify::Settings, Option<Token>, Bounds) {
    let mut admission = file.table("admission", false);
    let (source_limits, sources) = limits::sources(&mut admission);
    let mut limits = file.table("limits", false);
    let mut timeouts = file.table("timeouts", false);
    let mut identity = file.table("identity_headers", false);
    let (device_limits, devices) = limits::devices(&mut limits);
    let presented = verify::Settings {
        max_certificates: limits.integer("presented_certificates", 10, 1, 100),
        max_bytes: limits.size("presented_bytes", 32 * 1024),
    };
    let handshake_timeout = timeouts.duration("handshake", Duration::from_secs(10));
    let settings = Settings {
        headers: headers::Settings {
            client_cert_chain: identity.boolean("client_cert_chain", false),
            forwarded: identity.boolean("forwarded", false),
        },
        handshake: handshake::Settings {
            timeout: handshake_timeout,
        },
        queue: admission::read(admission, handshake_timeout),
        serve: serve::Settings {
            request_head_timeout: timeouts.duration("request_head", Duration::from_secs(10)),
            idle_timeout: timeouts.duration("idle", Duration::from_secs(5 * 60)),
            websocket_idle_timeout: timeouts
                .duration("websocket_idle", Duration::from_secs(60 * 60)),
            max_request_head: limits.size("request_head", 16 * 1024),
            max_request_headers: limits.integer("request_headers", 100, 1, 10_000),
            max_concurrent_streams: u32::try_from(limits.integer("streams", 100, 1, 10_000))
                .unwrap_or(100),
        },
        forward: forward::Settings {
            max_request_body: limits.optional_size("request_body").map(|size| size as u64),
        },
        source_limits,
        device_limits,
    };
    let token = token(&mut identity, base);
    let bounds = Bounds {
        connections: limits.optional_integer("connections", 1, 10_000_000),
        handshakes: limits.integer("handshakes", 10_000, 1, 10_000_000),
        remembered: Capacity { devices, sources },
    };
    limits.finish();
    timeouts.finish();
    identity.finish();
    (settings, presented, token, bounds)
}

fn token(identity: &mut Section<'_>, base: &Path) -> Option<Token> {
    let mut section = identity.optional_table("token")?;
    let key = section.required("key");
    let header = section
        .string("header")
        .map_or(Some(DEFAULT_HEADER), |text| {
            let parsed = text.parse::<HeaderName>();
            parsed
                .map_err(|_| section.error("header", &format!("\"{text}\" is no field name")))
                .ok()
        });
    let lifetime = section.duration("lifetime", Duration::from_secs(5 * 60));
    let settings = TokenSettings {
        header: header.unwrap_or(DEFAULT_HEADER),
        issuer: section
            .string("issuer")
            .unwrap_or_else(|| "fleetgate".to_owned()),
        audience: section.string("audience"),
        lifetime: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX),
    };
    if let Err(error) = settings.check() {
        let key = match &error {
            TokenError::Header(_) => "header",
            TokenError::Issuer => "issuer",
            TokenError::Audience => "audience",
            _ => "lifetime",
        };
        section.error(key, &error.to_string());
    }
    section.finish();
    Some(Token {
        key: base.join(key?),
        settings,
    })
}

#[cfg(test)]
mod tests;
