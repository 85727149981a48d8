//! A flat table of revoked certificates: sixteen bytes each and no pointer, built once and never changed.
//!
//! Open addressing. The keys are cryptographic hashes already, so their upper bits choose the place, and nobody can aim
//! at one. At most two thirds of the places are taken, so that a certificate that is not revoked is recognized within a
//! cache line or two.

use std::fmt;

use aws_lc_rs::digest;

use super::list::without_leading_zeros;
use super::reason::Reason;
use crate::verify::authority::AuthorityId;

/// The low bits of a place hold the reason, plus one: an empty place is zero.
const REASON_BITS: u128 = 0xf;

/// Names one certificate of one issuer: the first 124 bits of SHA-256 over the issuer's id and the serial number.
/// Computed once for every cached chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RevocationKey(u128);

impl RevocationKey {
    /// Of the certificate with this serial number, big-endian; leading zeros do not matter.
    pub fn new(issuer: &AuthorityId, serial: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(issuer.as_bytes());
        context.update(without_leading_zeros(serial));
        let hash = context.finish();
        let bits = hash
            .as_ref()
            .iter()
            .take(16)
            .fold(0, |bits, byte| (bits << 8) | u128::from(*byte));
        Self(bits & !REASON_BITS)
    }
}

/// Revoked certificates, each with its reason.
pub(super) struct Table {
    places: Box<[u128]>,
    count: usize,
}

// By hand, so that a stray `{:?}` does not print a million hashes.
impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Table")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Of up to `most` entries; further ones would not find a place. Where a certificate is named twice, a revocation
    /// goes before a removal.
    pub(super) fn new(most: usize, entries: impl Iterator<Item = (RevocationKey, Reason)>) -> Self {
        let size = most.saturating_add(most / 2).saturating_add(1);
        let mut table = Self {
            places: vec![0; size].into(),
            count: 0,
        };
        for (key, reason) in entries.take(most) {
            table.put(key, reason);
        }
        table
    }

    fn put(&mut self, key: RevocationKey, reason: Reason) {
        let Some(place) = self
            .probe(key)
            .find(|place| is_free_or(key, self.at(*place)))
        else {
            return;
        };
        let taken = self.at(place) != 0;
        if let Some(place) = self.places.get_mut(place)
            && !(taken && reason == Reason::RemoveFromList)
        {
            *place = key.0 | (reason as u128 + 1);
            self.count += usize::from(!taken);
        }
    }

    pub(super) fn get(&self, key: RevocationKey) -> Option<Reason> {
        let found = self
            .probe(key)
            .map(|place| self.at(place))
            .find(|found| is_free_or(key, *found))?;
        reason_of(found)
    }

    /// How many certificates it names.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The bytes that it occupies.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RevocationKey, Reason)> {
        self.places
            .iter()
            .filter_map(|place| Some((RevocationKey(place & !REASON_BITS), reason_of(*place)?)))
    }

    /// The places at which `key` may be, in turn: all of them, from the one that its upper bits choose.
    fn probe(&self, key: RevocationKey) -> impl Iterator<Item = usize> + use<> {
        let size = self.places.len();
        let start = (key.0 >> 64).wrapping_mul(size as u128) >> 64;
        let start = usize::try_from(start).unwrap_or(0);
        (start..size).chain(0..start)
    }

    fn at(&self, place: usize) -> u128 {
        self.places.get(place).copied().unwrap_or(0)
    }
}

fn is_free_or(key: RevocationKey, place: u128) -> bool {
    place == 0 || place & !REASON_BITS == key.0
}

fn reason_of(place: u128) -> Option<Reason> {
    let number = u8::try_from(place & REASON_BITS).ok()?.checked_sub(1)?;
    Reason::from_number(number)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn key(serial: u64) -> RevocationKey {
        RevocationKey::new(&AuthorityId::new(b"name", b"key"), &serial.to_be_bytes())
    }

    #[test]
    fn a_key_is_of_issuer_and_serial_number_without_leading_zeros() {
        let one = AuthorityId::new(b"one", b"key");
        let other = AuthorityId::new(b"other", b"key");
        let key = RevocationKey::new(&one, &[1, 2]);
        assert_eq!(key, RevocationKey::new(&one, &[0, 0, 1, 2]));
        assert_ne!(key, RevocationKey::new(&one, &[1, 2, 0]));
        assert_ne!(key, RevocationKey::new(&other, &[1, 2]));
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        let table = Table::new(0, std::iter::empty());
        assert_eq!(table.get(key(1)), None);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_revocation_goes_before_a_removal_whatever_their_order() {
        let hold = (key(1), Reason::CertificateHold);
        let removal = (key(1), Reason::RemoveFromList);
        for entries in [[hold, removal], [removal, hold]] {
            let table = Table::new(2, entries.into_iter());
            assert_eq!(table.get(key(1)), Some(Reason::CertificateHold));
            assert_eq!(table.len(), 1);
        }
    }

    #[test]
    fn a_full_table_still_ends_its_search() {
        let table = Table {
            places: (0..3)
                .map(|serial| key(serial).0 | 1)
                .collect::<Vec<_>>()
                .into(),
            count: 3,
        };
        assert_eq!(table.get(key(9)), None);
    }

    proptest! {
        #[test]
        fn says_what_a_map_says(
            entries in prop::collection::vec((any::<u8>(), 0_u8..7), 0..300),
            asked in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let entries: HashMap<RevocationKey, Reason> = entries
                .into_iter()
                .map(|(serial, reason)| (key(serial.into()), Reason::from_number(reason).unwrap()))
                .collect();
            let table = Table::new(entries.len(), entries.clone().into_iter());
            assert_eq!(table.len(), entries.len());
            assert_eq!(table.iter().collect::<HashMap<_, _>>(), entries);
            for serial in asked {
                let key = key(serial.into());
                assert_eq!(table.get(key), entries.get(&key).copied());
            }
        }
    }
}
