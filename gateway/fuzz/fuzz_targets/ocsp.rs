//! Any bytes as the answer of an OCSP responder: what the issuer did not sign is never believed, and what is believed is
//! in date.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gateway::ocsp::request::{Hash, Request};
use gateway::ocsp::response::verify;
use gateway::ocsp::subject::{Issuer, Subject};
use gateway_fuzz::pki::{self, NOW};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

static ISSUER: LazyLock<Arc<Issuer>> = LazyLock::new(|| {
    Arc::new(Issuer::from_certificate(&pki::anchor()).expect("an authority's certificate"))
});

static REQUEST: LazyLock<Request> = LazyLock::new(|| {
    let subject = Subject::new(&pki::asked_about(), Arc::clone(&ISSUER)).expect("a certificate");
    Request::new(&subject, Hash::Sha1, Some([9; 32]))
});

/// How long an answer is used that does not say.
const WITHOUT_NEXT_UPDATE: Duration = Duration::from_secs(3600);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    gateway_fuzz::mutate::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let as_it_came = verify(data, &REQUEST, &ISSUER, NOW, WITHOUT_NEXT_UPDATE);
    if as_it_came.is_ok() {
        let basic = pki::basic_response(data).expect("what is believed can be taken apart");
        assert!(pki::is_signed(basic), "a forged answer");
    }
    let Some(signed) = pki::resign_response(data) else {
        return;
    };
    let answer = verify(&signed, &REQUEST, &ISSUER, NOW, WITHOUT_NEXT_UPDATE);
    if let Ok(answer) = answer {
        assert!(answer.usable_until() >= NOW, "{answer:?}");
        let late = answer.usable_until().saturating_add(1);
        let then = verify(&signed, &REQUEST, &ISSUER, late, WITHOUT_NEXT_UPDATE);
        assert!(then.is_err(), "{answer:?} is used for too long");
    }
});
