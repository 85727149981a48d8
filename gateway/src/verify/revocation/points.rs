//! Where a certificate says that its issuer's revocation lists are (RFC 5280, section 4.2.1.13).
//!
//! Only read, never fetched. Believe it of a verified certificate only.

use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The URLs of `certificate`'s distribution points, of every scheme. Points for some reasons only, or with another list
/// issuer, do not count; nor does anything malformed.
pub fn distribution_points(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let mut urls = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
            continue;
        };
        for point in points.points.iter() {
            if point.reasons.is_some() || point.crl_issuer.is_some() {
                continue;
            }
            if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
                urls.extend(names.iter().filter_map(|name| match name {
                    GeneralName::URI(url) => Some((*url).to_owned()),
                    _ => None,
                }));
            }
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CrlDistributionPoint, KeyPair};

    use super::distribution_points;

    #[test]
    fn urls_are_read_in_order_and_garbage_has_none() {
        let mut params = CertificateParams::default();
        params.crl_distribution_points = ["http://a.example/1.crl", "ldap://b.example/"]
            .map(|url| CrlDistributionPoint {
                uris: vec![url.to_owned()],
            })
            .into();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(
            distribution_points(certificate.der()),
            ["http://a.example/1.crl", "ldap://b.example/"]
        );
        let plain = CertificateParams::default()
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap();
        assert!(distribution_points(plain.der()).is_empty());
        assert!(distribution_points(b"garbage").is_empty());
    }
}
