//! A configuration that was read, checked and built: everything that a reload replaces, in one piece.
//!
//! Workers hold it for as long as a request needs it; a connection that is open across a reload is served by the old
//! handshake and the new routes. It binds nothing.

mod lasting;
pub mod observing;
mod upstreams;

use std::sync::Arc;

use rustls::ServerConfig;

use crate::admin::access::{Access, AccessError};
use crate::clock;
use crate::config::{self, Config, Settings};
use crate::headers::token::Signer;
use crate::limits::device;
use crate::listener::Protocol;
use crate::route::Router;
use crate::tls::credentials::{self, CredentialError};
use crate::tls::session::{DomainSessions, Hooks};
use crate::tls::stek::{Secret, TicketKeys};
use crate::tls::{self, ALPN_H2, ALPN_HTTP11};
use crate::trust::domains::Domains;
use crate::trust::revocation::Prepared;
use crate::trust::{Sources, TrustDomain};
use crate::upstream::endpoints::Endpoints;
use crate::upstream::tls::BadName;
use crate::verify::TrustMaterial;
use crate::verify::revocation::load::FileError;
pub use lasting::Lasting;
use observing::Observing;

/// Why a configuration that parsed cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A certificate, a key or an anchor.
    #[error("{key}: {error}")]
    Credential {
        /// The configuration key.
        key: String,
        /// What is wrong.
        error: Box<CredentialError>,
    },
    /// A revocation list.
    #[error("{key}: {error}")]
    List {
        /// The configuration key.
        key: String,
        /// What is wrong.
        error: FileError,
    },
    /// The ticket secret.
    #[error("resumption.secret_file: {0}")]
    Secret(String),
    /// The access log.
    #[error("access_log.destination: cannot be opened: {0}")]
    AccessLog(std::io::Error),
    /// The thread that exports spans.
    #[error("telemetry: {0}")]
    Traces(std::io::Error),
    /// What guards the admin listener.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The key that signs tokens.
    #[error("identity_headers.token.key: {0}")]
    Token(String),
    /// The name by which an upstream's endpoints are verified.
    #[error("{key}: {error}")]
    ServerName {
        /// The configuration key.
        key: String,
        /// What is wrong.
        error: BadName,
    },
    /// The configuration itself, where it is checked together with what it names.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The TLS stack refuses the combination.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

impl BuildError {
    fn credential(key: String, error: CredentialError) -> Self {
        Self::Credential {
            key,
            error: Box::new(error),
        }
    }
}

/// A configuration in force.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    settings: Settings,
    domains: Arc<Domains>,
    /// In the order of the listeners.
    services: Vec<Service>,
    hooks: Arc<Hooks>,
    router: Router,
    /// Of the trust domains that have their own.
    device_limits: Vec<(Arc<str>, device::Settings)>,
    upstreams: Vec<Arc<Endpoints>>,
    signer: Option<Arc<Signer>>,
    access: Option<Arc<Access>>,
    observing: Observing,
}

impl Snapshot {
    /// Reads what `config` names and builds it all. The revocation lists that it names are to be put into force together
    /// with it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn build(
        config: &Config,
        lasting: &Lasting,
        generation: u64,
    ) -> Result<(Self, Vec<Prepared>), Vec<BuildError>> {
        let secret = secret(config, lasting);
        let mut errors = Vec::new();
        let signer = config.token.as_ref().map(|token| lasting.signer(token));
        let (mut sessions, mut lists) = (Vec::new(), Vec::new());
        for domain in &config.trust_domains {
            match build_domain(domain, config, lasting, secret.as_ref().ok()) {
                Ok((built, prepared)) => {
                    sessions.extend(built);
                    lists.push(prepared);
                }
                Err(more) => errors.extend(more),
            }
        }
        let mut upstreams = Vec::new();
        for (index, settings) in config.upstreams.iter().enumerate() {
            match upstreams::build(settings, index) {
                Ok(reachable) => upstreams.push(reachable),
                Err(more) => errors.extend(more),
            }
        }
        errors.extend(secret.err());
        let access = config.admin.as_ref().map(Access::load).transpose();
        let access = match access {
            Ok(access) => access.map(Arc::new),
            Err(error) => {
                errors.push(error.into());
                None
            }
        };
        let signer = match signer.transpose() {
            Ok(signer) => signer,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let domains = sessions.iter().map(DomainSessions::domain).cloned();
        let domains = Arc::new(Domains::new(domains.collect()));
        let hooks = Hooks::new(Arc::clone(&domains), sessions, config.resumption.clone());
        let hooks = Arc::new(hooks);
        let services = config
            .listeners
            .iter()
            .map(|listener| Service::build(&listener.protocol, &config.tls, &hooks))
            .collect::<Result<_, _>>()
            .map_err(|error| vec![error.into()])?;
        let snapshot = Self {
            generation,
            settings: config.settings,
            domains,
            services,
            router: Router::new(config.routes.clone(), config.routing),
            device_limits: config
                .trust_domains
                .iter()
                .filter_map(|domain| {
                    Some((Arc::clone(&domain.settings.name), domain.device_limits?))
                })
                .collect(),
            upstreams: lasting.upstreams(upstreams),
            hooks,
            signer,
            access,
            observing: Observing::default(),
        };
        Ok((snapshot, lists))
    }

    /// Counts reloads; what was built for another generation may not fit this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Plain settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a device of the trust domain called `name` may use.
    pub fn device_limits(&self, name: &str) -> &device::Settings {
        self.device_limits
            .iter()
            .find(|(domain, _)| **domain == *name)
            .map_or(&self.settings.device_limits, |(_, own)| own)
    }

    /// Whom to trust.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// The TLS configuration of the listener with this index.
    pub fn server_config(&self, listener: usize) -> Option<Arc<ServerConfig>> {
        let service = self.services.get(listener)?;
        Some(Arc::clone(&service.server_config))
    }

    /// What the listener with this index speaks inside TLS.
    pub fn protocol(&self, listener: usize) -> Option<Arc<Protocol>> {
        let service = self.services.get(listener)?;
        Some(Arc::clone(&service.protocol))
    }

    /// The trust domains' side of handshakes.
    pub fn hooks(&self) -> &Arc<Hooks> {
        &self.hooks
    }

    /// The routes.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Who signs the tokens that upstreams get, if they get any.
    pub fn signer(&self) -> Option<&Arc<Signer>> {
        self.signer.as_ref()
    }

    /// The same, with `observing` told of what happens.
    #[must_use]
    pub fn observed_by(self, observing: Observing) -> Self {
        Self { observing, ..self }
    }

    /// Who is told of what happens.
    pub fn observing(&self) -> &Observing {
        &self.observing
    }

    /// Who may use the admin listener; `None` where there is none.
    pub fn access(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    /// The upstreams, in the configuration's order.
    pub fn upstreams(&self) -> &[Arc<Endpoints>] {
        &self.upstreams
    }
}

/// One listener's part of a configuration. The hooks are the same for all: a ticket of one listener is honoured on another.
#[derive(Debug)]
struct Service {
    protocol: Arc<Protocol>,
    server_config: Arc<ServerConfig>,
}

impl Service {
    fn build(
        protocol: &Protocol,
        tls: &tls::Settings,
        hooks: &Arc<Hooks>,
    ) -> Result<Self, rustls::Error> {
        let alpn: Vec<&[u8]> = match protocol {
            Protocol::Http => vec![ALPN_H2, ALPN_HTTP11],
            Protocol::Tcp(settings) => settings.alpn.iter().map(String::as_bytes).collect(),
        };
        let server_config = tls::server_config(tls, &alpn, Arc::clone(hooks))?;
        Ok(Self {
            protocol: Arc::new(protocol.clone()),
            server_config: Arc::new(server_config),
        })
    }
}

/// One trust domain; `None` where only the ticket secret is missing, which is an error of its own.
fn build_domain(
    domain: &config::TrustDomain,
    config: &Config,
    lasting: &Lasting,
    secret: Option<&Secret>,
) -> Result<(Option<DomainSessions>, Prepared), Vec<BuildError>> {
    let default = (&config.certificate, &config.private_key);
    let (section, (certificate, key)) = match &domain.files.credentials {
        Some((certificate, key)) => (domain.section.as_str(), (certificate, key)),
        None => ("tls", default),
    };
    let provider = tls::provider(&config.tls.groups);
    let credentials = credentials::load(certificate, key, &provider)
        .map_err(|error| BuildError::credential(section.to_owned(), error));
    let material = load_material(domain);
    let (credentials, material) = match (credentials, material) {
        (Ok(credentials), Ok(material)) => (credentials, material),
        (credentials, material) => {
            // What is wrong with [tls] is said once, with the default domain.
            let repeated = section == "tls" && domain.section != "trust";
            let credentials = credentials.err().filter(|_| !repeated);
            let material = material.err().unwrap_or_default();
            return Err(credentials.into_iter().chain(material).collect());
        }
    };
    let revocations = lasting.revocations(&domain.settings.name);
    let lists = revocations
        .prepare(&domain.files.crls, &material)
        .map_err(|errors| {
            let key = || format!("{}.crls", domain.section);
            let list = |error| BuildError::List { key: key(), error };
            errors.into_iter().map(list).collect::<Vec<_>>()
        })?;
    let sources = Sources {
        revocations,
        denylist: Arc::clone(lasting.denylist()),
        responders: lasting.responders(domain),
    };
    let cache = Arc::clone(lasting.cache());
    let trust = TrustDomain::new(domain.settings.clone(), material, cache, sources);
    let Some(secret) = secret else {
        return Ok((None, lists));
    };
    let scope = trust.resumption_scope();
    let rotation = config.resumption.rotation;
    let keys = TicketKeys::new(secret.clone(), scope, rotation, clock::unix_seconds())
        .map_err(|error| vec![BuildError::Secret(error.to_string())])?;
    let sessions = DomainSessions::new(Arc::new(trust), keys, credentials);
    Ok((Some(sessions), lists))
}

fn load_material(domain: &config::TrustDomain) -> Result<TrustMaterial, Vec<BuildError>> {
    let rules = domain.settings.rules;
    let wrong = |key: &str| {
        let key = format!("{}.{key}", domain.section);
        move |error| BuildError::credential(key, error)
    };
    let anchors =
        credentials::load_anchors(&domain.files.anchors, &rules).map_err(wrong("anchors"));
    let intermediates = credentials::load_intermediates(&domain.files.intermediates, &rules)
        .map_err(wrong("intermediates"));
    match (anchors, intermediates) {
        (Ok(anchors), Ok(intermediates)) => Ok(TrustMaterial::new(anchors, intermediates, rules)),
        (anchors, intermediates) => Err(anchors
            .err()
            .into_iter()
            .chain(intermediates.err())
            .collect()),
    }
}

fn secret(config: &Config, lasting: &Lasting) -> Result<Secret, BuildError> {
    let Some(path) = &config.resumption.secret_file else {
        return Ok(lasting.generated().clone());
    };
    let bytes = std::fs::read(path)
        .map_err(|error| BuildError::Secret(format!("cannot read {}: {error}", path.display())))?;
    Secret::from_bytes(bytes)
        .map_err(|error| BuildError::Secret(format!("{}: {error}", path.display())))
}
