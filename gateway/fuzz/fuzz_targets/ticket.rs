//! Any bytes as a session ticket, and as what is in one: a ticket is honoured for the device that is known, or declined.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use gateway::tls::resumption::Format;
use gateway_fuzz::pki::NOW;
use gateway_fuzz::server::{MAX_LINEAGE_AGE, Side, device};
use libfuzzer_sys::fuzz_target;
use rustls::server::ProducesTickets as _;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    /// From a stranger.
    Ticket(&'a [u8]),
    /// Sealed with the right key, whatever it is.
    Contents(&'a [u8]),
    /// Sealed with the right key, in the right form.
    Parts {
        age: u32,
        known: bool,
        session: SessionValue<'a>,
    },
    /// What rustls wants sealed.
    Session(&'a [u8]),
    /// The same in rustls's form.
    SessionParts(SessionValue<'a>),
}

#[derive(Debug, Arbitrary)]
struct SessionValue<'a> {
    server_name: Option<&'a [u8]>,
    version_and_suite: [u8; 4],
    secret: &'a [u8],
    certificates: Option<Vec<Certificate<'a>>>,
    rest: &'a [u8],
}

#[derive(Debug, Arbitrary)]
enum Certificate<'a> {
    /// The device's, then the intermediate's.
    Known(bool),
    Any(&'a [u8]),
}

impl SessionValue<'_> {
    /// As rustls lays it out; lengths that do not fit are wrong, which is as good.
    fn write(&self) -> Vec<u8> {
        let mut value = Vec::new();
        value.push(u8::from(self.server_name.is_some()));
        if let Some(name) = self.server_name {
            value.push(name.len() as u8);
            value.extend_from_slice(name);
        }
        value.extend_from_slice(&self.version_and_suite);
        value.push(self.secret.len() as u8);
        value.extend_from_slice(self.secret);
        value.push(1);
        value.push(u8::from(self.certificates.is_some()));
        if let Some(certificates) = &self.certificates {
            let [end_entity, intermediate] = device();
            let mut list = Vec::new();
            for certificate in certificates {
                let der = match certificate {
                    Certificate::Known(true) => end_entity.as_ref(),
                    Certificate::Known(false) => intermediate.as_ref(),
                    Certificate::Any(bytes) => bytes,
                };
                list.extend_from_slice(&u24(der.len()));
                list.extend_from_slice(der);
            }
            value.extend_from_slice(&u24(list.len()));
            value.extend_from_slice(&list);
        }
        value.extend_from_slice(self.rest);
        value
    }
}

fn u24(length: usize) -> [u8; 3] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c]
}

static SIDES: LazyLock<[Side; 2]> =
    LazyLock::new(|| [Format::Compact, Format::SelfContained].map(Side::new));

fuzz_target!(|input: Input<'_>| {
    for (side, is_compact) in SIDES.iter().zip([true, false]) {
        match &input {
            Input::Ticket(ticket) => assert_eq!(open(side, ticket), None, "a forged ticket"),
            Input::Contents(contents) => {
                check_contents(side, contents);
            }
            Input::Parts {
                age,
                known,
                session,
            } => {
                let lineage_start = NOW.saturating_add(100).saturating_sub(u64::from(*age));
                let mut contents = vec![1];
                contents.extend_from_slice(&lineage_start.to_be_bytes());
                let chain = if *known { *KNOWN } else { [7; 32] };
                contents.extend_from_slice(&chain);
                contents.extend_from_slice(&session.write());
                let honoured = check_contents(side, &contents);
                if honoured {
                    assert!(u64::from(*age) <= MAX_LINEAGE_AGE + 100);
                }
            }
            Input::Session(value) => check_session(side, value, is_compact),
            Input::SessionParts(value) => check_session(side, &value.write(), is_compact),
        }
    }
});

fn open(side: &Side, ticket: &[u8]) -> Option<Vec<u8>> {
    let mut session = side.session();
    let value = session.enter(NOW, || side.hooks.decrypt(ticket));
    assert_eq!(value.is_some(), session.known().is_some());
    assert_eq!(value.is_none(), session.declined().is_some());
    if let Some(known) = session.known() {
        assert!(session.is_resumed());
        assert_eq!(known.device.device_id(), "device-7");
    }
    value
}

/// Whether a ticket with `contents` is honoured. What comes out of it is what was put in.
fn check_contents(side: &Side, contents: &[u8]) -> bool {
    let ticket = side.keys.seal(contents, NOW).expect("a ticket");
    let value = open(side, &ticket);
    if let Some(value) = &value {
        assert_eq!(contents.get(41..), Some(value.as_slice()));
    }
    value.is_some()
}

/// What is sealed for a device that is known can be opened again, and a compact ticket has no certificates in it.
fn check_session(side: &Side, value: &[u8], is_compact: bool) {
    let mut session = side.session_with_device();
    let Some(ticket) = session.enter(NOW, || side.hooks.encrypt(value)) else {
        return;
    };
    let opened = open(side, &ticket).expect("a ticket of our own");
    if is_compact {
        assert!(opened.len() <= value.len());
    } else {
        assert_eq!(opened, value);
    }
}

/// The hash of the chain of the device that is known, as tickets carry it.
static KNOWN: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let side = &SIDES[0];
    let value = SessionValue {
        server_name: None,
        version_and_suite: [3, 4, 0x13, 1],
        secret: &[7; 32],
        certificates: None,
        rest: &[],
    };
    let mut session = side.session_with_device();
    let ticket = session.enter(NOW, || side.hooks.encrypt(&value.write()));
    let contents = side.keys.open(&ticket.expect("a ticket"), NOW);
    let contents = contents.expect("a ticket of our own");
    contents[9..41].try_into().expect("a hash")
});
