//! Any bytes as a revocation list: what the trusted authority did not sign is never believed, and what it did sign revokes
//! whatever it names.

#![no_main]

use std::sync::{Arc, LazyLock};

use gateway::verify::revocation::{
    Authority, Coverage, RevocationKey, RevocationSet, Role, Status, parse, verify_list,
};
use gateway_fuzz::der;
use gateway_fuzz::pki::{self, NOW};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

static ANCHOR: LazyLock<Vec<u8>> = LazyLock::new(pki::anchor);

static AUTHORITY: LazyLock<Authority<'static>> =
    LazyLock::new(|| Authority::from_certificate(&ANCHOR).expect("an authority's certificate"));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    gateway_fuzz::mutate::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let verified = verify_list(data, std::slice::from_ref(&AUTHORITY));
    assert!(verified.is_err() || pki::is_signed(data), "a forged list");
    let Ok(parsed) = parse(data) else {
        assert!(verified.is_err(), "believed, and cannot be parsed");
        return;
    };
    assert!(!parsed.issuer_name().contains(char::is_control));

    let signed = pki::resign(data).expect("what can be parsed can be taken apart");
    let Ok(list) = verify_list(&signed, std::slice::from_ref(&AUTHORITY)) else {
        return;
    };
    assert_eq!(list.issuer(), AUTHORITY.id());
    assert!(list.entries() <= parsed.len());
    let is_delta = list.is_delta();
    let (set, _) = RevocationSet::new([Arc::new(list)], None);
    assert_eq!(set.lists().count(), usize::from(!is_delta));
    if is_delta {
        return;
    }
    let coverage = Coverage::new(Role::EndEntity, None);
    for serial in serials(&signed).expect("the serial numbers of a good list") {
        let key = RevocationKey::new(&AUTHORITY.id(), serial);
        let status = set.status(&AUTHORITY.id(), &key, &coverage, NOW);
        assert!(matches!(status, Status::Revoked(_)), "{serial:02x?}");
    }
});

/// The serial numbers on a list: what follows the last time is the list of entries.
fn serials(list: &[u8]) -> Option<Vec<&[u8]>> {
    let parts = der::elements(der::contents(list)?)?;
    let fields = der::elements(der::contents(parts.first()?)?)?;
    let is_time = |field: &&[u8]| matches!(field.first(), Some(0x17 | 0x18));
    let after = fields.iter().rposition(is_time)? + 1;
    let Some([der::SEQUENCE, ..]) = fields.get(after) else {
        return Some(Vec::new());
    };
    der::elements(der::contents(fields.get(after)?)?)?
        .into_iter()
        .map(|entry| der::contents(der::elements(der::contents(entry)?)?.first()?))
        .collect()
}
