//! One test for each way in which a device is turned away: what it sees, that exactly the right counter moves, and that a
//! good device is served right after.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use certs_gen::authority::{
    Authority, AuthoritySpec, EndEntitySpec, ExtendedKeyUsage, SubjectAltName,
};
use certs_gen::credential::Credential;
use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::kx_group;
use support::counters::{expect_moved, expect_value, handshake, request, shed, timeout, unrouted};
use support::device::{Device, Options, connect};
use support::hello::{alert_in, answer_to, old_hello};
use support::pki::authority;
use support::upstream::{Peer, refusing_address};
use support::{Connection, Counters, Fleet, Gateway, Setup, Upstream, h2};
use time::{Duration as Span, OffsetDateTime};

const HOST: &str = "host: fleet.test\r\n";

/// A good device gets its answer, as if nothing had happened.
fn a_good_device_is_served(fleet: &Fleet) {
    let before = fleet.gateway.counters();
    let (response, _) = fleet.device().get(fleet.gateway.address(), "/after");
    assert_eq!((response.status(), response.text()), (200, "ok"));
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), request("2xx")],
    );
}

/// `device` is turned away in its handshake, with `alert`, counted as `outcome`.
fn turned_away(fleet: &Fleet, device: &Device, alert: AlertDescription, outcome: &str) {
    let before = fleet.gateway.counters();
    let received = fleet.upstream.received().len();
    assert_eq!(device.alert(fleet.gateway.address()), alert, "{outcome}");
    expect_moved(&fleet.gateway, &before, &[handshake("full", outcome)]);
    a_good_device_is_served(fleet);
    assert_eq!(
        fleet.upstream.received().len(),
        received + 1,
        "only the good device came through"
    );
}

/// The same for a device with `credential`, in both versions of TLS.
fn credential_turned_away(
    credential: impl Fn(&Fleet) -> Credential,
    alert: AlertDescription,
    outcome: &str,
) {
    for options in [Options::tls13(), Options::tls12()] {
        let fleet = Fleet::start(|_| {});
        let device = Device::with(&fleet.pki, Some(&credential(&fleet)), options);
        turned_away(&fleet, &device, alert, outcome);
    }
}

/// Bytes that are no handshake are answered with `alert` in the clear.
fn bytes_turned_away(bytes: &[u8], alert: AlertDescription, outcome: &str) {
    let fleet = Fleet::start(|_| {});
    let before = fleet.gateway.counters();
    assert_eq!(alert_in(&answer_to(fleet.gateway.address(), bytes)), alert);
    expect_moved(&fleet.gateway, &before, &[handshake("full", outcome)]);
    a_good_device_is_served(&fleet);
}

fn spec() -> EndEntitySpec {
    EndEntitySpec::device("device-000666")
}

// Certificates

#[test]
fn no_certificate() {
    let fleet = Fleet::start(|_| {});
    let device = Device::with(&fleet.pki, None, Options::tls13());
    turned_away(
        &fleet,
        &device,
        AlertDescription::CertificateRequired,
        "no_certificate",
    );
}

#[test]
fn no_certificate_in_tls_1_2() {
    let fleet = Fleet::start(|_| {});
    let device = Device::with(&fleet.pki, None, Options::tls12());
    turned_away(
        &fleet,
        &device,
        AlertDescription::CertificateRequired,
        "no_certificate",
    );
}

#[test]
fn a_certificate_of_another_anchor() {
    credential_turned_away(
        |_| authority("somebody else's anchor").issue(&spec()).unwrap(),
        AlertDescription::UnknownCA,
        "unknown_issuer",
    );
}

#[test]
fn a_certificate_of_an_anchor_that_only_has_the_same_name() {
    credential_turned_away(
        |_| authority("test trust anchor").issue(&spec()).unwrap(),
        AlertDescription::DecryptError,
        "bad_signature",
    );
}

#[test]
fn an_expired_certificate() {
    credential_turned_away(
        |fleet| {
            let mut spec = spec();
            spec.not_before = OffsetDateTime::now_utc() - Span::days(2);
            spec.not_after = OffsetDateTime::now_utc() - Span::days(1);
            fleet.pki.issue(&spec)
        },
        AlertDescription::CertificateExpired,
        "expired",
    );
}

#[test]
fn an_intermediate_that_has_expired() {
    credential_turned_away(
        |fleet| {
            let mut authority = AuthoritySpec::new("expired intermediate");
            authority.not_before = OffsetDateTime::now_utc() - Span::days(2);
            authority.not_after = OffsetDateTime::now_utc() - Span::days(1);
            let intermediate = fleet.pki.anchor.intermediate(&authority).unwrap();
            intermediate.issue(&spec()).unwrap()
        },
        AlertDescription::CertificateExpired,
        "expired",
    );
}

#[test]
fn a_certificate_that_is_not_valid_yet() {
    credential_turned_away(
        |fleet| {
            let mut spec = spec();
            spec.not_before = OffsetDateTime::now_utc() + Span::days(1);
            fleet.pki.issue(&spec)
        },
        AlertDescription::CertificateExpired,
        "not_yet_valid",
    );
}

#[test]
fn a_self_signed_certificate() {
    credential_turned_away(
        |_| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, "device-000666");
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            Credential {
                chain: vec![params.self_signed(&key).unwrap().der().to_vec()],
                key: key.serialize_der(),
            }
        },
        AlertDescription::UnknownCA,
        "unknown_issuer",
    );
}

#[test]
fn a_certificate_for_servers_only() {
    credential_turned_away(
        |fleet| {
            let mut spec = spec();
            spec.extended_key_usages = vec![ExtendedKeyUsage::ServerAuth];
            fleet.pki.issue(&spec)
        },
        AlertDescription::UnsupportedCertificate,
        "wrong_usage",
    );
}

#[test]
fn a_certificate_authority_as_a_device() {
    credential_turned_away(
        |fleet| {
            let intermediate: &Authority = &fleet.pki.intermediate;
            Credential {
                chain: vec![intermediate.certificate_der().to_vec()],
                key: pem::parse(intermediate.key_pem()).unwrap().into_contents(),
            }
        },
        AlertDescription::UnsupportedCertificate,
        "wrong_role",
    );
}

#[test]
fn a_device_that_signs_certificates() {
    credential_turned_away(
        |fleet| {
            let device = fleet.pki.device("device-000007");
            let key = rcgen::KeyPair::try_from(device.key.as_slice()).unwrap();
            let issuer = rcgen::Issuer::from_ca_cert_der(&device.end_entity().into(), key).unwrap();
            let mut forged = rcgen::CertificateParams::default();
            forged
                .distinguished_name
                .push(rcgen::DnType::CommonName, "device-000001");
            let key = rcgen::KeyPair::generate().unwrap();
            let forged = forged.signed_by(&key, &issuer).unwrap();
            let mut chain = vec![forged.der().to_vec()];
            chain.extend(device.chain);
            Credential {
                chain,
                key: key.serialize_der(),
            }
        },
        AlertDescription::UnsupportedCertificate,
        "wrong_role",
    );
}

#[test]
fn too_many_certificates() {
    credential_turned_away(
        |fleet| {
            let mut credential = fleet.pki.device("device-000666");
            let intermediate = credential.chain[1].clone();
            credential.chain.resize(11, intermediate);
            credential
        },
        AlertDescription::CertificateUnknown,
        "too_many_certificates",
    );
}

#[test]
fn certificates_that_are_too_large() {
    credential_turned_away(
        |fleet| {
            let mut spec = spec();
            spec.subject_alt_names = (0..700)
                .map(|number| SubjectAltName::Uri(format!("urn:padding:{number:040}")))
                .collect();
            fleet.pki.issue(&spec)
        },
        AlertDescription::CertificateUnknown,
        "chain_too_large",
    );
}

#[test]
fn certificates_that_are_larger_than_any_tls_message() {
    for options in [Options::tls13(), Options::tls12()] {
        let fleet = Fleet::start(|_| {});
        let mut spec = spec();
        spec.subject_alt_names = (0..1500)
            .map(|number| SubjectAltName::Uri(format!("urn:padding:{number:040}")))
            .collect();
        let device = Device::with(&fleet.pki, Some(&fleet.pki.issue(&spec)), options);
        let before = fleet.gateway.counters();
        // The library has no alert for this; the connection ends, and that is all.
        if let Ok(mut connection) = device.try_connect(fleet.gateway.address()) {
            connection.error();
        }
        expect_moved(
            &fleet.gateway,
            &before,
            &[handshake("full", "protocol_error")],
        );
        a_good_device_is_served(&fleet);
    }
}

#[test]
fn a_certificate_without_a_common_name() {
    credential_turned_away(
        |fleet| {
            let mut spec = spec();
            spec.common_name = None;
            fleet.pki.issue(&spec)
        },
        AlertDescription::AccessDenied,
        "no_identity",
    );
}

#[test]
fn a_certificate_with_two_common_names() {
    credential_turned_away(
        |fleet| {
            let intermediate = &fleet.pki.intermediate;
            let key = rcgen::KeyPair::from_pem(&intermediate.key_pem()).unwrap();
            let der = intermediate.certificate_der().into();
            let issuer = rcgen::Issuer::from_ca_cert_der(&der, key).unwrap();
            let mut params = rcgen::CertificateParams::default();
            let name = &mut params.distinguished_name;
            name.push(rcgen::DnType::CommonName, "device-000666");
            name.push(
                rcgen::DnType::CustomDnType(vec![2, 5, 4, 3]),
                "device-000001",
            );
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            Credential {
                chain: vec![
                    certificate.der().to_vec(),
                    intermediate.certificate_der().to_vec(),
                ],
                key: key.serialize_der(),
            }
        },
        AlertDescription::AccessDenied,
        "no_identity",
    );
}

#[test]
fn the_key_of_another_certificate() {
    credential_turned_away(
        |fleet| {
            // The chain is good, and in the cache: the proof is checked all the same.
            let good = fleet.pki.device("device-000002");
            let (response, _) =
                Device::new(&fleet.pki, Some(&good)).get(fleet.gateway.address(), "/");
            assert_eq!(response.status(), 200);
            Credential {
                chain: good.chain,
                key: fleet.pki.device("device-000003").key,
            }
        },
        AlertDescription::DecryptError,
        "bad_certificate_verify",
    );
}

// The protocol

#[test]
fn bytes_that_are_no_tls() {
    bytes_turned_away(
        b"\x00\x01\x02 this is nothing that anybody speaks",
        AlertDescription::DecodeError,
        "not_tls",
    );
}

#[test]
fn a_device_that_knows_tls_1_1_only() {
    bytes_turned_away(
        &old_hello(2, true),
        AlertDescription::ProtocolVersion,
        "incompatible",
    );
}

#[test]
fn tls_1_2_without_the_extended_master_secret() {
    bytes_turned_away(
        &old_hello(3, false),
        AlertDescription::HandshakeFailure,
        "incompatible",
    );
}

#[test]
fn an_old_hello_that_is_good_is_answered() {
    let fleet = Fleet::start(|_| {});
    let mut tcp = connect(fleet.gateway.address());
    tcp.write_all(&old_hello(3, true)).unwrap();
    let mut head = [0; 6];
    tcp.read_exact(&mut head).unwrap();
    assert_eq!((head[0], head[5]), (22, 2), "a ServerHello");
}

#[test]
fn no_group_in_common() {
    let fleet = Fleet::start(|_| {});
    let options = Options {
        groups: vec![kx_group::SECP384R1],
        ..Options::default()
    };
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000666")),
        options,
    );
    turned_away(
        &fleet,
        &device,
        AlertDescription::HandshakeFailure,
        "incompatible",
    );
}

#[test]
fn an_older_version_than_the_configured_one() {
    let fleet = Fleet::start(|setup| setup.tls = "min_version = \"1.3\"".into());
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000666")),
        Options::tls12(),
    );
    turned_away(
        &fleet,
        &device,
        AlertDescription::ProtocolVersion,
        "incompatible",
    );
}

#[test]
fn no_application_protocol_in_common() {
    let fleet = Fleet::start(|_| {});
    let options = Options {
        alpn: vec![b"mqtt".to_vec()],
        ..Options::default()
    };
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000666")),
        options,
    );
    turned_away(
        &fleet,
        &device,
        AlertDescription::NoApplicationProtocol,
        "incompatible",
    );
}

#[test]
fn a_device_that_does_not_trust_the_gateway() {
    for options in [Options::tls13(), Options::tls12()] {
        let fleet = Fleet::start(|_| {});
        let options = Options {
            trusts: Some(authority("another fleet's").certificate_der().to_vec()),
            ..options
        };
        let device = Device::with(
            &fleet.pki,
            Some(&fleet.pki.device("device-000666")),
            options,
        );
        let before = fleet.gateway.counters();
        assert!(device.try_connect(fleet.gateway.address()).is_err());
        expect_moved(&fleet.gateway, &before, &[handshake("full", "peer_alert")]);
        a_good_device_is_served(&fleet);
    }
}

#[test]
fn plain_http_is_answered_in_the_clear() {
    for pieces in [
        &["GET / HTTP/1.1\r\nhost: x\r\n\r\n"][..],
        &["G", "E", "T / HTTP/1.1\r\nhost: x\r\n\r\n"],
    ] {
        let fleet = Fleet::start(|_| {});
        let before = fleet.gateway.counters();
        let mut tcp = connect(fleet.gateway.address());
        for piece in pieces {
            tcp.write_all(piece.as_bytes()).unwrap();
            // So that each piece is likely to be read by itself; the answer is the same if not.
            std::thread::sleep(Duration::from_millis(30));
        }
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer:?}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{answer:?}"
        );
        expect_moved(&fleet.gateway, &before, &[handshake("full", "plain_http")]);
        a_good_device_is_served(&fleet);
    }
}

fn hello(fleet: &Fleet) -> Vec<u8> {
    let mut hello = Vec::new();
    fleet.device().session().write_tls(&mut hello).unwrap();
    hello
}

fn short_handshakes(more: &str) -> Fleet {
    Fleet::start(|setup| setup.more = format!("[timeouts]\nhandshake = \"800ms\"\n{more}"))
}

#[test]
fn a_hello_that_is_never_finished_meets_the_deadline() {
    let fleet = short_handshakes("");
    let before = fleet.gateway.counters();
    let mut tcp = connect(fleet.gateway.address());
    let hello = hello(&fleet);
    tcp.write_all(&hello[..hello.len() / 2]).unwrap();
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0, "closed without a word");
    expect_moved(&fleet.gateway, &before, &[handshake("full", "timeout")]);
    a_good_device_is_served(&fleet);
}

#[test]
fn a_connection_that_says_nothing_meets_the_deadline() {
    let fleet = short_handshakes("");
    let before = fleet.gateway.counters();
    let mut tcp = connect(fleet.gateway.address());
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0);
    expect_moved(&fleet.gateway, &before, &[handshake("full", "timeout")]);
    a_good_device_is_served(&fleet);
}

#[test]
fn a_hello_byte_by_byte_does_not_move_the_deadline() {
    let fleet = short_handshakes("");
    let before = fleet.gateway.counters();
    let mut tcp = connect(fleet.gateway.address());
    let hello = hello(&fleet);
    let sent = hello
        .iter()
        .take_while(|byte| {
            std::thread::sleep(Duration::from_millis(20));
            tcp.write_all(&[**byte]).is_ok()
        })
        .count();
    assert!(sent < hello.len(), "the gateway waited for all of it");
    expect_moved(&fleet.gateway, &before, &[handshake("full", "timeout")]);
    a_good_device_is_served(&fleet);
}

#[test]
fn a_device_that_never_answers_the_gateways_flight_meets_the_deadline() {
    let fleet = short_handshakes("");
    let before = fleet.gateway.counters();
    let mut tcp = connect(fleet.gateway.address());
    tcp.write_all(&hello(&fleet)).unwrap();
    let mut flight = Vec::new();
    tcp.read_to_end(&mut flight).unwrap();
    assert!(flight.len() > 1000, "the gateway's whole flight came");
    expect_moved(&fleet.gateway, &before, &[handshake("full", "timeout")]);
    a_good_device_is_served(&fleet);
}

#[test]
fn a_device_that_leaves_during_its_handshake() {
    for (shutdown, outcome) in [(true, "closed"), (false, "reset")] {
        let fleet = Fleet::start(|_| {});
        let before = fleet.gateway.counters();
        let mut tcp = connect(fleet.gateway.address());
        let hello = hello(&fleet);
        tcp.write_all(&hello[..100]).unwrap();
        if shutdown {
            tcp.shutdown(Shutdown::Both).unwrap();
        } else {
            support::upstream::reset(tcp);
        }
        expect_moved(&fleet.gateway, &before, &[handshake("full", outcome)]);
        a_good_device_is_served(&fleet);
    }
}

// Bounds

/// The connection is reset before the gateway says anything.
fn is_reset(gateway: SocketAddr) {
    let mut tcp = connect(gateway);
    let error = tcp.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

fn all_closed(gateway: &Gateway) {
    expect_value(gateway, "gateway_connections_open{listener=\"devices\"}", 0);
}

#[test]
fn more_connections_than_the_limit_are_reset() {
    let fleet = Fleet::start(|setup| setup.more = "[limits]\nconnections = 2\n".into());
    let mut open: Vec<Connection> = (0..2).map(|_| fleet.connect()).collect();
    for connection in &mut open {
        assert_eq!(connection.get("/").status(), 200);
    }
    let before = fleet.gateway.counters();
    is_reset(fleet.gateway.address());
    expect_moved(&fleet.gateway, &before, &[shed("too_many_connections")]);
    assert_eq!(open[0].get("/").status(), 200, "those who are in stay in");
    for connection in open {
        connection.close();
    }
    all_closed(&fleet.gateway);
    a_good_device_is_served(&fleet);
}

#[test]
fn more_handshakes_than_the_limit_are_reset() {
    let fleet = Fleet::start(|setup| setup.more = "[limits]\nhandshakes = 1\n".into());
    let mut established = fleet.connect();
    assert_eq!(established.get("/").status(), 200);
    let slow = connect(fleet.gateway.address());
    expect_value(
        &fleet.gateway,
        "gateway_connections_open{listener=\"devices\"}",
        2,
    );
    let before = fleet.gateway.counters();
    is_reset(fleet.gateway.address());
    expect_moved(&fleet.gateway, &before, &[shed("too_many_handshakes")]);
    assert_eq!(
        established.get("/").status(),
        200,
        "a finished handshake holds no slot"
    );
    established.close();
    drop(slow);
    all_closed(&fleet.gateway);
    a_good_device_is_served(&fleet);
}

// Requests

/// A good device says `request` and is answered with `status` before an upstream is chosen.
fn request_refused(fleet: &Fleet, request: &str, status: u16) {
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    let response = connection.ask(request);
    assert_eq!(response.status(), status, "to {request:?}");
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), unrouted("4xx")],
    );
    drop(connection);
    assert!(fleet.upstream.received().is_empty());
    a_good_device_is_served(fleet);
}

#[test]
fn a_head_that_is_too_large() {
    let fleet = Fleet::start(|_| {});
    let padding = "x".repeat(20_000);
    request_refused(
        &fleet,
        &format!("GET / HTTP/1.1\r\n{HOST}x-padding: {padding}\r\n\r\n"),
        431,
    );
}

#[test]
fn a_head_that_is_larger_than_a_configured_limit() {
    let fleet = Fleet::start(|setup| setup.more = "[limits]\nrequest_head = \"2KiB\"\n".into());
    let padding = "x".repeat(2_100);
    request_refused(
        &fleet,
        &format!("GET / HTTP/1.1\r\n{HOST}x-padding: {padding}\r\n\r\n"),
        431,
    );
}

#[test]
fn more_header_fields_than_the_limit() {
    let fleet = Fleet::start(|_| {});
    let fields: String = (0..101)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    request_refused(
        &fleet,
        &format!("GET / HTTP/1.1\r\n{HOST}{fields}\r\n"),
        431,
    );
}

#[test]
fn bytes_that_are_no_http() {
    let fleet = Fleet::start(|_| {});
    request_refused(&fleet, "\u{1}\u{2}\u{3}\r\n\r\n", 400);
}

#[test]
fn no_host() {
    request_refused(&Fleet::start(|_| {}), "GET / HTTP/1.1\r\n\r\n", 400);
}

#[test]
fn two_hosts() {
    request_refused(
        &Fleet::start(|_| {}),
        &format!("GET / HTTP/1.1\r\n{HOST}host: other.test\r\n\r\n"),
        400,
    );
}

#[test]
fn a_host_that_is_none() {
    request_refused(
        &Fleet::start(|_| {}),
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        400,
    );
}

#[test]
fn two_lengths() {
    request_refused(
        &Fleet::start(|_| {}),
        &format!("POST / HTTP/1.1\r\n{HOST}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        400,
    );
}

#[test]
fn a_transfer_encoding_other_than_chunked() {
    request_refused(
        &Fleet::start(|_| {}),
        &format!("POST / HTTP/1.1\r\n{HOST}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        400,
    );
}

#[test]
fn chunks_in_http_1_0() {
    request_refused(
        &Fleet::start(|_| {}),
        &format!("POST / HTTP/1.0\r\n{HOST}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        400,
    );
}

#[test]
fn connect_is_not_allowed() {
    request_refused(
        &Fleet::start(|_| {}),
        "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n",
        405,
    );
}

#[test]
fn no_route() {
    let fleet = Fleet::start(|setup| setup.path_prefix = "/after".into());
    request_refused(
        &fleet,
        &format!("GET /aftermath HTTP/1.1\r\n{HOST}\r\n"),
        404,
    );
}

fn small_bodies() -> Fleet {
    Fleet::start(|setup| setup.more = "[limits]\nrequest_body = \"10B\"\n".into())
}

#[test]
fn a_body_that_says_it_is_too_large() {
    let fleet = small_bodies();
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    let response = connection.ask(&format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 11\r\n\r\nhello world"
    ));
    assert_eq!(response.status(), 413);
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), request("4xx")],
    );
    assert!(fleet.upstream.received().is_empty());
    a_good_device_is_served(&fleet);
}

#[test]
fn a_body_in_chunks_that_becomes_too_large() {
    let fleet = small_bodies();
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\n6\r\nhello \r\n"
    ));
    connection.send("6\r\nworlds\r\n0\r\n\r\n");
    assert_eq!(connection.response().status(), 413);
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), request("4xx")],
    );
    assert!(
        fleet.upstream.received().is_empty(),
        "no whole request came through"
    );
    a_good_device_is_served(&fleet);
}

#[test]
fn a_device_that_goes_on_sending_can_read_why_it_is_refused() {
    let fleet = small_bodies();
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 50000000\r\n\r\n"
    ));
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..16 {
        connection.send(&piece);
    }
    assert_eq!(connection.response().status(), 413);
    a_good_device_is_served(&fleet);
}

#[test]
fn a_body_of_exactly_the_limit_is_accepted() {
    let fleet = small_bodies();
    let mut connection = fleet.connect();
    let request = format!("POST / HTTP/1.1\r\n{HOST}content-length: 10\r\n\r\n0123456789");
    assert_eq!(connection.ask(&request).status(), 200);
    let request = format!(
        "POST / HTTP/1.1\r\n{HOST}transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
    );
    assert_eq!(connection.ask(&request).status(), 200);
}

/// An HTTP/2 request of a good device is answered with `status`.
fn h2_refused(
    fleet: &Fleet,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
    status: u16,
    counted: &[String],
) {
    let before = fleet.gateway.counters();
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        Options::h2(),
    );
    h2::run(async {
        let (mut sender, _) = h2::connect(&device, fleet.gateway.address()).await;
        assert_eq!(h2::ask(&mut sender, request).await.status(), status);
        assert_eq!(
            h2::ask(&mut sender, h2::get("/good")).await.status(),
            200,
            "other streams go on"
        );
    });
    let mut expected = vec![handshake("full", "ok"), support::counters::request("2xx")];
    expected.extend_from_slice(counted);
    expect_moved(&fleet.gateway, &before, &expected);
    a_good_device_is_served(fleet);
}

#[test]
fn http2_too_many_header_fields() {
    let mut request = h2::get("/");
    for number in 0..101 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        request.headers_mut().insert(name, "y".try_into().unwrap());
    }
    h2_refused(&Fleet::start(|_| {}), request, 431, &[unrouted("4xx")]);
}

#[test]
fn http2_two_authorities() {
    let mut request = h2::get("/");
    request
        .headers_mut()
        .insert("host", "other.test".try_into().unwrap());
    h2_refused(&Fleet::start(|_| {}), request, 400, &[unrouted("4xx")]);
}

#[test]
fn http2_a_body_that_is_too_large() {
    let request = h2::request("POST", "https://fleet.test/", "hello world");
    h2_refused(
        &small_bodies(),
        request,
        413,
        &[support::counters::request("4xx")],
    );
}

// Upstreams

/// A fleet with a good upstream for `/` and a bad one for `/bad`.
fn with_bad_upstream(bad: SocketAddr, limits: &str) -> Fleet {
    Fleet::start(|setup| {
        setup.more = format!(
            "[[upstreams]]\nname = \"bad\"\nendpoints = [\"http://{bad}\"]\n{limits}\n\
             [[routes]]\npath_prefix = \"/bad\"\nupstream = \"bad\"\n"
        );
    })
}

fn upstream_fails(fleet: &Fleet, status: u16) -> Counters {
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    let response = connection.get("/bad");
    assert_eq!(response.status(), status);
    assert_eq!(response.field("content-type"), "text/plain");
    let counted = "gateway_requests_total{status=\"5xx\",upstream=\"bad\"}".to_owned();
    expect_moved(&fleet.gateway, &before, &[handshake("full", "ok"), counted]);
    assert_eq!(
        connection.get("/good").status(),
        200,
        "the device's connection stays"
    );
    connection.close();
    a_good_device_is_served(fleet);
    fleet.gateway.counters()
}

fn bad_peer(serve: impl Fn(&mut Peer) + Send + Sync + 'static) -> Upstream {
    Upstream::by_hand(move |mut peer| {
        if peer.reader.head().is_ok() {
            serve(&mut peer);
            peer.reset();
        }
    })
}

#[test]
fn an_upstream_that_refuses_connections() {
    upstream_fails(&with_bad_upstream(refusing_address(), ""), 503);
}

#[test]
fn an_upstream_that_takes_no_connection_in_time() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Nobody accepts, so the queue fills up, and the next one waits for ever.
    let mut queue = Vec::new();
    while let Ok(tcp) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(tcp);
    }
    upstream_fails(
        &with_bad_upstream(address, "connect_timeout = \"200ms\""),
        504,
    );
}

#[test]
fn an_upstream_that_resets_before_it_answers() {
    let bad = bad_peer(|_| {});
    upstream_fails(&with_bad_upstream(bad.address(), ""), 502);
}

#[test]
fn an_upstream_that_resets_inside_its_head() {
    let bad = bad_peer(|peer| peer.send("HTTP/1.1 200 OK\r\ncontent-le"));
    upstream_fails(&with_bad_upstream(bad.address(), ""), 502);
}

#[test]
fn an_upstream_that_speaks_no_http() {
    let bad = bad_peer(|peer| peer.send("220 mail.test ESMTP\r\n\r\n"));
    upstream_fails(&with_bad_upstream(bad.address(), ""), 502);
}

#[test]
fn an_upstream_that_switches_protocols_unasked() {
    let bad = bad_peer(|peer| {
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        let _ = peer.reader.head();
    });
    upstream_fails(&with_bad_upstream(bad.address(), ""), 502);
}

#[test]
fn an_upstream_that_never_answers() {
    let bad = Upstream::by_hand(|mut peer| while peer.reader.head().is_ok() {});
    upstream_fails(
        &with_bad_upstream(bad.address(), "response_timeout = \"300ms\""),
        504,
    );
}

// Connections that stand still

#[test]
fn a_request_head_that_stalls() {
    let fleet = Fleet::start(|setup| setup.more = "[timeouts]\nrequest_head = \"300ms\"\n".into());
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    connection.send("GET / HTTP/1.1\r\nhost: fle");
    connection.wait_for_end();
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), timeout("request_head")],
    );
    a_good_device_is_served(&fleet);
}

#[test]
fn a_head_byte_by_byte_does_not_move_the_deadline() {
    let fleet = Fleet::start(|setup| setup.more = "[timeouts]\nrequest_head = \"300ms\"\n".into());
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    let mut sent = 0;
    connection.send("GET / HTTP/1.1\r\nhost: ");
    while sent < 200 && connection.try_send("x").is_ok() {
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(sent < 200, "the gateway waited for all of it");
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), timeout("request_head")],
    );
    a_good_device_is_served(&fleet);
}

/// Sets the idle timeout, and the timeout that may not be longer.
fn idle_timeout(setup: &mut Setup, timeout: &str) {
    setup.upstream = format!("response_timeout = \"{timeout}\"");
    setup.more = format!("[timeouts]\nidle = \"{timeout}\"\n");
}

#[test]
fn a_quiet_connection_is_closed_in_order() {
    let fleet = Fleet::start(|setup| idle_timeout(setup, "300ms"));
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    assert_eq!(connection.get("/").status(), 200);
    assert_eq!(connection.rest(), b"", "a close_notify and nothing else");
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), request("2xx"), timeout("idle")],
    );
}

#[test]
fn a_quiet_http2_connection_is_closed() {
    let fleet = Fleet::start(|setup| idle_timeout(setup, "300ms"));
    let before = fleet.gateway.counters();
    let device = Device::with(
        &fleet.pki,
        Some(&fleet.pki.device("device-000001")),
        Options::h2(),
    );
    h2::run(async {
        let (mut sender, end) = h2::connect(&device, fleet.gateway.address()).await;
        assert_eq!(h2::ask(&mut sender, h2::get("/")).await.status(), 200);
        end.await.unwrap().expect("closed in order");
    });
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), request("2xx"), timeout("idle")],
    );
}

#[test]
fn a_body_that_stalls() {
    let fleet = Fleet::start(|setup| idle_timeout(setup, "400ms"));
    let before = fleet.gateway.counters();
    let mut connection = fleet.connect();
    connection.send(format!(
        "POST / HTTP/1.1\r\n{HOST}content-length: 10\r\n\r\nhalf"
    ));
    connection.wait_for_end();
    // Nobody was answered; what is counted is that the request did not come to a good end.
    expect_moved(
        &fleet.gateway,
        &before,
        &[handshake("full", "ok"), timeout("stalled"), request("4xx")],
    );
    assert!(fleet.upstream.received().is_empty());
}
