//! An HTTP server to stand behind the gateway under test: small, fast, and odd on demand.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | the request's body, streamed as it comes |
//! | `/headers` | the request head as JSON: method, path, version, and every header in order, duplicates kept |
//! | `/delay/MS` | `ok` after so many milliseconds |
//! | `/status/CODE` | that status |
//! | `/bytes/N` | N bytes, streamed |
//! | `/sink` | the length of the request's body, once it is read to its end and thrown away |
//! | `/ws` | WebSocket: every message, as it came |
//! | `/reset` | nothing: the connection is closed abruptly |
//! | anything else | `ok` |
//!
//! Not a web server: no TLS, no files, and it believes whoever connects.

mod head;
mod reply;
mod serve;
mod websocket;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::watch;

/// A running upstream on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Serves on a listener that the caller has bound.
    ///
    /// # Errors
    ///
    /// The listener cannot be used, or no thread started.
    pub fn start(listener: TcpListener) -> io::Result<Upstream> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let requests = Arc::new(AtomicU64::new(0));
        let (stop, mut stopped) = watch::channel(false);
        let counter = Arc::clone(&requests);
        let thread = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || {
                // Whoever needs to know sees that connections are refused from now on.
                let _ = serve_until(listener, counter, async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                });
            })?;
        Ok(Upstream {
            address,
            requests,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It can only have ended already.
            let _ = thread.join();
        }
    }
}

/// Serves on this thread until `stop` is ready; counts requests in `requests`.
///
/// # Errors
///
/// The runtime cannot be made or the listener not be used.
pub fn serve_until(
    listener: TcpListener,
    requests: Arc<AtomicU64>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::select! {
            () = serve::accept(&listener, requests) => Ok(()),
            () = stop => Ok(()),
        }
    })
}
