//! Why a fleet cannot be opened, in words that name the flag, the file and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use certs_gen::IssueError;
use thiserror::Error;

/// Files that are named one by one; of more the number is told.
const MOST_NAMED: usize = 20;

/// Why a fleet cannot be opened.
#[derive(Debug, Error)]
pub enum FleetError {
    /// A file or folder cannot be read.
    #[error("cannot read {} ({flag}): {reason}", path.display())]
    Unreadable {
        /// Whence it is.
        flag: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} ({flag}) is broken: {what}", path.display())]
    Broken {
        /// Whence it is.
        flag: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Files of the fleet's folder cannot be used.
    #[error("{0}")]
    Unusable(UnusableFiles),
    /// The folder holds no device at all.
    #[error("{} (--pki) holds no device: wanted are PEM files with a private key and its certificate, as `certs-gen fleet` makes them", .0.display())]
    NoDevice(PathBuf),
    /// The folder holds too few devices.
    #[error("{} holds {found} devices, --devices asks for {wanted}: make more with `certs-gen fleet`, or ask for fewer", folder.display())]
    TooFew {
        /// The folder of devices.
        folder: PathBuf,
        /// How many there are.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// Nobody to trust.
    #[error("{} ({flag}) holds no trust anchor against which the server's certificate could be verified: name one with --ca", path.display())]
    NoTrustAnchor {
        /// Whence it is.
        flag: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The plan contradicts itself.
    #[error("{}", .0.join("; "))]
    Contradiction(Vec<String>),
    /// A fault that nobody knows.
    #[error("--bad {name}: there is no such fault; there are {}", known.join(", "))]
    NoSuchFault {
        /// As given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A device cannot have a next identity.
    #[error(
        "devices have no next certificates: name a second folder with --next-pki, or mint the fleet (--mint-ca)"
    )]
    NoNextIdentity,
    /// An identity could not be made.
    #[error("cannot make the identity of device {number}: {reason}")]
    Mint {
        /// Whose.
        number: usize,
        /// Why.
        reason: IssueError,
    },
    /// What identities are minted with could not be made.
    #[error("cannot mint with this authority (--mint-ca): {0}")]
    Issuer(IssueError),
    /// Stopped from outside while it was being opened.
    #[error("stopped while the fleet was being opened")]
    Stopped,
}

/// Files that cannot be used, each with the reason.
#[derive(Debug)]
pub struct UnusableFiles {
    /// The folder.
    pub folder: PathBuf,
    /// The files, in order of their names.
    pub files: Vec<(PathBuf, String)>,
}

impl fmt::Display for UnusableFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.files.len();
        let files = if count == 1 { "file" } else { "files" };
        let folder = self.folder.display();
        write!(formatter, "{count} {files} of {folder} cannot be used:")?;
        for (path, why) in self.files.iter().take(MOST_NAMED) {
            write!(formatter, "\n  {}: {why}", path.display())?;
        }
        match count.checked_sub(MOST_NAMED) {
            Some(more) if more > 0 => write!(formatter, "\n  and {more} more"),
            _ => Ok(()),
        }
    }
}
