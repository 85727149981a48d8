//! The ticket that a ClientHello offers, as it is on the wire; pure.

/// Type of the handshake message (RFC 8446, 4).
const CLIENT_HELLO: u8 = 1;
/// Type of the extension (RFC 8446, 4.2).
const PRE_SHARED_KEY: u16 = 41;

/// Length of the first PSK identity (RFC 8446, 4.2.11), which is the ticket, in `flight`: the client's first bytes. `None`
/// where none is offered.
pub(super) fn ticket_length(flight: &[u8]) -> Option<usize> {
    let mut message = Reader(flight);
    // Record: type, version, length. It is never split.
    message.skip(5)?;
    if message.number(1)? != u64::from(CLIENT_HELLO) {
        return None;
    }
    let mut hello = message.vector(3)?;
    // Version and random.
    hello.skip(2 + 32)?;
    // Session id, cipher suites, compression methods.
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    let mut extensions = hello.vector(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = extensions.vector(2)?;
        if kind == u64::from(PRE_SHARED_KEY) {
            let mut identities = extension.vector(2)?;
            return Some(identities.vector(2)?.0.len());
        }
    }
    None
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let bytes = self.take(bytes)?.iter();
        Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// What follows its length, which has so many bytes.
    fn vector(&mut self, length: usize) -> Option<Reader<'a>> {
        let length = usize::try_from(self.number(length)?).ok()?;
        self.take(length).map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(length: usize, content: &[u8]) -> Vec<u8> {
        let count = (content.len() as u64).to_be_bytes();
        [&count[8 - length..], content].concat()
    }

    fn flight(extensions: &[u8]) -> Vec<u8> {
        let hello = [
            vec![3, 3],
            vec![9; 32],
            vector(1, &[7; 32]),
            vector(2, &[0x13, 1]),
            vector(1, &[0]),
            vector(2, extensions),
        ]
        .concat();
        let message = [vec![CLIENT_HELLO], vector(3, &hello)].concat();
        [vec![22, 3, 1], vector(2, &message)].concat()
    }

    #[test]
    fn the_ticket_is_measured_without_its_age_and_binder() {
        let identity = [vector(2, &[5; 230]), vec![0; 4]].concat();
        let psk = [vector(2, &identity), vector(2, &vector(1, &[6; 32]))].concat();
        let other = [vec![0, 43], vector(2, &[2, 3, 4])].concat();
        let extensions = [other.clone(), vec![0, 41], vector(2, &psk)].concat();
        let whole = flight(&extensions);
        assert_eq!(ticket_length(&whole), Some(230));
        assert_eq!(ticket_length(&flight(&other)), None);
        for length in 0..whole.len() {
            assert_eq!(ticket_length(&whole[..length]), None, "{length}");
        }
    }
}
