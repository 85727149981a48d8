//! The folder contract: where in a fleet's folder each thing is.
//!
//! ```text
//! DIR/fleet.json                          the manifest
//! DIR/trust-anchor.pem  .key
//! DIR/policy-01.pem  .key                 only with a depth of 2 and more, 01 next to the trust anchor
//! DIR/intermediate-00.pem  .key           the issuing intermediates; each file goes on with the policy layers above
//! DIR/server.pem  server.key
//! DIR/devices/00/device-000042.pem        end entity, intermediates, PKCS#8 key
//! DIR/crl/revoked.json                    what is revoked, and the number of the last list
//! DIR/crl/intermediate-00.pem             an authority's revocation list; .delta.pem; .crl where it is DER
//! ```
//!
//! Paths only; deliberately reads nothing. The manifest is read by [`crate::manifest`].

mod authority_name;

use std::path::{Path, PathBuf};

pub use authority_name::AuthorityName;

/// The most devices that a fleet can have: ids are six digits wide.
pub const MOST_DEVICES: usize = 1_000_000;

/// Devices per folder below `devices/`, so that no folder grows unwieldy.
pub const DEVICES_PER_FOLDER: usize = 10_000;

/// The id of device number `index`: `device-000042`.
pub fn device_id(index: usize) -> String {
    format!("device-{index:06}")
}

/// The number of the device with this id, if it is one that [`device_id`] makes.
pub fn device_index(id: &str) -> Option<usize> {
    let index = id.strip_prefix("device-")?.parse().ok()?;
    (device_id(index) == id).then_some(index)
}

/// The places in one fleet's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The manifest, `fleet.json`.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("fleet.json")
    }

    /// The trust anchor's certificate.
    pub fn trust_anchor(&self) -> PathBuf {
        self.root.join("trust-anchor.pem")
    }

    /// The trust anchor's key.
    pub fn trust_anchor_key(&self) -> PathBuf {
        self.root.join("trust-anchor.key")
    }

    /// A policy layer's certificate; layers count from 1, next to the trust anchor.
    pub fn policy(&self, layer: usize) -> PathBuf {
        self.root.join(format!("policy-{layer:02}.pem"))
    }

    /// A policy layer's key.
    pub fn policy_key(&self, layer: usize) -> PathBuf {
        self.root.join(format!("policy-{layer:02}.key"))
    }

    /// An issuing intermediate's certificate, then the policy layers above it.
    pub fn intermediate(&self, number: usize) -> PathBuf {
        self.root.join(format!("intermediate-{number:02}.pem"))
    }

    /// An issuing intermediate's key.
    pub fn intermediate_key(&self, number: usize) -> PathBuf {
        self.root.join(format!("intermediate-{number:02}.key"))
    }

    /// The server's chain, end entity first.
    pub fn server(&self) -> PathBuf {
        self.root.join("server.pem")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.root.join("server.key")
    }

    /// An authority's certificate and key.
    pub fn authority(&self, name: AuthorityName) -> (PathBuf, PathBuf) {
        match name {
            AuthorityName::TrustAnchor => (self.trust_anchor(), self.trust_anchor_key()),
            AuthorityName::Policy(layer) => (self.policy(layer), self.policy_key(layer)),
            AuthorityName::Intermediate(number) => {
                (self.intermediate(number), self.intermediate_key(number))
            }
        }
    }

    /// The folder of revocation lists.
    pub fn crl_folder(&self) -> PathBuf {
        self.root.join("crl")
    }

    /// The record of what is revoked, `crl/revoked.json`.
    pub fn revoked(&self) -> PathBuf {
        self.crl_folder().join("revoked.json")
    }

    /// An authority's full revocation list as PEM.
    pub fn crl(&self, issuer: AuthorityName) -> PathBuf {
        self.crl_folder().join(format!("{issuer}.pem"))
    }

    /// The folder of all devices' folders.
    pub fn devices_folder(&self) -> PathBuf {
        self.root.join("devices")
    }

    /// The folder of device number `index`: the first two of its six digits.
    pub fn device_folder(&self, index: usize) -> PathBuf {
        self.devices_folder()
            .join(format!("{:02}", index / DEVICES_PER_FOLDER))
    }

    /// The credential of device number `index`.
    pub fn device_path(&self, index: usize) -> PathBuf {
        self.device_folder(index)
            .join(format!("{}.pem", device_id(index)))
    }

    /// The credentials of devices 0 to `count` - 1, in order.
    pub fn device_paths(&self, count: usize) -> impl Iterator<Item = PathBuf> + '_ {
        (0..count).map(|index| self.device_path(index))
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, MOST_DEVICES, device_id, device_index};

    #[test]
    fn the_documented_paths() {
        let layout = Layout::new("fleet");
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        assert_eq!(
            text(layout.device_path(42)),
            "fleet/devices/00/device-000042.pem"
        );
        assert_eq!(
            text(layout.device_path(MOST_DEVICES - 1)),
            "fleet/devices/99/device-999999.pem"
        );
        assert_eq!(text(layout.intermediate(0)), "fleet/intermediate-00.pem");
        assert_eq!(
            text(layout.intermediate_key(7)),
            "fleet/intermediate-07.key"
        );
        assert_eq!(layout.device_paths(3).count(), 3);
    }

    #[test]
    fn ids_round_trip() {
        assert_eq!(device_index(&device_id(42)), Some(42));
        for other in ["device-42", "device-+00042", "pump-000042", "device-"] {
            assert_eq!(device_index(other), None, "{other}");
        }
    }
}
