//! TLS records in and out of byte buffers: rustls's unbuffered interface, driven as far as the bytes at hand go.
//!
//! It does no I/O and keeps no input; `stream` does. Where rustls has failed it is asked for its alert and nothing more.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// The most plaintext that is sealed in one go: one record.
pub(super) const MAX_PLAINTEXT: usize = 16 * 1024;

/// What a record is longer than its plaintext, at the most: header, content type, explicit nonce, tag.
const RECORD_OVERHEAD: usize = 64;

/// The largest buffer that the thread keeps for the next connection.
const MAX_SPARE: usize = 128 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The protocol state, and the bytes it wants sent.
pub(super) struct Records {
    pub(super) connection: Box<UnbufferedServerConnection>,
    /// Bytes that wait to be sent.
    pub(super) outgoing: Vec<u8>,
    pub(super) peer_closed: bool,
    close_notify_sent: bool,
    /// The protocol failed, and rustls must not be asked anything more.
    failed: bool,
}

impl Records {
    /// The state of a connection whose handshake has not begun.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: Box::new(UnbufferedServerConnection::new(config)?),
            outgoing: Vec::new(),
            peer_closed: false,
            close_notify_sent: false,
            failed: false,
        })
    }

    /// Processes whole records from the front of `incoming`, giving application data to `sink`. Returns how many bytes are
    /// done with.
    pub(super) fn process(
        &mut self,
        incoming: &mut [u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, rustls::Error> {
        let mut done = 0;
        loop {
            let rest = incoming.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(rest);
            let mut discard = discard;
            let blocked = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        sink(record.payload);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    false
                }
                Ok(_) => true,
                Err(error) => {
                    self.failed = true;
                    self.encode_alert();
                    return Err(error);
                }
            };
            done += discard;
            if blocked {
                return Ok(done);
            }
        }
    }

    /// After an error, rustls hands out the alert that says so as ordinary outgoing data. It is asked for that and no more:
    /// asked again it would go on with what it was doing, and panic over bytes that are gone or errors that it knows.
    fn encode_alert(&mut self) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(&mut []).state
            else {
                return;
            };
            if encode(&mut self.outgoing, |room| data.encode(room)).is_err() {
                return;
            }
        }
    }

    /// Runs `write` when application data may be sent. `held` is what `incoming` still holds: rustls wants to see it.
    fn write_traffic<R>(
        &mut self,
        held: &mut [u8],
        write: impl FnOnce(&mut Vec<u8>, WriteTraffic<'_, rustls::server::ServerConnectionData>) -> R,
    ) -> Option<R> {
        if self.failed {
            return None;
        }
        loop {
            match self.connection.process_tls_records(held).state {
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    return Some(write(&mut self.outgoing, traffic));
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room)).ok()?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                _ => return None,
            }
        }
    }

    /// Seals `plaintext`, one record at the most, into `outgoing`.
    pub(super) fn encrypt(&mut self, plaintext: &[u8], held: &mut [u8]) -> io::Result<()> {
        self.write_traffic(held, |outgoing, mut traffic| {
            seal(outgoing, plaintext.len(), |room| {
                traffic.encrypt(plaintext, room)
            })
        })
        .unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Seals the end of what the gateway sends; only the first call does.
    pub(super) fn close_notify(&mut self, held: &mut [u8]) {
        if !std::mem::replace(&mut self.close_notify_sent, true) {
            let _ = self.write_traffic(held, |outgoing, mut traffic| {
                seal(outgoing, 2, |room| traffic.queue_close_notify(room))
            });
        }
    }

    /// Gives the buffer back to the thread when there is nothing in it.
    pub(super) fn release_outgoing(&mut self) {
        let mut buffer = std::mem::take(&mut self.outgoing);
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.capacity() < buffer.capacity() && buffer.capacity() <= MAX_SPARE {
                *spare = buffer;
            }
        });
    }
}

/// Starts with the thread's spare buffer instead of a new one.
fn borrow_spare(outgoing: &mut Vec<u8>) {
    if outgoing.capacity() == 0 {
        *outgoing = SPARE.with_borrow_mut(std::mem::take);
    }
}

/// Appends what `encode` writes to `outgoing`, which is grown by as much as it asks for.
fn encode(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    borrow_spare(outgoing);
    let start = outgoing.len();
    let mut room = 0;
    loop {
        outgoing.resize(start + room, 0);
        match encode(outgoing.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                outgoing.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}

fn seal(
    outgoing: &mut Vec<u8>,
    length: usize,
    encrypt: impl FnOnce(&mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<()> {
    borrow_spare(outgoing);
    let start = outgoing.len();
    outgoing.resize(start + length + RECORD_OVERHEAD, 0);
    let sealed = encrypt(outgoing.get_mut(start..).unwrap_or_default());
    outgoing.truncate(start + sealed.as_ref().copied().unwrap_or(0));
    sealed.map(|_| ()).map_err(io::Error::other)
}

/// What came of [`drive`].
#[cfg(fuzzing)]
#[derive(Debug)]
pub struct Driven {
    /// Everything that the gateway would have sent.
    pub sent: Vec<u8>,
    /// How many bytes of application data arrived.
    pub received: usize,
    /// Whether the handshake did not come to its end.
    pub handshaking: bool,
}

/// A connection over `pieces`, as they would come from a socket, and then its end.
///
/// Built for fuzzing alone: it stands in for `stream`, whose socket would cost more than all the rest.
///
/// # Errors
/// rustls refuses the configuration.
#[cfg(fuzzing)]
pub fn drive<'a>(
    config: Arc<ServerConfig>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Driven, rustls::Error> {
    let mut records = Records::new(config)?;
    let (mut held, mut received) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        match records.process(&mut held, |data| received += data.len()) {
            Ok(done) => drop(held.drain(..done)),
            Err(_) => break,
        }
    }
    let _ = records.encrypt(b"an answer", &mut held);
    records.close_notify(&mut held);
    Ok(Driven {
        received,
        handshaking: records.connection.is_handshaking(),
        sent: records.outgoing,
    })
}
