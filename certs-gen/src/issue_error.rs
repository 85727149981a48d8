//! Why a key or a certificate could not be made.
//!
//! Deliberately knows nothing of files and flags: those who have them say which one it was.

/// Why a key could not be made or read, or a certificate not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The crypto library could not make a key of this kind.
    #[error("cannot make a {0} key")]
    KeyGeneration(crate::key::KeyKind),
    /// The bytes are not an unencrypted private key of a kind that this program handles.
    #[error(
        "not an unencrypted private key of type P-256, P-384, Ed25519 or RSA (2048 to 4096 bits)"
    )]
    UnreadableKey,
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate")]
    UnreadableCertificate,
    /// A certificate and the key beside it do not belong together.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A name is not representable in a certificate (SAN entries are ASCII, RFC 5280 section 4.2.1.6).
    #[error("the name {0:?} cannot be written into a certificate")]
    Name(String),
    /// The random number generator failed.
    #[error("the system's random number generator failed")]
    Random,
    /// The certificate could not be encoded or signed.
    #[error("cannot issue the certificate: {0}")]
    Encode(#[from] rcgen::Error),
}
