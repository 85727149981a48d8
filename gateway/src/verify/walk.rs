//! The path walker for what webpki cannot decide: version 1 end entities, and constraints on directory names.
//!
//! From the end entity upwards, each certificate is checked in the order of rising cost, and its signature before
//! anything above it is looked at (RFC 5280, 6.1.3 and 6.1.4). Stricter than RFC 5280 where that is simpler: self-issued
//! certificates count as any others, policies are not processed, so that a critical policy extension is refused. Ordinary
//! chains never come here.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::certificate::Certificate;
use super::issuer::AuthorityCertificate;
use super::signature::Budget;
use super::{Refusal, names};

/// The most intermediates of a path, as in webpki.
const MAX_INTERMEDIATES: usize = 6;

/// Looks for a path from `end_entity` through `candidates` to one of `anchors`, valid at `now`, which `accept` takes:
/// it gets the path's intermediates from the end entity upwards, and the anchor.
///
/// # Errors
/// Why there is none.
pub(super) fn find<T>(
    budget: &Budget,
    anchors: &[AuthorityCertificate],
    end_entity: &Certificate<'_>,
    candidates: &[CertificateDer<'_>],
    now: u64,
    accept: impl Fn(&[&Certificate<'_>], &AuthorityCertificate) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    check_alone(end_entity, now)?;
    let candidates: Vec<Certificate<'_>> = candidates
        .iter()
        .filter_map(|der| Certificate::parse(der).ok())
        .collect();
    let walk = Walk {
        budget,
        anchors,
        candidates: &candidates,
        now,
        accept: &accept,
    };
    walk.upwards(&mut vec![end_entity])
}

struct Walk<'w, 'c, A> {
    budget: &'w Budget,
    anchors: &'w [AuthorityCertificate],
    candidates: &'w [Certificate<'c>],
    now: u64,
    accept: &'w A,
}

impl<A> Walk<'_, '_, A> {
    /// `path` is what was found good so far, the end entity first.
    fn upwards<'p, T>(&'p self, path: &mut Vec<&'p Certificate<'p>>) -> Result<T, Refusal>
    where
        A: Fn(&[&Certificate<'_>], &AuthorityCertificate) -> Result<T, Refusal>,
    {
        let Some(head) = path.last().copied() else {
            return Err(Refusal::UnknownIssuer);
        };
        let mut refusal = Refusal::UnknownIssuer;
        for anchor in self.anchors {
            if anchor.subject() != head.issuer() {
                continue;
            }
            match self.arrive(path, head, anchor) {
                Ok(found) => return Ok(found),
                Err(other) => refusal = other,
            }
        }
        for candidate in self.candidates {
            let repeats = |certificate: &&Certificate<'_>| {
                certificate.subject() == candidate.subject()
                    && certificate.public_key() == candidate.public_key()
            };
            if candidate.subject() != head.issuer() || path.iter().any(repeats) {
                continue;
            }
            let below = path.len() - 1;
            let step = self.step(candidate, head, below).and_then(|()| {
                path.push(candidate);
                let found = self.upwards(path);
                path.pop();
                found
            });
            match step {
                Ok(found) => return Ok(found),
                Err(Refusal::UnknownIssuer) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// Checks `issuer` above `head`, which has `below` intermediates under it.
    fn step(
        &self,
        issuer: &Certificate<'_>,
        head: &Certificate<'_>,
        below: usize,
    ) -> Result<(), Refusal> {
        if below >= MAX_INTERMEDIATES {
            return Err(Refusal::ConstraintViolated);
        }
        check_alone(issuer, self.now)?;
        // Any version but 3 is refused here as well: only a version 3 certificate has basic constraints.
        if !issuer.is_version_three()
            || !issuer.is_authority()?
            || !issuer.may_sign_certificates()?
        {
            return Err(Refusal::WrongRole);
        }
        if issuer.path_length()?.is_some_and(|length| below > length) {
            return Err(Refusal::ConstraintViolated);
        }
        self.budget.check(head, issuer.public_key())
    }

    fn arrive<T>(
        &self,
        path: &[&Certificate<'_>],
        head: &Certificate<'_>,
        anchor: &AuthorityCertificate,
    ) -> Result<T, Refusal>
    where
        A: Fn(&[&Certificate<'_>], &AuthorityCertificate) -> Result<T, Refusal>,
    {
        self.budget.check(head, anchor.public_key())?;
        let trusted = Certificate::parse(anchor.der())?;
        names::check(&trusted, path)?;
        for (place, issuer) in path.iter().enumerate().skip(1) {
            names::check(issuer, path.get(..place).unwrap_or_default())?;
        }
        (self.accept)(path.get(1..).unwrap_or_default(), anchor)
    }
}

/// What is asked of every certificate of a path by itself.
fn check_alone(certificate: &Certificate<'_>, now: u64) -> Result<(), Refusal> {
    if certificate.is_version_three() {
        // As strict about the encoding, and about critical extensions, as for every other path.
        EndEntityCert::try_from(&CertificateDer::from(certificate.der()))?;
    }
    let purposes = certificate
        .x509()
        .extended_key_usage()
        .map_err(|_| Refusal::Malformed)?;
    if purposes.is_some_and(|purposes| !purposes.value.client_auth) {
        return Err(Refusal::WrongUsage);
    }
    certificate.check_validity(now)
}

#[cfg(test)]
mod tests;
