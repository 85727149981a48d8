//! Identities made in memory: device *i* always gets identity *i*, wherever it is minted.
//!
//! Key, serial number and name follow from the seed, the issuer's private key and the device's number; validity is the
//! issuer's own. Several machines with the same issuer and seed therefore agree without exchanging a file, and a device that
//! returns tomorrow is the same device. The issuer's key is part of what keys are derived from, so that only those who could
//! issue a device's certificate anyway can know its key.
//!
//! RSA keys cannot be derived cheaply: a few are made at random at the start and shared by the devices. Their names and
//! serial numbers agree between machines, their keys do not.

use std::ops::ControlFlow;
use std::sync::Arc;

use certs_gen::IssueError;
use certs_gen::authority::{Authority, AuthoritySpec, EndEntitySpec, ExtendedKeyUsage};
use certs_gen::crl;
use certs_gen::derivation::Derivation;
use certs_gen::key::{KeyKind, PrivateKey};
use certs_gen::layout::device_id;
use rustls::crypto::KeyProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use time::{Duration, OffsetDateTime};

use super::fault::MintedFault;
use super::identity::{Identity, Path};
use super::issuer::Issuer;
use super::parallel;
use crate::plan::fleet::KeyMix;

/// RSA keys of one kind, shared by all devices that have such a key.
const RSA_KEYS: usize = 4;
/// Validity of certificates that are good at another time only.
const ELSEWHEN: Duration = Duration::days(30);

/// Makes identities by number. Used from all threads at once.
pub(super) struct Mint {
    issuer: Issuer,
    /// An authority that nobody trusts.
    stranger: Authority,
    path: Path,
    no_path: Path,
    keys: KeyMix,
    seed: u64,
    derivation: Derivation,
    rsa: Vec<(KeyKind, Vec<RsaKey>)>,
    provider: &'static dyn KeyProvider,
    now: OffsetDateTime,
}

/// An RSA key in both forms: to be certified, and to sign.
struct RsaKey {
    private: PrivateKey,
    signing: Arc<dyn SigningKey>,
}

impl Mint {
    /// Prepares to mint; makes the RSA keys, which takes a while, if the mix has any.
    ///
    /// # Errors
    ///
    /// A key could not be made.
    pub(super) fn new(
        issuer: Issuer,
        keys: KeyMix,
        seed: u64,
        provider: &'static dyn KeyProvider,
        now: OffsetDateTime,
    ) -> Result<Mint, IssueError> {
        let rsa_kinds = keys.parts().iter().map(|(kind, _)| *kind);
        let rsa = rsa_kinds
            .filter(|kind| is_rsa(*kind))
            .map(|kind| Ok((kind, rsa_keys(kind, provider)?)))
            .collect::<Result<_, IssueError>>()?;
        Ok(Mint {
            stranger: Authority::trust_anchor(&AuthoritySpec::new("Nobody's trust anchor"))?,
            path: Path::from(issuer.path.clone()),
            no_path: Path::from([]),
            derivation: Derivation::new(seed, &issuer.secret),
            issuer,
            keys,
            seed,
            rsa,
            provider,
            now,
        })
    }

    /// The identity of device `number` after `generation` renewals, good or with a fault.
    ///
    /// # Errors
    ///
    /// The crypto library fails.
    pub(super) fn identity(
        &self,
        number: usize,
        generation: u32,
        fault: Option<MintedFault>,
    ) -> Result<Identity, IssueError> {
        let kind = self.keys.of(number, self.seed);
        let mut spec = EndEntitySpec::device(&device_id(number));
        spec.serial = Some(self.derivation.serial(number, generation)?);
        spec.not_before = self.issuer.not_before;
        spec.not_after = self.issuer.not_after;
        let mut authority = &self.issuer.authority;
        let mut path = &self.path;
        match fault {
            Some(MintedFault::Expired) => {
                spec.not_after = self.now - Duration::DAY;
                spec.not_before = spec.not_after - ELSEWHEN;
            }
            Some(MintedFault::NotYetValid) => {
                spec.not_before = self.now + ELSEWHEN;
                spec.not_after = spec.not_before + ELSEWHEN;
            }
            Some(MintedFault::OtherPurpose) => {
                spec.extended_key_usages = vec![ExtendedKeyUsage::CodeSigning];
            }
            Some(MintedFault::ServerOnly) => {
                spec.extended_key_usages = vec![ExtendedKeyUsage::ServerAuth];
            }
            Some(MintedFault::Untrusted) => {
                authority = &self.stranger;
                path = &self.no_path;
            }
            // Good certificates: what is wrong is the key that signs, or what the server knows of them.
            Some(MintedFault::WrongKey | MintedFault::Revoked) | None => {}
        }
        let certify = |key: &PrivateKey| -> Result<Vec<u8>, IssueError> {
            let chain = authority.issue_with_key(&spec, key)?.chain;
            Ok(chain.into_iter().next().unwrap_or_default())
        };
        let (certificate, signing) = match self.derivation.key(kind, number, generation)? {
            Some(key) => (certify(&key)?, self.signing(&key)?),
            None => {
                let key = self.rsa_key(kind, number)?;
                (certify(&key.private)?, Arc::clone(&key.signing))
            }
        };
        let signing = match fault {
            Some(MintedFault::WrongKey) => self.other_key(kind, number)?,
            _ => signing,
        };
        Ok(Identity::new(certificate.into(), Arc::clone(path), signing))
    }

    /// A key of the same kind that is not the device's.
    fn other_key(&self, kind: KeyKind, number: usize) -> Result<Arc<dyn SigningKey>, IssueError> {
        // After so many renewals as nobody makes.
        match self.derivation.key(kind, number, u32::MAX)? {
            Some(key) => self.signing(&key),
            None => Ok(Arc::clone(&self.rsa_key(kind, number + 1)?.signing)),
        }
    }

    /// The list that revokes these devices' first certificates, as PEM, good as long as the issuer is.
    ///
    /// # Errors
    ///
    /// It cannot be signed.
    pub(super) fn revocation_list(
        &self,
        numbers: impl Iterator<Item = usize>,
    ) -> Result<String, IssueError> {
        let serials: Vec<_> = numbers
            .map(|number| self.derivation.serial(number, 0))
            .collect::<Result<_, _>>()?;
        crl::list_of(
            &self.issuer.authority,
            serials,
            self.now,
            self.issuer.not_after,
        )
    }

    fn signing(&self, key: &PrivateKey) -> Result<Arc<dyn SigningKey>, IssueError> {
        signing(key, self.provider)
    }

    fn rsa_key(&self, kind: KeyKind, number: usize) -> Result<&RsaKey, IssueError> {
        let of_kind = self.rsa.iter().find(|(other, _)| *other == kind);
        of_kind
            .and_then(|(_, keys)| keys.get(number % RSA_KEYS))
            .ok_or(IssueError::KeyGeneration(kind))
    }
}

// By hand, so that a stray `{:?}` never prints a private key.
impl std::fmt::Debug for Mint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Mint")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn is_rsa(kind: KeyKind) -> bool {
    matches!(kind, KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096)
}

fn rsa_keys(kind: KeyKind, provider: &dyn KeyProvider) -> Result<Vec<RsaKey>, IssueError> {
    let make = |_: &usize| -> Result<RsaKey, IssueError> {
        let private = PrivateKey::generate(kind)?;
        let signing = signing(&private, provider)?;
        Ok(RsaKey { private, signing })
    };
    let places: Vec<usize> = (0..RSA_KEYS).collect();
    let made = parallel::map(&places, 1, &mut |_| ControlFlow::Continue(()), make);
    made.unwrap_or_default().into_iter().collect()
}

fn signing(
    key: &PrivateKey,
    provider: &dyn KeyProvider,
) -> Result<Arc<dyn SigningKey>, IssueError> {
    let der = PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec());
    provider
        .load_private_key(PrivateKeyDer::from(der))
        .map_err(|_| IssueError::UnreadableKey)
}
