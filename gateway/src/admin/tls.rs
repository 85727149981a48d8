//! TLS of the admin listener: its own certificate and, where anchors are given, certificates of operators.
//!
//! It shares nothing with the devices' side but the provider: no sessions, no tickets, no anchors. Sessions are not resumed at
//! all, so that an anchor which is taken away holds from the next connection on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::access::AccessError;
use crate::tls::credentials::{self, CredentialError};
use crate::tls::{ALPN_HTTP11, Group, provider};

/// The configuration with the chain and key in these files. With `anchors`, a client must show a certificate that leads to
/// one of them.
///
/// # Errors
/// What is wrong, and in which file.
pub(super) fn server_config(
    certificate: &Path,
    private_key: &Path,
    anchors: &[PathBuf],
) -> Result<Arc<ServerConfig>, AccessError> {
    let provider = Arc::new(provider(&[Group::X25519, Group::P256, Group::P384]));
    let own = credentials::load(certificate, private_key, &provider)?;
    let tls = |error: rustls::Error| AccessError::Tls(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(tls)?;
    let builder = if anchors.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots: Result<_, CredentialError> = credentials::load_roots(anchors);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots?), provider).build();
        let verifier = verifier.map_err(|error| AccessError::Tls(error.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
    Ok(Arc::new(config))
}
