//! Whether a path is one path to every reader, whatever an upstream decodes and resolves (RFC 3986, 6.2). Pure.

/// What is refused because two readers may take it for different paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Dot segments, empty segments but the last, parameters (`;`), a backslash, broken encodings; and encoded: a slash, a
    /// backslash, `;`, a zero, and every character that needs no encoding or that a route's path has.
    Strict,
    /// Nothing: what is matched is what is sent, and an upstream may resolve it to another route's path.
    Raw,
}

/// The characters that a path must have plainly, not encoded.
#[derive(Debug, Clone)]
pub(super) struct Plain([bool; 256]);

impl Plain {
    /// Those that need no encoding (RFC 3986, 2.3), those that some upstreams decode into structure, and those of `paths`.
    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut plain = [false; 256];
        for (byte, plain) in (0..=u8::MAX).zip(&mut plain) {
            *plain = is_unreserved(byte) || b"/\\;\0".contains(&byte);
        }
        for byte in paths.flat_map(str::bytes) {
            if let Some(plain) = plain.get_mut(usize::from(byte)) {
                *plain = true;
            }
        }
        Self(plain)
    }

    /// Whether every reader takes `path` for the same. `*`, which is no path, is left to the routes.
    pub(super) fn is_unambiguous(&self, path: &str) -> bool {
        let Some(segments) = path.strip_prefix('/') else {
            return path == "*";
        };
        let segments = segments.strip_suffix('/').unwrap_or(segments);
        path == "/" || segments.split('/').all(|segment| self.is_segment(segment))
    }

    fn is_segment(&self, segment: &str) -> bool {
        if matches!(segment, "" | "." | "..") {
            return false;
        }
        let mut bytes = segment.bytes();
        while let Some(byte) = bytes.next() {
            let sound = match byte {
                b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                    (Some(high), Some(low)) => !self.needs_no_encoding(high << 4 | low),
                    _ => false,
                },
                byte => stands_for_itself(byte),
            };
            if !sound {
                return false;
            }
        }
        true
    }

    fn needs_no_encoding(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(true)
    }
}

/// Whether `path` stands for itself, byte by byte: nothing encoded at all. What nobody without a certificate may leave.
pub(super) fn is_plain(path: &str) -> bool {
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.bytes().all(stands_for_itself)
    };
    path == "/"
        || path
            .strip_prefix('/')
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
            .is_some_and(|rest| rest.split('/').all(is_segment))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn stands_for_itself(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{Plain, is_plain};

    #[test]
    fn plain_paths_are_one_path_to_every_reader() {
        let strict = Plain::new(std::iter::empty());
        for path in ["/", "/a", "/a/", "/a/b.c/~7", "/...", "/a/.b", "/a@b:c=d"] {
            assert!(is_plain(path) && strict.is_unambiguous(path), "{path}");
        }
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/.",
            "/a/../b",
            "/%61",
            "/a%2fb",
            "/a\\b",
            "/a;b",
            "/\u{e9}",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a%5cb",
            "/a%00",
            "/a%3Bb",
            "/a%2",
            "/a%",
            "/a%zz",
            "/%2561%",
            "/a b",
        ] {
            assert!(!is_plain(path) && !strict.is_unambiguous(path), "{path}");
        }
    }

    #[test]
    fn what_has_to_be_encoded_may_be_unless_a_route_has_it_plainly() {
        let paths = ["/a%20b", "/caf%C3%A9", "/50%25", "/a%40b", "/%252e%252e"];
        for path in paths {
            assert!(
                Plain::new(std::iter::empty()).is_unambiguous(path),
                "{path}"
            );
            assert!(!is_plain(path), "{path}");
        }
        let with_at = Plain::new(["/user@home"].into_iter());
        assert!(!with_at.is_unambiguous("/user%40home"));
        assert!(with_at.is_unambiguous("/user@home") && with_at.is_unambiguous("/user%20home"));
    }
}
