//! Flags that say which devices there are.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use loadgen::plan::FleetSpec;
use loadgen::plan::fleet::{BadShares, Identities, KeyMix, Mint};

use super::value;

/// Which devices there are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fleet")]
pub(crate) struct FleetArguments {
    /// Folder of the devices' certificates and keys: made by `certs-gen fleet`, or any folder of PEM files.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["mint_ca", "mint_key", "keys"])]
    pki: Option<PathBuf>,
    /// Second folder with the devices' next certificates, for plans that rotate them.
    #[arg(long, value_name = "DIR", requires = "pki")]
    next_pki: Option<PathBuf>,
    /// Whom the devices trust, PEM [default: the trust anchors in --pki or --mint-ca].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Make the devices' certificates in memory, issued by this certificate (PEM, then those between it and the trust anchor).
    #[arg(long, value_name = "FILE", requires_all = ["mint_key", "devices"])]
    mint_ca: Option<PathBuf>,
    /// Private key of --mint-ca.
    #[arg(long, value_name = "FILE", requires = "mint_ca")]
    mint_key: Option<PathBuf>,
    /// Keys of minted devices by share: p256:80,ed25519:10,rsa2048:10 [default: p256].
    #[arg(long, value_name = "KIND[:SHARE],…", requires = "mint_ca")]
    keys: Option<KeyMix>,
    /// How many devices there are [default: all of --pki].
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<usize>)]
    pub(crate) devices: Option<usize>,
    /// Shares of devices that the server has to refuse: expired:1%,untrusted:0.5%.
    #[arg(long, value_name = "FAULT:SHARE%,…")]
    bad: Option<BadShares>,
    /// Folder made by `certs-gen faults`, from which the devices of --bad have their credentials.
    #[arg(long, value_name = "DIR", requires = "bad")]
    faults: Option<PathBuf>,
}

impl FleetArguments {
    /// What the flags say, and where they say nothing the plan file.
    ///
    /// # Errors
    ///
    /// Neither names a fleet.
    pub(crate) fn spec_or(&self, of_file: Option<&FleetSpec>) -> anyhow::Result<FleetSpec> {
        let Some(of_file) = of_file else {
            return self.spec();
        };
        let identities = if self.pki.is_some() || self.mint_ca.is_some() {
            self.identities()?
        } else {
            of_file.identities.clone()
        };
        Ok(FleetSpec {
            identities,
            ca: self.ca.clone().or_else(|| of_file.ca.clone()),
            faults: self.faults.clone().or_else(|| of_file.faults.clone()),
            bad: self.bad.clone().unwrap_or_else(|| of_file.bad.clone()),
        })
    }

    /// What the flags say.
    ///
    /// # Errors
    ///
    /// They name no fleet.
    pub(crate) fn spec(&self) -> anyhow::Result<FleetSpec> {
        Ok(FleetSpec {
            identities: self.identities()?,
            ca: self.ca.clone(),
            faults: self.faults.clone(),
            bad: self.bad.clone().unwrap_or_default(),
        })
    }

    fn identities(&self) -> anyhow::Result<Identities> {
        Ok(match (&self.pki, &self.mint_ca, &self.mint_key) {
            (Some(pki), _, _) => Identities::Folder {
                pki: pki.clone(),
                next_pki: self.next_pki.clone(),
            },
            (None, Some(ca), Some(key)) => Identities::Minted {
                mint: Mint {
                    ca: ca.clone(),
                    key: key.clone(),
                    keys: self.keys.clone().unwrap_or_default(),
                },
            },
            _ => {
                return Err(anyhow!(
                    "no fleet: name the folder of its certificates with --pki, or whom to mint it by with --mint-ca and --mint-key"
                ));
            }
        })
    }
}
