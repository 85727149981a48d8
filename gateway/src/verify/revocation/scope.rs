//! Which certificates of its issuer a list speaks about, and whether a given certificate is among them (RFC 5280,
//! sections 4.2.1.13 and 5.2.5).
//!
//! Distribution points are compared, never fetched.

use aws_lc_rs::digest;
use x509_parser::oid_registry::OID_X509_EXT_CRL_DISTRIBUTION_POINTS;
use x509_parser::prelude::X509Certificate;

use super::error::ListError;
use crate::der::{self, Malformed, Reader};

/// The role of a certificate in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The first certificate: the device's.
    EndEntity,
    /// An intermediate.
    Authority,
}

/// One name of a distribution point: the first half of SHA-256 over its GeneralName.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PointName([u8; 16]);

impl PointName {
    fn new(general_name: &[u8]) -> Self {
        let mut name = [0; 16];
        let hash = digest::digest(&digest::SHA256, general_name);
        for (to, from) in name.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Self(name)
    }
}

/// What decides which of its issuer's lists speak about a certificate. Small, for it is kept with every cached chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    role: Role,
    /// `None` without the extension: any list of the issuer will do.
    points: Option<Box<[PointName]>>,
}

impl Coverage {
    /// Of a certificate in this role.
    pub fn of(role: Role, certificate: &X509Certificate<'_>) -> Self {
        let extension = certificate
            .extensions()
            .iter()
            .find(|extension| extension.oid == OID_X509_EXT_CRL_DISTRIBUTION_POINTS);
        Self::new(role, extension.map(|extension| extension.value))
    }

    /// The same from the value of the certificate's extension cRLDistributionPoints, if it has one. Points for some
    /// reasons only, or with another list issuer, do not count; nor does anything malformed.
    pub fn new(role: Role, distribution_points: Option<&[u8]>) -> Self {
        let points =
            distribution_points.map(|value| certificate_points(value).unwrap_or_default().into());
        Self { role, points }
    }
}

fn certificate_points(value: &[u8]) -> Result<Vec<PointName>, Malformed> {
    let mut points = Reader::new(der::only(value, der::SEQUENCE)?);
    let mut names = Vec::new();
    while !points.is_empty() {
        let mut point = Reader::new(points.contents(der::SEQUENCE)?);
        let name = point.optional(der::constructed(0))?;
        if let (Some(name), true) = (name, point.is_empty()) {
            names.extend(full_name(name)?.unwrap_or_default());
        }
    }
    Ok(names)
}

/// The names of a DistributionPointName; `None` if it is relative to its issuer.
fn full_name(name: &[u8]) -> Result<Option<Vec<PointName>>, Malformed> {
    let mut choice = Reader::new(name);
    let value = choice.any()?;
    choice.end()?;
    if value.tag != der::constructed(0) {
        return Ok(None);
    }
    let mut reader = Reader::new(value.contents);
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(PointName::new(reader.any()?.whole));
    }
    Ok(Some(names))
}

/// The certificates of its issuer that a list speaks about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// `None`: both.
    role: Option<Role>,
    /// Sorted; `None`: not limited to a distribution point.
    points: Option<Box<[PointName]>>,
}

impl Scope {
    /// From the value of the extension issuingDistributionPoint.
    pub(super) fn from_extension(value: &[u8]) -> Result<Self, ListError> {
        let malformed = ListError::malformed("issuingDistributionPoint");
        let fields = read_fields(value).map_err(&malformed)?;
        if fields.indirect {
            return Err(ListError::Indirect);
        }
        if fields.some_reasons {
            return Err(ListError::SomeReasons);
        }
        if fields.attribute_certificates {
            return Err(ListError::AttributeCertificates);
        }
        let role = match (fields.user_certificates, fields.authority_certificates) {
            (false, false) => None,
            (true, false) => Some(Role::EndEntity),
            (false, true) => Some(Role::Authority),
            (true, true) => return Err(malformed(Malformed)),
        };
        let points = match fields.point {
            None => None,
            Some(name) => {
                let names = full_name(name).map_err(&malformed)?;
                let mut names = names.ok_or(ListError::RelativePoint)?;
                names.sort_unstable();
                Some(names.into())
            }
        };
        Ok(Self { role, points })
    }

    /// Whether a certificate that the list does not name is thereby known not to be revoked.
    pub(super) fn covers(&self, certificate: &Coverage) -> bool {
        let role = self.role.is_none_or(|role| role == certificate.role);
        let point = match (&self.points, &certificate.points) {
            (None, _) | (_, None) => true,
            (Some(ours), Some(theirs)) => theirs.iter().any(|name| ours.contains(name)),
        };
        role && point
    }
}

/// IssuingDistributionPoint as it is written.
struct Fields<'a> {
    point: Option<&'a [u8]>,
    user_certificates: bool,
    authority_certificates: bool,
    some_reasons: bool,
    indirect: bool,
    attribute_certificates: bool,
}

fn read_fields(value: &[u8]) -> Result<Fields<'_>, Malformed> {
    fn flag(reader: &mut Reader<'_>, number: u8) -> Result<bool, Malformed> {
        let contents = reader.optional(der::primitive(number))?;
        contents.map_or(Ok(false), der::boolean)
    }
    let mut reader = Reader::new(der::only(value, der::SEQUENCE)?);
    let fields = Fields {
        point: reader.optional(der::constructed(0))?,
        user_certificates: flag(&mut reader, 1)?,
        authority_certificates: flag(&mut reader, 2)?,
        some_reasons: reader.optional(der::primitive(3))?.is_some(),
        indirect: flag(&mut reader, 4)?,
        attribute_certificates: flag(&mut reader, 5)?,
    };
    reader.end()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;
    use crate::verify::revocation::tests::support::write;

    fn distribution_point(uris: &[&str]) -> Vec<u8> {
        let names: Vec<u8> = uris
            .iter()
            .flat_map(|uri| write(der::primitive(6), uri.as_bytes()))
            .collect();
        write(der::constructed(0), &write(der::constructed(0), &names))
    }

    fn scope(fields: &[&[u8]]) -> Result<Scope, ListError> {
        Scope::from_extension(&write(der::SEQUENCE, &fields.concat()))
    }

    fn certificate(role: Role, uris: &[&str]) -> Coverage {
        let point = write(der::SEQUENCE, &distribution_point(uris));
        Coverage::new(role, Some(&write(der::SEQUENCE, &point)))
    }

    const TRUE: [u8; 1] = [0xff];

    #[test]
    fn a_list_for_one_role_says_nothing_about_the_other() {
        let users = scope(&[&write(der::primitive(1), &TRUE)]).unwrap();
        let authorities = scope(&[&write(der::primitive(2), &TRUE)]).unwrap();
        let end_entity = Coverage::new(Role::EndEntity, None);
        let authority = Coverage::new(Role::Authority, None);
        assert!(users.covers(&end_entity) && !users.covers(&authority));
        assert!(!authorities.covers(&end_entity) && authorities.covers(&authority));
        assert!(Scope::default().covers(&end_entity) && Scope::default().covers(&authority));
    }

    #[test]
    fn a_partition_covers_the_certificates_that_name_it_and_those_that_name_none() {
        let part = scope(&[&distribution_point(&["http://a/1", "ldap://a/1"])]).unwrap();
        assert!(part.covers(&certificate(Role::EndEntity, &["ldap://a/1"])));
        assert!(!part.covers(&certificate(Role::EndEntity, &["http://a/2"])));
        assert!(part.covers(&Coverage::new(Role::EndEntity, None)));
        assert!(!part.covers(&Coverage::new(Role::EndEntity, Some(b"garbage"))));
        assert!(Scope::default().covers(&certificate(Role::EndEntity, &["http://a/2"])));
    }

    #[test]
    fn a_point_of_another_list_issuer_or_for_some_reasons_does_not_count() {
        let part = scope(&[&distribution_point(&["http://a/1"])]).unwrap();
        for further in [
            write(der::primitive(1), &[0, 0xff]),
            write(der::constructed(2), &[]),
        ] {
            let point = [distribution_point(&["http://a/1"]), further].concat();
            let value = write(der::SEQUENCE, &write(der::SEQUENCE, &point));
            assert!(!part.covers(&Coverage::new(Role::EndEntity, Some(&value))));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_with_its_reason() {
        let relative = write(der::constructed(0), &write(der::constructed(1), &[]));
        let both = [
            write(der::primitive(1), &TRUE),
            write(der::primitive(2), &TRUE),
        ]
        .concat();
        let out_of_order = [
            write(der::primitive(2), &TRUE),
            write(der::primitive(1), &[0]),
        ]
        .concat();
        let malformed = ListError::Malformed("issuingDistributionPoint");
        for (field, error) in [
            (write(der::primitive(4), &TRUE), ListError::Indirect),
            (write(der::primitive(3), &[0, 0xff]), ListError::SomeReasons),
            (
                write(der::primitive(5), &TRUE),
                ListError::AttributeCertificates,
            ),
            (relative, ListError::RelativePoint),
            (both, malformed.clone()),
            (out_of_order, malformed.clone()),
            (write(der::primitive(1), &[0x01]), malformed),
        ] {
            assert_eq!(scope(&[&field]), Err(error));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(value: Vec<u8>) {
            let _ = Scope::from_extension(&value);
            let _ = Coverage::new(Role::EndEntity, Some(&value));
        }
    }
}
