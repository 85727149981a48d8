//! What outlives a reload, so that a new configuration goes on with what the old one knew.
//!
//! It decides nothing; each part of it is swapped or changed by whoever it belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::BuildError;
use super::upstreams::{Material, Reachable};
use crate::clock;
use crate::config;
use crate::headers::token::{self, Signer};
use crate::metrics::Metrics;
use crate::ocsp::Mode;
use crate::ocsp::client::Checker;
use crate::tls::stek::{Secret, StekError};
use crate::trust::DeviceCache;
use crate::trust::denylist::Denylist;
use crate::trust::revocation::Revocations;
use crate::upstream::endpoints::Endpoints;

/// What outlives a reload: the cache of verified chains, the administrator's orders, and the secret of the tickets when no
/// file gives it.
#[derive(Debug)]
pub struct Lasting {
    cache: Arc<DeviceCache>,
    denylist: Arc<Denylist>,
    /// By the names of the trust domains.
    revocations: Mutex<HashMap<Arc<str>, Arc<Revocations>>>,
    /// By the names of the trust domains.
    responders: Mutex<HashMap<Arc<str>, Arc<Checker>>>,
    /// The latest first.
    signers: Mutex<Vec<Arc<Signer>>>,
    generated: Secret,
    metrics: Arc<Metrics>,
    /// Each with the certificates that it was built with.
    upstreams: Mutex<Vec<(Material, Arc<Endpoints>)>>,
}

/// How many keys stay published: the one that signs, and those before it, whose last tokens may still be under way.
const SIGNERS_KEPT: usize = 3;

impl Lasting {
    /// An empty cache of `capacity` chains, and `secret`, or a fresh one.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn new(
        capacity: usize,
        secret: Option<Secret>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StekError> {
        Ok(Self {
            cache: Arc::new(DeviceCache::new(capacity)),
            denylist: Arc::default(),
            revocations: Mutex::default(),
            responders: Mutex::default(),
            signers: Mutex::default(),
            generated: secret.map_or_else(Secret::generate, Ok)?,
            metrics,
            upstreams: Mutex::default(),
        })
    }

    /// The ticket secret of this process.
    pub(crate) fn generated(&self) -> &Secret {
        &self.generated
    }

    /// The cache of verified chains.
    pub fn cache(&self) -> &Arc<DeviceCache> {
        &self.cache
    }

    /// The signer with this key and these settings: the same one as long as neither changes, so that a reload does not make
    /// every connection sign anew.
    pub(super) fn signer(&self, token: &config::Token) -> Result<Arc<Signer>, BuildError> {
        let wrong =
            |problem: String| BuildError::Token(format!("{}: {problem}", token.key.display()));
        let key = std::fs::read(&token.key).map_err(|error| wrong(error.to_string()))?;
        let signer =
            Signer::new(&key, token.settings.clone()).map_err(|error| wrong(error.to_string()))?;
        let mut signers = self.signers.lock();
        let known = signers.iter().position(|known| {
            known.key_id() == signer.key_id() && known.settings() == signer.settings()
        });
        let signer = match known {
            Some(index) => signers.remove(index),
            None => Arc::new(signer),
        };
        signers.insert(0, Arc::clone(&signer));
        signers.truncate(SIGNERS_KEPT);
        Ok(signer)
    }

    /// Public keys of the tokens that upstreams get now or got before the last reloads, as a JWK set (RFC 7517).
    pub fn jwks(&self) -> String {
        let signers = self.signers.lock();
        let signers: Vec<&Signer> = signers.iter().map(Arc::as_ref).collect();
        token::jwks(&signers)
    }

    /// Who asks responders for `domain`: the same one as long as it is to be done the same way, with all that it remembers.
    pub(super) fn responders(&self, domain: &config::TrustDomain) -> Option<Arc<Checker>> {
        let mut all = self.responders.lock();
        if domain.settings.ocsp == Mode::Off {
            all.remove(&domain.settings.name);
            return None;
        }
        let known = all.get(&domain.settings.name);
        if let Some(known) = known.filter(|known| *known.settings() == domain.ocsp) {
            return Some(Arc::clone(known));
        }
        let checker = Arc::new(Checker::new(domain.ocsp.clone()));
        all.insert(Arc::clone(&domain.settings.name), Arc::clone(&checker));
        Some(checker)
    }

    pub(super) fn revocations(&self, trust_domain: &Arc<str>) -> Arc<Revocations> {
        let mut all = self.revocations.lock();
        Arc::clone(all.entry(Arc::clone(trust_domain)).or_default())
    }

    /// The state of these upstreams, in their order: that of before where nothing has changed, with all that is known about the
    /// endpoints.
    pub(super) fn upstreams(&self, reachable: Vec<Reachable>) -> Vec<Arc<Endpoints>> {
        let mut all = self.upstreams.lock();
        let upstream = |reachable: Reachable| {
            let mut known = all.iter();
            let same = known.find(|(material, known)| {
                *known.settings() == reachable.settings && *material == reachable.material
            });
            same.cloned().unwrap_or_else(|| {
                let Reachable {
                    settings,
                    targets,
                    material,
                } = reachable;
                let (name, now) = (settings.name.clone(), clock::now());
                let events = self.metrics.upstream_events(&name);
                let upstream = Endpoints::new(settings, targets, events, now);
                let mut known = all.iter();
                if let Some((_, before)) = known.find(|(_, known)| known.settings().name == name) {
                    upstream.inherit(before, now);
                }
                (material, Arc::new(upstream))
            })
        };
        *all = reachable.into_iter().map(upstream).collect();
        all.iter()
            .map(|(_, upstream)| Arc::clone(upstream))
            .collect()
    }

    /// What the administrator revoked by hand.
    pub fn denylist(&self) -> &Arc<Denylist> {
        &self.denylist
    }
}
