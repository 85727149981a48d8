//! The names of a device's certificate, to be written into another one. Pure.

use std::net::IpAddr;

use x509_parser::prelude::{GeneralName, X509Certificate};

use crate::authority::{EndEntitySpec, SubjectAltName};

/// A device's certificate with the same names; its dates are still to be set. `None` if there is a name that would be
/// lost: another attribute than the one common name, or a kind of alternative name that is not written here.
pub(super) fn same_names(certificate: &X509Certificate<'_>) -> Option<EndEntitySpec> {
    let subject = certificate.subject();
    let mut common_names = subject.iter_common_name();
    let common_name = common_names.next()?.as_str().ok()?;
    if subject.iter_attributes().count() != 1 {
        return None;
    }
    let names = match certificate.subject_alternative_name().ok()? {
        Some(extension) => extension
            .value
            .general_names
            .iter()
            .map(alternative_name)
            .collect::<Option<Vec<_>>>()?,
        None => Vec::new(),
    };
    Some(EndEntitySpec {
        subject_alt_names: names,
        ..EndEntitySpec::device(common_name)
    })
}

fn alternative_name(name: &GeneralName<'_>) -> Option<SubjectAltName> {
    match name {
        GeneralName::DNSName(name) => Some(SubjectAltName::Dns((*name).to_owned())),
        GeneralName::URI(uri) => Some(SubjectAltName::Uri((*uri).to_owned())),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            v4.or(v6).ok().map(SubjectAltName::Ip)
        }
        _ => None,
    }
}
