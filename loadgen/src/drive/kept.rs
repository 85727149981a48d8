//! A connection between its exchanges: a small task listens to it, so that it is kept alive and its end noticed.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::task;

/// What can be kept.
pub(crate) trait Listen {
    /// Deals with what the server says to a device that asked for nothing. Ready when the connection has ended.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// A place where a connection is whenever nobody uses it. Dropping it closes the connection at once.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    /// Empty while somebody uses the connection, and after it has ended.
    place: Rc<RefCell<Option<T>>>,
    listener: Option<JoinHandle<()>>,
}

impl<T: Listen + 'static> Kept<T> {
    /// `connection` is here, and nobody listens to it yet.
    pub(crate) fn new(connection: T) -> Kept<T> {
        Kept {
            place: Rc::new(RefCell::new(Some(connection))),
            listener: None,
        }
    }

    /// Whether the connection is here.
    pub(crate) fn is_here(&self) -> bool {
        self.place.borrow().is_some()
    }

    /// Takes it away to use it; `None` if it has ended.
    pub(crate) fn take(&mut self) -> Option<T> {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.place.take()
    }

    /// Listens until it is taken away. To be called each time that nothing is to be said for now.
    pub(crate) fn listen(&mut self) {
        let place = Rc::clone(&self.place);
        let end = std::future::poll_fn(move |context| {
            let mut connection = place.borrow_mut();
            match connection.as_mut().map(|kept| kept.poll_end(context)) {
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(())) | None => {
                    *connection = None;
                    Poll::Ready(())
                }
            }
        });
        if let Some(before) = self.listener.replace(task::spawn(end)) {
            before.abort();
        }
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::pki_types::ServerName;
    use rustls::version::TLS13;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;
    use tokio_rustls::{TlsAcceptor, server};

    use super::*;
    use crate::drive::counted::Counted;
    use crate::drive::distant::Distant;
    use crate::drive::http1::Resting;
    use crate::drive::leaving::Leaving;
    use crate::drive::observed::{Observation, Observed};
    use crate::drive::open::OpenConnections;
    use crate::drive::stream::TlsStream;
    use crate::drive::stream::tests::Ends;
    use crate::measure::Cause;

    struct Fixture {
        kept: Kept<Resting>,
        observation: Rc<Observation>,
        open: Rc<OpenConnections>,
        server: server::TlsStream<TcpStream>,
    }

    async fn fixture(distance: Duration) -> Fixture {
        let ends = Ends::new(&TLS13);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(ends.server(0)));
        let network = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let observation = Observation::new(Arc::clone(&ends.tickets));
        let network = Distant::new(
            Counted::new(
                Leaving::new(network, Rc::clone(&observation)),
                Rc::clone(&observation),
            ),
            distance,
        );
        let name = ServerName::try_from("localhost").unwrap();
        let (stream, server) = tokio::join!(
            TlsStream::connect(network, Arc::new(ends.device()), name),
            async { acceptor.accept(listener.accept().await.unwrap().0).await }
        );
        let open = Rc::new(OpenConnections::default());
        let stream = Observed::new(stream.unwrap(), Rc::clone(&observation), open.enter());
        Fixture {
            kept: Kept::new(Resting(stream)),
            observation,
            open,
            server: server.unwrap(),
        }
    }

    /// Lets other tasks go on until `done`; that it ends is the test.
    async fn until(done: impl Fn() -> bool) {
        while !done() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_server_s_goodbye_and_tickets_are_noticed_without_anybody_reading() {
        for distance in [Duration::ZERO, Duration::from_millis(5)] {
            LocalSet::new()
                .run_until(async {
                    let mut fixture = fixture(distance).await;
                    fixture.kept.listen();
                    until(|| fixture.observation.accepted.get().is_some()).await;
                    assert_eq!(fixture.observation.tickets_received(), 1);
                    assert!(fixture.kept.is_here());
                    assert_eq!(fixture.open.count(), 1);
                    fixture.server.shutdown().await.unwrap();
                    until(|| !fixture.kept.is_here()).await;
                    assert_eq!(fixture.observation.cause.get(), Some(Cause::Closed));
                    assert_eq!(fixture.open.count(), 0);
                    assert!(fixture.kept.take().is_none());
                })
                .await;
        }
    }

    #[tokio::test]
    async fn a_stream_can_be_used_and_rest_again() {
        LocalSet::new()
            .run_until(async {
                let mut fixture = fixture(Duration::ZERO).await;
                for round in 0..3 {
                    let Resting(mut stream) = fixture.kept.take().unwrap();
                    assert!(!fixture.kept.is_here());
                    stream.write_u8(round).await.unwrap();
                    stream.flush().await.unwrap();
                    assert_eq!(fixture.server.read_u8().await.unwrap(), round);
                    fixture.kept = Kept::new(Resting(stream));
                    fixture.kept.listen();
                    tokio::task::yield_now().await;
                }
                // Dropped, it is closed at once.
                drop(fixture.kept);
                let end = fixture.server.read(&mut [0]).await;
                assert!(end.is_err(), "without a goodbye: {end:?}");
                assert_eq!(fixture.open.count(), 0);
            })
            .await;
    }

    #[tokio::test]
    async fn what_nobody_asked_for_ends_a_resting_connection() {
        LocalSet::new()
            .run_until(async {
                let mut fixture = fixture(Duration::ZERO).await;
                fixture.kept.listen();
                fixture.server.write_all(b"unasked").await.unwrap();
                fixture.server.flush().await.unwrap();
                until(|| !fixture.kept.is_here()).await;
                assert_eq!(fixture.open.count(), 0);
            })
            .await;
    }
}
