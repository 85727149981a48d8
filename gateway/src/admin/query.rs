//! The parameters behind a request's `?`, decoded. Which of them there are is for who asks.

/// The parameters of a query, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `query`, of which only `known` parameters may be there, each once.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = || format!("\"{pair}\" is not well encoded");
            let (name, value) = (
                decoded(name).ok_or_else(wrong)?,
                decoded(value).ok_or_else(wrong)?,
            );
            if !known.contains(&name.as_str()) {
                return Err(format!("\"{name}\" is none of {}", known.join(", ")));
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(format!("\"{name}\" is there twice"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn parameters_are_decoded_and_known() {
        let query = Query::parse(Some("device=a%2Fb+c&&limit="), &["device", "limit"]).unwrap();
        assert_eq!(query.get("device"), Some("a/b c"));
        assert_eq!((query.get("limit"), query.get("after")), (Some(""), None));
        for wrong in [
            "other=1",
            "limit=1&limit=2",
            "limit=%",
            "limit=%2",
            "limit=%zz",
            "limit=%ff",
        ] {
            assert!(Query::parse(Some(wrong), &["limit"]).is_err(), "{wrong}");
        }
    }
}
