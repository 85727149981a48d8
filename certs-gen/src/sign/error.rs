//! Why a request was not answered.

use std::io;
use std::path::PathBuf;

use crate::IssueError;
use crate::fleet::OpenError;
use crate::private_file::WriteError;

/// Why a request was not answered. Each text is a sentence that names the file at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is a file at `--out`.
    #[error("--out {path} exists already: choose another file, or replace it with --force", path = .0.display())]
    Exists(PathBuf),
    /// `--ca` is not a fleet, or its authority cannot be used.
    #[error(transparent)]
    Fleet(#[from] OpenError),
    /// The authority has expired.
    #[error("the authority in --ca {path} has expired: make a new fleet", path = .0.display())]
    AuthorityExpired(PathBuf),
    /// The request could not be read.
    #[error("cannot read --csr {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The request was read and refused.
    #[error("--csr {path} is refused: {refusal}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Issue(IssueError),
    /// The chain could not be written.
    #[error(transparent)]
    Write(WriteError),
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Larger than any sensible request.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// Neither PEM nor DER of a request.
    #[error("it is not a certificate signing request (PKCS#10, PEM or DER)")]
    NotARequest,
    /// The self-signature does not verify.
    #[error(
        "its self-signature does not verify, so it does not prove possession of the private key"
    )]
    Signature,
    /// The self-signature is of a kind that is not accepted.
    #[error(
        "its signature algorithm is not accepted; sign it with SHA-256 or SHA-384 (openssl req -sha256)"
    )]
    SignatureAlgorithm,
    /// The key is of a kind that is not accepted.
    #[error(
        "its key ({0}) is not accepted; use P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits"
    )]
    Key(String),
    /// An extension is malformed.
    #[error("an extension that it asks for is malformed")]
    MalformedExtension,
    /// It asks to become an authority.
    #[error("it asks for a certificate authority ({0}), and end entities only are signed")]
    Authority(&'static str),
    /// It asks for purposes, but not for the profile's.
    #[error("it asks for other purposes than {0}; choose the other --profile, or ask for none")]
    Purpose(&'static str),
    /// The common name is not text, or there are several.
    #[error("its common name is not one text in UTF-8 or ASCII")]
    CommonName,
    /// A device without id.
    #[error("it has no device id: give it one as common name (openssl req -subj /CN=ID)")]
    NoDeviceId,
    /// A device id that is not well-formed.
    #[error(
        "{0:?} cannot be a device id: use up to 64 letters, digits and - _ . : beginning with a letter or digit"
    )]
    DeviceId(String),
    /// A URI that names another device, or nothing that this authority vouches for.
    #[error("the alternative name {0:?} is not this device's own URI {1:?}")]
    ForeignUri(String, String),
    /// A name that the profile does not allow.
    #[error("the alternative name {0:?} is not allowed in this profile")]
    Name(String),
    /// Too many names.
    #[error("it asks for more than {0} alternative names")]
    TooManyNames(usize),
    /// A server without name.
    #[error(
        "it names no server: give it a DNS name or IP address (openssl req -addext subjectAltName=DNS:NAME)"
    )]
    NoServerName,
}
