//! Responses that are right, and each way in which they can be wrong.

use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::{any, prop, proptest};
use rcgen::{ExtendedKeyUsagePurpose, IsCa};

use super::{Answer, CertificateStatus, Refusal, ResponseError, verify};
use crate::der::{self, encode};
use crate::ocsp::fixture::{NOW, Party, Response, good, refusal, revoked, time, unknown};
use crate::ocsp::request::{Hash, Request, nonce_extensions};
use crate::ocsp::subject::{Issuer, Subject, SubjectError};

const MINUTE: Duration = Duration::from_secs(60);

/// An authority, a device of it, and the question about that.
struct Scene {
    authority: Party,
    subject: Subject,
    request: Request,
}

impl Scene {
    fn new() -> Self {
        Self::with(Hash::Sha1, None)
    }

    fn with(hash: Hash, nonce: Option<[u8; 32]>) -> Self {
        let authority = Party::authority("authority");
        let subject = authority.subject(0x1234_5678, &[]);
        let request = Request::new(&subject, hash, nonce);
        Self {
            authority,
            subject,
            request,
        }
    }

    fn id(&self) -> Vec<u8> {
        self.request.id().to_der()
    }

    /// A good response by the authority itself.
    fn response(&self) -> Response {
        Response::new(&self.id(), &good(), &self.authority)
    }

    fn verify(&self, response: &[u8]) -> Result<Answer, ResponseError> {
        self.verify_at(response, NOW)
    }

    fn verify_at(&self, response: &[u8], now: u64) -> Result<Answer, ResponseError> {
        verify(response, &self.request, self.subject.issuer(), now, MINUTE)
    }

    /// What becomes of the response with `change` made before it is signed by the authority.
    fn changed(&self, change: impl FnOnce(&mut Response)) -> Result<Answer, ResponseError> {
        let mut response = self.response();
        change(&mut response);
        self.verify(&response.sign(&self.authority))
    }

    /// What becomes of a response signed by `signer`, with its certificate.
    fn appointed(&self, signer: &Party) -> Result<Answer, ResponseError> {
        let mut response = Response::new(&self.id(), &good(), signer);
        response.certificates = vec![signer.certificate.clone()];
        self.verify(&response.sign(signer))
    }
}

#[test]
fn the_issuer_may_answer() {
    for hash in [Hash::Sha1, Hash::Sha256] {
        let scene = Scene::with(hash, None);
        for (said, status) in [
            (good(), CertificateStatus::Good),
            (revoked(), CertificateStatus::Revoked { since: NOW - 100 }),
            (unknown(), CertificateStatus::Unknown),
        ] {
            let response = Response::new(&scene.id(), &said, &scene.authority);
            let answer = scene.verify(&response.sign(&scene.authority)).unwrap();
            assert_eq!(answer.status, status);
            assert_eq!(answer.next_update, NOW + 600);
            assert_eq!(answer.usable_until(), NOW + 900);
        }
    }
}

#[test]
fn the_issuer_may_name_itself_or_its_key() {
    let scene = Scene::new();
    let by_name = encode(der::constructed(1), &[&scene.authority.name_der()]);
    assert!(
        scene
            .changed(|response| response.responder = by_name)
            .is_ok()
    );
    let other = Party::authority("other");
    for responder in [
        encode(der::constructed(1), &[&other.name_der()]),
        encode(
            der::constructed(2),
            &[&encode(der::OCTET_STRING, &[&other.key_hash()])],
        ),
    ] {
        let refused = scene.changed(|response| response.responder = responder);
        assert_eq!(refused, Err(ResponseError::UnknownSigner));
    }
}

#[test]
fn a_responder_that_the_issuer_appointed_may_answer() {
    let scene = Scene::new();
    let responder = scene.authority.appoint();
    assert!(scene.appointed(&responder).is_ok());

    // Behind certificates of others, and named by its subject.
    let mut response = Response::new(&scene.id(), &good(), &responder);
    response.responder = encode(der::constructed(1), &[&responder.name_der()]);
    response.certificates = vec![
        scene.authority.certificate.clone(),
        responder.certificate.clone(),
    ];
    assert!(scene.verify(&response.sign(&responder)).is_ok());
    response.certificates.pop();
    assert_eq!(
        scene.verify(&response.sign(&responder)),
        Err(ResponseError::UnknownSigner)
    );
}

#[test]
fn who_was_not_appointed_may_not_answer() {
    let scene = Scene::new();
    let authority = &scene.authority;
    let intermediate = authority.issue("intermediate", |params| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    for (why, signer) in [
        ("any device", authority.issue("device", |_| {})),
        (
            "for another purpose",
            authority.issue("server", |params| {
                params.extended_key_usages = vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::Any,
                ];
            }),
        ),
        ("by another", Party::authority("other").appoint()),
        (
            "by another of the same name",
            Party::authority("authority").appoint(),
        ),
        ("not by the issuer itself", intermediate.appoint()),
        (
            "no longer",
            authority.issue("responder", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
                params.not_after = params.not_before + time::Duration::seconds(10);
            }),
        ),
    ] {
        let refused = scene.appointed(&signer);
        assert!(
            matches!(refused, Err(ResponseError::UnauthorizedSigner(_))),
            "{why}: {refused:?}"
        );
    }
}

#[test]
fn a_signature_of_another_is_wrong() {
    let scene = Scene::new();
    let other = Party::authority("authority");
    assert_eq!(
        scene.verify(&scene.response().sign(&other)),
        Err(ResponseError::BadSignature)
    );
    let responder = scene.authority.appoint();
    let mut response = Response::new(&scene.id(), &good(), &responder);
    response.certificates = vec![responder.certificate.clone()];
    assert_eq!(
        scene.verify(&response.sign(&other)),
        Err(ResponseError::BadSignature)
    );
}

#[test]
fn an_answer_about_another_certificate_is_none() {
    let scene = Scene::new();
    let neighbour = scene.authority.subject(0x1234_5679, &[]);
    let stranger = Party::authority("authority").subject(0x1234_5678, &[]);
    let renamed = scene.authority.renamed("other").subject(0x1234_5678, &[]);
    for (subject, hash) in [
        (&neighbour, Hash::Sha1),
        (&stranger, Hash::Sha1),
        (&renamed, Hash::Sha1),
        (&scene.subject, Hash::Sha256),
    ] {
        let id = Request::new(subject, hash, None).id().to_der();
        let response = Response::new(&id, &good(), &scene.authority);
        assert_eq!(
            scene.verify(&response.sign(&scene.authority)),
            Err(ResponseError::OtherCertificate)
        );
    }
    // Together with ours it does no harm, but two about ours do.
    let ours = Response::single(&scene.id(), &revoked(), NOW, Some(NOW + 600));
    let theirs = Request::new(&neighbour, Hash::Sha1, None).id().to_der();
    let theirs = Response::single(&theirs, &good(), NOW, None);
    let answer = scene.changed(|response| response.singles = vec![theirs, ours.clone()]);
    assert_eq!(
        answer.unwrap().status,
        CertificateStatus::Revoked { since: NOW - 100 }
    );
    assert_eq!(
        scene.changed(|response| response.singles.push(ours)),
        Err(ResponseError::Malformed)
    );
    assert_eq!(
        scene.changed(|response| response.singles.clear()),
        Err(ResponseError::OtherCertificate)
    );
}

#[test]
fn an_answer_has_its_time() {
    let scene = Scene::new();
    let response = scene.response().sign(&scene.authority);
    for (now, expected) in [
        (NOW - 301, Some(ResponseError::NotYetValid)),
        (NOW - 300, None),
        (NOW + 900, None),
        (NOW + 901, Some(ResponseError::Expired)),
    ] {
        assert_eq!(scene.verify_at(&response, now).err(), expected, "{now}");
    }
    let single = |this, next| vec![Response::single(&scene.id(), &good(), this, next)];
    let backwards = scene.changed(|response| response.singles = single(NOW, Some(NOW - 1)));
    assert_eq!(backwards, Err(ResponseError::Malformed));
}

#[test]
fn an_answer_that_does_not_say_how_long_it_is_good_is_not_good_for_long() {
    let scene = Scene::new();
    let mut response = scene.response();
    response.singles = vec![Response::single(&scene.id(), &good(), NOW, None)];
    let response = response.sign(&scene.authority);
    assert_eq!(scene.verify(&response).unwrap().next_update, NOW + 60);
    assert!(scene.verify_at(&response, NOW + 360).is_ok());
    assert_eq!(
        scene.verify_at(&response, NOW + 361),
        Err(ResponseError::Expired)
    );
}

#[test]
fn a_nonce_is_ours_or_absent() {
    let with_nonce = Scene::with(Hash::Sha1, Some([7; 32]));
    let without = Scene::new();
    let other = Some(ResponseError::OtherNonce);
    for (scene, nonce, expected) in [
        (&with_nonce, [7; 32], None),
        (&with_nonce, [8; 32], other),
        (&without, [8; 32], None),
    ] {
        let answer = scene.changed(|response| response.extensions = nonce_extensions(&nonce));
        assert_eq!(answer.err(), expected);
    }
    assert!(with_nonce.changed(|_| {}).is_ok());
    let malformed = |response: &mut Response| {
        let mut extensions = nonce_extensions(&[7; 32]);
        extensions.pop();
        response.extensions = extensions;
    };
    assert_eq!(with_nonce.changed(malformed), Err(ResponseError::Malformed));
}

#[test]
fn a_critical_extension_must_be_understood() {
    let scene = Scene::new();
    let extension = |critical: &[u8]| {
        let parts = [
            encode(der::OBJECT_IDENTIFIER, &[&[0x2a, 3]]),
            critical.to_owned(),
            encode(der::OCTET_STRING, &[b"x"]),
        ];
        encode(der::SEQUENCE, &[&encode(der::SEQUENCE, &[&parts.concat()])])
    };
    let critical = extension(&encode(der::BOOLEAN, &[&[0xff]]));
    assert!(
        scene
            .changed(|response| response.extensions = extension(&[]))
            .is_ok()
    );
    assert_eq!(
        scene.changed(|response| response.extensions = critical.clone()),
        Err(ResponseError::CriticalExtension)
    );
    let parts = [
        scene.id(),
        good(),
        time(NOW),
        encode(der::constructed(1), &[&critical]),
    ];
    let single = encode(der::SEQUENCE, &[&parts.concat()]);
    assert_eq!(
        scene.changed(|response| response.singles = vec![single]),
        Err(ResponseError::CriticalExtension)
    );
}

#[test]
fn a_responder_may_refuse() {
    let scene = Scene::new();
    for (status, expected) in [
        (1, ResponseError::Refused(Refusal::MalformedRequest)),
        (2, ResponseError::Refused(Refusal::InternalError)),
        (3, ResponseError::Refused(Refusal::TryLater)),
        (5, ResponseError::Refused(Refusal::SignatureRequired)),
        (6, ResponseError::Refused(Refusal::Unauthorized)),
        (0, ResponseError::Malformed),
        (4, ResponseError::Malformed),
        (7, ResponseError::Malformed),
    ] {
        assert_eq!(scene.verify(&refusal(status)), Err(expected), "{status}");
    }
}

#[test]
fn a_response_of_another_type_is_not_read() {
    let scene = Scene::new();
    let bytes = encode(
        der::SEQUENCE,
        &[
            &encode(der::OBJECT_IDENTIFIER, &[&[0x2a, 3]]),
            &encode(der::OCTET_STRING, &[b"x"]),
        ],
    );
    let response = encode(
        der::SEQUENCE,
        &[
            &encode(der::ENUMERATED, &[&[0]]),
            &encode(der::constructed(0), &[&bytes]),
        ],
    );
    assert_eq!(scene.verify(&response), Err(ResponseError::OtherType));
}

#[test]
fn what_is_cut_off_or_padded_is_malformed() {
    let scene = Scene::new();
    let mut response = scene.response().sign(&scene.authority);
    for length in 0..response.len() {
        assert_eq!(
            scene.verify(&response[..length]),
            Err(ResponseError::Malformed),
            "{length}"
        );
    }
    response.push(0);
    assert_eq!(scene.verify(&response), Err(ResponseError::Malformed));
}

#[test]
fn a_subject_is_read_from_its_certificate() {
    let authority = Party::authority("authority");
    let subject = authority.subject(
        0x80,
        &[
            "https://a.example/",
            "ldap://b.example/",
            "http://c.example/ocsp",
            "http://d.example/",
            "http://e.example/",
        ],
    );
    assert_eq!(subject.serial(), [0, 0x80]);
    assert_eq!(subject.to_string(), "00:80");
    let responders: Vec<_> = subject
        .responders()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(responders, ["http://c.example/ocsp", "http://d.example/"]);
    assert!(authority.subject(1, &[]).responders().is_empty());

    let device = authority.device(1, &[]);
    let other = Party::authority("other").issuer();
    for (certificate, error) in [
        (&device.certificate[..], SubjectError::OtherIssuer),
        (&device.certificate[1..], SubjectError::Malformed),
        (&[], SubjectError::Malformed),
    ] {
        let refused = Subject::new(certificate, other.clone()).unwrap_err();
        assert_eq!(refused, error);
    }
}

#[test]
fn an_issuer_is_the_same_however_it_was_come_by() {
    let authority = Party::authority("authority");
    let certificate = authority.certificate.clone().into();
    let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap();
    let issuer = Issuer::from_contents(&anchor.subject, &anchor.subject_public_key_info).unwrap();
    assert_eq!(issuer, *authority.issuer());
    assert!(Issuer::from_contents(&anchor.subject, b"x").is_err());
}

/// One scene for all cases, as making one costs more than looking at many responses.
fn shared() -> &'static (Scene, Vec<u8>) {
    static SHARED: OnceLock<(Scene, Vec<u8>)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let scene = Scene::with(Hash::Sha1, Some([7; 32]));
        let responder = scene.authority.appoint();
        let mut response = Response::new(&scene.id(), &good(), &responder);
        response.certificates = vec![responder.certificate.clone()];
        response.extensions = nonce_extensions(&[7; 32]);
        let response = response.sign(&responder);
        (scene, response)
    })
}

proptest! {
    #[test]
    fn any_bytes_are_refused_in_good_order(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (scene, _) = shared();
        assert!(scene.verify(&bytes).is_err());
        let _ = Subject::new(&bytes, scene.authority.issuer());
        let _ = Issuer::from_certificate(&bytes);
        let _ = Issuer::from_contents(&bytes, &bytes);
    }

    #[test]
    fn a_changed_byte_never_changes_the_meaning(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (scene, response) = shared();
        let right = scene.verify(response).unwrap();
        let mut wrong = response.clone();
        *place.get_mut(&mut wrong) = byte;
        if let Ok(answer) = scene.verify(&wrong) {
            assert_eq!(answer, right);
        }
    }

    #[test]
    fn an_inserted_piece_never_changes_the_meaning(
        place in any::<prop::sample::Index>(),
        piece in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let (scene, response) = shared();
        let right = scene.verify(response).unwrap();
        let mut wrong = response.clone();
        let at = place.index(wrong.len());
        wrong.splice(at..at, piece);
        if let Ok(answer) = scene.verify(&wrong) {
            assert_eq!(answer, right);
        }
    }
}
