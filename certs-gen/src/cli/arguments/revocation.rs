//! The flags of revoke, crl and renew, and the help that explains them.

use std::path::PathBuf;
use std::time::Duration;

use certs_gen::layout::AuthorityName;
use certs_gen::revocation::{Reason, Serial};
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{ArgGroup, Args};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["devices", "serials", "intermediates"]).multiple(true).required(true))]
pub(crate) struct RevokeArguments {
    /// The folder of the fleet that issued what is to be revoked
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// A device, such as device-000042; may be repeated
    ///
    /// What is revoked is the certificate that lies in the fleet's folder now.
    #[arg(long = "device", value_name = "ID")]
    pub(crate) devices: Vec<String>,
    /// A certificate by its serial number, such as 4a6f01 or 4A:6F:01; may be repeated
    ///
    /// Looked for among the fleet's authorities, its server and its devices. For a certificate that is not in the folder,
    /// say with --issuer who signed it.
    #[arg(long = "serial", value_name = "HEX")]
    pub(crate) serials: Vec<Serial>,
    /// An intermediate, such as intermediate-00 or policy-01; may be repeated
    #[arg(long = "intermediate", value_name = "NAME")]
    pub(crate) intermediates: Vec<AuthorityName>,
    /// Who issued the certificates named with --serial, such as intermediate-00 [default: looked up]
    #[arg(long, value_name = "NAME", requires = "serials")]
    pub(crate) issuer: Option<AuthorityName>,
    /// Why [default: not said]
    #[arg(long, value_name = "REASON", value_parser = reason())]
    pub(crate) reason: Option<Reason>,
}

pub(super) const REVOKE_NOTES: &str = "\
All or nothing is recorded, in DIR/crl/revoked.json. What is revoked already stays as it was,
and that is no failure. Nothing is ever taken back.

Nobody knows of it until lists are made: certs-gen crl.

Examples:
  certs-gen revoke --ca pki --device device-000042 --reason key-compromise
  certs-gen revoke --ca pki --device device-000001 --device device-000002
  certs-gen revoke --ca pki --serial 4a:6f:01 --issuer intermediate-00
  certs-gen revoke --ca pki --intermediate intermediate-03 --reason ca-compromise";

#[derive(Debug, Args)]
pub(crate) struct CrlArguments {
    /// The folder of the fleet whose authorities sign
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// How long from now the lists are good (nextUpdate), such as 12h or 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = humantime::parse_duration)]
    pub(crate) next_update: Duration,
    /// Add so many random serial numbers to the list of each authority that issues to devices, 0 to 10000000
    ///
    /// To see what long lists do to a verifier. They are recorded nowhere, and differ in every list (see --seed).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) pad: usize,
    /// FOR TESTS ONLY: derive the serial numbers of --pad from this number
    #[arg(long, value_name = "S", requires = "pad")]
    pub(crate) seed: Option<u64>,
    /// Make delta lists, of what was revoked since the last full ones (RFC 5280 section 5.2.4)
    #[arg(long)]
    pub(crate) delta: bool,
    /// Write DER, as NAME.crl, in place of PEM
    #[arg(long)]
    pub(crate) der: bool,
}

pub(super) const CRL_NOTES: &str = "\
Files:
  DIR/crl/trust-anchor.pem           a list for each authority, also where nothing is revoked
  DIR/crl/intermediate-00.pem
  DIR/crl/intermediate-00.delta.pem  with --delta
  DIR/crl/intermediate-00.crl        with --der, in place of the .pem

  All lists of one call have the same number, one higher than the last. Each file is replaced
  in one step. A full list removes the delta list that it contains.

Examples:
  certs-gen crl --ca pki
  certs-gen crl --ca pki --next-update 1h --delta
  certs-gen crl --ca pki --pad 1000000 --seed 7
  certs-gen inspect pki/crl/intermediate-00.pem";

#[derive(Debug, Args)]
pub(crate) struct RenewArguments {
    /// The folder of the fleet
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The device, such as device-000042
    #[arg(long, value_name = "ID")]
    pub(crate) device: String,
    /// How long the new certificate is valid from now, such as 12h or 90d
    ///
    /// At most 36500d, and never past the authority's own end.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    pub(crate) validity: Duration,
    /// Make a new key too, of the fleet's type; without it the device keeps its key
    #[arg(long)]
    pub(crate) new_key: bool,
}

pub(super) const RENEW_NOTES: &str = "\
The device's file is replaced in one step. Names and issuer stay, the serial number is new. The
old certificate is not revoked; its serial number is printed for those who want to.

Examples:
  certs-gen renew --ca pki --device device-000042
  certs-gen renew --ca pki --device device-000042 --validity 12h --new-key";

fn reason() -> impl clap::builder::TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(Reason::name)).try_map(|name| name.parse::<Reason>())
}
