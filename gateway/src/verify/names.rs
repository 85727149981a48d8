//! Name constraints (RFC 5280, 4.2.1.10) for the paths that `walk` finds.
//!
//! Permitted directory names and both kinds of DNS constraints are decided. Everything else is refused as soon as a name
//! of the constrained form is there at all, which the RFC allows: excluded directory names (two spellings of one name
//! must not slip through), e-mail addresses, IP addresses, URIs and the rest.

use rustls::pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::{Any, Class, FromDer as _, Oid, Tag, oid};
use x509_parser::prelude::X509Name;
use x509_parser::x509::AttributeTypeAndValue;

use super::certificate::{Certificate, contents};
use super::{Refusal, TrustMaterial};

const NAME_CONSTRAINTS: Oid<'static> = oid!(2.5.29.30);
const ALTERNATIVE_NAMES: Oid<'static> = oid!(2.5.29.17);

/// The tags of the forms of a `GeneralName` that are treated each in its own way.
const EMAIL: Tag = Tag(1);
const DNS: Tag = Tag(2);
const DIRECTORY: Tag = Tag(4);

/// A name or a constraint's base: the tag of its form, and its contents.
type Form<'a> = (Tag, &'a [u8]);

/// Whether a path may lead through a certificate with name constraints.
pub(super) fn are_constrained(material: &TrustMaterial, candidates: &[CertificateDer<'_>]) -> bool {
    material
        .trust_anchors()
        .iter()
        .any(|anchor| anchor.name_constraints.is_some())
        || candidates.iter().any(|der| {
            Certificate::parse(der)
                .is_ok_and(|candidate| extension(&candidate, &NAME_CONSTRAINTS).is_some())
        })
}

/// Checks the names of all of `subjects` by the constraints of `issuer`, which stands above them.
///
/// # Errors
/// [`Refusal::ConstraintViolated`], or [`Refusal::Malformed`].
pub(super) fn check(
    issuer: &Certificate<'_>,
    subjects: &[&Certificate<'_>],
) -> Result<(), Refusal> {
    let Some(extension) = extension(issuer, &NAME_CONSTRAINTS) else {
        return Ok(());
    };
    let (mut permitted, mut excluded) = (Vec::new(), Vec::new());
    for subtrees in elements(contents(extension)?)? {
        match (subtrees.class(), subtrees.tag()) {
            (Class::ContextSpecific, Tag(0)) => permitted = bases(subtrees.data)?,
            (Class::ContextSpecific, Tag(1)) => excluded = bases(subtrees.data)?,
            _ => return Err(Refusal::Malformed),
        }
    }
    for subject in subjects {
        let names = names_of(subject)?;
        for name in &names {
            if excluded.iter().any(|base| is_excluded(name, base))
                || !is_permitted(name, &permitted)
            {
                return Err(Refusal::ConstraintViolated);
            }
        }
    }
    Ok(())
}

fn extension<'c>(certificate: &'c Certificate<'_>, oid: &Oid<'_>) -> Option<&'c [u8]> {
    certificate
        .x509()
        .extensions()
        .iter()
        .find(|extension| extension.oid == *oid)
        .map(|extension| extension.value)
}

/// The elements that follow one another in `der`.
fn elements(mut der: &[u8]) -> Result<Vec<Any<'_>>, Refusal> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (rest, element) = Any::from_der(der).map_err(|_| Refusal::Malformed)?;
        elements.push(element);
        der = rest;
    }
    Ok(elements)
}

/// The bases of `GeneralSubtrees`. A minimum or maximum must not be there.
fn bases(der: &[u8]) -> Result<Vec<Form<'_>>, Refusal> {
    elements(der)?
        .into_iter()
        .map(|subtree| match elements(subtree.data)?.as_slice() {
            [base] if subtree.tag() == Tag::Sequence => Ok((base.tag(), base.data)),
            _ => Err(Refusal::Malformed),
        })
        .collect()
}

/// Everything that names the subject: its directory name unless that is empty, the e-mail addresses in it, and its
/// alternative names.
fn names_of<'c>(certificate: &'c Certificate<'_>) -> Result<Vec<Form<'c>>, Refusal> {
    let subject = certificate.x509().subject();
    let mut names = Vec::new();
    if !certificate.subject().is_empty() {
        names.push((DIRECTORY, subject.as_raw()));
    }
    names.extend(
        subject
            .iter_email()
            .map(|address| (EMAIL, address.as_slice())),
    );
    if let Some(alternative) = extension(certificate, &ALTERNATIVE_NAMES) {
        for name in elements(contents(alternative)?)? {
            names.push((name.tag(), name.data));
        }
    }
    Ok(names)
}

fn is_excluded(name: &Form<'_>, base: &Form<'_>) -> bool {
    name.0 == base.0 && (name.0 != DNS || dns_within(name.1, base.1).unwrap_or(true))
}

fn is_permitted(name: &Form<'_>, permitted: &[Form<'_>]) -> bool {
    let mut same_form = permitted.iter().filter(|base| base.0 == name.0).peekable();
    if same_form.peek().is_none() {
        return true;
    }
    same_form.any(|base| match name.0 {
        DIRECTORY => directory_within(name.1, base.1),
        DNS => dns_within(name.1, base.1).unwrap_or(false),
        _ => false,
    })
}

/// Whether `name` begins with all the relative names of `base`.
fn directory_within(name: &[u8], base: &[u8]) -> bool {
    let (Ok(([], name)), Ok(([], base))) = (X509Name::from_der(name), X509Name::from_der(base))
    else {
        return false;
    };
    let mut relative = name.iter_rdn();
    base.iter_rdn().all(|wanted| {
        relative.next().is_some_and(|present| {
            wanted.iter().count() == present.iter().count()
                && wanted
                    .iter()
                    .all(|attribute| present.iter().any(|other| same(attribute, other)))
        })
    })
}

/// By RFC 5280, 7.1: letter case and runs of spaces do not count, where both are ASCII strings; otherwise every byte does.
fn same(one: &AttributeTypeAndValue<'_>, other: &AttributeTypeAndValue<'_>) -> bool {
    let folded = |attribute: &AttributeTypeAndValue<'_>| {
        let text = attribute.as_str().ok().filter(|text| text.is_ascii())?;
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        Some(words.join(" ").to_ascii_lowercase())
    };
    one.attr_type() == other.attr_type()
        && match (folded(one), folded(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one.attr_value() == other.attr_value(),
        }
}

/// Whether the DNS name is the base or below it; a base that starts with a dot has only names below it. `None` for
/// anything but plain labels.
fn dns_within(name: &[u8], base: &[u8]) -> Option<bool> {
    let (name, base) = (lower_case(name)?, lower_case(base)?);
    let bare = base.strip_prefix('.').unwrap_or(&base);
    if bare.is_empty() {
        return Some(true);
    }
    if !is_plain(&name) || !is_plain(bare) {
        return None;
    }
    Some(match name.strip_suffix(bare) {
        Some("") => bare == base,
        Some(below) => below.ends_with('.'),
        None => false,
    })
}

fn lower_case(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_ascii_lowercase)
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.split('.')
        .all(|label| !label.is_empty() && label.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::dns_within;

    #[test]
    fn dns_names_are_compared_by_labels() {
        for (name, base, within) in [
            ("a.example", "example", Some(true)),
            ("EXAMPLE", "example", Some(true)),
            ("example", ".example", Some(false)),
            ("a.example", ".example", Some(true)),
            ("badexample", "example", Some(false)),
            ("other", "example", Some(false)),
            ("anything", "", Some(true)),
            ("a.example.", "example", None),
            ("*.example", "example", None),
            ("a\0.example", "example", None),
        ] {
            assert_eq!(
                dns_within(name.as_bytes(), base.as_bytes()),
                within,
                "{name} in {base}"
            );
        }
    }
}
