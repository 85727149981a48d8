//! One device: its certificate and key, and its ticket slot. Nothing of it is shared with another device.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::load::FleetError;
use super::ticket::TicketSlot;

/// One device of the fleet.
#[derive(Debug)]
pub struct Device {
    /// Number within the fleet, from 0.
    pub number: usize,
    /// Certificate chain and key. Kept for the whole run: a ticket is bound to this very object.
    pub credentials: Arc<dyn ResolvesClientCert>,
    /// The newest ticket.
    pub tickets: Arc<TicketSlot>,
}

impl Device {
    /// Reads a device's bundle: end entity, intermediates and private key in one PEM file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, lacks a part, or its key does not belong to its certificate.
    pub fn load(
        number: usize,
        path: PathBuf,
        provider: &CryptoProvider,
    ) -> Result<Device, FleetError> {
        let pem = match std::fs::read(&path) {
            Ok(pem) => pem,
            Err(source) => return Err(FleetError::Unreadable { path, source }),
        };
        let broken = |what: String| FleetError::Broken {
            path: path.clone(),
            what,
        };
        let chain = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(format!("no valid PEM: {error}")))?;
        if chain.is_empty() {
            return Err(broken("no CERTIFICATE in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| broken("no PRIVATE KEY in it".to_owned()))?;
        let credentials = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| broken(format!("certificate and key do not make a pair: {error}")))?;
        Ok(Device {
            number,
            credentials: Arc::new(SingleCertAndKey::from(credentials)),
            tickets: Arc::new(TicketSlot::default()),
        })
    }
}
