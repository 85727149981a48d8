//! Binds the listening sockets and accepts from them.
//!
//! Each worker has a socket of its own for every listener (`SO_REUSEPORT`), and the kernel spreads connections over them.
//! Sockets that come from another process are as many as they are, and workers share them. It knows nothing of TLS, and it
//! turns nobody away: that is `admission`.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::serve;

/// One configured listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name in logs and metrics.
    pub name: String,
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What is spoken inside TLS.
    pub protocol: Protocol,
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, by routes.
    Http,
    /// Anything: bytes both ways to one upstream.
    Tcp(serve::tcp::Settings),
}

/// How many connections the kernel completes ahead of the gateway. Storms are shed by admission, which can tell who is
/// worth serving; the kernel cannot.
const BACKLOG: i32 = 4096;

/// The sockets of one listener, all on one address.
#[derive(Debug)]
pub struct Bound {
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

impl Bound {
    /// Binds `address` once for each of `workers`.
    ///
    /// # Errors
    /// The address is in use (also by another gateway), not of this machine, or needs a privilege.
    pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        // SO_REUSEPORT would let a second gateway of the same user join silently and take every other connection.
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
        let address = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        let sockets = (0..workers)
            .map(|_| reuse_port(address))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { address, sockets })
    }

    /// Goes on with `sockets`, which somebody else bound to `address`.
    ///
    /// # Errors
    /// One of them does not listen, or refuses an option.
    pub fn adopt(address: SocketAddr, sockets: Vec<std::net::TcpListener>) -> io::Result<Self> {
        for socket in &sockets {
            let socket = SockRef::from(socket);
            if !socket.is_listener()? {
                return Err(io::Error::other("the socket passed for it does not listen"));
            }
            prepare(&socket)?;
            // Whoever made it may have been content with a shorter queue.
            socket.listen(BACKLOG)?;
        }
        Ok(Self { address, sockets })
    }

    /// The address that is bound, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The sockets themselves.
    pub fn sockets(&self) -> &[std::net::TcpListener] {
        &self.sockets
    }

    /// What each of `workers` accepts from: at least one socket, and no socket without a worker, however many of each there
    /// are. A socket that several workers get is one queue with several descriptors.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn share(&self, workers: usize) -> io::Result<Vec<Vec<std::net::TcpListener>>> {
        let mut shares: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let count = workers.max(self.sockets.len());
        for (worker, socket) in (0..workers)
            .cycle()
            .zip(self.sockets.iter().cycle())
            .take(count)
        {
            if let Some(share) = shares.get_mut(worker) {
                share.push(socket.try_clone()?);
            }
        }
        Ok(shares)
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn reuse_port(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket) -> io::Result<()> {
    // Accepted sockets inherit this from the listening one on Linux, which saves a system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)
}

/// A TCP connection that nobody has judged yet.
#[derive(Debug)]
pub struct Accepted {
    tcp: TcpStream,
    peer: SocketAddr,
    at: Instant,
}

impl Accepted {
    pub(crate) fn new(tcp: TcpStream, peer: SocketAddr, at: Instant) -> Self {
        Self { tcp, peer, at }
    }

    /// Where it comes from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it was accepted.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The connection itself, for the next stage.
    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }
}

/// Accepts the next connection, waiting out what an operator must mend (no descriptors, no memory). Cancel safe.
pub async fn accept(listener: &TcpListener) -> Accepted {
    let mut pause = Duration::from_millis(5);
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => return Accepted::new(tcp, peer, clock::now()),
            // The client left before it was accepted: nobody's fault, and no reason to wait.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::Bound;

    #[test]
    fn every_worker_has_a_socket_on_one_port() {
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(bound.address().port(), 0);
        for sockets in bound.share(3).unwrap() {
            assert_eq!(sockets.len(), 1);
            assert_eq!(sockets[0].local_addr().unwrap(), bound.address());
        }
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        for (sockets, workers) in [(1, 3), (3, 1), (2, 3), (5, 2)] {
            let bound = Bound::bind("127.0.0.1:0".parse().unwrap(), sockets).unwrap();
            let cookie = |socket: &TcpListener| SockRef::from(socket).cookie().unwrap();
            let all: BTreeSet<u64> = bound.sockets().iter().map(cookie).collect();
            let shares = bound.share(workers).unwrap();
            assert_eq!(shares.len(), workers);
            assert!(shares.iter().all(|share| !share.is_empty()));
            let shared: BTreeSet<u64> = shares.iter().flatten().map(cookie).collect();
            assert_eq!((shared.len(), shared), (sockets, all));
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_is_not_adopted() {
        let socket = super::socket("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        assert!(Bound::adopt(address, vec![socket.into()]).is_err());
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(
            Bound::adopt(address, vec![socket]).unwrap().address(),
            address
        );
    }

    #[test]
    fn a_second_gateway_does_not_join_silently() {
        let first = Bound::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = Bound::bind(first.address(), 1).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
}
