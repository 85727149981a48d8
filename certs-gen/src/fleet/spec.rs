//! What fleet is wanted, and whether it can be had.
//!
//! All rules are here, so that the program and other users of the library get the same refusals.

use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use crate::key::KeyKind;
use crate::layout::MOST_DEVICES;
use crate::names::{ServerName, is_spiffe_domain};

/// The most issuing intermediates: file names have two digits.
pub const MOST_INTERMEDIATES: usize = 100;
/// The most certificates between trust anchor and end entity: verifiers give up soon after.
pub const MOST_LAYERS: usize = 8;
/// The most threads.
pub const MOST_JOBS: usize = 1024;
/// The longest validity: 100 years.
pub const LONGEST_VALIDITY: Duration = Duration::from_secs(36_500 * 86_400);

/// What fleet is wanted.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    /// The folder to make.
    pub out: PathBuf,
    /// How many devices, 1 to [`MOST_DEVICES`].
    pub devices: usize,
    /// Type of each device's key.
    pub key: KeyKind,
    /// Type of the trust anchor's and the intermediates' keys.
    pub ca_key: KeyKind,
    /// Type of the server's key.
    pub server_key: KeyKind,
    /// How many issuing intermediates; devices are dealt out to them in turn. 1 to [`MOST_INTERMEDIATES`]; not looked
    /// at when `depth` is 0.
    pub intermediates: usize,
    /// How many certificates stand between trust anchor and end entity: 0, the trust anchor itself issues; 1, an
    /// intermediate does; each further one is a policy layer, shared by all, between the two. At most [`MOST_LAYERS`].
    pub depth: usize,
    /// Validity of server and devices, counted from now; whole seconds, at most [`LONGEST_VALIDITY`].
    pub validity: Duration,
    /// The server's names, DNS (a leading `*.` is allowed) or IP.
    pub server_names: Vec<String>,
    /// With a domain, a device's URI is `spiffe://DOMAIN/ID` in place of `urn:device:ID`.
    pub spiffe_domain: Option<String>,
    /// **For tests only.** Serial numbers, names and the keys of types P-256, P-384 and Ed25519 are derived from it:
    /// the same seed gives device i always the same identity. RSA keys, times and ECDSA signatures still differ from
    /// run to run.
    pub seed: Option<u64>,
    /// Threads, 1 to [`MOST_JOBS`]; `None`: one per core.
    pub jobs: Option<usize>,
    /// Replace what is at `out`, if it is a fleet or an empty folder.
    pub force: bool,
}

impl FleetSpec {
    /// The defaults: P-256 throughout, one intermediate, 90 days, a server on localhost, random.
    pub fn new(out: impl Into<PathBuf>, devices: usize) -> Self {
        Self {
            out: out.into(),
            devices,
            key: KeyKind::P256,
            ca_key: KeyKind::P256,
            server_key: KeyKind::P256,
            intermediates: 1,
            depth: 1,
            validity: Duration::from_secs(90 * 86_400),
            server_names: ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec(),
            spiffe_domain: None,
            seed: None,
            jobs: None,
            force: false,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let in_range = |flag, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::usage(
                flag,
                value,
                format!("choose a number from {least} to {most}"),
            ))
        };
        in_range("--devices", self.devices, 1, MOST_DEVICES)?;
        in_range("--depth", self.depth, 0, MOST_LAYERS)?;
        if self.depth > 0 {
            in_range("--intermediates", self.intermediates, 1, MOST_INTERMEDIATES)?;
        }
        if let Some(jobs) = self.jobs {
            in_range("--jobs", jobs, 1, MOST_JOBS)?;
        }
        if self.validity < Duration::from_secs(1) || self.validity > LONGEST_VALIDITY {
            let validity = format!("{}s", self.validity.as_secs());
            return Err(Error::usage(
                "--validity",
                validity,
                "choose from 1s to 36500d, such as 90d",
            ));
        }
        self.parsed_server_names()?;
        match &self.spiffe_domain {
            Some(domain) if !is_spiffe_domain(domain) => {
                let remedy =
                    "choose a trust domain of lower-case letters, digits, '.', '-' and '_'";
                Err(Error::usage("--spiffe-domain", domain, remedy))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn parsed_server_names(&self) -> Result<Vec<ServerName>, Error> {
        if self.server_names.is_empty() {
            return Err(Error::usage(
                "--server-name",
                "",
                "name at least one DNS name or IP address",
            ));
        }
        let parse = |name: &String| {
            name.parse().map_err(|_| {
                Error::usage("--server-name", name, "give a DNS name or an IP address")
            })
        };
        self.server_names.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Error, FleetSpec};

    fn refused(change: impl Fn(&mut FleetSpec), flag: &str) {
        let mut spec = FleetSpec::new("unused", 1);
        change(&mut spec);
        let error = spec.check().unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert!(error.to_string().starts_with(flag), "{error}");
        assert!(matches!(error, Error::Usage { .. }));
    }

    #[test]
    fn defaults_pass() {
        FleetSpec::new("unused", 1).check().unwrap();
        FleetSpec::new("unused", 1_000_000).check().unwrap();
    }

    #[test]
    fn each_rule_names_its_flag() {
        refused(|spec| spec.devices = 0, "--devices");
        refused(|spec| spec.devices = 1_000_001, "--devices");
        refused(|spec| spec.depth = 9, "--depth");
        refused(|spec| spec.intermediates = 0, "--intermediates");
        refused(|spec| spec.intermediates = 101, "--intermediates");
        refused(|spec| spec.jobs = Some(0), "--jobs");
        refused(
            |spec| spec.validity = Duration::from_millis(999),
            "--validity",
        );
        refused(
            |spec| spec.validity = Duration::from_secs(u64::MAX),
            "--validity",
        );
        refused(|spec| spec.server_names.clear(), "--server-name");
        refused(
            |spec| spec.server_names = vec!["not a name".into()],
            "--server-name",
        );
        refused(
            |spec| spec.spiffe_domain = Some("A/B".into()),
            "--spiffe-domain",
        );
    }
}
