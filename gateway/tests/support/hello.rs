//! ClientHellos that no library of today would say, and the alerts that answer them.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use super::device::connect;

/// A ClientHello of TLS 1.2 or older (RFC 5246, 7.4.1.2) with ECDHE suites and X25519.
pub(crate) fn old_hello(minor_version: u8, extended_master_secret: bool) -> Vec<u8> {
    hello(minor_version, extended_master_secret, None)
}

/// A good ClientHello of TLS 1.2 that asks for the server `name`, spelled as it is here (RFC 6066, 3).
pub(crate) fn hello_to(name: &str) -> Vec<u8> {
    hello(3, true, Some(name))
}

fn hello(minor_version: u8, extended_master_secret: bool, server_name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend_from_slice(&(body.len() as u16).to_be_bytes());
        extensions.extend_from_slice(body);
    };
    extension(0x000a, &[0, 2, 0x00, 0x1d]); // supported_groups: x25519
    extension(0x000b, &[1, 0]); // ec_point_formats: uncompressed
    extension(0x000d, &[0, 4, 0x04, 0x03, 0x08, 0x04]); // signature_algorithms
    if extended_master_secret {
        extension(0x0017, &[]);
    }
    if let Some(name) = server_name {
        let length = name.len() as u8;
        let entry = [&[0, length + 3, 0, 0, length], name.as_bytes()].concat();
        extension(0x0000, &entry); // server_name: a list of one host_name
    }
    let mut body = vec![3, minor_version];
    body.extend_from_slice(&[7; 32]);
    body.push(0); // no session
    body.extend_from_slice(&[0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend_from_slice(&[1, 0]); // no compression
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut hello = vec![1, 0];
    hello.extend_from_slice(&(body.len() as u16).to_be_bytes());
    hello.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    record.extend_from_slice(&hello);
    record
}

/// What the gateway says to `bytes`, up to the end of the connection.
pub(crate) fn answer_to(gateway: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = connect(gateway);
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    answer
}

/// The one alert record that `answer` is, in the clear.
pub(crate) fn alert_in(answer: &[u8]) -> rustls::AlertDescription {
    match answer {
        [21, 3, _, 0, 2, 2, alert] => (*alert).into(),
        _ => panic!("not one fatal alert: {answer:02x?}"),
    }
}
