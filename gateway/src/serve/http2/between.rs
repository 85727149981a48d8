//! What lies between hyper's HTTP/2 connection and the TLS stream, so that the one can be dropped and made again without the
//! device seeing any of it.
//!
//! It keeps the [`Ledger`] from the frames that go by. To a new server it says what the device once said to the old one, and
//! it keeps back what the new one would say to a device that it takes for new. It decides neither when a connection rests
//! nor what a frame means.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::frames::{Event, Head, SETTINGS, Scanner, WINDOW_UPDATE};
use super::ledger::Ledger;
use crate::tls::stream::TlsStream;

thread_local! {
    /// What has just been read, to be looked at.
    static ARRIVED: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 * 1024]);
}

/// A connection as hyper has it. Its clones are the same connection.
#[derive(Clone)]
pub(super) struct Between(Rc<RefCell<Lines>>);

/// Both directions of a connection.
struct Lines {
    stream: Box<TlsStream>,
    ledger: Ledger,
    arriving: Scanner,
    leaving: Scanner,
    /// For hyper: what it is told about the device, and what was read but does not fit where hyper wants it.
    for_hyper: Vec<u8>,
    /// For the device, and not yet written.
    for_device: Vec<u8>,
    /// Frames of streams up to this one belong to a time before this server, which has never heard of them.
    before: u32,
    kept_back: KeptBack,
    /// Whether what hyper writes is looked through before it goes to the device.
    is_sifting: bool,
    /// Who waits for that to be over.
    reader: Option<Waker>,
    /// Whether hyper has been given all that came, and has asked for more.
    is_waiting: bool,
    is_flushed: bool,
}

/// Which parts of a server's beginning are still to come, and must not reach a device that had them long ago.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct KeptBack {
    settings: bool,
    acknowledgement: bool,
    window: bool,
}

impl Between {
    /// A connection with a device that has said nothing yet.
    pub(super) fn first(stream: Box<TlsStream>) -> Self {
        Self::new(
            stream,
            Ledger::new(),
            Scanner::before_preface(),
            KeptBack::default(),
        )
    }

    /// A connection with a device whose server was dropped. `window` is the receive window of connections.
    pub(super) fn again(stream: Box<TlsStream>, ledger: Ledger, window: u32) -> Self {
        let kept_back = KeptBack {
            settings: true,
            acknowledgement: true,
            window: true,
        };
        let between = Self::new(stream, ledger, Scanner::new(), kept_back);
        {
            let lines = &mut *between.0.borrow_mut();
            lines.before = lines.ledger.last_stream();
            lines.for_hyper = lines.ledger.greeting();
            lines.for_device = lines.ledger.open_window(window);
        }
        between
    }

    fn new(stream: Box<TlsStream>, ledger: Ledger, arriving: Scanner, kept_back: KeptBack) -> Self {
        Self(Rc::new(RefCell::new(Lines {
            stream,
            ledger,
            arriving,
            leaving: Scanner::new(),
            for_hyper: Vec::new(),
            for_device: Vec::new(),
            before: 0,
            kept_back,
            is_sifting: kept_back != KeptBack::default(),
            reader: None,
            is_waiting: false,
            is_flushed: false,
        })))
    }

    /// Whether hyper's connection could be dropped now and made again later: nothing is on its way inside it, and both ends
    /// know where they stand.
    pub(super) fn can_rest(&self) -> bool {
        let lines = self.0.borrow();
        lines.is_waiting
            && lines.is_flushed
            && lines.for_device.is_empty()
            && !lines.stream.has_outgoing()
            && lines.arriving.is_between_frames()
            && lines.leaving.is_between_frames()
            && !lines.is_sifting
            && lines.ledger.is_settled()
    }

    /// The stream and the ledger, once hyper's connection is gone; `None` while it is not.
    pub(super) fn into_parts(self) -> Option<(Box<TlsStream>, Ledger)> {
        let lines = Rc::into_inner(self.0)?.into_inner();
        Some((lines.stream, lines.ledger))
    }
}

impl KeptBack {
    /// Whether the frame that begins with `head` is one of these; each is, once.
    fn take(&mut self, head: Head) -> bool {
        let this = match (head.kind, head.stream) {
            (SETTINGS, _) if head.is_acknowledgement() => &mut self.acknowledgement,
            (SETTINGS, _) => &mut self.settings,
            (WINDOW_UPDATE, 0) => &mut self.window,
            _ => return false,
        };
        std::mem::take(this)
    }
}

impl Lines {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ARRIVED.with_borrow_mut(|scratch| {
            loop {
                if !self.for_hyper.is_empty() {
                    let now = self.for_hyper.len().min(cursor.remaining());
                    cursor.put_slice(self.for_hyper.get(..now).unwrap_or_default());
                    self.for_hyper.drain(..now);
                    self.is_waiting = false;
                    return Poll::Ready(Ok(()));
                }
                // A server counts with its larger window only from when it has said so, and the device knows it already.
                if self.is_sifting {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                let room = scratch.len().min(cursor.remaining());
                let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
                let read = Pin::new(&mut self.stream).poll_read(cx, buffer.unfilled());
                self.is_waiting = read.is_pending();
                ready!(read)?;
                let arrived = buffer.filled();
                let (ledger, before) = (&mut self.ledger, self.before);
                let visit = |event| {
                    ledger.arrived(event);
                    !matches!(event, Event::Frame(head) if (1..=before).contains(&head.stream))
                };
                if before == 0 || arrived.is_empty() {
                    self.arriving.scan(arrived, None, visit);
                    cursor.put_slice(arrived);
                    return Poll::Ready(Ok(()));
                }
                self.arriving
                    .scan(arrived, Some(&mut self.for_hyper), visit);
            }
        })
    }

    /// Whether what hyper writes goes to the device as it is.
    fn is_transparent(&self) -> bool {
        !self.is_sifting && self.for_device.is_empty()
    }

    fn enter_left(&mut self, bytes: &[u8]) {
        let ledger = &mut self.ledger;
        self.leaving.scan(bytes, None, |event| {
            ledger.left(event);
            true
        });
    }

    /// Takes `bytes` without what is to be kept back.
    fn sift(&mut self, bytes: &[u8]) {
        let (ledger, kept_back) = (&mut self.ledger, &mut self.kept_back);
        self.leaving
            .scan(bytes, Some(&mut self.for_device), |event| {
                if matches!(event, Event::Frame(head) if kept_back.take(head)) {
                    return false;
                }
                ledger.left(event);
                true
            });
        // Not before the end of a frame: the front of a head would be left behind.
        let is_through = self.kept_back == KeptBack::default();
        self.is_sifting = !(is_through && self.leaving.is_between_frames());
        if !self.is_sifting
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    fn poll_write_for_device(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.for_device.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.for_device))?;
            self.for_device.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Between {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, &mut cursor)
    }
}

impl Write for Between {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let lines = &mut *self.0.borrow_mut();
        lines.is_flushed = false;
        if lines.is_transparent() {
            let written = ready!(Pin::new(&mut lines.stream).poll_write(cx, bytes))?;
            lines.enter_left(bytes.get(..written).unwrap_or_default());
            return Poll::Ready(Ok(written));
        }
        ready!(lines.poll_write_for_device(cx))?;
        lines.sift(bytes);
        match lines.poll_write_for_device(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the stream did not take is kept, and goes first.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lines = &mut *self.0.borrow_mut();
        ready!(lines.poll_write_for_device(cx))?;
        ready!(Pin::new(&mut lines.stream).poll_flush(cx))?;
        lines.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lines = &mut *self.0.borrow_mut();
        ready!(lines.poll_write_for_device(cx))?;
        Pin::new(&mut lines.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        {
            let lines = &mut *self.0.borrow_mut();
            if lines.is_transparent() {
                lines.is_flushed = false;
                let stream = Pin::new(&mut lines.stream);
                let written = ready!(stream.poll_write_vectored(cx, buffers))?;
                let mut left = written;
                for buffer in buffers {
                    let now = left.min(buffer.len());
                    lines.enter_left(buffer.get(..now).unwrap_or_default());
                    left -= now;
                }
                return Poll::Ready(Ok(written));
            }
        }
        let first = buffers.iter().find(|buffer| !buffer.is_empty());
        match first {
            Some(first) => self.poll_write(cx, first),
            None => Poll::Ready(Ok(0)),
        }
    }
}
