//! A TLS connection over TCP that holds no buffers while nothing moves.
//!
//! rustls's unbuffered interface leaves the buffers to its caller. Reads go through one scratch buffer per thread, and only
//! what is left of a record that has not wholly arrived is kept with the connection; writes keep only what the socket did
//! not take. So a quiet connection costs its protocol state and nothing else.
//!
//! It does not decide deadlines, and it verifies nothing: the rustls configuration does.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use rustls::{CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock;
use crate::serve::activity::Activity;
use crate::tls::records::{MAX_PLAINTEXT, Records};

/// As much is sent at once: a few records of the largest size.
const TOGETHER: usize = 4 * MAX_PLAINTEXT;

/// How long a device may take to read the end of its connection.
const MOMENT: Duration = Duration::from_secs(1);

/// Room for one record of the largest size, and for what came with it.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
    static PLAINTEXT: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(MAX_PLAINTEXT));
}

/// The TLS connection of one device.
pub struct TlsStream {
    tcp: TcpStream,
    records: Records,
    /// The front of a record that has not wholly arrived.
    incoming: Vec<u8>,
    /// Application data that arrived and was not read yet, from `plaintext_read` on.
    plaintext: Vec<u8>,
    plaintext_read: usize,
    end_of_file: bool,
    /// Whether the end of the handshake (the ticket) may wait for the first answer and go with it.
    tail_may_wait: bool,
    activity: Rc<Activity>,
}

impl TlsStream {
    /// A connection whose handshake has not begun, and of which `received` was read already.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn new(
        tcp: TcpStream,
        received: Vec<u8>,
        config: Arc<ServerConfig>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            tcp,
            records: Records::new(config)?,
            incoming: received,
            plaintext: Vec::new(),
            plaintext_read: 0,
            end_of_file: false,
            tail_may_wait: true,
            activity: Rc::new(Activity::new(clock::now())),
        })
    }

    /// What was negotiated.
    pub fn state(&self) -> &CommonState {
        &self.records.connection
    }

    /// The cipher suite by its registered name.
    pub fn cipher_suite(&self) -> String {
        let suite = self.state().negotiated_cipher_suite();
        let name = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("");
        // rustls tells the suites of TLS 1.3 from the older ones by a prefix that the registry does not have.
        name.replacen("TLS13_", "TLS_", 1)
    }

    /// The gateway's address that the device connected to.
    ///
    /// # Errors
    /// The socket's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// What the connection is doing.
    pub fn activity(&self) -> &Rc<Activity> {
        &self.activity
    }

    /// Whether something waits to be sent.
    pub fn has_outgoing(&self) -> bool {
        !self.records.outgoing.is_empty()
    }

    /// Whether application data is waiting inside.
    pub fn has_plaintext(&self) -> bool {
        self.plaintext_read < self.plaintext.len()
    }

    /// Reads what the device sent, without processing it. 0 is the end of the stream. Cancel safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn receive(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        INCOMING.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
            self.incoming.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Processes what was received. This is where a handshake's public-key work happens.
    ///
    /// # Errors
    /// The protocol's; the alert that says so is ready to be sent.
    pub fn process(&mut self) -> Result<(), rustls::Error> {
        let plaintext = &mut self.plaintext;
        let done = self
            .records
            .process(&mut self.incoming, |data| plaintext.extend_from_slice(data))?;
        self.incoming.drain(..done);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// Sends everything that waits to be sent. Cancel safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn send(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.records.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut sent = 0;
        let result = loop {
            let rest = self.records.outgoing.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.tcp).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => sent += written,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if result.is_ready() {
            self.records.release_outgoing();
            self.activity.bytes_written(sent, false);
        } else {
            self.records.outgoing.drain(..sent);
            self.activity.bytes_written(sent, true);
        }
        result
    }

    /// Waits until the device sends something or closes.
    ///
    /// # Errors
    /// The socket's.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }

    /// Ready when the device has closed or the connection broke. Where it has sent something first, what comes after that is
    /// not seen, and this waits for ever.
    pub async fn closed(&self) {
        let mut byte = [0];
        if let Ok(1..) = self.tcp.peek(&mut byte).await {
            std::future::pending().await
        }
    }

    /// Ends a connection whose handshake failed: sends the alert, then reads until the device has closed too, because a
    /// socket closed with bytes unread sends a reset that may overtake the alert.
    pub async fn close_after_alert(mut self) {
        if self.send().await.is_err() {
            return;
        }
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.tcp).poll_shutdown(cx)).await;
        self.read_to_the_end(2 * SCRATCH).await;
    }

    /// Gives a device that is still sending a moment to read the last answer, for the same reason.
    pub async fn linger(mut self) {
        let _ = tokio::time::timeout(MOMENT, self.read_to_the_end(usize::MAX)).await;
    }

    /// Reads and forgets until the device closes, or has sent `budget` bytes.
    async fn read_to_the_end(&mut self, mut budget: usize) {
        while let Ok(received) = self.receive().await {
            self.incoming.clear();
            budget = budget.saturating_sub(received);
            if received == 0 || budget == 0 {
                return;
            }
        }
    }

    /// Ends a connection in order: close_notify, then the end of the TCP stream. A device that does not read is not waited for.
    pub async fn close(mut self) {
        self.shut_down().await;
    }

    /// Ends a connection in order while the device may be sending: it sees the end, not a reset, and knows by that that
    /// nothing was done with what it sent.
    pub async fn close_and_linger(mut self) {
        if self.shut_down().await {
            self.linger().await;
        }
    }

    /// Whether it came to the end in time.
    async fn shut_down(&mut self) -> bool {
        let ending = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx));
        matches!(tokio::time::timeout(MOMENT, ending).await, Ok(Ok(())))
    }

    /// Puts back application data that was read too early.
    pub fn unread(&mut self, data: &[u8]) {
        if !data.is_empty() {
            let rest = self.plaintext.split_off(self.plaintext_read);
            self.plaintext = [data, &rest].concat();
            self.plaintext_read = 0;
        }
    }

    /// Answers in the clear, for a client that speaks no TLS.
    pub async fn close_with_plain(mut self, answer: &[u8]) {
        self.records.outgoing = answer.to_vec();
        self.close_after_alert().await;
    }

    fn read_plaintext(&mut self, cursor: &mut ReadBufCursor<'_>) -> bool {
        let waiting = self
            .plaintext
            .get(self.plaintext_read..)
            .unwrap_or_default();
        if waiting.is_empty() {
            return false;
        }
        let taken = waiting.len().min(cursor.remaining());
        cursor.put_slice(waiting.get(..taken).unwrap_or_default());
        self.plaintext_read += taken;
        if self.plaintext_read == self.plaintext.len() {
            self.plaintext = Vec::new();
            self.plaintext_read = 0;
        }
        true
    }

    /// Reads from the socket and decrypts, into `cursor` first and what does not fit into `plaintext`. Returns the number
    /// of bytes that came from the socket.
    fn poll_read_records(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<usize>> {
        INCOMING.with_borrow_mut(|scratch| {
            let held = self.incoming.len();
            // A held-back record front is at most a record long; the scratch has room for two.
            let mut buffer = ReadBuf::new(scratch.get_mut(held..).unwrap_or_default());
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
            let received = buffer.filled().len();
            let arrived = scratch.get_mut(..held + received).unwrap_or_default();
            let (front, _) = arrived.split_at_mut(held);
            front.copy_from_slice(&self.incoming);
            let plaintext = &mut self.plaintext;
            let done = self
                .records
                .process(arrived, |data| {
                    let fits = if plaintext.is_empty() {
                        data.len().min(cursor.remaining())
                    } else {
                        0
                    };
                    let (now, later) = data.split_at(fits);
                    cursor.put_slice(now);
                    plaintext.extend_from_slice(later);
                })
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let left = arrived.get(done..).unwrap_or_default();
            if left.is_empty() {
                self.incoming = Vec::new();
            } else {
                self.incoming.clear();
                self.incoming.extend_from_slice(left);
            }
            Poll::Ready(Ok(received))
        })
    }

    fn poll_write_plaintext(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.records.outgoing.len() >= TOGETHER {
            // The device is slow to read.
            ready!(self.poll_send(cx))?;
        }
        self.tail_may_wait = false;
        let plaintext = plaintext.get(..MAX_PLAINTEXT).unwrap_or(plaintext);
        self.records.encrypt(plaintext, &mut self.incoming)?;
        if self.records.outgoing.len() < TOGETHER {
            // What follows goes with it, or the flush after it sends it.
            return Poll::Ready(Ok(plaintext.len()));
        }
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // The record is sealed and kept: it counts as written, and the next flush waits for it.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(plaintext.len())),
        }
    }
}

impl Read for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = cursor.remaining();
        loop {
            if this.read_plaintext(&mut cursor) {
                this.activity.bytes_read(room - cursor.remaining());
                return Poll::Ready(Ok(()));
            }
            if this.end_of_file || this.records.peer_closed || cursor.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let received = match ready!(this.poll_read_records(cx, &mut cursor)) {
                Ok(received) => received,
                Err(error) => {
                    // Best effort for the alert; whoever drives this stream drops it now.
                    let _ = this.poll_send(cx);
                    return Poll::Ready(Err(error));
                }
            };
            this.end_of_file = received == 0;
            if cursor.remaining() < room {
                this.activity.bytes_read(room - cursor.remaining());
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Write for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_plaintext(cx, buffer)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // When the first request came with the end of the handshake, the ticket goes with the answer: one segment, not two.
        if this.tail_may_wait && this.activity.in_request() {
            return Poll::Ready(Ok(()));
        }
        this.tail_may_wait = false;
        this.poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.records.close_notify(&mut this.incoming);
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut filled = buffers.iter().filter(|buffer| !buffer.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => Poll::Ready(Ok(0)),
            (Some(only), None) => this.poll_write_plaintext(cx, only),
            // Head and body in one record: fewer bytes, and one segment where both are small.
            (Some(first), Some(_)) if first.len() >= MAX_PLAINTEXT => {
                this.poll_write_plaintext(cx, first)
            }
            _ => PLAINTEXT.with_borrow_mut(|gathered| {
                gathered.clear();
                for buffer in buffers {
                    let room = MAX_PLAINTEXT - gathered.len();
                    gathered.extend_from_slice(buffer.get(..room).unwrap_or(buffer));
                }
                this.poll_write_plaintext(cx, gathered)
            }),
        }
    }
}
