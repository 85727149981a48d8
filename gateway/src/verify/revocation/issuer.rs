//! Who may sign revocation lists, and the one check of a list's signature.
//!
//! A list is believed here or not at all; what it revokes is kept in [`set`](super::set). Whether an authority is
//! trusted is decided by whoever names its certificate.

use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_KEY_USAGE;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::ListError;
use super::list::{ListNumber, ParsedList, name_in_words, parse};
use super::scope::Scope;
use super::table::{RevocationKey, Table};
use crate::der;
use crate::signed::{PublicKey, SignatureError, Signed};
use crate::verify::authority::AuthorityId;

/// A certificate authority that may have issued a list, from its certificate.
#[derive(Debug, Clone)]
pub struct Authority<'a> {
    id: AuthorityId,
    /// Contents of its Name.
    subject: &'a [u8],
    /// Contents of its SubjectPublicKeyInfo.
    public_key: &'a [u8],
    key_id: Option<&'a [u8]>,
    may_sign_lists: bool,
    name: String,
}

/// The certificate of an authority cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is malformed")]
pub struct MalformedAuthority;

impl<'a> Authority<'a> {
    /// From a certificate in DER, whose own signature and validity are not looked at. It may sign lists if its key
    /// usage allows cRLSign, or if it has no key usage (RFC 5280, section 4.2.1.3).
    ///
    /// # Errors
    /// It is no certificate.
    pub fn from_certificate(der: &'a [u8]) -> Result<Self, MalformedAuthority> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| MalformedAuthority)?;
        let name = certificate.tbs_certificate.subject.as_raw();
        let public_key = certificate.tbs_certificate.subject_pki.raw;
        let mut key_id = None;
        let mut may_sign_lists = true;
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::KeyUsage(usage) => may_sign_lists = usage.crl_sign(),
                _ if extension.oid == OID_X509_EXT_KEY_USAGE => return Err(MalformedAuthority),
                ParsedExtension::SubjectKeyIdentifier(_) => {
                    key_id = Some(
                        der::only(extension.value, der::OCTET_STRING)
                            .map_err(|_| MalformedAuthority)?,
                    );
                }
                _ => {}
            }
        }
        let contents =
            |sequence| der::only(sequence, der::SEQUENCE).map_err(|_| MalformedAuthority);
        Ok(Self::new(
            contents(name)?,
            contents(public_key)?,
            key_id,
            may_sign_lists,
            name_in_words(name),
        ))
    }

    fn new(
        subject: &'a [u8],
        public_key: &'a [u8],
        key_id: Option<&'a [u8]>,
        may_sign_lists: bool,
        name: String,
    ) -> Self {
        Self {
            id: AuthorityId::new(subject, public_key),
            subject,
            public_key,
            key_id,
            may_sign_lists,
            name,
        }
    }

    /// Its subject and key.
    pub fn id(&self) -> AuthorityId {
        self.id
    }

    /// Whether its key usage allows cRLSign.
    pub fn may_sign_lists(&self) -> bool {
        self.may_sign_lists
    }

    /// Whether its key signed `list`.
    fn signed(&self, list: &ParsedList<'_>) -> Result<bool, ListError> {
        let key = PublicKey::from_contents(self.public_key)
            .map_err(ListError::malformed("the issuer's public key"))?;
        let signed = Signed {
            data: list.signed,
            algorithm: list.algorithm,
            signature: list.signature,
        };
        match key.verify(&signed) {
            Ok(()) => Ok(true),
            Err(SignatureError::Wrong) => Ok(false),
            Err(SignatureError::Unsupported) => Err(ListError::UnsupportedAlgorithm),
        }
    }
}

/// A list that parsed and whose signature is verified.
#[derive(Debug)]
pub struct VerifiedList {
    pub(super) issuer: AuthorityId,
    pub(super) issuer_name: String,
    pub(super) scope: Scope,
    pub(super) number: Option<ListNumber>,
    pub(super) base_number: Option<ListNumber>,
    pub(super) this_update: u64,
    pub(super) next_update: u64,
    pub(super) table: Table,
}

impl VerifiedList {
    /// Who issued it.
    pub fn issuer(&self) -> AuthorityId {
        self.issuer
    }

    /// Its number, if it has one.
    pub fn number(&self) -> Option<ListNumber> {
        self.number
    }

    /// When it runs out, in seconds since the Unix epoch.
    pub fn next_update(&self) -> u64 {
        self.next_update
    }

    /// Whether it only adds to a full list.
    pub fn is_delta(&self) -> bool {
        self.base_number.is_some()
    }

    /// How many certificates it names.
    pub fn entries(&self) -> usize {
        self.table.len()
    }

    /// The bytes of memory that its entries occupy.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// Parses a list in DER, finds its issuer among `authorities` and checks its signature. Whether it is stale is a
/// question for later; that its thisUpdate may lie in the future makes what it revokes no less revoked.
///
/// # Errors
/// Why it cannot be used.
pub fn verify_list(der: &[u8], authorities: &[Authority<'_>]) -> Result<VerifiedList, ListError> {
    let list = parse(der)?;
    let issuer = issuer_of(&list, authorities)?;
    let entries = list
        .entries()
        .map(|entry| (RevocationKey::new(&issuer.id, entry.serial), entry.reason));
    Ok(VerifiedList {
        issuer: issuer.id,
        issuer_name: issuer.name.clone(),
        number: list.extensions.number,
        base_number: list.extensions.base_number,
        this_update: list.this_update,
        next_update: list.next_update,
        table: Table::new(list.len(), entries),
        scope: list.extensions.scope.unwrap_or_default(),
    })
}

/// By name, then by key identifier where both sides have one, then by signature: names can be alike.
fn issuer_of<'a, 'der>(
    list: &ParsedList<'_>,
    authorities: &'a [Authority<'der>],
) -> Result<&'a Authority<'der>, ListError> {
    let named = || {
        authorities
            .iter()
            .filter(|authority| authority.subject == list.issuer.contents)
    };
    let wanted = list.extensions.authority_key_id;
    let fits = |authority: &&Authority<'_>| match (wanted, authority.key_id) {
        (Some(wanted), Some(key_id)) => wanted == key_id,
        _ => true,
    };
    let issuer = || list.issuer_name();
    if named().find(fits).is_none() {
        let key = match (wanted, named().next()) {
            (Some(id), Some(_)) => format!(" (key identifier {})", hexadecimal(id)),
            _ => String::new(),
        };
        return Err(ListError::UnknownIssuer {
            issuer: issuer(),
            key,
        });
    }
    let mut error = ListError::NotAllowedToSign { issuer: issuer() };
    let mut tried = Vec::new();
    for authority in named().filter(fits).filter(|one| one.may_sign_lists) {
        // The same key under two certificates is checked once: hashing a large list takes long.
        if tried.contains(&authority.id) {
            continue;
        }
        tried.push(authority.id);
        match authority.signed(list) {
            Ok(true) => return Ok(authority),
            Ok(false) => error = ListError::BadSignature { issuer: issuer() },
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
