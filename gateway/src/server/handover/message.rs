//! What two gateways say to each other over a Unix socket: a text in JSON, with sockets beside it (`SCM_RIGHTS`).
//!
//! Every message has its lengths in front, and both ends bound what they take. Who says what when is `handover`'s business.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many sockets go at once; the kernel takes 253.
const AT_ONCE: usize = 64;

/// The longest text. Orders by hand are what may be many.
const LONGEST: usize = 64 << 20;

/// The most sockets: of all listeners of all workers.
const MOST_SOCKETS: usize = 64 << 10;

/// Sends `text` and `sockets`.
///
/// # Errors
/// The other end is gone, or does not read.
pub(super) fn send(
    mut stream: &UnixStream,
    text: &impl Serialize,
    sockets: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(text)?;
    let length = |count: usize, most: usize| match u32::try_from(count) {
        Ok(length) if count <= most => Ok(length.to_be_bytes()),
        _ => Err(invalid("the message is too long")),
    };
    let mut bytes = length(text.len(), LONGEST)?.to_vec();
    bytes.extend(length(sockets.len(), MOST_SOCKETS)?);
    bytes.extend(text);
    stream.write_all(&bytes)?;
    for some in sockets.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // Rights need a byte to travel with.
        let byte = [IoSlice::new(&[0])];
        rustix::io::retry_on_intr(|| sendmsg(stream, &byte, &mut control, SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives what [`send`] sent.
///
/// # Errors
/// The other end is gone, takes too long, or talks nonsense.
pub(super) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut lengths = [[0; 4]; 2];
    for length in &mut lengths {
        stream.read_exact(length)?;
    }
    let [length, count] = lengths.map(|length| u32::from_be_bytes(length) as usize);
    if length > LONGEST || count > MOST_SOCKETS {
        return Err(invalid("the message is too long"));
    }
    let mut text = Vec::new();
    stream.take(length as u64).read_to_end(&mut text)?;
    if text.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let expected = (count - sockets.len()).min(AT_ONCE);
        let before = sockets.len();
        receive_some(stream, &mut sockets)?;
        if sockets.len() - before != expected {
            return Err(invalid("some sockets did not arrive"));
        }
    }
    Ok((serde_json::from_slice(&text)?, sockets))
}

fn receive_some(stream: &UnixStream, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut byte = [IoSliceMut::new(&mut byte)];
        recvmsg(stream, &mut byte, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    Ok(())
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::{AT_ONCE, receive, send};

    #[test]
    fn text_and_sockets_arrive_as_they_were_sent() {
        for count in [0, 1, AT_ONCE, 2 * AT_ONCE + 1] {
            let (one, other) = UnixStream::pair().unwrap();
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let sockets = vec![socket.as_fd(); count];
            send(&one, &"first", &sockets).unwrap();
            send(&one, &"second", &[]).unwrap();
            let (text, received) = receive::<String>(&other).unwrap();
            assert_eq!((text.as_str(), received.len()), ("first", count));
            for received in received {
                let received = TcpListener::from(received);
                assert_eq!(received.local_addr().unwrap(), socket.local_addr().unwrap());
            }
            let (text, received) = receive::<String>(&other).unwrap();
            assert_eq!((text.as_str(), received.len()), ("second", 0));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let nonsense: [&[u8]; 7] = [
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            &[0, 0, 0, 2, 0, 0],
            &[0, 0, 0, 9, 0, 0, 0, 0, b'"', b'"'],
            &[0, 0, 0, 2, 0, 0, 0, 0, b'x', b'x'],
            &[0, 0, 0, 2, 0, 0, 0, 1, b'"', b'"'],
            &[0, 0, 0, 2, 0, 0, 0, 1, b'"', b'"', 0],
        ];
        for bytes in nonsense {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            assert!(receive::<String>(&other).is_err(), "{bytes:?}");
        }
    }
}
