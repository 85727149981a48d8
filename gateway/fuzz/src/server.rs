//! The gateway's side of a handshake, with the test PKI: one trust domain that knows one device already.

use std::sync::{Arc, LazyLock};

use gateway::authorize::Policy;
use gateway::headers;
use gateway::identity::Rule;
use gateway::ocsp::Mode;
use gateway::tls::resumption::{Format, Settings as Resumption};
use gateway::tls::session::{DomainSessions, Hooks, Session};
use gateway::tls::stek::{Secret, TicketKeys};
use gateway::tls::{self, Group, Version};
use gateway::trust::domains::Domains;
use gateway::trust::{ClientAuth, DEFAULT, DeviceCache, Settings, TrustDomain};
use gateway::verify::{self, Rules};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::danger::ClientCertVerifier as _;
use rustls::sign::CertifiedKey;

use crate::pki::{self, NOW};

const HOUR: u64 = 3600;

/// The oldest lineage that is resumed, in seconds.
pub const MAX_LINEAGE_AGE: u64 = 24 * HOUR;

/// One gateway.
pub struct Side {
    /// Its hooks.
    pub hooks: Arc<Hooks>,
    /// Its TLS configuration.
    pub config: Arc<ServerConfig>,
    /// The keys that its tickets are sealed with.
    pub keys: TicketKeys,
}

/// The device that is known, and the intermediate above it.
pub fn device() -> [CertificateDer<'static>; 2] {
    static DEVICE: LazyLock<[CertificateDer<'static>; 2]> = LazyLock::new(|| {
        [pki::devices().swap_remove(4), pki::intermediate()].map(CertificateDer::from)
    });
    DEVICE.clone()
}

impl Side {
    /// A gateway whose tickets carry what `tickets` says.
    pub fn new(tickets: Format) -> Self {
        let settings = Settings {
            name: DEFAULT.into(),
            server_names: Vec::new(),
            client_auth: ClientAuth::Required,
            limits: verify::Settings {
                max_certificates: 10,
                max_bytes: 64 * 1024,
            },
            rules: Rules::default(),
            identity: Rule::default(),
            headers: headers::Settings::default(),
            policy: Policy::default(),
            revocation: Default::default(),
            ocsp: Mode::Off,
        };
        let material = pki::material(settings.rules);
        let cache = Arc::new(DeviceCache::new(10));
        let domain = TrustDomain::new(settings, material, cache, Default::default());
        let domain = Arc::new(domain);
        let keys = || {
            let secret = Secret::from_bytes(vec![7; 32]).expect("a secret");
            TicketKeys::new(secret, domain.resumption_scope(), 12 * HOUR, NOW).expect("keys")
        };
        let resumption = Resumption {
            enabled: true,
            rotation: 12 * HOUR,
            max_lineage_age: MAX_LINEAGE_AGE,
            tickets,
            secret_file: None,
        };
        let speaks = tls::Settings {
            min_version: Version::Tls12,
            groups: vec![Group::X25519, Group::P256],
        };
        let credentials = CertifiedKey::from_der(
            device().to_vec(),
            PrivatePkcs8KeyDer::from(pki::private_key()).into(),
            &tls::provider(&speaks.groups),
        );
        let domains = Arc::new(Domains::new(vec![Arc::clone(&domain)]));
        let credentials = Arc::new(credentials.expect("a certificate and its key"));
        let sessions = DomainSessions::new(Arc::clone(&domain), keys(), credentials);
        let hooks = Arc::new(Hooks::new(domains, vec![sessions], resumption));
        let alpn = [tls::ALPN_H2, tls::ALPN_HTTP11];
        let config = tls::server_config(&speaks, &alpn, Arc::clone(&hooks) as _);
        let side = Self {
            hooks,
            config: Arc::new(config.expect("a configuration")),
            keys: keys(),
        };
        side.session_with_device();
        side
    }

    /// A handshake that has come as far as its server name.
    pub fn session(&self) -> Session {
        let mut session = Session::default();
        let chosen = self.hooks.choose(&mut session, None);
        assert!(chosen.is_some());
        session
    }

    /// A handshake in which the device has shown its certificates.
    pub fn session_with_device(&self) -> Session {
        let mut session = self.session();
        let [end_entity, intermediate] = device();
        let verified = session.enter(NOW, || {
            let now = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::ZERO);
            self.hooks
                .verify_client_cert(&end_entity, &[intermediate], now)
        });
        verified.expect("a good chain");
        session
    }
}
