//! A configuration that was read, checked and built: everything that a reload replaces, in one piece.
//!
//! Workers hold it for as long as a request needs it; a connection that is open across a reload is served by the old
//! handshake and the new routes. It binds nothing.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::authorize::Policy;
use crate::clock;
use crate::config::{Config, Settings};
use crate::route::Router;
use crate::tls::credentials::{self, CredentialError};
use crate::tls::session::DomainSessions;
use crate::tls::stek::{Secret, StekError, TicketKeys};
use crate::tls::{self, ALPN_H2, ALPN_HTTP11};
use crate::trust::{DeviceCache, TrustDomain};
use crate::upstream;

/// What outlives a reload: the cache of verified chains, and the secret of the tickets when no file gives it.
#[derive(Debug)]
pub struct Lasting {
    cache: Arc<DeviceCache>,
    generated: Secret,
}

impl Lasting {
    /// An empty cache of `capacity` chains, and a fresh secret.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn new(capacity: usize) -> Result<Self, StekError> {
        Ok(Self {
            cache: Arc::new(DeviceCache::new(capacity)),
            generated: Secret::generate()?,
        })
    }

    /// The cache of verified chains.
    pub fn cache(&self) -> &DeviceCache {
        &self.cache
    }
}

/// Why a configuration that parsed cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A certificate, a key or an anchor.
    #[error("{key}: {error}")]
    Credential {
        /// The configuration key.
        key: &'static str,
        /// What is wrong.
        error: Box<CredentialError>,
    },
    /// The ticket secret.
    #[error("resumption.secret_file: {0}")]
    Secret(String),
    /// The configuration itself, where it is checked together with what it names.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The TLS stack refuses the combination.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// A configuration in force.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    settings: Settings,
    domain: Arc<TrustDomain>,
    server_config: Arc<ServerConfig>,
    router: Router,
    upstreams: Vec<upstream::Settings>,
}

impl Snapshot {
    /// Reads what `config` names and builds it all.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key.
    pub fn build(
        config: &Config,
        lasting: &Lasting,
        generation: u64,
    ) -> Result<Self, Vec<BuildError>> {
        let provider = tls::provider(&config.tls.groups);
        let credentials = credentials::load(&config.certificate, &config.private_key, &provider)
            .map_err(|error| BuildError::Credential {
                key: "tls",
                error: Box::new(error),
            });
        let anchors =
            credentials::load_anchors(&config.anchors).map_err(|error| BuildError::Credential {
                key: "trust.anchors",
                error: Box::new(error),
            });
        let secret = secret(config, lasting);
        let (credentials, anchors, secret) = match (credentials, anchors, secret) {
            (Ok(credentials), Ok(anchors), Ok(secret)) => (credentials, anchors, secret),
            (credentials, anchors, secret) => {
                return Err([credentials.err(), anchors.err(), secret.err()]
                    .into_iter()
                    .flatten()
                    .collect());
            }
        };
        let domain = Arc::new(TrustDomain::new(
            "default",
            anchors,
            config.settings.verify,
            config.settings.headers,
            Policy::AllowAll,
            Arc::clone(&lasting.cache),
        ));
        let one = |error: BuildError| vec![error];
        let resumption = config.resumption.clone();
        let keys = TicketKeys::new(
            secret,
            domain.resumption_scope(),
            resumption.rotation,
            clock::unix_seconds(),
        )
        .map_err(|error| one(BuildError::Secret(error.to_string())))?;
        let sessions = Arc::new(DomainSessions::new(Arc::clone(&domain), keys, resumption));
        let server_config =
            tls::server_config(&config.tls, &[ALPN_H2, ALPN_HTTP11], credentials, sessions)
                .map_err(|error| one(error.into()))?;
        Ok(Self {
            generation,
            settings: config.settings,
            domain,
            server_config: Arc::new(server_config),
            router: Router::new(config.routes.clone()),
            upstreams: config.upstreams.clone(),
        })
    }

    /// Counts reloads; what was built for another generation may not fit this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Plain settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whom to trust.
    pub fn domain(&self) -> &Arc<TrustDomain> {
        &self.domain
    }

    /// The TLS configuration.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server_config)
    }

    /// The routes.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The upstreams, in the configuration's order.
    pub fn upstreams(&self) -> &[upstream::Settings] {
        &self.upstreams
    }
}

fn secret(config: &Config, lasting: &Lasting) -> Result<Secret, BuildError> {
    let Some(path) = &config.resumption.secret_file else {
        return Ok(lasting.generated.clone());
    };
    let bytes = std::fs::read(path)
        .map_err(|error| BuildError::Secret(format!("cannot read {}: {error}", path.display())))?;
    Secret::from_bytes(bytes)
        .map_err(|error| BuildError::Secret(format!("{}: {error}", path.display())))
}
