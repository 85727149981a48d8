use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{ClientHello, FirstFlight, MAX_HELLO, MAX_RECORDS, first_flight};

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes(),
        &(body.len() as u16).to_be_bytes(),
        body,
    ]
    .concat()
}

fn with_length(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes(), body].concat()
}

/// The body of a hello with these extensions.
fn body(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[2, 1, 1]); // a session
    body.extend_from_slice(&[0, 2, 0x13, 1]); // a suite
    body.extend_from_slice(&[1, 0]); // no compression
    body.extend(with_length(&extensions.concat()));
    body
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[1][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &with_length(fragment)].concat()
}

fn name(name: &str) -> Vec<u8> {
    let entry = [&[0][..], &with_length(name.as_bytes())].concat();
    extension(0, &with_length(&entry))
}

fn pre_shared_key(identities: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = identities
        .iter()
        .flat_map(|identity| [with_length(identity), vec![0; 4]].concat())
        .collect();
    let binders = with_length(&[32; 33]);
    extension(41, &[with_length(&list), binders].concat())
}

fn whole(flight: FirstFlight<'_>) -> Vec<u8> {
    match flight {
        FirstFlight::Hello(body) => body.into_owned(),
        other => panic!("no hello: {other:?}"),
    }
}

#[test]
fn name_and_ticket_are_found() {
    let psk = pre_shared_key(&[b"ticket", b"another"]);
    let body = body(&[
        name("a.example"),
        extension(35, b""),
        extension(99, b"?"),
        psk,
    ]);
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.server_name, Some("a.example"));
    assert_eq!(hello.ticket, Some(&b"ticket"[..]));
}

#[test]
fn tickets_of_tls_1_2_are_found() {
    let body = body(&[extension(35, b"old ticket")]);
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.ticket, Some(&b"old ticket"[..]));
    assert_eq!(hello.server_name, None);
}

#[test]
fn the_pre_shared_key_counts_where_both_are_there() {
    let both = [extension(35, b"old"), pre_shared_key(&[b"new"])];
    let body = body(&both);
    assert_eq!(ClientHello::parse(&body).unwrap().ticket, Some(&b"new"[..]));
}

#[test]
fn a_hello_without_extensions_brings_nothing() {
    let body = body(&[]);
    let nothing = Some(ClientHello::default());
    assert_eq!(ClientHello::parse(&body), nothing);
    assert_eq!(ClientHello::parse(&body[..body.len() - 2]), nothing);
}

#[test]
fn names_that_are_none_are_ignored() {
    let other_kind = extension(0, &with_length(&[1, 0, 1, b'a']));
    let not_text = extension(0, &with_length(&[0, 0, 1, 0xff]));
    for broken in [other_kind, not_text, extension(0, b""), extension(0, &[9])] {
        let body = body(&[broken]);
        assert_eq!(ClientHello::parse(&body).unwrap().server_name, None);
    }
}

#[test]
fn lengths_that_lie_are_no_hello() {
    let good = body(&[name("a.example"), pre_shared_key(&[b"ticket"])]);
    for length in 0..good.len() - 1 {
        // Where it is cut right after the compression methods it is a hello without extensions.
        let parsed = ClientHello::parse(&good[..length]);
        assert!(
            parsed.is_none_or(|hello| hello == ClientHello::default()),
            "{length}"
        );
    }
}

#[test]
fn a_hello_in_one_record() {
    let body = body(&[name("a.example")]);
    let bytes = record(&message(&body));
    for length in 0..bytes.len() {
        assert_eq!(
            first_flight(&bytes[..length]),
            FirstFlight::Incomplete,
            "{length}"
        );
    }
    assert_eq!(whole(first_flight(&bytes)), body);
    let more = [bytes, b"what follows".to_vec()].concat();
    assert_eq!(whole(first_flight(&more)), body);
}

#[test]
fn a_hello_in_several_records() {
    let body = body(&[name("a.example"), pre_shared_key(&[&[5; 700]])]);
    let message = message(&body);
    for size in [1, 2, 3, 4, 5, 100, 500] {
        let bytes: Vec<u8> = message.chunks(size).flat_map(record).collect();
        if message.len().div_ceil(size) > MAX_RECORDS {
            assert_eq!(
                first_flight(&bytes),
                FirstFlight::Other,
                "in pieces of {size}"
            );
            continue;
        }
        assert_eq!(whole(first_flight(&bytes)), body, "in pieces of {size}");
        for length in 0..bytes.len() {
            assert_eq!(
                first_flight(&bytes[..length]),
                FirstFlight::Incomplete,
                "{length} of {size}"
            );
        }
    }
}

#[test]
fn what_is_none_is_said_to_be_none_at_once() {
    let too_long = [
        &[22, 3, 1, 0, 4, 1][..],
        &(MAX_HELLO as u32).to_be_bytes()[1..],
    ]
    .concat();
    for bytes in [
        &b"GET / HTTP/1.1"[..],
        &[21, 3, 1, 0, 2, 2, 40],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[22, 3, 1, 0, 4, 2, 0, 0, 0],
        &[22, 3, 1, 0, 1, 1, 21, 3, 1, 0, 2],
        &too_long,
    ] {
        assert_eq!(first_flight(bytes), FirstFlight::Other, "{bytes:?}");
    }
}

/// What a real client says.
#[test]
fn a_real_hello_is_understood() {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from("gateway.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let body = whole(first_flight(&bytes));
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.server_name, Some("gateway.example"));
    assert_eq!(hello.ticket, None);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = first_flight(&bytes);
        let _ = ClientHello::parse(&bytes);
    }

    /// A hello of which some bytes are others, in records of any size, that arrives in two pieces.
    #[test]
    fn a_damaged_hello_does_no_harm(
        damage in proptest::collection::vec((0..400_usize, any::<u8>()), 0..4),
        size in 20..400_usize,
        cut in 0..500_usize,
    ) {
        let mut bytes: Vec<u8> = message(&body(&[name("a.example"), pre_shared_key(&[&[5; 200]])]))
            .chunks(size)
            .flat_map(record)
            .collect();
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let cut = cut.min(bytes.len());
        let early = first_flight(&bytes[..cut]);
        let late = first_flight(&bytes);
        // What was decided stays decided, whatever comes after.
        if early != FirstFlight::Incomplete {
            prop_assert_eq!(&early, &late);
        }
        if let FirstFlight::Hello(body) = late {
            let _ = ClientHello::parse(&body);
        }
    }
}
