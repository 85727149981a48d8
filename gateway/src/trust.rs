//! A trust domain: anchors, limits, policy and cache namespace that belong together. A presented chain goes in, an
//! identified device comes out.
//!
//! One domain so far; nothing here is shared between domains but the cache's storage, and there the namespace keeps them
//! apart. It terminates no TLS: `tls::session` asks it from inside the handshake.

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::authorize::Policy;
use crate::headers;
use crate::identity::Identified;
use crate::verify::cache::{ChainCache, ChainHash, Lookup};
use crate::verify::{self, Anchors, PresentedChain, Refusal, VerifiedChain};

/// The verified-chain cache as the gateway keeps it: what it remembers of a chain is the device it identifies.
pub type DeviceCache = ChainCache<Identified>;

/// A trust domain in force.
#[derive(Debug)]
pub struct TrustDomain {
    anchors: Anchors,
    limits: verify::Settings,
    headers: headers::Settings,
    policy: Policy,
    namespace: [u8; 32],
    cache: Arc<DeviceCache>,
}

/// A chain that was found good just now.
#[derive(Debug, Clone)]
pub struct KnownDevice {
    /// The hash under which the cache holds it.
    pub chain: ChainHash,
    /// Whose it is.
    pub device: Arc<Identified>,
    /// What the cache said.
    pub lookup: CacheResult,
}

/// The result of one cache look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// Verified before and still good.
    Hit,
    /// Not known.
    Miss,
    /// Known, but verified again because something changed.
    Stale,
}

impl CacheResult {
    /// Every result, for the metric that counts them.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Stale];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

impl TrustDomain {
    /// The domain called `name`. The name is part of the cache namespace and of the resumption scope.
    pub fn new(
        name: &str,
        anchors: Anchors,
        limits: verify::Settings,
        headers: headers::Settings,
        policy: Policy,
        cache: Arc<DeviceCache>,
    ) -> Self {
        // What was prepared with other header settings is not this domain's any more.
        let namespace = namespace(name, headers);
        Self {
            anchors,
            limits,
            headers,
            policy,
            namespace,
            cache,
        }
    }

    /// The anchors in force.
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Who may be served.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The set of configurations between which a ticket is honoured. Anchors and policy are not part of it: they are
    /// looked at anew each time a ticket comes, so that adding an anchor does not throw a fleet's tickets away.
    pub fn resumption_scope(&self) -> [u8; 32] {
        self.namespace
    }

    /// Verifies what a device presented, or remembers having done so. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Why the chain is refused.
    pub fn check(&self, presented: PresentedChain<'_>, now: u64) -> Result<KnownDevice, Refusal> {
        presented.check_limits(&self.limits)?;
        let chain = presented.hash(&self.namespace);
        let lookup = match self
            .cache
            .get(&chain, now, |anchor| self.anchors.trusts(anchor))
        {
            Lookup::Hit(device) => {
                return Ok(KnownDevice {
                    chain,
                    device,
                    lookup: CacheResult::Hit,
                });
            }
            Lookup::Miss => CacheResult::Miss,
            Lookup::Stale => CacheResult::Stale,
        };
        let verified = VerifiedChain::verify(&self.anchors, presented, now)?;
        let device =
            Arc::new(Identified::from_chain(&verified, self.headers).map_err(Refusal::NoIdentity)?);
        self.cache.insert(chain, &verified, Arc::clone(&device));
        Ok(KnownDevice {
            chain,
            device,
            lookup,
        })
    }

    /// Looks up a chain that a ticket names, without the chain itself. `None` when only [`TrustDomain::check`] can tell.
    pub fn recall(&self, chain: ChainHash, now: u64) -> Option<KnownDevice> {
        match self
            .cache
            .get(&chain, now, |anchor| self.anchors.trusts(anchor))
        {
            Lookup::Hit(device) => Some(KnownDevice {
                chain,
                device,
                lookup: CacheResult::Hit,
            }),
            Lookup::Miss | Lookup::Stale => None,
        }
    }
}

fn namespace(name: &str, headers: headers::Settings) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"fleetgate trust domain v1");
    context.update(&(name.len() as u64).to_be_bytes());
    context.update(name.as_bytes());
    context.update(&[u8::from(headers.client_cert_chain)]);
    let mut namespace = [0; 32];
    namespace.copy_from_slice(context.finish().as_ref());
    namespace
}
