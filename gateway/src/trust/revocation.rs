//! The revocation lists of one trust domain: which are in force, and what it means when none speaks about a certificate.
//!
//! The set is swapped in place and outlives reloads, so that a connection or a handshake that began before a new list goes by
//! that list, and nothing keeps an old one in memory. It reads and fetches nothing itself: `verify::revocation` reads files,
//! `refresh` fetches.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::authorize::Revocation;
use crate::fetch::HttpUrl;
use crate::verify::revocation::load::{FileError, Loader};
use crate::verify::revocation::{
    Authority, ListError, RevocationSet, Status, VerifiedList, Warning, distribution_points,
    verify_list,
};

use crate::verify::{Link, TrustMaterial, VerifiedChain};

/// What is done where the lists do not answer. By default none is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whether lists are asked at all: some are configured.
    pub asked: bool,
    /// Whether lists may still come that are not there yet.
    pub fetches: bool,
    /// Whether the distribution points that certificates name are noted, to be fetched.
    pub follow_points: bool,
    /// Whether a certificate is accepted about which no list of its issuer speaks.
    pub accept_unknown_issuer: bool,
    /// For how many seconds after its nextUpdate a list still counts; `None` is for ever.
    pub stale_grace: Option<u64>,
}

/// What the lists said about a chain, the worst of its certificates: the metric label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Current lists speak about every certificate, and none names one.
    Good,
    /// A list is past its nextUpdate.
    Stale,
    /// No list speaks about a certificate.
    NoList,
    /// A list names a certificate.
    Revoked,
}

impl Finding {
    /// Every finding, for the metric that counts them.
    pub const ALL: [Self; 4] = [Self::Good, Self::Stale, Self::NoList, Self::Revoked];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stale => "stale",
            Self::NoList => "no_list",
            Self::Revoked => "revoked",
        }
    }
}

/// How many lists are fetched because certificates name them; more are a mistake of the authority's, or an attack by it.
const MAX_DISTRIBUTION_POINTS: usize = 64;

/// The lists of one trust domain.
#[derive(Debug, Default)]
pub struct Revocations {
    set: ArcSwap<RevocationSet>,
    sources: Mutex<Sources>,
    /// Distribution points that verified certificates named.
    named: Mutex<HashSet<HttpUrl>>,
    named_more: Notify,
}

/// Where the lists in force come from.
#[derive(Debug, Default)]
struct Sources {
    loader: Loader,
    fetched: HashMap<HttpUrl, Arc<VerifiedList>>,
}

/// Lists that were read and verified, to be put into force together with everything else that a reload brings.
#[derive(Debug)]
pub struct Prepared {
    revocations: Arc<Revocations>,
    set: RevocationSet,
    warnings: Vec<Warning>,
}

impl Prepared {
    /// Swaps the set, and says what is odd about its lists.
    pub fn put_into_force(self) -> Vec<Warning> {
        self.revocations.set.store(Arc::new(self.set));
        self.warnings
    }
}

impl Revocations {
    /// Reads the lists in `paths`, to be put into force later, with those that were fetched.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn prepare(
        self: &Arc<Self>,
        paths: &[PathBuf],
        material: &TrustMaterial,
    ) -> Result<Prepared, Vec<FileError>> {
        let authorities = authorities(material);
        let before = self.set.load();
        let mut sources = self.sources.lock();
        let fetched = sources.believed(&authorities);
        let loaded = sources
            .loader
            .load(paths, &authorities, fetched, Some(&before));
        if !loaded.errors.is_empty() {
            return Err(loaded.errors);
        }
        Ok(Prepared {
            revocations: Arc::clone(self),
            set: loaded.set,
            warnings: loaded.warnings,
        })
    }

    /// Puts a list into force that was fetched from `url`. What is odd about the lists now, and when it runs out.
    ///
    /// # Errors
    /// It cannot be used; what was fetched before stays.
    pub fn fetched(
        &self,
        url: &HttpUrl,
        der: &[u8],
        material: &TrustMaterial,
    ) -> Result<Vec<Warning>, ListError> {
        let authorities = authorities(material);
        let list = Arc::new(verify_list(der, &authorities)?);
        let mut sources = self.sources.lock();
        sources.fetched.insert(url.clone(), list);
        let lists = sources
            .loader
            .lists()
            .chain(sources.believed(&authorities))
            .collect::<Vec<_>>();
        let (set, warnings) = RevocationSet::new(lists, Some(&self.set.load()));
        self.set.store(Arc::new(set));
        Ok(warnings)
    }

    /// When the list that was fetched from `url` runs out, in seconds since the Unix epoch.
    pub fn next_update_of(&self, url: &HttpUrl) -> Option<u64> {
        let sources = self.sources.lock();
        sources.fetched.get(url).map(|list| list.next_update())
    }

    /// Forgets what was fetched from elsewhere than `urls`; it goes out of force with the next set.
    pub fn keep_fetched(&self, urls: &HashSet<HttpUrl>) {
        self.sources
            .lock()
            .fetched
            .retain(|url, _| urls.contains(url));
    }

    /// Notes the distribution points that a verified chain names, as far as they can be fetched.
    pub fn note_points(&self, chain: &VerifiedChain) {
        let certificates = std::iter::once(chain.end_entity()).chain(chain.intermediates());
        let urls: Vec<HttpUrl> = certificates
            .flat_map(|der| distribution_points(der))
            .filter_map(|url| url.parse().ok())
            .collect();
        let mut named = self.named.lock();
        let before = named.len();
        for url in urls {
            if named.len() < MAX_DISTRIBUTION_POINTS {
                named.insert(url);
            }
        }
        if named.len() > before {
            self.named_more.notify_one();
        }
    }

    /// The distribution points that verified chains named so far.
    pub fn named(&self) -> HashSet<HttpUrl> {
        self.named.lock().clone()
    }

    /// Ready when a chain has named one that none named before.
    pub async fn named_more(&self) {
        self.named_more.notified().await;
    }

    /// The lists in force.
    pub fn set(&self) -> arc_swap::Guard<Arc<RevocationSet>> {
        self.set.load()
    }

    /// What the lists say at `now` (seconds since the Unix epoch) about the certificates of a path, and what `policy` makes
    /// of it.
    pub fn ask(&self, links: &[Link], policy: &Policy, now: u64) -> (Finding, Revocation) {
        let set = self.set.load();
        let (mut worst, mut verdict) = (Finding::Good, Revocation::Good);
        for link in links {
            let (finding, accepted) = match set.status(&link.issuer, &link.key, &link.coverage, now)
            {
                Status::Good => continue,
                Status::Revoked(_) => return (Finding::Revoked, Revocation::Revoked),
                Status::NoList => (Finding::NoList, policy.accept_unknown_issuer),
                Status::Stale { since } => {
                    let in_grace = |grace| now <= since.saturating_add(grace);
                    (Finding::Stale, policy.stale_grace.is_none_or(in_grace))
                }
            };
            worst = worst.max(finding);
            if !accepted {
                verdict = Revocation::Unknown;
            }
        }
        (worst, verdict)
    }
}

impl Sources {
    /// What was fetched and whose issuer may (still) sign lists.
    fn believed(&self, authorities: &[Authority<'_>]) -> Vec<Arc<VerifiedList>> {
        let believed = |list: &&Arc<VerifiedList>| {
            authorities
                .iter()
                .any(|authority| authority.id() == list.issuer() && authority.may_sign_lists())
        };
        self.fetched.values().filter(believed).cloned().collect()
    }
}

/// Who may have issued a list: every authority that the operator named.
fn authorities(material: &TrustMaterial) -> Vec<Authority<'_>> {
    material
        .anchors()
        .iter()
        .chain(material.intermediates())
        // They were parsed when they were loaded.
        .filter_map(|authority| Authority::from_certificate(authority.der()).ok())
        .collect()
}
