//! The revocation set: the lists in force, and what they say about a certificate.
//!
//! Immutable and swapped whole. A list that did not change is shared by the old set and the new one, and nothing but
//! sets keeps a list alive. The set judges no connection: what a stale or missing list means for a device is policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::issuer::VerifiedList;
use super::list::ListNumber;
use super::reason::Reason;
use super::scope::{Coverage, Scope};
use super::table::RevocationKey;
use crate::verify::authority::AuthorityId;

/// What the lists say about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A current list speaks about it and none names it.
    Good,
    /// A list of its issuer names it; that this list is stale or meant for others does not make it good.
    Revoked(Reason),
    /// No list of its issuer speaks about it.
    NoList,
    /// No list names it, but every list that speaks about it is past its nextUpdate.
    Stale {
        /// The latest nextUpdate, in seconds since the Unix epoch.
        since: u64,
    },
}

/// A list in force, in words and figures: with its delta list, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListInfo {
    /// The issuer's name.
    pub issuer: String,
    /// How many certificates it revokes.
    pub entries: usize,
    /// When it was issued, in seconds since the Unix epoch.
    pub this_update: u64,
    /// When it goes stale, in seconds since the Unix epoch.
    pub next_update: u64,
    /// Its number, if it has one.
    pub number: Option<ListNumber>,
}

/// All revocation lists in force.
#[derive(Debug, Default)]
pub struct RevocationSet {
    issuers: BTreeMap<AuthorityId, Vec<Applied>>,
}

/// A full list, and the newest delta list that fits it.
#[derive(Debug)]
struct Applied {
    full: Arc<VerifiedList>,
    delta: Option<Arc<VerifiedList>>,
    info: ListInfo,
}

/// A list that was well-formed and signed, and still is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A newer list of the same issuer and scope was given with it.
    #[error("list {} of {issuer} is superseded by list {} and can be removed", shown(.number), shown(.newer))]
    Superseded {
        /// The issuer's name.
        issuer: String,
        /// The number of the list that is not used.
        number: Option<ListNumber>,
        /// The number of the list that is used.
        newer: Option<ListNumber>,
    },
    /// It is older than the list in force, which stays.
    #[error("list {} of {issuer} is older than list {}, which stays in force", shown(.number), shown(.newer))]
    Rollback {
        /// The issuer's name.
        issuer: String,
        /// The number of the list that is not used; `None` also where a delta list has disappeared.
        number: Option<ListNumber>,
        /// The number of the list that stays.
        newer: Option<ListNumber>,
    },
    /// A delta list whose full list is missing, or older than the delta list's base.
    #[error("delta list {} of {issuer} needs a full list of number {base} or later", shown(.number))]
    DeltaWithoutBase {
        /// The issuer's name.
        issuer: String,
        /// The delta list's number.
        number: Option<ListNumber>,
        /// The lowest number of a full list that it can be applied to.
        base: ListNumber,
    },
    /// A delta list that is older than the full list.
    #[error("delta list {} of {issuer} is older than full list {}", shown(.number), shown(.full))]
    DeltaOutdated {
        /// The issuer's name.
        issuer: String,
        /// The delta list's number.
        number: Option<ListNumber>,
        /// The full list's number.
        full: Option<ListNumber>,
    },
}

fn shown(number: &Option<ListNumber>) -> String {
    number.map_or_else(
        || "without a number".to_owned(),
        |number| number.to_string(),
    )
}

impl RevocationSet {
    /// Puts `lists` into force: for each issuer and scope the newest full list by number and thisUpdate, and the newest
    /// delta list that fits it. A list of `previous`, the set in force until now, stays where it is newer than what
    /// would replace it, so that nothing revoked is forgotten by accident; it goes where `lists` has no full list of its
    /// issuer and scope at all.
    pub fn new(
        lists: impl IntoIterator<Item = Arc<VerifiedList>>,
        previous: Option<&Self>,
    ) -> (Self, Vec<Warning>) {
        let mut groups: BTreeMap<(AuthorityId, Scope), Vec<Arc<VerifiedList>>> = BTreeMap::new();
        for list in lists {
            let group = groups.entry((list.issuer, list.scope.clone()));
            group.or_default().push(list);
        }
        let mut warnings = Vec::new();
        let mut issuers: BTreeMap<AuthorityId, Vec<Applied>> = BTreeMap::new();
        for ((issuer, scope), lists) in groups {
            let before = previous.and_then(|previous| previous.list(&issuer, &scope));
            if let Some(applied) = Applied::choose(lists, before, &mut warnings) {
                issuers.entry(issuer).or_default().push(applied);
            }
        }
        (Self { issuers }, warnings)
    }

    fn list(&self, issuer: &AuthorityId, scope: &Scope) -> Option<&Applied> {
        let lists = self.issuers.get(issuer)?;
        lists.iter().find(|applied| applied.full.scope == *scope)
    }

    /// What is known at `now` (seconds since the Unix epoch) about a certificate of `issuer`.
    pub fn status(
        &self,
        issuer: &AuthorityId,
        key: &RevocationKey,
        coverage: &Coverage,
        now: u64,
    ) -> Status {
        let lists = self.issuers.get(issuer).map_or(&[][..], Vec::as_slice);
        if let Some(reason) = lists.iter().find_map(|list| list.reason(*key)) {
            return Status::Revoked(reason);
        }
        let next_update = lists
            .iter()
            .filter(|list| list.full.scope.covers(coverage))
            .map(|list| list.info.next_update)
            .max();
        match next_update {
            None => Status::NoList,
            Some(since) if since <= now => Status::Stale { since },
            Some(_) => Status::Good,
        }
    }

    /// Whether a list of `issuer` is in force.
    pub fn has_list_of(&self, issuer: &AuthorityId) -> bool {
        self.issuers.contains_key(issuer)
    }

    /// The lists in force. An issuer can have several, of different scopes.
    pub fn lists(&self) -> impl Iterator<Item = &ListInfo> {
        self.issuers.values().flatten().map(|list| &list.info)
    }

    /// Whether `list` is in force in this set.
    pub(super) fn uses(&self, list: &Arc<VerifiedList>) -> bool {
        self.issuers.values().flatten().any(|applied| {
            Arc::ptr_eq(&applied.full, list)
                || applied
                    .delta
                    .as_ref()
                    .is_some_and(|delta| Arc::ptr_eq(delta, list))
        })
    }
}

impl Applied {
    fn choose(
        lists: Vec<Arc<VerifiedList>>,
        before: Option<&Self>,
        warnings: &mut Vec<Warning>,
    ) -> Option<Self> {
        let (deltas, fulls): (Vec<_>, Vec<_>) = lists.into_iter().partition(|list| list.is_delta());
        let full = choose_full(fulls, before.map(|before| &before.full), warnings);
        let Some(full) = full else {
            warnings.extend(deltas.iter().filter_map(|delta| without_base(delta)));
            return None;
        };
        let before = before.and_then(|before| before.delta.as_ref());
        let delta = choose_delta(&full, deltas, before, warnings);
        let info = info(&full, delta.as_deref());
        Some(Self { full, delta, info })
    }

    fn reason(&self, key: RevocationKey) -> Option<Reason> {
        let changed = self.delta.as_ref().and_then(|delta| delta.table.get(key));
        match changed {
            Some(Reason::RemoveFromList) => None,
            Some(reason) => Some(reason),
            None => self.full.table.get(key),
        }
    }
}

fn choose_full(
    lists: Vec<Arc<VerifiedList>>,
    before: Option<&Arc<VerifiedList>>,
    warnings: &mut Vec<Warning>,
) -> Option<Arc<VerifiedList>> {
    let newest = newest(lists, warnings)?;
    match before {
        Some(before) if is_newer(before, &newest) => {
            warnings.push(Warning::Rollback {
                issuer: newest.issuer_name.clone(),
                number: newest.number,
                newer: before.number,
            });
            Some(Arc::clone(before))
        }
        _ => Some(newest),
    }
}

fn choose_delta(
    full: &VerifiedList,
    deltas: Vec<Arc<VerifiedList>>,
    before: Option<&Arc<VerifiedList>>,
    warnings: &mut Vec<Warning>,
) -> Option<Arc<VerifiedList>> {
    let mut fitting = Vec::new();
    for delta in deltas {
        if full.number < delta.base_number {
            warnings.extend(without_base(&delta));
        } else if delta.number > full.number {
            fitting.push(delta);
        } else if delta.number < full.number {
            warnings.push(Warning::DeltaOutdated {
                issuer: delta.issuer_name.clone(),
                number: delta.number,
                full: full.number,
            });
        }
        // With the number of the full list it says the same as that (RFC 5280, section 5.2.3).
    }
    let newest = newest(fitting, warnings);
    let before =
        before.filter(|before| full.number >= before.base_number && before.number > full.number);
    match (newest, before) {
        (Some(newest), Some(before)) if !is_newer(before, &newest) => Some(newest),
        (newest, Some(before)) => {
            warnings.push(Warning::Rollback {
                issuer: before.issuer_name.clone(),
                number: newest.and_then(|newest| newest.number),
                newer: before.number,
            });
            Some(Arc::clone(before))
        }
        (newest, None) => newest,
    }
}

/// The newest of `lists`, of equals the first, with a warning about each of the others.
fn newest(lists: Vec<Arc<VerifiedList>>, warnings: &mut Vec<Warning>) -> Option<Arc<VerifiedList>> {
    lists.into_iter().reduce(|best, list| {
        let (newer, older) = match is_newer(&list, &best) {
            true => (list, best),
            false => (best, list),
        };
        // The very same list in two files is no news.
        if is_newer(&newer, &older) {
            warnings.push(Warning::Superseded {
                issuer: older.issuer_name.clone(),
                number: older.number,
                newer: newer.number,
            });
        }
        newer
    })
}

/// By number, then by thisUpdate. Without two numbers thisUpdate alone decides.
fn is_newer(one: &VerifiedList, other: &VerifiedList) -> bool {
    match (one.number, other.number) {
        (Some(one_number), Some(other_number)) => {
            (one_number, one.this_update) > (other_number, other.this_update)
        }
        _ => one.this_update > other.this_update,
    }
}

fn without_base(delta: &VerifiedList) -> Option<Warning> {
    Some(Warning::DeltaWithoutBase {
        issuer: delta.issuer_name.clone(),
        number: delta.number,
        base: delta.base_number?,
    })
}

fn info(full: &VerifiedList, delta: Option<&VerifiedList>) -> ListInfo {
    let mut info = ListInfo {
        issuer: full.issuer_name.clone(),
        entries: full.entries(),
        this_update: full.this_update,
        next_update: full.next_update,
        number: full.number,
    };
    if let Some(delta) = delta {
        for (key, reason) in delta.table.iter() {
            match (reason, full.table.get(key)) {
                (Reason::RemoveFromList, Some(_)) => info.entries -= 1,
                (Reason::RemoveFromList, None) | (_, Some(_)) => {}
                (_, None) => info.entries += 1,
            }
        }
        info.this_update = delta.this_update;
        info.next_update = info.next_update.max(delta.next_update);
        info.number = delta.number;
    }
    info
}
