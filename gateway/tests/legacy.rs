//! Fleets issued by hand: certificates as the guides for makers of devices have `openssl` make them, which are of X.509
//! version 1.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use gateway::headers;
use gateway::identity::{self, Identified};
use gateway::tls::credentials::load_anchors;
use gateway::verify::{PresentedChain, Refusal, Rules, TrustMaterial, VerifiedChain};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Word for word as such a guide has them.
const COMMANDS: &str = r#"
openssl genrsa -out rootCA.key 2048
openssl req -x509 -new -nodes -key rootCA.key \
-sha256 -days 3650 -out rootCA.pem \
-subj "/CN=IoT Root CA/O=Its Your Turn"
openssl genrsa -out device.key 2048
openssl req -new -key device.key -out device.csr \
-subj "/CN=sensor-001/O=Its Your Turn"
openssl x509 -req -in device.csr -CA rootCA.pem \
-CAkey rootCA.key -CAcreateserial \
-out device.pem -days 365 -sha256
"#;

/// A folder with what the commands make.
fn issued_by_hand() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-e", "-c", COMMANDS])
        .current_dir(folder.path())
        .output()
        .expect("a shell runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder
}

fn verify(anchor: PathBuf, device: &Path, rules: Rules) -> Result<VerifiedChain, Refusal> {
    let anchors = load_anchors(&[anchor], &rules).unwrap();
    let material = TrustMaterial::new(anchors, Vec::new(), rules);
    let device = CertificateDer::from_pem_file(device).unwrap();
    let presented = PresentedChain {
        end_entity: &device,
        intermediates: &[],
    };
    VerifiedChain::verify(&material, presented, gateway::clock::unix_seconds())
}

#[test]
fn a_device_of_the_guide_is_known_where_the_operator_says_so() {
    let folder = issued_by_hand();
    let anchor = folder.path().join("rootCA.pem");
    let device = folder.path().join("device.pem");
    let refused = verify(anchor.clone(), &device, Rules::default());
    assert_eq!(refused.unwrap_err(), Refusal::LegacyVersion);

    let accepting = Rules {
        legacy_end_entities: true,
        ..Rules::default()
    };
    let chain = verify(anchor, &device, accepting).unwrap();
    let rule = identity::Rule::default();
    let identified = Identified::from_chain(&chain, &rule, headers::Settings::default()).unwrap();
    assert_eq!(identified.device_id(), "sensor-001");

    // Another anchor of the same name.
    let other = issued_by_hand();
    let refused = verify(other.path().join("rootCA.pem"), &device, accepting);
    assert_eq!(refused.unwrap_err(), Refusal::BadSignature);
}
