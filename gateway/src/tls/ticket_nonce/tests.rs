//! Messages by hand, and both ends of a connection in memory.

use std::sync::{Arc, Mutex};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ProducesTickets;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite, Tls13CipherSuite,
};

use super::*;
use crate::tls::{Group, provider};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// A NewSessionTicket without extensions.
fn ticket(nonce: &[u8], ticket: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ticket.len()).unwrap().to_be_bytes();
    let nonce_length = [u8::try_from(nonce.len()).unwrap()];
    let body = [
        b"LIFEAGES",
        &nonce_length[..],
        nonce,
        &length,
        ticket,
        b"\0\0",
    ]
    .concat();
    message(NEW_SESSION_TICKET, &body)
}

const LONG: &[u8; 32] = b"an eightand twenty-four more....";
const SHORT: &[u8; 8] = b"an eight";

#[test]
fn nonces_are_cut_to_eight_bytes() {
    for (nonce, expected) in [
        (&LONG[..], &SHORT[..]),
        (&LONG[..9], SHORT),
        (SHORT, SHORT),
        (b"a", b"a"),
        (b"", b""),
    ] {
        let shorter = shortened(&ticket(nonce, b"opaque"), 0);
        assert_eq!(shorter, Some((ticket(expected, b"opaque"), 0)), "{nonce:?}");
    }
}

#[test]
fn messages_in_one_record_are_each_looked_at() {
    let update = message(KEY_UPDATE, &[0]);
    let long = [ticket(LONG, b"1"), update.clone(), ticket(LONG, b"2")].concat();
    let short = [ticket(SHORT, b"1"), update, ticket(SHORT, b"2")].concat();
    assert_eq!(shortened(&long, 0), Some((short, 0)));
}

#[test]
fn a_ticket_may_be_cut_into_records_behind_its_nonce() {
    // Full of what looks like the beginning of a ticket.
    let opaque = [NEW_SESSION_TICKET; 100];
    let long = ticket(LONG, &opaque);
    let short = ticket(SHORT, &opaque);
    let behind_nonce = 4 + 8 + 1 + LONG.len();
    for cut in 1..long.len() {
        let mut sealed = Sealed::Nothing;
        let (first, second) = long.split_at(cut);
        let records = [sealed.next(first), sealed.next(second)];
        if cut < behind_nonce {
            assert_eq!(records, [Next::Withheld, Next::Withheld], "cut at {cut}");
            assert_eq!(sealed.next(&long), Next::Withheld, "no more of them");
            continue;
        }
        let [Next::Instead(first), Next::Instead(second)] = records else {
            panic!("cut at {cut}: {records:?}");
        };
        assert_eq!([first, second].concat(), short, "cut at {cut}");
        assert_eq!(sealed, Sealed::Messages { missing: 0 });
        let again = sealed.next(&long);
        assert_eq!(again, Next::Instead(short.clone()), "and a whole one");
    }
}

#[test]
fn what_is_not_as_expected_is_not_sent() {
    let mut nonce_over_the_end = message(NEW_SESSION_TICKET, &[1; 40]);
    nonce_over_the_end[12] = 32;
    let no_room_for_a_nonce = message(NEW_SESSION_TICKET, &[1; 8]);
    let certificate_behind = [ticket(LONG, b"1"), message(11, b"certificate")].concat();
    for payload in [nonce_over_the_end, no_room_for_a_nonce, certificate_behind] {
        let mut sealed = Sealed::Nothing;
        assert_eq!(sealed.next(&payload), Next::Withheld, "{payload:?}");
        assert_eq!(sealed, Sealed::Unknown);
    }
}

#[test]
fn the_servers_flight_passes_as_it_is() {
    let mut sealed = Sealed::Nothing;
    assert_eq!(sealed.next(&message(8, b"extensions")), Next::AsItIs);
    assert_eq!(
        sealed.next(&ticket(LONG, b"inside a certificate")),
        Next::AsItIs
    );
    assert_eq!(sealed, Sealed::Flight);
}

#[test]
fn only_a_tickets_secret_is_derived_otherwise() {
    let label = |name: &'static [u8], nonce: &'static [u8]| {
        with_short_nonce(
            &[&[0, 32], &[6], b"tls13 ", name, &[nonce.len() as u8], nonce],
            |info| info.concat(),
        )
    };
    assert_eq!(
        label(b"resumption", LONG),
        b"\0\x20\x06tls13 resumption\x08an eight"
    );
    assert_eq!(
        label(b"resumption", b"abc"),
        b"\0\x20\x06tls13 resumption\x03abc"
    );
    let other = [&b"\0\x20\x06tls13 res master\x20"[..], LONG].concat();
    assert_eq!(label(b"res master", LONG), other);
    let not_a_label: &[&[u8]] = &[b"resumption", LONG];
    let info = with_short_nonce(not_a_label, |info| info.concat());
    assert_eq!(info, not_a_label.concat());
}

/// The handshake records that one key sealed.
type Records = Arc<Mutex<Vec<Vec<u8>>>>;

/// What was sealed under each key, and the nonces that tickets' secrets were derived from.
#[derive(Default)]
struct Seen {
    keys: Mutex<Vec<Records>>,
    nonces: Mutex<Vec<Vec<u8>>>,
}

/// A suite's two halves, written down.
struct Spy<T: ?Sized + 'static>(&'static T, Arc<Seen>);

impl Hkdf for Spy<dyn Hkdf> {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        let inner = self.0.expander_for_okm(okm);
        Box::new(SpyExpander(inner, Arc::clone(&self.1)))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }
}

struct SpyExpander(Box<dyn HkdfExpander>, Arc<Seen>);

impl HkdfExpander for SpyExpander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.0.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        if let [_, _, _, b"resumption", _, nonce] = info {
            self.1.nonces.lock().unwrap().push(nonce.to_vec());
        }
        self.0.expand_block(info)
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}

impl Tls13AeadAlgorithm for Spy<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        let records = Records::default();
        self.1.keys.lock().unwrap().push(Arc::clone(&records));
        Box::new(SpyEncrypter(self.0.encrypter(key, iv), records))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }
}

struct SpyEncrypter(Box<dyn MessageEncrypter>, Records);

impl MessageEncrypter for SpyEncrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ == ContentType::Handshake {
            self.1.lock().unwrap().push(message.payload.to_vec());
        }
        self.0.encrypt(message, sequence)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.0.encrypted_payload_len(payload_len)
    }
}

/// `provider` with only `suite`, and a spy around that.
fn spied(provider: CryptoProvider, suite: CipherSuite, seen: &Arc<Seen>) -> Arc<CryptoProvider> {
    let inner = provider
        .cipher_suites
        .iter()
        .find_map(|candidate| {
            candidate
                .tls13()
                .filter(|tls13| tls13.common.suite == suite)
        })
        .unwrap();
    let spied = Tls13CipherSuite {
        common: rustls::crypto::CipherSuiteCommon { ..inner.common },
        hkdf_provider: Box::leak(Box::new(Spy(inner.hkdf_provider, Arc::clone(seen)))),
        aead_alg: Box::leak(Box::new(Spy(inner.aead_alg, Arc::clone(seen)))),
        quic: None,
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(Box::leak(Box::new(spied)))],
        ..provider
    })
}

/// Tickets that are padded to a length.
#[derive(Debug)]
struct Padded(Arc<dyn ProducesTickets>, usize);

impl ProducesTickets for Padded {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.0.encrypt(plain)?;
        let length = u16::try_from(ticket.len()).unwrap();
        ticket.extend_from_slice(&length.to_be_bytes());
        ticket.splice(0..0, vec![NEW_SESSION_TICKET; self.1]);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (ticket, length) = ticket.split_last_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        self.0.decrypt(&ticket[ticket.len() - length..])
    }
}

/// A client that knows nothing of short nonces, and a server, with what was seen of either.
struct Pair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    clients: Arc<Seen>,
    servers: Arc<Seen>,
}

impl Pair {
    fn new(suite: CipherSuite, tickets: usize, padding: usize) -> Self {
        let (clients, servers) = <(Arc<Seen>, Arc<Seen>)>::default();
        let name = "gateway.test".parse().unwrap();
        let anchor = certs_gen::authority::Authority::trust_anchor(
            &certs_gen::authority::AuthoritySpec::new("anchor"),
        )
        .unwrap();
        let credential = anchor
            .issue(&certs_gen::authority::EndEntitySpec::server(&[name]))
            .unwrap();
        let chain = credential.chain.into_iter().map(CertificateDer::from);
        let key = PrivatePkcs8KeyDer::from(credential.key);
        let mut server =
            ServerConfig::builder_with_provider(spied(provider(&[Group::X25519]), suite, &servers))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain.collect(), key.into())
                .unwrap();
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        server.ticketer = Arc::new(Padded(ticketer, padding));
        server.send_tls13_tickets = tickets;
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(anchor.certificate_der().to_vec()))
            .unwrap();
        let stock = rustls::crypto::aws_lc_rs::default_provider();
        let mut client = ClientConfig::builder_with_provider(spied(stock, suite, &clients))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::in_memory_sessions(8);
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
            clients,
            servers,
        }
    }

    /// A connection on which everything that can be said has been said.
    fn connect(&self) -> (ClientConnection, ServerConnection) {
        let name = ServerName::try_from("gateway.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        talk(&mut client, &mut server);
        assert!(!client.is_handshaking() && !server.is_handshaking());
        (client, server)
    }
}

fn talk(client: &mut ClientConnection, server: &mut ServerConnection) {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}

const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

#[test]
fn a_device_sees_eight_bytes_and_resumes() {
    for suite in SUITES {
        // One as the gateway sends it, several at once, and one that takes three records.
        for (tickets, padding) in [(1, 0), (4, 0), (1, 40_000)] {
            let pair = Pair::new(suite, tickets, padding);
            let (client, _) = pair.connect();
            assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
            let nonces = std::mem::take(&mut *pair.clients.nonces.lock().unwrap());
            assert_eq!(nonces.len(), tickets);
            assert!(nonces.iter().all(|nonce| nonce.len() == NONCE_LEN));
            let different: std::collections::BTreeSet<_> = nonces.iter().collect();
            assert_eq!(different.len(), tickets);
            let servers = pair.servers.nonces.lock().unwrap().clone();
            assert_eq!(servers.len(), tickets);
            for (long, short) in servers.iter().zip(&nonces) {
                assert_eq!((long.len(), &long[..NONCE_LEN]), (32, &short[..]));
            }
            for _ in 0..3 {
                let (client, server) = pair.connect();
                let both = (client.handshake_kind(), server.handshake_kind());
                assert_eq!(
                    both,
                    (Some(HandshakeKind::Resumed), Some(HandshakeKind::Resumed)),
                    "{suite:?}, {tickets} tickets"
                );
            }
        }
    }
}

#[test]
fn no_ticket_comes_behind_another_message() {
    let pair = Pair::new(SUITES[0], 1, 0);
    let (mut client, mut server) = pair.connect();
    server.refresh_traffic_keys().unwrap();
    talk(&mut client, &mut server);
    let keys: Vec<Vec<Vec<u8>>> = pair
        .servers
        .keys
        .lock()
        .unwrap()
        .iter()
        .map(|records| records.lock().unwrap().clone())
        .filter(|records| !records.is_empty())
        .collect();
    let [flight, after] = &keys[..] else {
        panic!("{keys:?}");
    };
    assert_eq!(flight[0][0], 8, "EncryptedExtensions");
    let kinds: Vec<u8> = after.iter().map(|record| record[0]).collect();
    assert_eq!(kinds, [NEW_SESSION_TICKET, KEY_UPDATE]);
    assert!(after.iter().all(|record| {
        let length = u32::from_be_bytes([0, record[1], record[2], record[3]]);
        record.len() == 4 + length as usize
    }));
}

#[test]
fn key_updates_and_exporters_are_as_they_were() {
    use std::io::{Read as _, Write as _};
    for suite in SUITES {
        let pair = Pair::new(suite, 1, 0);
        let (mut client, mut server) = pair.connect();
        for _ in 0..3 {
            server.refresh_traffic_keys().unwrap();
            client.refresh_traffic_keys().unwrap();
            talk(&mut client, &mut server);
            server.writer().write_all(b"down").unwrap();
            client.writer().write_all(b"up").unwrap();
            talk(&mut client, &mut server);
            let mut text = [0; 4];
            client.reader().read_exact(&mut text).unwrap();
            server.reader().read_exact(&mut text[..2]).unwrap();
            assert_eq!(&text, b"upwn");
        }
        let label = b"EXPORTER-channel-binding";
        let ours = server.export_keying_material([0; 32], label, None).unwrap();
        let theirs = client.export_keying_material([0; 32], label, None).unwrap();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn the_rest_of_a_suite_is_as_it_was() {
    for stock in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
        let Some(stock) = stock.tls13() else { continue };
        let wrapped = ShortNonceAead(stock.aead_alg);
        assert_eq!(wrapped.key_len(), stock.aead_alg.key_len());
        assert_eq!(wrapped.fips(), stock.aead_alg.fips());
        assert_eq!(
            ShortNonceHkdf(stock.hkdf_provider).fips(),
            stock.hkdf_provider.fips()
        );
        let secrets = |aead: &dyn Tls13AeadAlgorithm| {
            let secrets = aead.extract_keys([7; 32].into(), [8; 12].into()).unwrap();
            match secrets {
                ConnectionTrafficSecrets::Aes128Gcm { key, iv }
                | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
                | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                    (key.as_ref().to_vec(), iv.as_ref().to_vec())
                }
                _ => panic!("an unknown kind of secrets"),
            }
        };
        assert_eq!(secrets(&wrapped), secrets(stock.aead_alg));
    }
}
