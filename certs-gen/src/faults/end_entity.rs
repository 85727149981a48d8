//! Faults of the device's own certificate, or of its key.

use rcgen::SigningKey;
use time::Duration;

use super::forge::{self, Template};
use super::obsolete;
use super::workshop::Workshop;
use crate::IssueError;
use crate::authority::{ExtendedKeyUsage, SubjectAltName};
use crate::credential::Credential;
use crate::der;
use crate::key::{KeyKind, PrivateKey};
use crate::signed::{algorithm_of, envelope};

type Made = Result<Credential, IssueError>;

pub(super) fn expired(workshop: &Workshop) -> Made {
    let mut device = workshop.device("expired");
    device.not_before = workshop.now - Duration::days(2);
    device.not_after = workshop.now - Duration::DAY;
    workshop.issue(&device)
}

pub(super) fn not_yet_valid(workshop: &Workshop) -> Made {
    let mut device = workshop.device("not-yet-valid");
    device.not_before = workshop.now + Duration::DAY * 30;
    workshop.issue(&device)
}

pub(super) fn self_signed(workshop: &Workshop) -> Made {
    let key = PrivateKey::generate(KeyKind::P256)?;
    let mut template = workshop.device_template("self-signed", &key)?;
    template.issuer.clone_from(&template.subject);
    Ok(Credential {
        chain: vec![template.signed_by(key.pair())?],
        key: key.pkcs8_der().to_vec(),
    })
}

pub(super) fn other_purpose(workshop: &Workshop) -> Made {
    let mut device = workshop.device("other-purpose");
    device.extended_key_usages = vec![ExtendedKeyUsage::CodeSigning];
    workshop.issue(&device)
}

pub(super) fn server_only(workshop: &Workshop) -> Made {
    let mut device = workshop.device("server-only");
    device.extended_key_usages = vec![ExtendedKeyUsage::ServerAuth];
    workshop.issue(&device)
}

pub(super) fn weak_rsa(workshop: &Workshop) -> Made {
    let key = obsolete::rsa_1024()?;
    let device = workshop.device("weak-rsa");
    Ok(Credential {
        chain: workshop
            .issuer
            .issue_for_public_key(&device, &key.public_key)?,
        key: key.pkcs8,
    })
}

pub(super) fn revoked(workshop: &Workshop) -> Made {
    let mut device = workshop.device("revoked");
    device.serial = Some(workshop.revoked_serial.clone());
    workshop.issue(&device)
}

pub(super) fn wrong_key(workshop: &Workshop) -> Made {
    let other = PrivateKey::generate(KeyKind::P256)?;
    Ok(Credential {
        key: other.pkcs8_der().to_vec(),
        ..workshop.issue(&workshop.device("wrong-key"))?
    })
}

pub(super) fn tampered(workshop: &Workshop) -> Made {
    let key = PrivateKey::generate(KeyKind::P256)?;
    let mut template = workshop.device_template("tampered", &key)?;
    let issuer = workshop.issuer.key();
    let algorithm = algorithm_of(issuer)?;
    let signature = issuer.sign(&template.to_be_signed(algorithm))?;
    template.subject = forge::name(&["fault-tampered-with"]);
    let certificate = envelope(&template.to_be_signed(algorithm), algorithm, &signature);
    Ok(workshop.with_chain(certificate, &key))
}

pub(super) fn duplicated_extension(workshop: &Workshop) -> Made {
    spoiled(workshop, "duplicated-extension", |template| {
        template.extensions.push(forge::client_auth());
    })
}

pub(super) fn unknown_critical_extension(workshop: &Workshop) -> Made {
    spoiled(workshop, "unknown-critical-extension", |template| {
        // 1.3.6.1.4.1.32473.1, below a number that is set aside for examples (RFC 5612).
        let arcs = b"\x2b\x06\x01\x04\x01\x81\xfd\x59\x01";
        let null = b"\x05\x00";
        template.extensions.push(der::extension(arcs, true, null));
    })
}

pub(super) fn version_1(workshop: &Workshop) -> Made {
    spoiled(workshop, "version-1", |template| {
        template.version = 1;
        template.extensions.clear();
    })
}

pub(super) fn empty_subject(workshop: &Workshop) -> Made {
    let mut device = workshop.device("empty-subject");
    device.common_name = None;
    workshop.issue(&device)
}

pub(super) fn two_ids(workshop: &Workshop) -> Made {
    spoiled(workshop, "two-ids", |template| {
        template.subject = forge::name(&["fault-two-ids", "device-000000"]);
    })
}

pub(super) fn too_large(workshop: &Workshop) -> Made {
    let mut device = workshop.device("too-large");
    let padding = |number| SubjectAltName::Uri(format!("urn:padding:{number:040}"));
    device.subject_alt_names.extend((0..700).map(padding));
    workshop.issue(&device)
}

fn spoiled(workshop: &Workshop, fault: &str, change: impl FnOnce(&mut Template)) -> Made {
    let key = PrivateKey::generate(KeyKind::P256)?;
    let mut template = workshop.device_template(fault, &key)?;
    change(&mut template);
    let certificate = template.signed_by(workshop.issuer.key())?;
    Ok(workshop.with_chain(certificate, &key))
}
