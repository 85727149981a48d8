//! Whose certificates the devices carry: where they come from, of which kinds, and which of them are bad on purpose.
//!
//! Says only what is wanted, and which device gets what; reads no file and makes no key. Two machines with the same
//! seed give device *i* the same kind of key and the same fault.

mod bad;
mod mix;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use bad::BadShares;
pub use mix::KeyMix;

/// The most devices of one fleet.
pub const MOST_DEVICES: usize = 10_000_000;

/// Where the devices come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// The devices' certificates and keys.
    #[serde(flatten)]
    pub identities: Identities,
    /// PEM file of those whom the devices trust; `None`: the trust anchors that come with the identities.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Folder made by `certs-gen faults`, from which bad devices have their credentials.
    #[serde(default)]
    pub faults: Option<PathBuf>,
    /// Devices that the server has to refuse.
    #[serde(default)]
    pub bad: BadShares,
}

/// The devices' certificates and keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Identities {
    /// Read from files.
    Folder {
        /// A folder made by `certs-gen fleet`, or any folder of PEM files.
        pki: PathBuf,
        /// A second one with the devices' next certificates, for plans that renew them.
        #[serde(default)]
        next_pki: Option<PathBuf>,
    },
    /// Made in memory.
    Minted {
        /// By whom.
        mint: Mint,
    },
}

/// The authority that issues a minted fleet, and what it issues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mint {
    /// PEM file: the issuing certificate first, then those between it and the trust anchor.
    pub ca: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
    /// Kinds of the devices' keys.
    #[serde(default)]
    pub keys: KeyMix,
}

impl FleetSpec {
    /// The devices of a folder, all of them good.
    pub fn folder(pki: impl Into<PathBuf>) -> FleetSpec {
        FleetSpec::new(Identities::Folder {
            pki: pki.into(),
            next_pki: None,
        })
    }

    /// Devices with P-256 keys, issued in memory, all of them good.
    pub fn minted(ca: impl Into<PathBuf>, key: impl Into<PathBuf>) -> FleetSpec {
        FleetSpec::new(Identities::Minted {
            mint: Mint {
                ca: ca.into(),
                key: key.into(),
                keys: KeyMix::default(),
            },
        })
    }

    fn new(identities: Identities) -> FleetSpec {
        FleetSpec {
            identities,
            ca: None,
            faults: None,
            bad: BadShares::default(),
        }
    }

    /// Where the trust anchors come from, for messages: the file or folder.
    pub fn trust_source(&self) -> &Path {
        match (&self.ca, &self.identities) {
            (Some(ca), _) => ca,
            (None, Identities::Folder { pki, .. }) => pki,
            (None, Identities::Minted { mint }) => &mint.ca,
        }
    }

    /// Contradictions, each a sentence that names the flag or key; `devices` is how many are asked for.
    pub fn contradictions(&self, devices: Option<usize>) -> Vec<String> {
        let mut found = Vec::new();
        match &self.identities {
            Identities::Folder { .. } => {
                if !self.bad.is_empty() && self.faults.is_none() {
                    found.push(
                        "bad devices of a fleet from a folder have their credentials from a folder made by `certs-gen faults`: \
                         name it (--faults), or mint the fleet (--mint-ca)"
                            .to_owned(),
                    );
                }
            }
            Identities::Minted { .. } if devices.is_none() => found.push(
                "a minted fleet has as many devices as are asked for: say how many (--devices)"
                    .to_owned(),
            ),
            Identities::Minted { .. } => {}
        }
        if devices.is_some_and(|devices| !(1..=MOST_DEVICES).contains(&devices)) {
            found.push(format!(
                "a fleet has 1 to {MOST_DEVICES} devices (--devices)"
            ));
        }
        if self.bad.is_empty() && self.faults.is_some() {
            found.push(
                "a folder of faults does nothing by itself: say which of them how many devices have (--bad)"
                    .to_owned(),
            );
        }
        found
    }
}

/// Where device `number` lies in a sequence that fills 0..2^64 evenly, as a whole and in every long stretch of it, so that
/// shares are met almost exactly. Two uses with different steps know nothing of each other.
fn place(number: usize, step: u64, seed: u64) -> u64 {
    let start = seed
        .wrapping_add(step)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    start.wrapping_add((number as u64).wrapping_mul(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_before_there_was_more_than_a_folder_is_read() {
        let spec: FleetSpec = serde_json::from_str(r#"{"pki": "pki"}"#).unwrap();
        assert_eq!(spec, FleetSpec::folder("pki"));
    }

    #[test]
    fn every_choice_survives_json() {
        let mut spec = FleetSpec::minted("ca.pem", "ca.key");
        spec.bad = "expired:1%,untrusted:0.5%".parse().unwrap();
        let Identities::Minted { mint } = &mut spec.identities else {
            unreachable!()
        };
        mint.keys = "p256:80,ed25519:20".parse().unwrap();
        spec.ca = Some("trust.pem".into());
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<FleetSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn contradictions_name_their_flags() {
        let mut folder = FleetSpec::folder("pki");
        assert!(folder.contradictions(None).is_empty());
        folder.bad = "expired:1%".parse().unwrap();
        assert!(folder.contradictions(None)[0].contains("--faults"));
        folder.faults = Some("faults".into());
        assert!(folder.contradictions(None).is_empty());
        folder.bad = BadShares::default();
        assert!(folder.contradictions(None)[0].contains("--bad"));
        let minted = FleetSpec::minted("ca.pem", "ca.key");
        assert!(minted.contradictions(None)[0].contains("--devices"));
        assert!(minted.contradictions(Some(5)).is_empty());
        assert_eq!(minted.contradictions(Some(usize::MAX)).len(), 1);
        assert_eq!(minted.contradictions(Some(0)).len(), 1);
    }
}
