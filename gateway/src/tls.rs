//! What the gateway speaks: versions, cipher suites, groups, ALPN. The only file that names a crypto provider.
//!
//! It verifies nothing and decides nothing about tickets; it puts the parts that do so into one server configuration.

pub mod credentials;
pub mod hello;
mod key_schedule;
pub mod proof;
mod reader;
mod records;
pub mod resumption;
pub mod session;
pub mod stek;
pub mod stream;
mod ticket_nonce;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as provider};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion, Tls13CipherSuite,
};

#[cfg(fuzzing)]
pub use records::{Driven, drive};
use session::Hooks;
use ticket_nonce::{ShortNonceAead, ShortNonceHkdf};

/// What is negotiable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// Key exchange groups. The client's order decides between those that both sides know.
    pub groups: Vec<Group>,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246), with ECDHE and the extended master secret (RFC 7627) only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// A key exchange group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// X25519 (RFC 7748).
    X25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// The hybrid of X25519 and ML-KEM-768, against an eavesdropper who keeps today's traffic for a quantum computer.
    X25519MlKem768,
}

impl Group {
    /// Every group, with the name it has in the configuration.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("X25519", Self::X25519),
        ("P-256", Self::P256),
        ("P-384", Self::P384),
        ("X25519MLKEM768", Self::X25519MlKem768),
    ];

    fn implementation(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => provider::kx_group::X25519,
            Self::P256 => provider::kx_group::SECP256R1,
            Self::P384 => provider::kx_group::SECP384R1,
            Self::X25519MlKem768 => provider::kx_group::X25519MLKEM768,
        }
    }
}

/// Protocols offered by ALPN, most preferred first.
pub const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1's ALPN name.
pub const ALPN_HTTP11: &[u8] = b"http/1.1";

/// The crypto provider of a server: aws-lc-rs, with the cheaper key schedule, short ticket nonces and the configured groups,
/// and the cheapest cipher suite first. Nearly every client lists AES-256 with SHA-384 first and supports AES-128 with SHA-256; the hash alone costs a full
/// handshake an eighth, a resumed one a fifth of its CPU.
pub fn provider(groups: &[Group]) -> CryptoProvider {
    let stock = provider::default_provider();
    let mut cipher_suites: Vec<SupportedCipherSuite> = stock
        .cipher_suites
        .iter()
        .map(|suite| ours(*suite))
        .collect();
    cipher_suites.sort_by_key(|suite| rank(suite.suite()));
    CryptoProvider {
        cipher_suites,
        kx_groups: groups.iter().map(|group| group.implementation()).collect(),
        ..stock
    }
}

/// TLS 1.3 before 1.2 and, within each, the cheapest first.
fn rank(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 3,
        _ => 4,
    }
}

/// The suite with the cheaper key schedule and with short ticket nonces, if it is of TLS 1.3.
fn ours(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    static SHA256: key_schedule::AwsLcHmac = key_schedule::AwsLcHmac {
        algorithm: || hmac::HMAC_SHA256,
    };
    static SHA384: key_schedule::AwsLcHmac = key_schedule::AwsLcHmac {
        algorithm: || hmac::HMAC_SHA384,
    };
    static HKDF_SHA256: HkdfUsingHmac<'_> = HkdfUsingHmac(&SHA256);
    static HKDF_SHA384: HkdfUsingHmac<'_> = HkdfUsingHmac(&SHA384);
    static SHORT_NONCE_SHA256: ShortNonceHkdf = ShortNonceHkdf(&HKDF_SHA256);
    static SHORT_NONCE_SHA384: ShortNonceHkdf = ShortNonceHkdf(&HKDF_SHA384);
    static SUITES: LazyLock<Vec<Tls13CipherSuite>> = LazyLock::new(|| {
        provider::ALL_CIPHER_SUITES
            .iter()
            .filter_map(|suite| suite.tls13())
            .map(|suite| Tls13CipherSuite {
                common: rustls::crypto::CipherSuiteCommon { ..suite.common },
                hkdf_provider: match suite.common.hash_provider.output_len() {
                    48 => &SHORT_NONCE_SHA384,
                    _ => &SHORT_NONCE_SHA256,
                },
                // One for each suite, for as long as the process runs.
                aead_alg: Box::leak(Box::new(ShortNonceAead(suite.aead_alg))),
                quic: None,
            })
            .collect()
    });
    SUITES
        .iter()
        .find(|ours| ours.common.suite == suite.suite())
        .map_or(suite, SupportedCipherSuite::Tls13)
}

/// The server configuration, with `hooks` for everything that depends on the trust domain.
///
/// # Errors
/// A combination that rustls refuses, such as TLS 1.3 without a usable group.
pub fn server_config(
    settings: &Settings,
    alpn: &[&[u8]],
    hooks: Arc<Hooks>,
) -> Result<ServerConfig, rustls::Error> {
    const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let versions = match settings.min_version {
        Version::Tls12 => BOTH,
        Version::Tls13 => TLS13_ONLY,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider(&settings.groups)))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::clone(&hooks) as _)
        .with_cert_resolver(Arc::clone(&hooks) as _);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Tickets only, and only ours: a store of rustls's own would resume sessions that nobody re-checks.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = hooks;
    config.send_tls13_tickets = 1;
    config.max_tls13_tickets = 0;
    // Early data can be replayed; stateless tickets cannot stop that.
    config.max_early_data_size = 0;
    config.require_ems = true;
    config.ignore_client_order = true;
    Ok(config)
}

/// The crypto provider of a client: aws-lc-rs as it is. What [`provider()`] changes serves devices.
pub fn client_provider() -> CryptoProvider {
    provider::default_provider()
}

/// The configuration of a client that trusts `roots`, presents itself as `shown` where it is asked, and speaks `alpn`.
///
/// # Errors
/// A combination that rustls refuses; not to be expected.
pub fn client_config(
    roots: RootCertStore,
    shown: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(client_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots);
    let mut config = match shown.and_then(Arc::into_inner) {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{CipherSuite, Group, SupportedCipherSuite, provider};

    #[test]
    fn the_key_schedule_is_the_one_of_rfc_5869() {
        let ours = provider(&[Group::X25519]);
        let stock = rustls::crypto::aws_lc_rs::default_provider();
        let mut compared = 0;
        for ours in ours.cipher_suites.iter().filter_map(|suite| suite.tls13()) {
            let same = |stock: &&SupportedCipherSuite| stock.suite() == ours.common.suite;
            let stock = stock
                .cipher_suites
                .iter()
                .find(same)
                .unwrap()
                .tls13()
                .unwrap();
            let expand = |suite: &rustls::Tls13CipherSuite| {
                let expander = suite
                    .hkdf_provider
                    .extract_from_secret(Some(b"salt"), b"secret");
                let mut out = [0; 77];
                expander
                    .expand_slice(&[b"label", b"context"], &mut out)
                    .unwrap();
                (
                    out,
                    expander.expand_block(&[b"x"]).as_ref().to_vec(),
                    expander.hash_len(),
                )
            };
            assert_eq!(expand(ours), expand(stock), "{:?}", ours.common.suite);
            compared += 1;
        }
        assert_eq!(compared, 3);
    }

    #[test]
    fn the_cheapest_suite_of_each_version_is_first() {
        let suites: Vec<CipherSuite> = provider(&[Group::X25519])
            .cipher_suites
            .iter()
            .map(SupportedCipherSuite::suite)
            .collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(
            suites[3],
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        );
        assert_eq!(suites.len(), 9, "none is lost");
    }
}
