//! From what the user names to whose list it belongs on: each certificate's issuer and serial number.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Error, RevokeSpec, Serial};
use crate::fleet::{Fleet, Issuers};
use crate::layout::{AuthorityName, device_id, device_index};

/// A certificate to revoke.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) issuer: AuthorityName,
    pub(crate) serial: Serial,
    pub(crate) name: Option<String>,
}

/// Finds everything that `spec` names, or says what it could not find.
pub(super) fn resolve(
    spec: &RevokeSpec,
    fleet: &Fleet,
    issuers: &Issuers,
) -> Result<Vec<Target>, Error> {
    let mut targets = Vec::new();
    for id in &spec.devices {
        targets.push(device(id, fleet, issuers)?);
    }
    for name in &spec.intermediates {
        targets.push(intermediate(*name, fleet, issuers)?);
    }
    for serial in &spec.serials {
        targets.push(match spec.issuer {
            Some(issuer) if issuers.has(issuer) => Target {
                issuer,
                serial: serial.clone(),
                name: None,
            },
            Some(name) => return Err(no_such_authority("--issuer", name, fleet)),
            None => by_serial(serial, fleet, issuers)?,
        });
    }
    Ok(targets)
}

/// The number of a device that the fleet has.
pub(crate) fn index_of(id: &str, fleet: &Fleet) -> Result<usize, Error> {
    let devices = fleet.manifest().devices;
    device_index(id)
        .filter(|index| *index < devices)
        .ok_or_else(|| Error::NoSuchDevice {
            id: id.to_owned(),
            ca: fleet.layout().root().to_owned(),
            last: devices.saturating_sub(1),
        })
}

fn device(id: &str, fleet: &Fleet, issuers: &Issuers) -> Result<Target, Error> {
    let credential = fleet.device(index_of(id, fleet)?)?;
    target(credential.end_entity(), id, issuers)
        .ok_or_else(|| foreign("--device", id.to_owned(), fleet))
}

fn intermediate(name: AuthorityName, fleet: &Fleet, issuers: &Issuers) -> Result<Target, Error> {
    const FLAG: &str = "--intermediate";
    if name == AuthorityName::TrustAnchor {
        return Err(Error::TrustAnchor { flag: FLAG });
    }
    let (_, der) = issuers
        .certificates()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| no_such_authority(FLAG, name, fleet))?;
    target(der, &name.to_string(), issuers).ok_or_else(|| foreign(FLAG, name.to_string(), fleet))
}

/// Looks through the authorities, the server and then every device; a fleet of a million takes a while.
fn by_serial(serial: &Serial, fleet: &Fleet, issuers: &Issuers) -> Result<Target, Error> {
    let found = |der: &[u8], name: &str| {
        serial_of(der)
            .filter(|own| own == serial)
            .map(|_| target(der, name, issuers))
            .map(|target| target.ok_or_else(|| foreign("--serial", serial.to_string(), fleet)))
    };
    for (name, der) in issuers.certificates() {
        if let Some(outcome) = found(der, &name.to_string()) {
            return match name {
                AuthorityName::TrustAnchor => Err(Error::TrustAnchor { flag: "--serial" }),
                _ => outcome,
            };
        }
    }
    if let Some(outcome) = found(&fleet.server_certificate()?, "server") {
        return outcome;
    }
    for index in 0..fleet.manifest().devices {
        if let Some(outcome) = found(fleet.device(index)?.end_entity(), &device_id(index)) {
            return outcome;
        }
    }
    Err(Error::NoSuchSerial {
        serial: serial.clone(),
        ca: fleet.layout().root().to_owned(),
    })
}

fn target(der: &[u8], name: &str, issuers: &Issuers) -> Option<Target> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Target {
        issuer: issuers.of(&certificate)?,
        serial: Serial::from_bytes(certificate.raw_serial()),
        name: Some(name.to_owned()),
    })
}

fn serial_of(der: &[u8]) -> Option<Serial> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Serial::from_bytes(certificate.raw_serial()))
}

fn no_such_authority(flag: &'static str, name: AuthorityName, fleet: &Fleet) -> Error {
    Error::NoSuchAuthority {
        flag,
        name,
        ca: fleet.layout().root().to_owned(),
    }
}

fn foreign(flag: &'static str, value: String, fleet: &Fleet) -> Error {
    Error::ForeignIssuer {
        flag,
        value,
        ca: fleet.layout().root().to_owned(),
    }
}
