//! A connection between its exchanges: a small task listens to it, so that it is kept alive and its end noticed.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

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
        if let Some(before) = self.listener.replace(tokio::task::spawn_local(end)) {
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
