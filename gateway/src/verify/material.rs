//! Trust material: the anchors of one trust domain, and the intermediates that its devices need not present.
//!
//! Expiry is not a reason to refuse a file: clocks and renewals overlap, so an expired certificate stays, what leads to it
//! is refused, and [`TrustMaterial::expired`] names it. It verifies no chain.

use std::collections::{HashMap, HashSet};

use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::certificate::Certificate;
use super::issuer::AuthorityCertificate;
use super::{AnchorId, Rules};

/// What the chains of one trust domain are verified with.
#[derive(Debug, Default)]
pub struct TrustMaterial {
    anchors: Vec<AuthorityCertificate>,
    trust_anchors: Vec<TrustAnchor<'static>>,
    ids: HashSet<AnchorId>,
    intermediates: Vec<AuthorityCertificate>,
    by_subject: HashMap<Box<[u8]>, Vec<usize>>,
    rules: Rules,
}

impl TrustMaterial {
    /// `anchors` are trusted; `intermediates` only help to find paths. Doubles do no harm.
    pub fn new(
        anchors: Vec<AuthorityCertificate>,
        intermediates: Vec<AuthorityCertificate>,
        rules: Rules,
    ) -> Self {
        let mut by_subject: HashMap<Box<[u8]>, Vec<usize>> = HashMap::new();
        for (index, intermediate) in intermediates.iter().enumerate() {
            by_subject
                .entry(intermediate.subject().into())
                .or_default()
                .push(index);
        }
        Self {
            trust_anchors: anchors
                .iter()
                .map(|anchor| anchor.trust_anchor().clone())
                .collect(),
            ids: anchors
                .iter()
                .map(AuthorityCertificate::anchor_id)
                .collect(),
            anchors,
            intermediates,
            by_subject,
            rules,
        }
    }

    /// Whether `anchor` is (still) one of the anchors, and with the same constraints.
    pub fn trusts(&self, anchor: &AnchorId) -> bool {
        self.ids.contains(anchor)
    }

    /// The anchors' subjects, as a server hints them to its clients (RFC 8446, 4.2.4).
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.iter().map(AuthorityCertificate::subject)
    }

    /// The anchors.
    pub fn anchors(&self) -> &[AuthorityCertificate] {
        &self.anchors
    }

    /// The preloaded intermediates.
    pub fn intermediates(&self) -> &[AuthorityCertificate] {
        &self.intermediates
    }

    /// What chains must fulfil beyond RFC 5280.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The anchors and preloaded intermediates that have expired at `now` (seconds since the Unix epoch).
    pub fn expired(&self, now: u64) -> impl Iterator<Item = &AuthorityCertificate> {
        self.anchors
            .iter()
            .chain(&self.intermediates)
            .filter(move |certificate| now > certificate.window().1)
    }

    /// The anchors as webpki takes them, in the order of [`TrustMaterial::anchors`].
    pub(super) fn trust_anchors(&self) -> &[TrustAnchor<'static>] {
        &self.trust_anchors
    }

    /// The certificates that a path from `end_entity` may lead through: each presented one once, then those preloaded
    /// ones that a certificate before them names as its issuer. Any number may be preloaded; the others cost nothing.
    pub(super) fn candidates<'a>(
        &'a self,
        end_entity: &Certificate<'_>,
        presented: &'a [CertificateDer<'a>],
    ) -> Vec<CertificateDer<'a>> {
        let mut candidates: Vec<CertificateDer<'a>> = Vec::with_capacity(presented.len());
        for der in presented {
            if !candidates.contains(der) {
                candidates.push(CertificateDer::from(der.as_ref()));
            }
        }
        if self.intermediates.is_empty() {
            return candidates;
        }
        let mut issuers: Vec<Box<[u8]>> = candidates
            .iter()
            .filter_map(|der| Certificate::parse(der).ok())
            .map(|certificate| certificate.issuer().into())
            .chain([end_entity.issuer().into()])
            .collect();
        let mut looked_up: HashSet<Box<[u8]>> = HashSet::new();
        while let Some(issuer) = issuers.pop() {
            let named = self.by_subject.get(&issuer);
            if !looked_up.insert(issuer) {
                continue;
            }
            for intermediate in named
                .into_iter()
                .flatten()
                .filter_map(|index| self.intermediates.get(*index))
            {
                if !candidates.contains(intermediate.der()) {
                    candidates.push(CertificateDer::from(intermediate.der().as_ref()));
                }
                issuers.push(intermediate.issuer().into());
            }
        }
        candidates
    }
}

#[cfg(test)]
mod tests;
