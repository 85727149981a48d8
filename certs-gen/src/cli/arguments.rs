//! The flags, and the help that explains them.

mod faults;
mod revocation;

use std::path::PathBuf;
use std::time::Duration;

use certs_gen::key::KeyKind;
use certs_gen::sign::Profile;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use faults::FAULTS_NOTES;
pub(crate) use faults::FaultsArguments;
use revocation::{CRL_NOTES, RENEW_NOTES, REVOKE_NOTES};
pub(crate) use revocation::{CrlArguments, RenewArguments, RevokeArguments};

fn version() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (",
        env!("FLEETGATE_COMMIT"),
        "), AWS-LC through aws-lc-rs, rcgen"
    )
}

/// Makes the certificates of a device fleet: trust anchor, intermediates, server, and as many devices as wanted.
///
/// For tests, laboratories and demonstrations: private keys lie unencrypted in files of mode 0600.
#[derive(Debug, Parser)]
#[command(name = "certs-gen", version = version(), max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A fleet of 10,000 devices, and what is in it:
    certs-gen fleet --out pki --devices 10000
    certs-gen inspect pki/devices/00/device-000042.pem
    curl --cacert pki/trust-anchor.pem --cert pki/devices/00/device-000042.pem \\
         https://localhost:8443/

  A device that is not to be served any more, and the lists that say so:
    certs-gen revoke --ca pki --device device-000042 --reason key-compromise
    certs-gen crl --ca pki

  A device that makes its own key:
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
            -keyout pump.key -subj /CN=pump-7 -out pump.csr
    certs-gen sign --ca pki --csr pump.csr --out pump.pem

Exit codes:
  0 done    1 it failed on the way    2 wrong usage    130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a fleet in a new folder
    #[command(after_long_help = FLEET_NOTES)]
    Fleet(FleetArguments),
    /// Answer a certificate signing request with a chain
    #[command(after_long_help = SIGN_NOTES)]
    Sign(SignArguments),
    /// Record that certificates are revoked
    #[command(after_long_help = REVOKE_NOTES)]
    Revoke(RevokeArguments),
    /// Make the revocation lists of a fleet, full or delta
    #[command(after_long_help = CRL_NOTES)]
    Crl(CrlArguments),
    /// Give a device a new certificate in place of the one it has
    #[command(after_long_help = RENEW_NOTES)]
    Renew(RenewArguments),
    /// Make credentials that are wrong on purpose, and a manifest of what is wrong
    #[command(after_long_help = FAULTS_NOTES)]
    Faults(FaultsArguments),
    /// Say in words what a file holds: certificate, chain, key, request or revocation list
    #[command(after_long_help = INSPECT_NOTES)]
    Inspect(InspectArguments),
    /// Print a completion script for a shell
    #[command(
        after_long_help = "Example:\n  certs-gen completions bash > ~/.local/share/bash-completion/completions/certs-gen"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print a manual page (roff): the program's, or a command's
    #[command(
        after_long_help = "Examples:\n  certs-gen man | man -l -\n  certs-gen man fleet > certs-gen-fleet.1"
    )]
    Man {
        /// The command; without it, the program
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FleetArguments {
    /// The folder to make; it must not exist (see --force), the folder around it must
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many devices, 1 to 1000000
    #[arg(long, value_name = "N")]
    pub(crate) devices: usize,
    /// Type of the devices' keys
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = key_kind())]
    pub(crate) key: KeyKind,
    /// Type of the trust anchor's and the intermediates' keys
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = key_kind())]
    pub(crate) ca_key: KeyKind,
    /// Type of the server's key
    #[arg(long, value_name = "TYPE", default_value = "p256", value_parser = key_kind())]
    pub(crate) server_key: KeyKind,
    /// How many issuing intermediates, 1 to 100 [default: 1]
    ///
    /// Devices are dealt out to them in turn: device i is issued by intermediate i modulo K. The server is issued by
    /// the first. All have the same issuer above them.
    #[arg(long, value_name = "K")]
    pub(crate) intermediates: Option<usize>,
    /// How many certificates stand between trust anchor and end entity, 0 to 8
    ///
    /// 0: the trust anchor itself issues. 1: trust anchor, intermediate, end entity. Each further one is a policy
    /// authority, shared by all, between trust anchor and intermediates (policy-01 is next to the trust anchor).
    #[arg(long, value_name = "D", default_value_t = 1)]
    pub(crate) depth: usize,
    /// How long server and devices are valid from now, such as 12h or 90d
    ///
    /// At most 36500d. Certificates begin an hour earlier, for late clocks. Authorities live ten years, or as
    /// long as this if it is longer.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = humantime::parse_duration)]
    pub(crate) validity: Duration,
    /// A name of the server, DNS or IP; may be repeated [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "server-name", value_name = "NAME")]
    pub(crate) server_names: Vec<String>,
    /// Name devices by SPIFFE IDs, spiffe://DOMAIN/device-000042, in place of urn:device:device-000042
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) spiffe_domain: Option<String>,
    /// FOR TESTS ONLY: derive identities from this number, so that they can be made again
    ///
    /// The same in every run with the same seed and type of key, whatever the number of devices and jobs: names, serial
    /// numbers, and private keys of types p256, p384 and ed25519. Different in every run: RSA keys, times of validity,
    /// ECDSA signatures, and what follows from them. Whoever knows the seed knows the keys, and fleet.json says it.
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// How many threads, 1 to 1024 [default: one per core]
    #[arg(long, value_name = "J")]
    pub(crate) jobs: Option<usize>,
    /// Replace what is at --out, if it is a fleet or an empty folder; nothing else is ever replaced
    #[arg(long)]
    pub(crate) force: bool,
}

const FLEET_NOTES: &str = "\
Files:
  DIR/fleet.json                     schema, algorithms, counts, validity, seed
  DIR/trust-anchor.pem  .key
  DIR/policy-01.pem  .key            with --depth 2 and more
  DIR/intermediate-00.pem  .key      certificate, then the policy layers above it
  DIR/server.pem  server.key         chain, and key
  DIR/devices/00/device-000042.pem   end entity, intermediates, key (PKCS#8):
                                     curl --cert takes it as it is

  Private keys have mode 0600, folders 0700. All is written beside DIR and renamed
  into place at the end: DIR is never half a fleet.

Examples:
  certs-gen fleet --out pki --devices 1000
  certs-gen fleet --out pki --devices 1000 --intermediates 4 --depth 2 --key ed25519
  certs-gen fleet --out pki --devices 1 --server-name gateway.example --server-name 192.0.2.1
  certs-gen fleet --out pki --devices 100 --seed 7 --force";

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The folder of the fleet whose authority signs: intermediate-00 if there is one, else the trust anchor
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The request (PKCS#10), PEM or DER
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: PathBuf,
    /// Where the chain goes, as PEM: end entity, then intermediates
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// What the certificate is for
    #[arg(long, value_enum, default_value = "device")]
    pub(crate) profile: ProfileArgument,
    /// Replace a file that is at --out
    #[arg(long)]
    pub(crate) force: bool,
}

const SIGN_NOTES: &str = "\
The request must be signed by its own key. Names and key are taken from it, all else from
the profile and the fleet: validity as the fleet's, but never past the authority's own.
  device  The id is the common name, or the id in the URI urn:device:ID (in a SPIFFE fleet
          spiffe://DOMAIN/ID). DNS names without wildcard and IP addresses are taken over.
          Purpose: clientAuth.
  server  DNS names and IP addresses are taken over; without any, the common name if it is
          one. Purpose: serverAuth.
Refused: requests for an authority, other devices' URIs, malformed ids, P-521 and weak RSA
keys, SHA-1.

Examples:
  openssl req -new -key pump.key -subj /CN=pump-7 -out pump.csr
  certs-gen sign --ca pki --csr pump.csr --out pump.pem
  certs-gen sign --ca pki --csr gateway.csr --out gateway.pem --profile server";

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The file, PEM (any number of blocks) or DER; - is standard input
    pub(crate) file: PathBuf,
    /// Print JSON, with a key \"schema\"
    #[arg(long)]
    pub(crate) json: bool,
}

const INSPECT_NOTES: &str = "\
Nothing is verified, and no secret is shown: of a private key, only the public half is described.

Examples:
  certs-gen inspect pki/server.pem
  certs-gen inspect --json pki/server.pem | jq -r '.items[0].validity.not_after'";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileArgument {
    /// A TLS client with a device id
    Device,
    /// A TLS server with DNS names or IP addresses
    Server,
}

impl From<ProfileArgument> for Profile {
    fn from(argument: ProfileArgument) -> Self {
        match argument {
            ProfileArgument::Device => Self::Device,
            ProfileArgument::Server => Self::Server,
        }
    }
}

fn key_kind() -> impl clap::builder::TypedValueParser<Value = KeyKind> {
    PossibleValuesParser::new(KeyKind::ALL.map(KeyKind::name))
        .try_map(|name| name.parse::<KeyKind>())
}
