//! Values with a unit, as they are written in the file: `30s`, `64KiB`, `http://127.0.0.1:9000`.

use std::time::Duration;

use crate::upstream::EndpointAddress;

/// Parses a duration such as `500ms`, `30s`, `5m`, `12h` or `90d`. Zero is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a duration of zero would end everything at once".to_owned()),
        Ok(duration) if duration > Duration::from_secs(10 * 365 * 24 * 60 * 60) => {
            Err(format!("\"{text}\" is longer than ten years"))
        }
        Ok(duration) => Ok(duration),
        Err(_) => Err(format!(
            "\"{text}\" is no duration; write 500ms, 30s, 5m, 12h or 90d"
        )),
    }
}

/// Parses a size such as `512B`, `64KiB`, `10MiB` or `1GiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("\"{text}\" is no size; write 512B, 64KiB, 10MiB or 1GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A duration as it would be written in the file.
pub(super) fn written_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let milliseconds = duration.as_millis();
    let whole = UNITS
        .iter()
        .find(|(unit, _)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

/// A size as it would be written in the file.
pub(super) fn written_size(size: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = UNITS
        .iter()
        .find(|(unit, _)| size >= *unit && size.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", size / unit),
        None => format!("{size}B"),
    }
}

/// Parses an endpoint such as `http://127.0.0.1:9000`.
pub(super) fn endpoint(text: &str) -> Result<EndpointAddress, String> {
    let wrong = |what: &str| format!("\"{text}\" {what}; write http://HOST:PORT");
    let rest = text
        .strip_prefix("http://")
        .ok_or_else(|| wrong("does not start with http://"))?;
    let authority: http::uri::Authority = rest
        .trim_end_matches('/')
        .parse()
        .map_err(|_| wrong("is no address"))?;
    let port = authority
        .port_u16()
        .filter(|port| *port != 0)
        .ok_or_else(|| wrong("has no port"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a user"));
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if host.is_empty() {
        return Err(wrong("has no host"));
    }
    Ok(EndpointAddress { host, port })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, endpoint, size, written_duration, written_size};

    #[test]
    fn what_is_written_is_read() {
        for text in ["500ms", "1500ms", "30s", "90s", "5m", "12h", "36h", "90d"] {
            assert_eq!(
                duration(&written_duration(duration(text).unwrap())),
                duration(text)
            );
        }
        assert_eq!(written_duration(Duration::from_secs(300)), "5m");
        for text in ["0B", "512B", "64KiB", "1025B", "10MiB", "1GiB"] {
            assert_eq!(written_size(size(text).unwrap()), text);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        for wrong in ["", "5", "0s", "-1s", "fast", "99999y"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("0B"), Ok(0));
        for wrong in [
            "",
            "64",
            "KiB",
            "64KB",
            "64 KiB",
            "99999999999GiB",
            "18446744073709551615GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints() {
        assert_eq!(
            endpoint("http://127.0.0.1:9000").unwrap().to_string(),
            "127.0.0.1:9000"
        );
        assert_eq!(endpoint("http://[::1]:9000/").unwrap().host, "::1");
        assert_eq!(
            endpoint("http://backend.example:80").unwrap().host,
            "backend.example"
        );
        for wrong in [
            "127.0.0.1:9000",
            "https://a:1",
            "http://a",
            "http://a:0",
            "http://u@a:1",
            "http://:1",
            "http://a:1/x",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
