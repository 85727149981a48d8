//! The PROXY protocol, version 2 (HAProxy's `doc/proxy-protocol.txt`): what an upstream of a tunnel is told about the device
//! before the device's own bytes.
//!
//! Pure: it writes a header and sends nothing. It reads none either: who connects to the gateway says nothing about anybody
//! else. Version 1 cannot carry an identity and is left out.

use std::net::SocketAddr;

/// The twelve bytes that no other protocol starts with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, command PROXY.
const PROXY: u8 = 0x21;

const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Types of the fields after the addresses (section 2.2).
mod field {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CN: u8 = 0x22;
    pub(super) const SSL_CIPHER: u8 = 0x23;
    pub(super) const SSL_CLIENT_CERT: u8 = 0x28;
    /// The first of those that the specification leaves to applications.
    pub(super) const DEVICE_ID: u8 = 0xe0;
}

/// Bits of the `client` field: TLS; a certificate on this connection; one in this session.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// Whether and how a tunnel's upstream is told about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Also carry the end entity's DER encoding (`PP2_SUBTYPE_SSL_CLIENT_CERT`).
    pub certificate: bool,
}

/// What the header says.
#[derive(Debug)]
pub struct Told<'a> {
    /// The device's address.
    pub source: SocketAddr,
    /// The gateway's address that the device connected to.
    pub destination: SocketAddr,
    /// The application protocol that ALPN chose.
    pub alpn: Option<&'a [u8]>,
    /// The server name that the device asked for.
    pub server_name: Option<&'a str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: &'a str,
    /// The cipher suite's name.
    pub cipher_suite: &'a str,
    /// The verified device; `None` is a peer without a certificate.
    pub device: Option<Device<'a>>,
}

/// The verified device.
#[derive(Debug)]
pub struct Device<'a> {
    /// The device's id.
    pub id: &'a str,
    /// The subject's common name, if it has exactly one.
    pub common_name: Option<&'a str>,
    /// The end entity's DER encoding, where that is wanted.
    pub certificate: Option<&'a [u8]>,
    /// Whether the certificate was presented on this connection, or earlier in a session that this one resumed.
    pub resumed: bool,
}

/// The header that says `told`.
///
/// # Errors
/// [`TooLong`], which takes a certificate of 64 KiB.
pub fn header(told: &Told<'_>) -> Result<Vec<u8>, TooLong> {
    let mut body = Vec::with_capacity(256);
    let family = addresses(&mut body, told.source, told.destination);
    if let Some(alpn) = told.alpn {
        put(&mut body, field::ALPN, alpn)?;
    }
    if let Some(name) = told.server_name {
        put(&mut body, field::AUTHORITY, name.as_bytes())?;
    }
    put(&mut body, field::SSL, &ssl(told)?)?;
    if let Some(device) = &told.device {
        put(&mut body, field::DEVICE_ID, device.id.as_bytes())?;
    }
    let mut header = Vec::with_capacity(16 + body.len());
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[PROXY, family]);
    header.extend_from_slice(&length(&body)?);
    header.extend_from_slice(&body);
    Ok(header)
}

/// Something does not fit into a field or into the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than 65535 bytes for a PROXY protocol header")]
pub struct TooLong;

/// Both addresses in one family: where they differ, IPv4 goes as IPv6 (RFC 4291, 2.5.5.2).
fn addresses(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) -> u8 {
    let family = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            TCP_OVER_IPV4
        }
        (source, destination) => {
            for address in [source, destination] {
                let address = match address {
                    std::net::IpAddr::V4(address) => address.to_ipv6_mapped(),
                    std::net::IpAddr::V6(address) => address,
                };
                out.extend_from_slice(&address.octets());
            }
            TCP_OVER_IPV6
        }
    };
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    family
}

fn ssl(told: &Told<'_>) -> Result<Vec<u8>, TooLong> {
    let client = CLIENT_SSL
        | match &told.device {
            Some(device) if device.resumed => CLIENT_CERT_SESS,
            Some(_) => CLIENT_CERT_CONN | CLIENT_CERT_SESS,
            None => 0,
        };
    // Zero only if the client presented a certificate and it was verified (section 2.2.5).
    let verify = u32::from(told.device.is_none());
    let mut ssl = vec![client];
    ssl.extend_from_slice(&verify.to_be_bytes());
    put(&mut ssl, field::SSL_VERSION, told.tls_version.as_bytes())?;
    put(&mut ssl, field::SSL_CIPHER, told.cipher_suite.as_bytes())?;
    if let Some(device) = &told.device {
        if let Some(name) = device.common_name {
            put(&mut ssl, field::SSL_CN, name.as_bytes())?;
        }
        if let Some(certificate) = device.certificate {
            put(&mut ssl, field::SSL_CLIENT_CERT, certificate)?;
        }
    }
    Ok(ssl)
}

fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), TooLong> {
    out.push(kind);
    out.extend_from_slice(&length(value)?);
    out.extend_from_slice(value);
    Ok(())
}

fn length(bytes: &[u8]) -> Result<[u8; 2], TooLong> {
    u16::try_from(bytes.len())
        .map(u16::to_be_bytes)
        .map_err(|_| TooLong)
}

#[cfg(test)]
mod tests {
    use super::{Device, SIGNATURE, Told, TooLong, header};

    fn told<'a>(device: Option<Device<'a>>) -> Told<'a> {
        Told {
            source: "192.0.2.7:50000".parse().unwrap(),
            destination: "198.51.100.1:8883".parse().unwrap(),
            alpn: Some(b"mqtt"),
            server_name: Some("fleet.test"),
            tls_version: "TLSv1.3",
            cipher_suite: "TLS_AES_128_GCM_SHA256",
            device,
        }
    }

    fn device(resumed: bool) -> Device<'static> {
        Device {
            id: "device-7",
            common_name: Some("device-7"),
            certificate: None,
            resumed,
        }
    }

    /// The fields of `bytes` as (type, value).
    fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut fields = Vec::new();
        while let [kind, high, low, rest @ ..] = bytes {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            fields.push((*kind, rest[..length].to_vec()));
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty());
        fields
    }

    fn value(fields: &[(u8, Vec<u8>)], kind: u8) -> &[u8] {
        &fields.iter().find(|field| field.0 == kind).unwrap().1
    }

    #[test]
    fn every_byte_is_where_the_specification_has_it() {
        let header = header(&told(Some(device(false)))).unwrap();
        assert_eq!(&header[..12], &SIGNATURE);
        assert_eq!(&header[12..14], &[0x21, 0x11]);
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        assert_eq!(header.len(), 16 + length);
        assert_eq!(&header[16..24], &[192, 0, 2, 7, 198, 51, 100, 1]);
        assert_eq!(&header[24..28], &[0xc3, 0x50, 0x22, 0xb3]);
        let fields = fields(&header[28..]);
        assert_eq!(value(&fields, 0x01), b"mqtt");
        assert_eq!(value(&fields, 0x02), b"fleet.test");
        assert_eq!(value(&fields, 0xe0), b"device-7");
        let ssl = value(&fields, 0x20);
        assert_eq!(&ssl[..5], &[0x07, 0, 0, 0, 0], "a certificate, verified");
        let inner = self::fields(&ssl[5..]);
        assert_eq!(value(&inner, 0x21), b"TLSv1.3");
        assert_eq!(value(&inner, 0x22), b"device-7");
        assert_eq!(value(&inner, 0x23), b"TLS_AES_128_GCM_SHA256");
    }

    #[test]
    fn a_resumed_session_presented_its_certificate_earlier() {
        let header = header(&told(Some(device(true)))).unwrap();
        let fields = fields(&header[28..]);
        assert_eq!(&value(&fields, 0x20)[..5], &[0x05, 0, 0, 0, 0]);
    }

    #[test]
    fn nobody_is_not_verified() {
        let header = header(&told(None)).unwrap();
        let fields = fields(&header[28..]);
        assert_eq!(&value(&fields, 0x20)[..5], &[0x01, 0, 0, 0, 1]);
        assert!(fields.iter().all(|field| field.0 != 0xe0));
    }

    #[test]
    fn addresses_of_two_families_go_as_one() {
        let mut told = told(None);
        told.source = "[2001:db8::1]:1".parse().unwrap();
        let header = header(&told).unwrap();
        assert_eq!(header[13], 0x21);
        assert_eq!(
            &header[16 + 16..][..16],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 1]
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let large = vec![0; 65_536];
        let mut device = device(false);
        device.certificate = Some(&large);
        assert_eq!(header(&told(Some(device))), Err(TooLong));
    }
}
