//! An upstream over plain TCP that records every byte that reaches it, and answers as a test says.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::message::{Message, Reader};
use super::{PATIENCE, eventually};

/// What a test program answers for each request: the bytes, and nothing at all to close the connection.
type Answer = dyn Fn(&Received) -> Vec<u8> + Send + Sync;

/// A request as it reached the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Which connection brought it, from 0.
    pub(crate) connection: usize,
    pub(crate) message: Message,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    received: Mutex<Vec<Received>>,
    stopped: AtomicBool,
    /// Connections that are answered by a program, shared so that they can be broken off.
    open: Mutex<Vec<TcpStream>>,
}

pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// One connection, for tests that answer by hand.
pub(crate) struct Peer {
    pub(crate) number: usize,
    pub(crate) reader: Reader<TcpStream>,
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.source.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.reader.source
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        reset(self.reader.source);
    }
}

/// Closes `tcp` with a reset.
pub(crate) fn reset(tcp: TcpStream) {
    socket2::SockRef::from(&tcp)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}

impl Upstream {
    /// Answers everything with `200` and `ok`.
    pub(crate) fn ok() -> Self {
        Self::answering(|_| ok("ok"))
    }

    /// Answers each request with what `answer` says, on kept connections; an empty answer closes.
    pub(crate) fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::answering_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    /// The same at an address that is known before.
    pub(crate) fn answering_at(
        address: SocketAddr,
        answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let answer: Arc<Answer> = Arc::new(answer);
        Self::start(address, move |mut peer, state| {
            let shared = peer.tcp().try_clone().unwrap();
            state.open.lock().unwrap().push(shared);
            while let Ok(message) = peer.reader.request() {
                let received = Received {
                    connection: peer.number,
                    message,
                };
                let reply = answer(&received);
                state.received.lock().unwrap().push(received);
                if reply.is_empty() || peer.reader.source.write_all(&reply).is_err() {
                    break;
                }
            }
            let _ = peer.tcp().shutdown(Shutdown::Both);
        })
    }

    /// Gives each connection to `serve`, on a thread of its own.
    pub(crate) fn by_hand(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        Self::start(address, move |peer, _| serve(peer))
    }

    fn start(address: SocketAddr, serve: impl Fn(Peer, &State) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let (shared, serve) = (Arc::clone(&state), Arc::new(serve));
        let accepting = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let tcp = tcp.unwrap();
                tcp.set_read_timeout(Some(PATIENCE)).unwrap();
                tcp.set_nodelay(true).unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (state, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                std::thread::spawn(move || {
                    let peer = Peer {
                        number,
                        reader: Reader::new(tcp),
                    };
                    serve(peer, &state);
                });
            }
        });
        Self {
            address,
            state,
            accepting: Some(accepting),
        }
    }

    /// Ends it as a process that is killed ends: connections break off, and further ones are refused.
    pub(crate) fn kill(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
        for tcp in self.state.open.lock().unwrap().drain(..) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of connections that were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Everything that it was asked so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits for the request number `index`, from 0.
    pub(crate) fn request(&self, index: usize) -> Message {
        eventually(&format!("request {index} at the upstream"), || {
            let received = self.state.received.lock().unwrap();
            received.get(index).map(|received| received.message.clone())
        })
    }

    /// The one request that it was asked.
    pub(crate) fn only_request(&self) -> Message {
        let request = self.request(0);
        assert_eq!(self.received().len(), 1);
        request
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A plain answer with `body`.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An address that refuses connections.
pub(crate) fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
