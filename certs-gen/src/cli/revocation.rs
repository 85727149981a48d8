//! What revoke, crl and renew call, and what they say of the outcome.

use anyhow::Result;
use certs_gen::crl::{CrlSpec, write};
use certs_gen::renew::{RenewSpec, renew as renew_device};
use certs_gen::revocation::{RevokeSpec, revoke as record};

use super::arguments::{CrlArguments, RenewArguments, RevokeArguments};
use super::commands::{in_words, print};

pub(crate) fn revoke(arguments: &RevokeArguments) -> Result<()> {
    let outcomes = record(&RevokeSpec {
        ca: arguments.ca.clone(),
        devices: arguments.devices.clone(),
        intermediates: arguments.intermediates.clone(),
        serials: arguments.serials.clone(),
        issuer: arguments.issuer,
        reason: arguments.reason,
    })?;
    let mut text = String::new();
    for outcome in outcomes {
        let entry = outcome.revocation;
        let name = entry.name.map(|name| name + ", ").unwrap_or_default();
        let verb = if outcome.already {
            format!("already revoked on {}:", in_words(entry.date))
        } else {
            "revoked".to_owned()
        };
        text += &format!("{verb} {name}serial {} of {}\n", entry.serial, entry.issuer);
    }
    print(&text)
}

pub(crate) fn crl(arguments: &CrlArguments) -> Result<()> {
    let made = write(&CrlSpec {
        ca: arguments.ca.clone(),
        next_update: arguments.next_update,
        pad: arguments.pad,
        seed: arguments.seed,
        delta: arguments.delta,
        der: arguments.der,
    })?;
    let kind = match made.base {
        Some(base) => format!("delta {} to {base}", made.number),
        None => format!("list {}", made.number),
    };
    let until = in_words(made.next_update);
    let mut text = String::new();
    for list in made.lists {
        let (path, revoked) = (list.path.display(), list.revoked);
        text += &format!("{path}: {kind}, {revoked} revoked, next update by {until}\n");
    }
    print(&text)
}

pub(crate) fn renew(arguments: &RenewArguments) -> Result<()> {
    let renewed = renew_device(&RenewSpec {
        ca: arguments.ca.clone(),
        device: arguments.device.clone(),
        validity: arguments.validity,
        new_key: arguments.new_key,
    })?;
    print(&format!(
        "renewed {}, valid until {}, in {}: serial {} in place of {}, both of {}\n",
        arguments.device,
        in_words(renewed.not_after),
        renewed.path.display(),
        renewed.new_serial,
        renewed.old_serial,
        renewed.issuer,
    ))
}
