//! A trust domain: anchors, limits, identity rule, revocation, policy, cache namespace and resumption scope that belong
//! together. A presented chain goes in, an identified device comes out.
//!
//! Nothing is shared between domains but storage (the cache of verified chains, the administrator's orders), and there the
//! domain's namespace or name keeps them apart. It terminates no TLS: `tls::session` asks it from inside the handshake.

pub mod denylist;
pub mod domains;
pub mod names;
pub mod revocation;

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::authorize::{self, Denied, Permit, Policy, Revocation, Standing};
use crate::headers;
use crate::identity::{Identified, Rule};
use crate::ocsp::client::Checker;
use crate::ocsp::subject::{Issuer, Subject};
use crate::ocsp::{self, Mode, Outcome};
use crate::verify::cache::{CacheKey, ChainCache, ChainHash, Lookup};
use crate::verify::{
    self, AuthorityCertificate, PresentedChain, Refusal, Rules, TrustMaterial, VerifiedChain,
};
use denylist::Denylist;
use names::NamePattern;
use revocation::{Finding, Revocations};

/// The name of the default trust domain.
pub const DEFAULT: &str = "default";

/// What the cache remembers of a verified chain.
#[derive(Debug)]
pub struct Remembered {
    device: Arc<Identified>,
    /// What to ask a responder about; `None` where none is asked.
    subject: Option<Subject>,
}

/// The verified-chain cache as the gateway keeps it.
pub type DeviceCache = ChainCache<Remembered>;

/// Whether a client must present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No handshake succeeds without one.
    Required,
    /// A client without one is let in as nobody, and reaches only routes that allow that. One with a bad certificate is
    /// refused all the same.
    Optional,
}

/// What an operator says about a trust domain, apart from the files it names.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name in metrics, logs and orders; part of its cache namespace and its resumption scope.
    pub name: Arc<str>,
    /// The server names that choose it. The default domain needs none.
    pub server_names: Vec<NamePattern>,
    /// Whether a client must present a certificate.
    pub client_auth: ClientAuth,
    /// Bounds on what a device may present.
    pub limits: verify::Settings,
    /// What its chain must fulfil beyond RFC 5280.
    pub rules: Rules,
    /// Where in its certificate the device id is.
    pub identity: Rule,
    /// Which identity headers are prepared for a device.
    pub headers: headers::Settings,
    /// Who may be served.
    pub policy: Policy,
    /// What is done where the revocation lists do not answer.
    pub revocation: revocation::Policy,
    /// Whether a responder is asked about a device's certificate, and what is done where it does not answer.
    pub ocsp: Mode,
}

/// A trust domain in force.
#[derive(Debug)]
pub struct TrustDomain {
    settings: Settings,
    material: TrustMaterial,
    namespace: [u8; 32],
    rules: RulesId,
    cache: Arc<DeviceCache>,
    sources: Sources,
}

/// What a trust domain shares with those before and after it, or with others.
#[derive(Debug, Default)]
pub struct Sources {
    /// Its revocation lists.
    pub revocations: Arc<Revocations>,
    /// What an administrator revoked by hand.
    pub denylist: Arc<Denylist>,
    /// Who asks responders; `None` where the mode is off.
    pub responders: Option<Arc<Checker>>,
}

/// A chain that was found good just now.
#[derive(Debug, Clone)]
pub struct KnownDevice {
    /// The hash under which the cache holds it.
    pub chain: ChainHash,
    /// Whose it is.
    pub device: Arc<Identified>,
    /// What to ask a responder about.
    pub subject: Option<Subject>,
    /// What the cache said.
    pub lookup: CacheResult,
    /// What the revocation lists said; `None` where none are asked.
    pub finding: Option<Finding>,
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
    /// The domain of `settings` with its trust material.
    pub fn new(
        settings: Settings,
        material: TrustMaterial,
        cache: Arc<DeviceCache>,
        sources: Sources,
    ) -> Self {
        Self {
            namespace: namespace(&settings),
            rules: rules(&settings),
            settings,
            material,
            cache,
            sources,
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What the operator says about it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What chains are verified with.
    pub fn material(&self) -> &TrustMaterial {
        &self.material
    }

    /// The revocation lists in force.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.sources.revocations
    }

    /// The authorities whose certificates are refused for want of a list, although lists are asked and none is to be fetched.
    pub fn without_list(&self) -> Vec<&AuthorityCertificate> {
        let policy = &self.settings.revocation;
        if !policy.asked || policy.accept_unknown_issuer || policy.fetches {
            return Vec::new();
        }
        let set = self.sources.revocations.set();
        let authorities = self.material.anchors().iter();
        authorities
            .chain(self.material.intermediates())
            .filter(|authority| !set.has_list_of(authority.id()))
            .collect()
    }

    /// Names the rules by which a chain becomes a device here. Whoever was verified by others may not be who they were then.
    pub fn rules(&self) -> RulesId {
        self.rules
    }

    /// The set of configurations between which a ticket is honoured. Anchors, lists and policy are not part of it: they
    /// are looked at anew each time a ticket comes, so that changing them does not throw a fleet's tickets away.
    pub fn resumption_scope(&self) -> [u8; 32] {
        hash(&[
            b"fleetgate resumption scope v1",
            self.settings.name.as_bytes(),
            &[u8::from(self.settings.client_auth == ClientAuth::Required)],
        ])
    }

    /// Verifies what a device presented, or remembers having done so. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Why the chain is refused.
    pub fn check(&self, presented: PresentedChain<'_>, now: u64) -> Result<KnownDevice, Refusal> {
        presented.check_limits(&self.settings.limits)?;
        let chain = presented.hash();
        let key = chain.key(&self.namespace);
        let (known, lookup) = match self.look_up(&key, now) {
            Lookup::Hit(known) => (known, CacheResult::Hit),
            Lookup::Miss => (self.verify(key, presented, now)?, CacheResult::Miss),
            Lookup::Stale => (self.verify(key, presented, now)?, CacheResult::Stale),
        };
        match self.revocation(&known.device, now) {
            (finding, Revocation::Good) => Ok(KnownDevice {
                chain,
                device: Arc::clone(&known.device),
                subject: known.subject.clone(),
                lookup,
                finding,
            }),
            (_, Revocation::Revoked) => Err(Refusal::Revoked),
            (_, Revocation::Unknown) => Err(Refusal::RevocationUnknown),
        }
    }

    /// Looks up a chain that a ticket names, without the chain itself. Whether it is revoked is for
    /// [`TrustDomain::authorize`] to say.
    ///
    /// # Errors
    /// Not known, or known and not good any more: only [`TrustDomain::check`] can tell then.
    pub fn recall(&self, chain: ChainHash, now: u64) -> Result<KnownDevice, CacheResult> {
        match self.look_up(&chain.key(&self.namespace), now) {
            Lookup::Hit(known) => Ok(KnownDevice {
                chain,
                device: Arc::clone(&known.device),
                subject: known.subject.clone(),
                lookup: CacheResult::Hit,
                finding: None,
            }),
            Lookup::Miss => Err(CacheResult::Miss),
            Lookup::Stale => Err(CacheResult::Stale),
        }
    }

    /// Who asks responders, where the domain wants that.
    pub fn responders(&self) -> Option<&Arc<Checker>> {
        self.sources.responders.as_ref()
    }

    /// Asks a responder about `subject`, or remembers its answer; and what the domain makes of it. The outcome is for the
    /// metric that counts them, `None` where nobody is asked.
    pub async fn ask_responder(
        &self,
        subject: Option<&Subject>,
        now: u64,
    ) -> (Option<Outcome>, Revocation) {
        let mode = self.settings.ocsp;
        let Some(responders) = &self.sources.responders else {
            return (None, Revocation::Good);
        };
        let Some(subject) = subject else {
            // Nothing in the certificate could be asked about; that is no answer.
            let verdict = match mode {
                Mode::Hard => Revocation::Unknown,
                Mode::Off | Mode::Soft => Revocation::Good,
            };
            return (None, verdict);
        };
        let checked = responders.status(subject, now).await;
        let verdict = match checked.standing {
            ocsp::Standing::Revoked => Revocation::Revoked,
            standing if mode.permits(standing) => Revocation::Good,
            _ => Revocation::Unknown,
        };
        (Some(checked.outcome), verdict)
    }

    /// Authorizes `device` at `now` (seconds since the Unix epoch); `None` is a peer that presented no certificate.
    /// `responder` is what [`TrustDomain::ask_responder`] came to.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn authorize(
        &self,
        device: Option<&Arc<Identified>>,
        responder: Revocation,
        now: u64,
    ) -> Result<Permit, Denied> {
        let Some(device) = device else {
            return authorize::authorize_anonymous(
                self.settings.client_auth == ClientAuth::Optional,
            );
        };
        let standing = Standing {
            anchor_is_trusted: self.material.trusts(device.anchor()),
            revocation: self.revocation(device, now).1,
            responder,
        };
        authorize::authorize(&self.settings.policy, device, standing, now)
    }

    fn look_up(&self, key: &CacheKey, now: u64) -> Lookup<Remembered> {
        self.cache
            .get(key, now, |anchor| self.material.trusts(anchor))
    }

    fn verify(
        &self,
        key: CacheKey,
        presented: PresentedChain<'_>,
        now: u64,
    ) -> Result<Arc<Remembered>, Refusal> {
        let verified = VerifiedChain::verify(&self.material, presented, now)?;
        let settings = &self.settings;
        if settings.revocation.follow_points {
            self.sources.revocations.note_points(&verified);
        }
        let device = Identified::from_chain(&verified, &settings.identity, settings.headers)
            .map_err(Refusal::NoIdentity)?;
        let known = Arc::new(Remembered {
            device: Arc::new(device),
            subject: self
                .sources
                .responders
                .as_ref()
                .and_then(|_| subject(&verified)),
        });
        self.cache.insert(key, &verified, Arc::clone(&known));
        Ok(known)
    }

    fn revocation(&self, device: &Identified, now: u64) -> (Option<Finding>, Revocation) {
        if self.sources.denylist.denies(&self.settings.name, device) {
            return (None, Revocation::Revoked);
        }
        let policy = &self.settings.revocation;
        if !policy.asked {
            return (None, Revocation::Good);
        }
        let (finding, verdict) = self.sources.revocations.ask(device.links(), policy, now);
        (Some(finding), verdict)
    }
}

/// See [`TrustDomain::rules`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RulesId([u8; 8]);

fn rules(settings: &Settings) -> RulesId {
    let [a, b, c, d, e, f, g, h, ..] = hash(&[
        format!("{:?}", settings.rules).as_bytes(),
        format!("{:?}", settings.identity).as_bytes(),
    ]);
    RulesId([a, b, c, d, e, f, g, h])
}

fn subject(chain: &VerifiedChain) -> Option<Subject> {
    let issuer = chain.issuer();
    let issuer = Issuer::from_contents(&issuer.subject, &issuer.public_key).ok()?;
    Subject::new(chain.end_entity(), Arc::new(issuer)).ok()
}

/// Two domains, or one domain before and after a change of what a verdict or the prepared identity depends on, never share
/// an entry of the cache.
fn namespace(settings: &Settings) -> [u8; 32] {
    hash(&[
        b"fleetgate trust domain v2",
        settings.name.as_bytes(),
        format!("{:?}", settings.headers).as_bytes(),
        format!("{:?}", settings.rules).as_bytes(),
        format!("{:?}", settings.identity).as_bytes(),
        &[u8::from(settings.ocsp != Mode::Off)],
    ])
}

/// SHA-256 over `parts`, each with its length before it.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
