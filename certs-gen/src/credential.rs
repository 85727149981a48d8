//! A credential: an end entity's chain and its private key, as DER in memory and as PEM text.
//!
//! Deliberately judges nothing: whether the chain verifies or the key fits is for those who use it.

use pem::{EncodeConfig, LineEnding, Pem};

/// A chain (end entity first, then intermediates, without the trust anchor) and the end entity's private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// DER certificates, end entity first.
    pub chain: Vec<Vec<u8>>,
    /// The private key as PKCS#8 DER (RFC 5958).
    pub key: Vec<u8>,
}

/// Why text was not a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The text is not PEM (RFC 7468).
    #[error("not PEM text: {0}")]
    NotPem(String),
    /// There is no `CERTIFICATE` block.
    #[error("no CERTIFICATE block")]
    NoCertificate,
    /// There is not exactly one `PRIVATE KEY` block.
    #[error("{0} PRIVATE KEY blocks where exactly one (PKCS#8, unencrypted) is needed")]
    KeyCount(usize),
}

impl Credential {
    /// The end entity's certificate as DER; empty if the chain is.
    pub fn end_entity(&self) -> &[u8] {
        self.chain.first().map_or(&[], Vec::as_slice)
    }

    /// The certificates as PEM, end entity first.
    pub fn chain_pem(&self) -> String {
        chain_pem(&self.chain)
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> String {
        pem_block("PRIVATE KEY", &self.key)
    }

    /// Chain, then key, in one text: what `curl --cert` takes as it is.
    pub fn pem(&self) -> String {
        self.chain_pem() + &self.key_pem()
    }

    /// Reads back what [`Credential::pem`] wrote.
    ///
    /// # Errors
    /// [`CredentialError`] if it is not PEM, holds no certificate, or not exactly one PKCS#8 key.
    pub fn from_pem(text: &[u8]) -> Result<Self, CredentialError> {
        let blocks =
            pem::parse_many(text).map_err(|error| CredentialError::NotPem(error.to_string()))?;
        let of = |tag: &str| -> Vec<Vec<u8>> {
            blocks
                .iter()
                .filter(|block| block.tag() == tag)
                .map(|block| block.contents().to_vec())
                .collect()
        };
        let (chain, mut keys) = (of("CERTIFICATE"), of("PRIVATE KEY"));
        if chain.is_empty() {
            return Err(CredentialError::NoCertificate);
        }
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(Self { chain, key }),
            (None, _) => Err(CredentialError::KeyCount(0)),
            (Some(_), rest) => Err(CredentialError::KeyCount(rest + 1)),
        }
    }
}

// By hand, so that a stray `{:?}` never prints a private key.
impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Certificates as PEM, in the order given.
pub(crate) fn chain_pem(chain: &[Vec<u8>]) -> String {
    chain
        .iter()
        .map(|der| pem_block("CERTIFICATE", der))
        .collect()
}

/// One PEM block (RFC 7468) with Unix line ends.
pub(crate) fn pem_block(tag: &str, der: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(tag, der),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

#[cfg(test)]
mod tests {
    use super::{Credential, CredentialError};

    fn sample() -> Credential {
        Credential {
            chain: vec![vec![1, 2, 3], vec![4; 100]],
            key: vec![5; 32],
        }
    }

    #[test]
    fn pem_round_trips() {
        assert_eq!(
            Credential::from_pem(sample().pem().as_bytes()).unwrap(),
            sample()
        );
    }

    #[test]
    fn each_lack_has_its_error() {
        let sample = sample();
        let error = |text: String| Credential::from_pem(text.as_bytes()).unwrap_err();
        assert!(matches!(
            error(sample.key_pem()),
            CredentialError::NoCertificate
        ));
        assert!(matches!(
            error(sample.chain_pem()),
            CredentialError::KeyCount(0)
        ));
        assert!(matches!(
            error(sample.pem() + &sample.key_pem()),
            CredentialError::KeyCount(2)
        ));
    }

    #[test]
    fn debug_output_holds_no_key() {
        assert_eq!(
            format!("{:?}", sample()),
            "Credential { certificates: 2, .. }"
        );
    }
}
