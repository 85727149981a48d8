//! The form of a SPIFFE ID, by the SPIFFE-ID specification, sections 2.1 to 2.4. It fetches no bundle and trusts nobody.

/// Whether `uri` has the scheme `spiffe`, however it is spelled.
pub(super) fn has_scheme(uri: &str) -> bool {
    uri.get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
}

/// Whether `uri` is a workload's SPIFFE ID: a lower-case trust domain, and a path of plain segments. No user, port, query
/// or fragment; the longest is 2048 bytes, far beyond what a device id may be.
pub(super) fn is_id(uri: &str) -> bool {
    let Some((domain, path)) = uri
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let in_domain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
    };
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_segment);
    uri.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.bytes().all(in_domain)
        && path.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::{has_scheme, is_id};

    #[test]
    fn ids_of_workloads_are_accepted() {
        for id in [
            "spiffe://plant-7.example/press/7",
            "spiffe://a/b",
            "spiffe://a_b/C.d-e_f",
        ] {
            assert!(has_scheme(id) && is_id(id), "{id}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_not() {
        for id in [
            "spiffe://",
            "spiffe://plant",
            "spiffe://plant/",
            "spiffe:///press",
            "spiffe://Plant/press",
            "SPIFFE://plant/press",
            "spiffe:plant/press",
            "spiffe://plant:8443/press",
            "spiffe://user@plant/press",
            "spiffe://plant/press?x",
            "spiffe://plant/press#x",
            "spiffe://plant//press",
            "spiffe://plant/./press",
            "spiffe://plant/../press",
            "spiffe://plant/press/",
            "spiffe://plant/pr%65ss",
            "spiffe://plant/a b",
        ] {
            assert!(has_scheme(id) && !is_id(id), "{id}");
        }
        assert!(!is_id(&format!("spiffe://{}/a", "a".repeat(256))));
        assert!(!has_scheme("urn:device:spiffe:"));
    }
}
