//! A PKI made at run time: an anchor, an intermediate and devices, whose certificates, lists and responses are what
//! fuzzing starts from.
//!
//! One key for all of them, and always the same one, so that an input found in one run means the same in the next. It is
//! made of a constant and worth nothing; whoever signs here would sign anything, which is how a change to what is signed
//! gets past the signature to the code behind it.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use gateway::verify::{AuthorityCertificate, Rules, TrustMaterial};

use crate::der::{self, BIT_STRING, OCTET_STRING, SEQUENCE, encode};

/// When everything is valid, in seconds since the Unix epoch.
pub const NOW: u64 = 1_795_242_000;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SET: u8 = 0x31;

/// AlgorithmIdentifier of Ed25519 (RFC 8410), of keys and of signatures.
const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));

/// The key of everybody in the test PKI, in PKCS #8.
pub fn private_key() -> Vec<u8> {
    let document = KEY.to_pkcs8v1().expect("a key has an encoding");
    document.as_ref().to_vec()
}

/// The one signature over `data` by the test PKI's key.
fn sign(data: &[u8]) -> Vec<u8> {
    encode(BIT_STRING, &[&[0], KEY.sign(data).as_ref()])
}

/// What X.509, revocation lists and OCSP responses share: the data, an algorithm, a signature, and in OCSP what follows.
fn parts(signed: &[u8]) -> Option<Vec<&[u8]>> {
    der::elements(der::contents(signed)?).filter(|parts| parts.len() >= 3)
}

/// `document` (a certificate, a list or a BasicOCSPResponse) with its signature replaced by a good one.
pub fn resign(document: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(document)?;
    let signature = sign(parts[0]);
    let rest = parts[3..].concat();
    Some(encode(SEQUENCE, &[parts[0], parts[1], &signature, &rest]))
}

/// Whether `document` has the test PKI's signature. Nobody else can make another one, so that nothing else may be
/// believed.
pub fn is_signed(document: &[u8]) -> bool {
    parts(document).is_some_and(|parts| parts[2] == sign(parts[0]))
}

/// An OCSPResponse with the signature of the BasicOCSPResponse in it replaced by a good one.
pub fn resign_response(response: &[u8]) -> Option<Vec<u8>> {
    Some(wrap_response(&resign(basic_response(response)?)?))
}

/// The BasicOCSPResponse in an OCSPResponse.
pub fn basic_response(response: &[u8]) -> Option<&[u8]> {
    let outer = der::elements(der::contents(response)?)?;
    let bytes = der::elements(der::contents(der::contents(outer.get(1)?)?)?)?;
    der::contents(bytes.get(1)?)
}

fn signed(data: &[u8]) -> Vec<u8> {
    encode(SEQUENCE, &[data, ED25519, &sign(data)])
}

fn name(common_name: &[u8]) -> Vec<u8> {
    let attribute = encode(
        SEQUENCE,
        &[
            &[OBJECT_IDENTIFIER, 3, 0x55, 4, 3],
            &encode(UTF8_STRING, &[common_name]),
        ],
    );
    encode(SEQUENCE, &[&encode(SET, &[&attribute])])
}

fn public_key() -> Vec<u8> {
    let key = encode(BIT_STRING, &[&[0], KEY.public_key().as_ref()]);
    encode(SEQUENCE, &[ED25519, &key])
}

/// An extension below id-ce (2.5.29).
fn extension(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    any_extension(&[0x55, 0x1d, number], critical, value)
}

fn any_extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[BOOLEAN, 1, 0xff] } else { &[] };
    encode(
        SEQUENCE,
        &[
            &encode(OBJECT_IDENTIFIER, &[id]),
            critical,
            &encode(OCTET_STRING, &[value]),
        ],
    )
}

/// A certificate of `subject` by `issuer`; of version 1 without `extensions`.
fn certificate(issuer: &str, subject: &[u8], serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let validity = [
        encode(UTC_TIME, &[b"250101000000Z"]),
        encode(UTC_TIME, &[b"350101000000Z"]),
    ];
    let (version, extensions) = match extensions {
        [] => (Vec::new(), Vec::new()),
        some => (
            encode(0xa0, &[&[INTEGER, 1, 2]]),
            encode(0xa3, &[&encode(SEQUENCE, &[&some.concat()])]),
        ),
    };
    signed(&encode(
        SEQUENCE,
        &[
            &version,
            &encode(INTEGER, &[serial]),
            ED25519,
            &name(issuer.as_bytes()),
            &encode(SEQUENCE, &[&validity.concat()]),
            subject,
            &public_key(),
            &extensions,
        ],
    ))
}

const ANCHOR: &str = "anchor";
const INTERMEDIATE: &str = "intermediate";

/// The authority that is trusted. It may sign certificates and lists.
pub fn anchor() -> Vec<u8> {
    authority(ANCHOR, ANCHOR, &[])
}

/// An authority below the anchor.
pub fn intermediate() -> Vec<u8> {
    authority(ANCHOR, INTERMEDIATE, &[])
}

/// An authority below the anchor that may issue for some names only.
pub fn constrained_intermediate() -> Vec<u8> {
    let subtree = |tag, base: &[u8]| encode(SEQUENCE, &[&encode(tag, &[base])]);
    let permitted = [subtree(0x82, b"example"), subtree(0xa4, &name(b"device-7"))];
    let constraints = encode(
        SEQUENCE,
        &[
            &encode(0xa0, &[&permitted.concat()]),
            &encode(0xa1, &[&subtree(0x82, b"bad.example")]),
        ],
    );
    authority(ANCHOR, INTERMEDIATE, &[extension(30, true, &constraints)])
}

fn authority(issuer: &str, subject: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let constraints = encode(SEQUENCE, &[&[BOOLEAN, 1, 0xff]]);
    let mut extensions = vec![
        extension(19, true, &constraints),
        // keyCertSign and cRLSign.
        extension(15, true, &[BIT_STRING, 2, 1, 6]),
        extension(14, false, &[OCTET_STRING, 2, 1, 2]),
    ];
    extensions.extend_from_slice(more);
    certificate(issuer, &name(subject.as_bytes()), &[1], &extensions)
}

/// The anchor trusted and the intermediate preloaded.
pub fn material(rules: Rules) -> TrustMaterial {
    let (anchor, intermediate) = (anchor().into(), intermediate().into());
    TrustMaterial::new(
        vec![AuthorityCertificate::anchor(&anchor, &rules).expect("an anchor")],
        vec![AuthorityCertificate::intermediate(&intermediate, &rules).expect("an intermediate")],
        rules,
    )
}

/// Device certificates of all the kinds that identities come from, by the intermediate.
pub fn devices() -> Vec<Vec<u8>> {
    let names = |names: &[(u8, &[u8])]| -> Vec<u8> {
        let names: Vec<u8> = names
            .iter()
            .flat_map(|(tag, name)| encode(*tag, &[name]))
            .collect();
        extension(17, false, &encode(SEQUENCE, &[&names]))
    };
    let uri = |uri: &[u8]| names(&[(0x86, uri)]);
    let usage = [
        extension(15, true, &[BIT_STRING, 2, 7, 0x80]),
        // clientAuth.
        extension(
            37,
            false,
            &encode(
                SEQUENCE,
                &[&encode(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 3, 2]])],
            ),
        ),
    ];
    let with = |extension: Vec<u8>| [&usage[..], &[extension]].concat();
    let subject = name(b"device-7");
    let device = |extensions: &[Vec<u8>]| certificate(INTERMEDIATE, &subject, &[0x4d], extensions);
    let everything = names(&[
        (0x86, b"spiffe://example/device/7"),
        (0x82, b"Device-7.example"),
        (0x81, b"device-7@example"),
        (0x87, &[192, 0, 2, 7]),
        (0xa4, &subject),
        (0x88, &[0x2a, 3, 4]),
    ]);
    let point = encode(0xa0, &[&encode(0xa0, &[&encode(0x86, &[b"http://a/1"])])]);
    let points = encode(SEQUENCE, &[&encode(SEQUENCE, &[&point])]);
    let ocsp = encode(
        SEQUENCE,
        &[
            &encode(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]]),
            &encode(0x86, &[b"http://ocsp.example/"]),
        ],
    );
    vec![
        device(&usage),
        device(&with(uri(b"spiffe://example/device/7"))),
        device(&with(uri(b"urn:device:device-7"))),
        device(&with(names(&[(0x82, b"Device-7.example")]))),
        device(&with(everything)),
        device(&with(extension(31, false, &points))),
        device(&with(any_extension(
            &[0x2b, 6, 1, 5, 5, 7, 1, 1],
            false,
            &encode(SEQUENCE, &[&ocsp]),
        ))),
        device(&[]),
        certificate(INTERMEDIATE, &encode(SEQUENCE, &[]), &[0, 0xff], &usage),
    ]
}

/// Revocation lists of the anchor: full and delta ones, with every extension that the gateway knows.
pub fn lists() -> Vec<Vec<u8>> {
    let time = encode(UTC_TIME, &[b"260101000000Z"]);
    let entry = |serial: &[u8], extensions: &[u8]| {
        encode(SEQUENCE, &[&encode(INTEGER, &[serial]), &time, extensions])
    };
    let reason = |code: u8| encode(SEQUENCE, &[&extension(21, false, &[ENUMERATED, 1, code])]);
    let entries = [
        entry(&[0x4d], &[]),
        entry(&[0, 0x80], &reason(1)),
        entry(&[1, 2, 3], &reason(6)),
    ];
    let removal = [&entries[..], &[entry(&[2], &reason(8))]].concat();
    let number = |id, number: u8| extension(id, id == 27, &[INTEGER, 1, number]);
    let key_id = extension(35, false, &encode(SEQUENCE, &[&encode(0x80, &[&[1, 2]])]));
    let point = encode(0xa0, &[&encode(0xa0, &[&encode(0x86, &[b"http://a/1"])])]);
    let scope = |fields: &[u8]| extension(28, true, &encode(SEQUENCE, &[fields]));
    let list = |entries: &[Vec<u8>], extensions: &[Vec<u8>]| {
        let entries = match entries {
            [] => Vec::new(),
            some => encode(SEQUENCE, &[&some.concat()]),
        };
        let (version, extensions) = match extensions {
            [] => (Vec::new(), Vec::new()),
            some => (
                vec![INTEGER, 1, 1],
                encode(0xa0, &[&encode(SEQUENCE, &[&some.concat()])]),
            ),
        };
        signed(&encode(
            SEQUENCE,
            &[
                &version,
                ED25519,
                &name(ANCHOR.as_bytes()),
                &time,
                &encode(UTC_TIME, &[b"270101000000Z"]),
                &entries,
                &extensions,
            ],
        ))
    };
    vec![
        list(&[], &[]),
        list(&entries[..1], &[]),
        list(&entries, &[number(20, 7), key_id]),
        list(&entries, &[number(20, 7), scope(&[0x81, 1, 0xff])]),
        list(&entries, &[number(20, 7), scope(&point)]),
        list(&removal, &[number(20, 9), number(27, 7)]),
    ]
}

/// OCSP responses of the anchor about its certificate with the serial number 77.
pub fn responses() -> Vec<Vec<u8>> {
    let sha1 = |data: &[u8]| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, data);
        encode(OCTET_STRING, &[hash.as_ref()])
    };
    let key_hash = sha1(KEY.public_key().as_ref());
    let algorithm = encode(
        SEQUENCE,
        &[
            &encode(OBJECT_IDENTIFIER, &[&[0x2b, 14, 3, 2, 26]]),
            &[5, 0],
        ],
    );
    let id = encode(
        SEQUENCE,
        &[
            &algorithm,
            &sha1(&name(ANCHOR.as_bytes())),
            &key_hash,
            &[INTEGER, 1, 0x4d],
        ],
    );
    let made = encode(GENERALIZED_TIME, &[b"20261121060000Z"]);
    let next = encode(0xa0, &[&encode(GENERALIZED_TIME, &[b"20261122060000Z"])]);
    let single = |status: &[u8], next: &[u8]| encode(SEQUENCE, &[&id, status, &made, next]);
    let by_key = encode(0xa2, &[&key_hash]);
    let by_name = encode(0xa1, &[&name(ANCHOR.as_bytes())]);
    let nonce = any_extension(
        &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2],
        false,
        &encode(OCTET_STRING, &[&[9; 32]]),
    );
    let response = |responder: &[u8], single: &[u8], extensions: &[u8], more: &[u8]| {
        let data = encode(
            SEQUENCE,
            &[responder, &made, &encode(SEQUENCE, &[single]), extensions],
        );
        let basic = encode(SEQUENCE, &[&data, ED25519, &sign(&data), more]);
        wrap_response(&basic)
    };
    let good = single(&[0x80, 0], &next);
    let revoked = single(&encode(0xa1, &[&made, &[0xa0, 3, ENUMERATED, 1, 1]]), &next);
    let unknown = single(&[0x82, 0], &[]);
    let nonces = encode(0xa1, &[&encode(SEQUENCE, &[&nonce])]);
    // One that the anchor appointed: OCSPSigning.
    let responder = certificate(
        ANCHOR,
        &name(b"responder"),
        &[5],
        &[extension(
            37,
            false,
            &encode(
                SEQUENCE,
                &[&encode(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 3, 9]])],
            ),
        )],
    );
    let appointed = encode(0xa0, &[&encode(SEQUENCE, &[&responder])]);
    vec![
        response(&by_key, &good, &[], &[]),
        response(&by_name, &revoked, &nonces, &[]),
        response(&by_key, &unknown, &[], &[]),
        response(
            &encode(0xa1, &[&name(b"responder")]),
            &good,
            &[],
            &appointed,
        ),
        response(&by_key, &[good, revoked].concat(), &[], &[]),
        encode(SEQUENCE, &[&[ENUMERATED, 1, 3]]),
    ]
}

fn wrap_response(basic: &[u8]) -> Vec<u8> {
    let kind = encode(OBJECT_IDENTIFIER, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = encode(SEQUENCE, &[&kind, &encode(OCTET_STRING, &[basic])]);
    encode(SEQUENCE, &[&[ENUMERATED, 1, 0], &encode(0xa0, &[&bytes])])
}

/// A certificate of the anchor with the serial number 77, which OCSP responses are about.
pub fn asked_about() -> Vec<u8> {
    certificate(ANCHOR, &name(b"device-7"), &[0x4d], &[])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use gateway::identity::{Identified, Rule, Source};
    use gateway::ocsp::request::{Hash, Request};
    use gateway::ocsp::response::{self, CertificateStatus, ResponseError};
    use gateway::ocsp::subject::{Issuer, Subject};
    use gateway::verify::revocation::{Authority, verify_list};
    use gateway::verify::{PresentedChain, Rules, VerifiedChain};

    use super::*;

    #[test]
    fn device_certificates_lead_to_the_anchor_and_name_devices() {
        let rules = Rules {
            legacy_end_entities: true,
            ..Rules::default()
        };
        let material = material(rules);
        let mut identified = 0;
        for device in devices() {
            assert!(is_signed(&device));
            assert_eq!(resign(&device), Some(device.clone()));
            let end_entity = device.into();
            let presented = PresentedChain {
                end_entity: &end_entity,
                intermediates: &[],
            };
            let chain = VerifiedChain::verify(&material, presented, NOW).unwrap();
            for source in [
                Source::CommonName,
                Source::SanUri,
                Source::SanDns,
                Source::Serial,
            ] {
                let rule = Rule {
                    source,
                    pattern: None,
                };
                let device = Identified::from_chain(&chain, &rule, Default::default());
                identified += usize::from(device.is_ok());
            }
        }
        // Eight common names, three URIs, two DNS names, and every serial number.
        assert_eq!(identified, 8 + 3 + 2 + 9);
    }

    #[test]
    fn lists_are_believed() {
        let anchor = anchor();
        let authority = Authority::from_certificate(&anchor).unwrap();
        let entries: Vec<usize> = lists()
            .iter()
            .map(|list| {
                assert_eq!(resign(list).as_ref(), Some(list));
                let list = verify_list(list, std::slice::from_ref(&authority)).unwrap();
                list.entries()
            })
            .collect();
        assert_eq!(entries, [0, 1, 3, 3, 3, 4]);
    }

    #[test]
    fn responses_are_believed_where_they_should_be() {
        let issuer = Arc::new(Issuer::from_certificate(&anchor()).unwrap());
        let subject = Subject::new(&asked_about(), Arc::clone(&issuer)).unwrap();
        let request = Request::new(&subject, Hash::Sha1, Some([9; 32]));
        let said: Vec<_> = responses()
            .iter()
            .map(|response| {
                response::verify(response, &request, &issuer, NOW, Duration::from_secs(3600))
                    .map(|answer| answer.status)
            })
            .collect();
        assert!(
            matches!(
                said.as_slice(),
                [
                    Ok(CertificateStatus::Good),
                    Ok(CertificateStatus::Revoked { .. }),
                    Ok(CertificateStatus::Unknown),
                    Ok(CertificateStatus::Good),
                    Err(ResponseError::Malformed),
                    Err(ResponseError::Refused(_)),
                ]
            ),
            "{said:?}"
        );
        for response in &responses()[..5] {
            assert_eq!(resign_response(response).as_ref(), Some(response));
        }
    }
}
