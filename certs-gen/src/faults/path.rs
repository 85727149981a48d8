//! Faults of what is above the device's certificate: intermediates, the chain as it is presented, the trust anchor.

use time::Duration;

use super::forge::{Template, basic_constraints, key_usage, permitted_dns};
use super::obsolete;
use super::workshop::{CRL_SIGN, DIGITAL_SIGNATURE, KEY_CERT_SIGN, Workshop};
use crate::IssueError;
use crate::authority::{Authority, AuthoritySpec, SubjectAltName};
use crate::credential::Credential;
use crate::key::{KeyKind, PrivateKey};

/// Copies of an intermediate, and the bytes that the whole chain may have: TLS stacks cut messages at 64 KiB.
const COPIES: usize = 100;
const LONGEST_CHAIN: usize = 60_000;

type Made = Result<Credential, IssueError>;

pub(super) fn wrong_anchor(workshop: &Workshop) -> Made {
    Authority::trust_anchor(&AuthoritySpec::new("Fault wrong-anchor trust anchor"))?
        .intermediate(&workshop.intermediate("wrong-anchor"))?
        .issue(&workshop.device("wrong-anchor"))
}

pub(super) fn authority_as_device(workshop: &Workshop) -> Made {
    let device = workshop.device("authority-as-device");
    let key = PrivateKey::generate(KeyKind::P256)?;
    let anchor = &workshop.anchor;
    let mut template = Template::device(&device, &key, anchor.subject_der()?, &anchor.key_id()?)?;
    template.remove(&basic_constraints(false, None));
    template.remove(&key_usage(DIGITAL_SIGNATURE));
    // All that a device has too, so that nothing else is wrong.
    let usages = key_usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN | CRL_SIGN);
    template
        .extensions
        .extend([usages, basic_constraints(true, Some(0))]);
    Ok(Credential {
        chain: vec![template.signed_by(anchor.key())?],
        key: key.pkcs8_der().to_vec(),
    })
}

pub(super) fn path_length_exceeded(workshop: &Workshop) -> Made {
    let below = AuthoritySpec::new("Fault path-length-exceeded lower intermediate");
    workshop
        .anchor
        .intermediate(&workshop.intermediate("path-length-exceeded"))?
        .intermediate(&below)?
        .issue(&workshop.device("path-length-exceeded"))
}

pub(super) fn name_constraint_violated(workshop: &Workshop) -> Made {
    const FAULT: &str = "name-constraint-violated";
    let mut device = workshop.device(FAULT);
    let outside = SubjectAltName::Dns("device.elsewhere.example".to_owned());
    device.subject_alt_names.push(outside);
    workshop.below_spoiled(FAULT, &device, |intermediate| {
        intermediate.extensions.push(permitted_dns("fleet.example"));
    })
}

pub(super) fn intermediate_expired(workshop: &Workshop) -> Made {
    const FAULT: &str = "intermediate-expired";
    let mut spec = workshop.intermediate(FAULT);
    spec.not_before = workshop.now - Duration::days(2);
    spec.not_after = workshop.now - Duration::DAY;
    workshop
        .anchor
        .intermediate(&spec)?
        .issue(&workshop.device(FAULT))
}

pub(super) fn intermediate_without_ca(workshop: &Workshop) -> Made {
    const FAULT: &str = "intermediate-without-ca";
    workshop.below_spoiled(FAULT, &workshop.device(FAULT), |intermediate| {
        intermediate.remove(&basic_constraints(true, Some(0)));
        intermediate.extensions.push(basic_constraints(false, None));
    })
}

pub(super) fn intermediate_without_key_cert_sign(workshop: &Workshop) -> Made {
    const FAULT: &str = "intermediate-without-key-cert-sign";
    workshop.below_spoiled(FAULT, &workshop.device(FAULT), |intermediate| {
        intermediate.remove(&key_usage(KEY_CERT_SIGN | CRL_SIGN));
        intermediate.extensions.push(key_usage(CRL_SIGN));
    })
}

pub(super) fn version_1_intermediate(workshop: &Workshop) -> Made {
    const FAULT: &str = "version-1-intermediate";
    workshop.below_spoiled(FAULT, &workshop.device(FAULT), |intermediate| {
        intermediate.version = 1;
        intermediate.extensions.clear();
    })
}

pub(super) fn sha1_signature(workshop: &Workshop) -> Made {
    const FAULT: &str = "sha1-signature";
    let key = PrivateKey::generate(KeyKind::P256)?;
    let pkcs8 = key.pkcs8_der().to_vec();
    let spec = workshop.intermediate(FAULT);
    let intermediate = workshop.anchor.intermediate_with_key(&spec, key)?;
    let own = PrivateKey::generate(KeyKind::P256)?;
    let template = Template::device(
        &workshop.device(FAULT),
        &own,
        intermediate.subject_der()?,
        &intermediate.key_id()?,
    )?;
    let certificate = obsolete::signed_with_sha1(&template, &pkcs8)?;
    Ok(Credential {
        chain: [vec![certificate], intermediate.path().to_vec()].concat(),
        key: own.pkcs8_der().to_vec(),
    })
}

pub(super) fn oversized_chain(workshop: &Workshop) -> Made {
    let mut credential = workshop.issue(&workshop.device("oversized-chain"))?;
    let intermediate = workshop.issuer.certificate_der();
    let size = |der: &Vec<u8>| der.len() + 5;
    let present: usize = credential.chain.iter().map(size).sum();
    let room = LONGEST_CHAIN.saturating_sub(present) / (intermediate.len() + 5);
    let copies = std::iter::repeat_n(intermediate.to_vec(), COPIES.min(room));
    credential.chain.extend(copies);
    Ok(credential)
}

pub(super) fn unordered_chain(workshop: &Workshop) -> Made {
    let mut credential = workshop.issue(&workshop.device("unordered-chain"))?;
    let anchor = workshop.anchor.certificate_der().to_vec();
    credential.chain.push(anchor);
    if let Some((_, above)) = credential.chain.split_first_mut() {
        above.reverse();
    }
    Ok(credential)
}

pub(super) fn missing_intermediate(workshop: &Workshop) -> Made {
    let mut credential = workshop.issue(&workshop.device("missing-intermediate"))?;
    credential.chain.truncate(1);
    Ok(credential)
}
