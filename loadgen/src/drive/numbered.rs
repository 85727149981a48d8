//! Messages that can be told apart when they come back.

use bytes::{Bytes, BytesMut};

/// The messages of one device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered {
    device: u64,
    next: u64,
}

impl Numbered {
    /// Those of device number `device`.
    pub(crate) fn new(device: usize) -> Numbered {
        Numbered {
            device: device as u64,
            next: 0,
        }
    }

    /// The next message: as long as `filler`, and like no other, as far as its length allows.
    pub(crate) fn message(&mut self, filler: &Bytes) -> Bytes {
        // What changes most comes first, for the sake of short messages.
        let numbers = [self.next.to_le_bytes(), self.device.to_le_bytes()];
        self.next += 1;
        let mut bytes = BytesMut::from(filler.as_ref());
        for (byte, number) in bytes.iter_mut().zip(numbers.as_flattened()) {
            *byte = *number;
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_and_keep_their_length() {
        for length in [1, 8, 15, 16, 300] {
            let filler = Bytes::from(vec![b'x'; length]);
            let (mut one, mut other) = (Numbered::new(1), Numbered::new(2));
            let messages = [
                one.message(&filler),
                one.message(&filler),
                other.message(&filler),
            ];
            assert!(messages.iter().all(|message| message.len() == length));
            assert_ne!(messages[0], messages[1]);
            assert_eq!(messages[0] == messages[2], length <= 8);
        }
        assert_eq!(Numbered::new(1).message(&Bytes::new()), Bytes::new());
    }
}
