//! How the endpoints of an upstream are reached, with the certificates and keys that its configuration names.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, TrustAnchor};

use crate::snapshot::BuildError;
use crate::tls::{self, ALPN_H2, ALPN_HTTP11, credentials};
use crate::upstream::connect::{Protocol, Target};
use crate::upstream::{Settings, tls::Client};

/// An upstream and how each of its endpoints is reached.
#[derive(Debug)]
pub(super) struct Reachable {
    /// The upstream as configured.
    pub(super) settings: Settings,
    /// Its endpoints, in the configuration's order.
    pub(super) targets: Vec<Target>,
    /// What `targets` were built with.
    pub(super) material: Material,
}

/// What was read for TLS to an upstream, to tell whether a file has changed. A private key goes with its certificate.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Material {
    roots: Vec<TrustAnchor<'static>>,
    shown: Vec<CertificateDer<'static>>,
}

/// Reads what the upstream with this `index` names.
pub(super) fn build(settings: &Settings, index: usize) -> Result<Reachable, Vec<BuildError>> {
    let encrypted = settings.endpoints.iter().any(|endpoint| endpoint.encrypted);
    let (config, material) = match encrypted {
        true => {
            client_config(settings, index).map(|(config, material)| (Some(config), material))?
        }
        false => (None, Material::default()),
    };
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for endpoint in &settings.endpoints {
        let config = config.as_ref().filter(|_| endpoint.encrypted);
        let server_name = settings.tls.server_name.as_deref();
        let client =
            config.map(|config| Client::new(Arc::clone(config), server_name, &endpoint.address));
        match client.transpose() {
            Ok(tls) => targets.push(Target {
                address: endpoint.address.clone(),
                protocol: settings.protocol,
                tls,
            }),
            Err(error) => errors.push(BuildError::ServerName {
                key: format!("upstreams[{index}].tls.server_name"),
                error,
            }),
        }
    }
    match errors.is_empty() {
        true => Ok(Reachable {
            settings: settings.clone(),
            targets,
            material,
        }),
        false => Err(errors),
    }
}

fn client_config(
    settings: &Settings,
    index: usize,
) -> Result<(Arc<rustls::ClientConfig>, Material), Vec<BuildError>> {
    let wrong = |key: &str| {
        let key = format!("upstreams[{index}].tls.{key}");
        move |error| vec![BuildError::credential(key, error)]
    };
    let alpn = match settings.protocol {
        Protocol::Http1 => ALPN_HTTP11,
        Protocol::Http2 => ALPN_H2,
    };
    let roots = credentials::load_roots(&settings.tls.anchors).map_err(wrong("anchors"));
    let shown = settings.tls.credentials.as_ref();
    let shown = shown
        .map(|(certificate, key)| credentials::load(certificate, key, &tls::client_provider()))
        .transpose()
        .map_err(wrong("certificate"));
    match (roots, shown) {
        (Ok(roots), Ok(shown)) => {
            let material = Material {
                roots: roots.roots.clone(),
                shown: shown
                    .as_ref()
                    .map_or_else(Vec::new, |shown| shown.cert.clone()),
            };
            let config =
                tls::client_config(roots, shown, alpn).map_err(|error| vec![error.into()])?;
            Ok((Arc::new(config), material))
        }
        (roots, shown) => Err(roots
            .err()
            .into_iter()
            .chain(shown.err())
            .flatten()
            .collect()),
    }
}
