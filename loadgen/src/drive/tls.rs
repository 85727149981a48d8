//! The client's side of TLS: the only file that names a crypto provider.
//!
//! One base configuration per shard; each connection gets a copy of it (a fraction of a microsecond) with its device's
//! credentials and ticket slot, so that devices share what is public and nothing else.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

use super::verifier::RememberingVerifier;
use crate::fleet::{Device, TrustAnchors};
use crate::plan::{Group, Plan, Protocol, TlsVersion};

/// The provider with the plan's groups and no others.
pub(crate) fn provider(groups: &[Group]) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups.iter().map(|group| implementation(*group)).collect();
    Arc::new(provider)
}

fn implementation(group: Group) -> &'static dyn SupportedKxGroup {
    match group {
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::P256 => aws_lc_rs::kx_group::SECP256R1,
        Group::P384 => aws_lc_rs::kx_group::SECP384R1,
        Group::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
    }
}

/// What all devices have in common.
///
/// # Errors
///
/// The library finds the plan's choices contradictory, or the trust anchors unusable.
pub(crate) fn base_configuration(
    plan: &Plan,
    provider: &Arc<CryptoProvider>,
    anchors: &Arc<TrustAnchors>,
) -> Result<ClientConfig, rustls::Error> {
    let version = match plan.tls {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    };
    let verifier = RememberingVerifier::new(Arc::clone(anchors), Arc::clone(provider))?;
    let mut configuration = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // The default would reserve room for 256 sessions.
    configuration.resumption = Resumption::disabled();
    Ok(configuration)
}

/// The configuration of one connection of one device.
pub(crate) fn for_device(
    base: &ClientConfig,
    device: &Device,
    protocol: Protocol,
) -> Arc<ClientConfig> {
    let mut configuration = base.clone();
    configuration.alpn_protocols = protocol
        .alpn()
        .map(|name| name.as_bytes().to_vec())
        .into_iter()
        .collect();
    configuration.client_auth_cert_resolver = device.credentials();
    configuration.resumption = Resumption::store(device.tickets.clone());
    Arc::new(configuration)
}
