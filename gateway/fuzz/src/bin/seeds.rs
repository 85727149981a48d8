//! Writes the inputs that fuzzing starts from into `corpus/`, a folder for each target.

use std::path::Path;

use gateway::tls::resumption::Format;
use gateway_fuzz::server::Side;
use gateway_fuzz::{client, pki};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, seeds) in [
        ("chain", chains()),
        ("crl", pki::lists()),
        ("identity", pki::devices()),
        ("ocsp", pki::responses()),
        ("tls", flights()),
        ("url", urls()),
    ] {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        println!("{}: {} seeds", folder.display(), seeds.len());
    }
    Ok(())
}

/// Each device by itself, with its intermediate, and with one that constrains its names.
fn chains() -> Vec<Vec<u8>> {
    let intermediates = [
        Vec::new(),
        pki::intermediate(),
        pki::constrained_intermediate(),
    ];
    let devices = pki::devices();
    let chains = devices.iter().flat_map(|device| {
        intermediates
            .iter()
            .map(move |intermediate| [device.as_slice(), intermediate].concat())
    });
    chains.collect()
}

/// Whole handshakes, in one piece and in several.
fn flights() -> Vec<Vec<u8>> {
    let flights = client::flights(&Side::new(Format::Compact));
    let sized = |size: u8| {
        flights
            .iter()
            .map(move |flight| [&[size], flight.as_slice()].concat())
    };
    sized(0).chain(sized(200)).collect()
}

fn urls() -> Vec<Vec<u8>> {
    [
        "http://a.example:8080/x?y#z",
        "http://[::1]/",
        "https://user@b/",
        "device.a.example.",
    ]
    .map(Vec::from)
    .into()
}
