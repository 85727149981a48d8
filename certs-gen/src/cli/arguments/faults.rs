//! The flags of faults, and the help that explains them.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct FaultsArguments {
    /// The folder of the fleet whose authorities sign; it needs intermediates (--depth 1 or more)
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The folder to make; it must not exist (see --force), the folder around it must
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace what is at --out, if it is a folder of faults or empty; nothing else is ever replaced
    #[arg(long)]
    pub(crate) force: bool,
}

pub(super) const FAULTS_NOTES: &str = "\
Files:
  OUT/faults.json       for each credential: what is wrong, and what is expected of a gateway
                        (reason and TLS alert) and of `openssl verify`
  OUT/expired.pem       end entity, chain, key (PKCS#8): curl --cert takes it as it is
  OUT/…
  OUT/trust-anchor.pem  the fleet's
  OUT/crl/              revocation lists of all its authorities; one credential is revoked, and
                        the fleet's own record has it too

Examples:
  certs-gen faults --ca pki --out faults
  jq -r '.faults[] | [.name, .expected.reason, .wrong] | @tsv' faults/faults.json
  curl --cacert pki/trust-anchor.pem --cert faults/expired.pem https://localhost:8443/";
