//! What a certificate of each profile may say. Pure.

use std::str::FromStr;

use super::Refusal;
use super::request::Request;
use crate::authority::{EndEntitySpec, SubjectAltName};
use crate::names::{LONGEST_COMMON_NAME, ServerName, device_uri, is_device_id, is_dns_name};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A TLS client with a device id.
    #[default]
    Device,
    /// A TLS server with DNS names or IP addresses.
    Server,
}

/// What the certificate that answers `request` says; its dates are still to be set.
pub(super) fn end_entity(
    profile: Profile,
    request: &Request,
    spiffe_domain: Option<&str>,
) -> Result<EndEntitySpec, Refusal> {
    match profile {
        Profile::Device if !request.wants_client => Err(Refusal::Purpose("clientAuth")),
        Profile::Server if !request.wants_server => Err(Refusal::Purpose("serverAuth")),
        Profile::Device => device(request, spiffe_domain),
        Profile::Server => server(request),
    }
}

/// The id is the common name, or without one the id in the device's URI. Other names must be plain host names or
/// addresses: a URI could pass for the identity of somebody else.
fn device(request: &Request, spiffe_domain: Option<&str>) -> Result<EndEntitySpec, Refusal> {
    let prefix = device_uri("", spiffe_domain);
    let id_in_uri = |name: &SubjectAltName| match name {
        SubjectAltName::Uri(uri) => uri.strip_prefix(&prefix).map(str::to_owned),
        _ => None,
    };
    let id = request
        .common_name
        .clone()
        .or_else(|| request.names.iter().find_map(id_in_uri))
        .ok_or(Refusal::NoDeviceId)?;
    // A SPIFFE path knows no colon (SPIFFE-ID section 2.2).
    if !is_device_id(&id) || (spiffe_domain.is_some() && id.contains(':')) {
        return Err(Refusal::DeviceId(id));
    }
    let own_uri = device_uri(&id, spiffe_domain);
    let mut entity = EndEntitySpec::device(&id);
    entity.subject_alt_names = vec![SubjectAltName::Uri(own_uri.clone())];
    for name in &request.names {
        match name {
            SubjectAltName::Uri(uri) if *uri == own_uri => {}
            SubjectAltName::Uri(uri) => return Err(Refusal::ForeignUri(uri.clone(), own_uri)),
            SubjectAltName::Dns(dns) if is_dns_name(dns) => {
                entity.subject_alt_names.push(name.clone())
            }
            SubjectAltName::Ip(_) => entity.subject_alt_names.push(name.clone()),
            SubjectAltName::Dns(_) | SubjectAltName::Email(_) => {
                return Err(Refusal::Name(name.to_string()));
            }
        }
    }
    Ok(entity)
}

/// The alternative names, or without any the common name, where it is the name of a host.
fn server(request: &Request) -> Result<EndEntitySpec, Refusal> {
    let mut names = Vec::new();
    for name in &request.names {
        let parsed = match name {
            SubjectAltName::Dns(dns) => ServerName::from_str(dns).ok(),
            SubjectAltName::Ip(address) => Some(ServerName::Ip(*address)),
            SubjectAltName::Uri(_) | SubjectAltName::Email(_) => None,
        };
        names.push(parsed.ok_or_else(|| Refusal::Name(name.to_string()))?);
    }
    if names.is_empty() {
        let host = request
            .common_name
            .as_deref()
            .and_then(|name| ServerName::from_str(name).ok());
        names.push(host.ok_or(Refusal::NoServerName)?);
    }
    let mut entity = EndEntitySpec::server(&names);
    // Verifiers match the alternative names only, so the common name is a label: kept as it is where it fits.
    if let Some(name) = request
        .common_name
        .as_ref()
        .filter(|name| name.len() <= LONGEST_COMMON_NAME)
    {
        entity.common_name = Some(name.clone());
    }
    Ok(entity)
}

#[cfg(test)]
mod tests {
    use super::{Profile, Refusal, Request, SubjectAltName, end_entity};

    fn request(common_name: Option<&str>, names: &[SubjectAltName]) -> Request {
        Request {
            common_name: common_name.map(str::to_owned),
            names: names.to_vec(),
            wants_client: true,
            wants_server: true,
            public_key: Vec::new(),
        }
    }

    fn uri(text: &str) -> SubjectAltName {
        SubjectAltName::Uri(text.to_owned())
    }

    fn dns(text: &str) -> SubjectAltName {
        SubjectAltName::Dns(text.to_owned())
    }

    #[test]
    fn a_device_gets_its_own_uri() {
        let entity = end_entity(Profile::Device, &request(Some("pump-7"), &[]), None).unwrap();
        assert_eq!(entity.subject_alt_names, [uri("urn:device:pump-7")]);
        let entity = end_entity(
            Profile::Device,
            &request(Some("pump-7"), &[]),
            Some("a.example"),
        )
        .unwrap();
        assert_eq!(entity.subject_alt_names, [uri("spiffe://a.example/pump-7")]);
    }

    #[test]
    fn a_device_id_may_come_from_the_uri_alone() {
        let entity = end_entity(
            Profile::Device,
            &request(None, &[uri("urn:device:pump-7")]),
            None,
        )
        .unwrap();
        assert_eq!(entity.common_name.as_deref(), Some("pump-7"));
    }

    #[test]
    fn devices_that_are_refused() {
        let refused = |request: &Request| end_entity(Profile::Device, request, None).unwrap_err();
        assert_eq!(refused(&request(None, &[])), Refusal::NoDeviceId);
        assert_eq!(
            refused(&request(Some("*"), &[])),
            Refusal::DeviceId("*".into())
        );
        assert_eq!(
            refused(&request(None, &[uri("urn:device:")])),
            Refusal::DeviceId(String::new())
        );
        for foreign in [
            "urn:device:pump-8",
            "spiffe://a.example/pump-7",
            "https://pump-7",
        ] {
            let refusal = refused(&request(Some("pump-7"), &[uri(foreign)]));
            assert!(matches!(refusal, Refusal::ForeignUri(..)), "{foreign}");
        }
        for name in [
            dns("*.example"),
            dns(""),
            SubjectAltName::Email("a@b".into()),
        ] {
            assert!(matches!(
                refused(&request(Some("pump-7"), &[name])),
                Refusal::Name(_)
            ));
        }
        let server = Request {
            wants_client: false,
            ..request(Some("pump-7"), &[])
        };
        assert_eq!(refused(&server), Refusal::Purpose("clientAuth"));
    }

    #[test]
    fn servers() {
        let signed = |request: &Request| end_entity(Profile::Server, request, None);
        let entity = signed(&request(Some("a label"), &[dns("*.plant.example")])).unwrap();
        assert_eq!(entity.common_name.as_deref(), Some("a label"));
        assert_eq!(entity.subject_alt_names, [dns("*.plant.example")]);
        let entity = signed(&request(Some("gateway.example"), &[])).unwrap();
        assert_eq!(entity.subject_alt_names, [dns("gateway.example")]);
        assert_eq!(
            signed(&request(Some("not a host"), &[])).unwrap_err(),
            Refusal::NoServerName
        );
        assert!(matches!(
            signed(&request(None, &[uri("urn:x")])),
            Err(Refusal::Name(_))
        ));
        assert!(matches!(
            signed(&request(None, &[dns("a.*.b")])),
            Err(Refusal::Name(_))
        ));
    }
}
