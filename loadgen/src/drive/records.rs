//! A device's side of TLS between byte buffers: what came from the server goes in, what is to be sent comes out.
//!
//! The library's unbuffered interface leaves all buffers to its caller, so a quiet connection is its protocol state and
//! nothing else. No socket is known here, and what could not be used yet stays with the caller.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// Room for a sealed record beyond its plaintext; where the library wants more it says so.
const SEAL: usize = 32;
/// The most that a record holds (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;
/// Buffers beyond this length are not kept for the next connection.
const KEPT: usize = 128 * 1024;

thread_local! {
    /// The buffer in which the thread's connections put together what they send, one after the other.
    static SHARED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The protocol state of one connection, and the bytes that it wants sent.
pub(crate) struct Records {
    connection: Box<UnbufferedClientConnection>,
    outgoing: Vec<u8>,
    server_closed: bool,
    closed: bool,
    /// What the library has failed with. It is not to be asked for anything but its alert then.
    failure: Option<rustls::Error>,
}

impl Records {
    /// A connection to be; its first flight waits to be sent.
    ///
    /// # Errors
    ///
    /// The library refuses the configuration, or cannot make its first flight.
    pub(crate) fn new(
        configuration: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Records, rustls::Error> {
        let connection = UnbufferedClientConnection::new(configuration, name)?;
        let mut records = Records {
            connection: Box::new(connection),
            outgoing: Vec::new(),
            server_closed: false,
            closed: false,
            failure: None,
        };
        records.receive(&mut [], |_| ())?;
        Ok(records)
    }

    /// What was negotiated.
    pub(crate) fn connection(&self) -> &UnbufferedClientConnection {
        &self.connection
    }

    /// What the protocol has failed with.
    pub(crate) fn failure(&self) -> Option<&rustls::Error> {
        self.failure.as_ref()
    }

    /// Whether the server has said that nothing more comes (close_notify).
    pub(crate) fn server_closed(&self) -> bool {
        self.server_closed
    }

    /// What waits to be sent.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The first `sent` bytes of [`Records::outgoing`] have been sent.
    pub(crate) fn sent(&mut self, sent: usize) {
        if sent < self.outgoing.len() {
            self.outgoing.drain(..sent);
            return;
        }
        let mut buffer = std::mem::take(&mut self.outgoing);
        buffer.clear();
        SHARED.with_borrow_mut(|shared| {
            if (shared.capacity()..=KEPT).contains(&buffer.capacity()) {
                *shared = buffer;
            }
        });
    }

    /// Takes whole records from the front of `incoming` and gives the application data in them to `data`. Returns how many
    /// bytes are used up; the rest must come again, as it is now, in front of what follows.
    ///
    /// Not to be called again after it has failed.
    ///
    /// # Errors
    ///
    /// The protocol's. The alert that says so to the server waits to be sent.
    pub(crate) fn receive(
        &mut self,
        incoming: &mut [u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, rustls::Error> {
        let mut used = 0;
        loop {
            let rest = incoming.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(rest);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        used += record.discard;
                        data(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut flight)) => {
                    encode(&mut self.outgoing, |room| flight.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(flight)) => flight.done(),
                Ok(ConnectionState::PeerClosed) => self.server_closed = true,
                // Nothing more can be done without more bytes.
                Ok(_) => return Ok(used),
                Err(error) => {
                    self.failure = Some(error.clone());
                    self.encode_alert();
                    return Err(error);
                }
            }
        }
    }

    /// Seals `data`. `held` is what the last [`Records::receive`] left over: the library may be in the middle of it.
    ///
    /// # Errors
    ///
    /// The connection has failed or been closed, or its handshake is not through.
    pub(crate) fn seal(&mut self, data: &[u8], held: &mut [u8]) -> io::Result<()> {
        let room = data.len() + data.len().div_ceil(RECORD) * SEAL;
        self.write(held, |outgoing, traffic| {
            encrypt(outgoing, room, |buffer| traffic.encrypt(data, buffer))
        })
    }

    /// Seals the close_notify; only the first call does. A connection that cannot say it any more says nothing.
    pub(crate) fn close(&mut self, held: &mut [u8]) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let _ = self.write(held, |outgoing, traffic| {
            encrypt(outgoing, SEAL, |buffer| traffic.queue_close_notify(buffer))
        });
    }

    /// Calls `write` when application data may be written.
    fn write(
        &mut self,
        held: &mut [u8],
        write: impl FnOnce(
            &mut Vec<u8>,
            &mut WriteTraffic<'_, ClientConnectionData>,
        ) -> Result<(), EncryptError>,
    ) -> io::Result<()> {
        while self.failure.is_none() {
            match self.connection.process_tls_records(held).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return write(&mut self.outgoing, &mut traffic).map_err(io::Error::other);
                }
                Ok(ConnectionState::EncodeTlsData(mut flight)) => {
                    encode(&mut self.outgoing, |room| flight.encode(room))
                        .map_err(io::Error::other)?;
                }
                Ok(ConnectionState::TransmitTlsData(flight)) => flight.done(),
                Ok(ConnectionState::PeerClosed) => self.server_closed = true,
                Ok(_) => break,
                Err(error) => self.failure = Some(error),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// The library has its alert ready after an error. It must not be asked further than that: it would go on with what
    /// failed.
    fn encode_alert(&mut self) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut alert)) => {
                    if encode(&mut self.outgoing, |room| alert.encode(room)).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Records")
            .field("outgoing", &self.outgoing.len())
            .field("server_closed", &self.server_closed)
            .field("closed", &self.closed)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Takes the thread's buffer where there is none yet.
fn provide(outgoing: &mut Vec<u8>) {
    if outgoing.capacity() == 0 {
        *outgoing = SHARED.take();
    }
}

/// Appends to `outgoing` what `encode` writes; it is asked once for the room that it needs.
fn encode(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let general = |error: EncodeError| rustls::Error::General(error.to_string());
    let room = match encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(insufficient)) => insufficient.required_size,
        Err(error) => return Err(general(error)),
    };
    append(outgoing, room, |buffer| encode(buffer)).map_err(general)
}

/// The same for what is sealed, with a good guess of the room.
fn encrypt(
    outgoing: &mut Vec<u8>,
    room: usize,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    match append(outgoing, room, &mut encrypt) {
        Err(EncryptError::InsufficientSize(insufficient)) => {
            append(outgoing, insufficient.required_size, &mut encrypt)
        }
        result => result,
    }
}

fn append<E>(
    outgoing: &mut Vec<u8>,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    provide(outgoing);
    let start = outgoing.len();
    outgoing.resize(start + room, 0);
    let written = write(outgoing.get_mut(start..).unwrap_or_default());
    outgoing.truncate(start + written.as_ref().map_or(0, |written| *written));
    written.map(drop)
}
