//! The table `[fleet]` of a plan file.

use std::path::Path;

use super::section::Section;
use crate::plan::FleetSpec;
use crate::plan::fleet::{Identities, Mint};

/// Reads where the devices come from, and how many they are.
pub(super) fn read(mut section: Section<'_>, base: &Path) -> (Option<FleetSpec>, Option<usize>) {
    let pki = section.file("pki", base);
    let next_pki = section.file("next_pki", base);
    let mint_ca = section.file("mint_ca", base);
    let mint_key = section.file("mint_key", base);
    let keys = section.parsed("keys", str::parse);
    let ca = section.file("ca", base);
    let faults = section.file("faults", base);
    let bad = section.parsed("bad", str::parse).unwrap_or_default();
    let devices = section.count("devices", 1);
    let minted = mint_ca.is_some() || mint_key.is_some();
    if pki.is_some() && minted {
        section.lacks(
            "",
            "devices come from a folder (pki) or are minted (mint_ca), not both",
        );
    }
    for (given, key, with) in [
        (next_pki.is_some(), "next_pki", "pki"),
        (keys.is_some(), "keys", "mint_ca"),
        (mint_ca.is_some(), "mint_ca", "mint_key"),
        (mint_key.is_some(), "mint_key", "mint_ca"),
    ] {
        if given && !section.is_given(with) {
            section.lacks(key, format!("means nothing without {with}"));
        }
    }
    let identities = match (pki, mint_ca, mint_key) {
        (Some(pki), _, _) => Some(Identities::Folder { pki, next_pki }),
        (None, Some(ca), Some(key)) => Some(Identities::Minted {
            mint: Mint {
                ca,
                key,
                keys: keys.unwrap_or_default(),
            },
        }),
        _ => None,
    };
    section.finish();
    let spec = identities.map(|identities| FleetSpec {
        identities,
        ca,
        faults,
        bad,
    });
    (spec, devices)
}
