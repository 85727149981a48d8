//! HTTP/1.1 messages as bytes on a wire: read one, keep what it was made of.

use std::io::{self, Read};

/// A request or a response as it came, and its body without the framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Everything up to and with the empty line.
    pub(crate) head: String,
    /// The body's bytes with their framing.
    pub(crate) wire: Vec<u8>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.first_line()
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {:?}", self.head))
    }

    pub(crate) fn target(&self) -> &str {
        self.first_line().split(' ').nth(1).unwrap_or_default()
    }

    /// Every value of the field `name`, in order; the name in any case.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The one value of the field `name`.
    pub(crate) fn field(&self, name: &str) -> &str {
        match self.fields(name)[..] {
            [value] => value,
            _ => panic!("{name} is not there once in {}", self.head),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn length(&self) -> Option<usize> {
        let lengths = self.fields("content-length");
        lengths.first().map(|length| length.parse().unwrap())
    }

    fn is_chunked(&self) -> bool {
        self.fields("transfer-encoding") == ["chunked"]
    }
}

/// Reads messages from `source`, one after the other.
pub(crate) struct Reader<R> {
    pub(crate) source: R,
    held: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            held: Vec::new(),
        }
    }

    /// What arrived and was not asked for yet.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match self.source.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.held.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.held.windows(end.len()).position(|part| part == end) {
                return Ok(self.held.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.held.len() < length {
            self.fill()?;
        }
        Ok(self.held.drain(..length).collect())
    }

    /// The next head, with no body yet.
    pub(crate) fn head(&mut self) -> io::Result<Message> {
        let head = self.until(b"\r\n\r\n")?;
        Ok(Message {
            head: String::from_utf8_lossy(&head).into_owned(),
            wire: Vec::new(),
            body: Vec::new(),
        })
    }

    /// The next request.
    pub(crate) fn request(&mut self) -> io::Result<Message> {
        let mut message = self.head()?;
        if message.is_chunked() {
            self.chunks(&mut message)?;
        } else if let Some(length) = message.length() {
            message.wire = self.exactly(length)?;
            message.body.clone_from(&message.wire);
        }
        Ok(message)
    }

    /// The next final response. `bodiless` is the answer to HEAD.
    pub(crate) fn response(&mut self, bodiless: bool) -> io::Result<Message> {
        let mut message = self.head()?;
        if bodiless || matches!(message.status(), 204 | 304) {
            return Ok(message);
        }
        if message.is_chunked() {
            self.chunks(&mut message)?;
        } else if let Some(length) = message.length() {
            message.wire = self.exactly(length)?;
            message.body.clone_from(&message.wire);
        } else {
            while self.fill().is_ok() {}
            message.wire = std::mem::take(&mut self.held);
            message.body.clone_from(&message.wire);
        }
        Ok(message)
    }

    fn chunks(&mut self, message: &mut Message) -> io::Result<()> {
        loop {
            let line = self.until(b"\r\n")?;
            message.wire.extend_from_slice(&line);
            let digits = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(digits.trim(), 16)
                .map_err(|error| io::Error::other(format!("{digits:?}: {error}")))?;
            if size == 0 {
                break;
            }
            let data = self.exactly(size)?;
            message.wire.extend_from_slice(&data);
            message.body.extend_from_slice(&data);
            let end = self.exactly(2)?;
            message.wire.extend_from_slice(&end);
        }
        loop {
            let trailer = self.until(b"\r\n")?;
            message.wire.extend_from_slice(&trailer);
            if trailer == b"\r\n" {
                return Ok(());
            }
        }
    }
}
