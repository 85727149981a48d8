//! Any bytes as what a stranger sends to the TLS port, in pieces: no handshake comes to its end, no application data is
//! taken, and what is answered are TLS records.

#![no_main]

use std::sync::LazyLock;

use gateway::tls::drive;
use gateway::tls::resumption::Format;
use gateway_fuzz::pki::NOW;
use gateway_fuzz::server::Side;
use libfuzzer_sys::fuzz_target;

static SIDE: LazyLock<Side> = LazyLock::new(|| Side::new(Format::Compact));

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    // Whole, byte by byte, or in between.
    let size = match size {
        0 => bytes.len().max(1),
        size => usize::from(*size),
    };
    let mut session = Default::default();
    let driven = gateway::tls::session::Session::enter(&mut session, NOW, || {
        drive(SIDE.config.clone(), bytes.chunks(size))
    });
    let driven = driven.expect("a configuration that rustls takes");
    // Who has no key can show certificates, and prove nothing.
    assert!(driven.handshaking, "a handshake without a key");
    assert_eq!(driven.received, 0, "application data from a stranger");
    assert!(!session.is_resumed(), "a ticket that nobody made");
    assert_eq!(session.tickets_issued(), 0);
    let mut sent = driven.sent.as_slice();
    while !sent.is_empty() {
        let [kind, 3, _, high, low, rest @ ..] = sent else {
            panic!("no record: {sent:02x?}");
        };
        assert!((20..=23).contains(kind), "a record of type {kind}");
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        sent = rest.get(length..).expect("a whole record");
    }
});
