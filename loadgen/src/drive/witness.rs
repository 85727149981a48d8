//! Who the server takes the device for, as its answer says, held against the device's certificate.
//!
//! Asked for by the plan only: it keeps a response's body, which is otherwise thrown away, and reads the certificate anew each time.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::fleet::Device;
use crate::measure::IdentityFault;
use crate::plan::IdentityEcho;

/// The longest body in which an identity is looked for.
const LONGEST_BODY: usize = 64 * 1024;

/// What one response says.
#[derive(Debug)]
pub(crate) struct Witness<'plan> {
    echo: &'plan IdentityEcho,
    /// From the head.
    said: Option<String>,
    body: Vec<u8>,
}

impl<'plan> Witness<'plan> {
    pub(crate) fn new(echo: &'plan IdentityEcho) -> Witness<'plan> {
        Witness {
            echo,
            said: None,
            body: Vec::new(),
        }
    }

    /// The response's head has come.
    pub(crate) fn head(&mut self, headers: &HeaderMap) {
        if let IdentityEcho::Header(name) = self.echo {
            let mut values = headers.get_all(name).iter();
            let (first, second) = (values.next(), values.next());
            // Two of them are as good as none: nobody knows which one is meant.
            self.said = first
                .filter(|_| second.is_none())
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
        }
    }

    /// A part of its body has come.
    pub(crate) fn data(&mut self, bytes: &Bytes) {
        let room = LONGEST_BODY.saturating_sub(self.body.len());
        if !matches!(self.echo, IdentityEcho::Header(_)) {
            self.body.extend(bytes.iter().take(room));
        }
    }

    /// Whether the response speaks of `device`.
    ///
    /// # Errors
    ///
    /// It speaks of another one, or of none.
    pub(crate) fn judge(self, device: &Device) -> Result<(), IdentityFault> {
        let said = match self.echo {
            IdentityEcho::Header(_) => self.said,
            IdentityEcho::Json(pointer) => in_json(&self.body, pointer),
            IdentityEcho::Received(name) => received(&self.body, name),
        };
        let said = said.filter(|said| !said.is_empty());
        let said = said.ok_or(IdentityFault::Absent)?;
        if device
            .identity_names()
            .iter()
            .any(|name| names(&said, name))
        {
            Ok(())
        } else {
            Err(IdentityFault::Mismatch)
        }
    }
}

fn in_json(body: &[u8], pointer: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.pointer(pointer)?.as_str().map(str::to_owned)
}

/// The only field of that name in a list of names and values.
fn received(body: &[u8], name: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let fields = body.get("headers")?.as_array()?;
    let mut values = fields.iter().filter_map(|field| {
        let (field, value) = (field.get(0)?.as_str()?, field.get(1)?.as_str()?);
        field.eq_ignore_ascii_case(name).then_some(value)
    });
    let first = values.next()?;
    values.next().is_none().then(|| first.to_owned())
}

/// Whether `said` is this name, as it is or as the common name of a subject in text (RFC 4514: `CN=device-000042,O=…`).
fn names(said: &str, name: &str) -> bool {
    let is_common_name = |part: &str| part.trim().strip_prefix("CN=") == Some(name);
    said == name || said.split([',', '/']).any(is_common_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_found_where_the_plan_says() {
        let body = br#"{"who":{"id":"one"},"headers":[["X-Device-Id","two"],["B","3"],["b","4"]]}"#;
        assert_eq!(in_json(body, "/who/id").as_deref(), Some("one"));
        assert_eq!(in_json(body, "/headers"), None);
        assert_eq!(received(body, "x-device-id").as_deref(), Some("two"));
        // Which of the two?
        assert_eq!(received(body, "b"), None);
        assert_eq!(received(b"ok\n", "b"), None);
        let echo = "header:x".parse().unwrap();
        let mut witness = Witness::new(&echo);
        let mut headers = HeaderMap::new();
        headers.insert("x", "one".parse().unwrap());
        witness.head(&headers);
        assert_eq!(witness.said.as_deref(), Some("one"));
        headers.append("x", "two".parse().unwrap());
        witness.head(&headers);
        assert_eq!(witness.said, None);
    }

    #[test]
    fn a_subject_in_text_names_its_common_name_and_no_other() {
        for said in [
            "device-1",
            "CN=device-1",
            "CN=device-1,O=Plant",
            "/O=Plant/CN=device-1",
        ] {
            assert!(names(said, "device-1"), "{said}");
        }
        for said in [
            "device-10",
            "CN=device-10,O=device-1",
            "OU=device-1",
            "xCN=device-1",
        ] {
            assert!(!names(said, "device-1"), "{said}");
        }
    }

    #[test]
    fn a_body_without_end_is_not_kept() {
        let echo = "json:/id".parse().unwrap();
        let mut witness = Witness::new(&echo);
        for _ in 0..100 {
            witness.data(&Bytes::from_static(&[b' '; 4096]));
        }
        assert_eq!(witness.body.len(), LONGEST_BODY);
    }
}
