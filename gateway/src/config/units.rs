//! Values with a unit, as they are written in the file: `30s`, `64KiB`, `http://127.0.0.1:9000`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;

use crate::upstream::Entry;
use crate::upstream::connect::Address;

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

/// Parses a whole number per second such as `2000/s`.
pub(super) fn per_second(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix("/s")
        .and_then(|number| number.parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("\"{text}\" is no rate; write 2000/s"))
}

/// Parses a rate such as `100/s`, `30/m`, `10/h`: how many, in which time.
pub(super) fn rate(text: &str) -> Result<(u64, Duration), String> {
    let wrong = || format!("\"{text}\" is no rate; write 100/s, 30/m or 10/h");
    let (number, period) = text.split_once('/').ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    per(number, period).ok_or_else(wrong)
}

/// Parses a rate of bytes such as `64KiB/s` or `10MiB/m`.
pub(super) fn byte_rate(text: &str) -> Result<(u64, Duration), String> {
    let wrong = || format!("\"{text}\" is no rate of bytes; write 64KiB/s or 10MiB/m");
    let (number, period) = text.split_once('/').ok_or_else(wrong)?;
    let number = size(number).map_err(|_| wrong())?;
    per(number as u64, period).ok_or_else(wrong)
}

fn per(number: u64, period: &str) -> Option<(u64, Duration)> {
    let seconds = match period {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return None,
    };
    (number > 0).then(|| (number, Duration::from_secs(seconds)))
}

/// Parses a share such as `20%`.
pub(super) fn percent(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.parse().ok());
    number
        .filter(|number| *number <= 100)
        .ok_or_else(|| format!("\"{text}\" is no share; write 20%, at most 100%"))
}

/// Parses an HTTP status such as `200`, or a range such as `200-299`: the first and the last.
pub(super) fn statuses(text: &str) -> Option<(StatusCode, StatusCode)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range: (StatusCode, StatusCode) = (first.parse().ok()?, last.parse().ok()?);
    (range.0 <= range.1 && range.1.as_u16() < 600).then_some(range)
}

/// Parses an endpoint such as `http://127.0.0.1:9000`, `https://backend.example:443` or `unix:/run/backend.sock`; a relative path
/// is taken from `base`. Its weight is one.
pub(super) fn endpoint(text: &str, base: &Path) -> Result<Entry, String> {
    const FORMS: &str = "write http://HOST:PORT, https://HOST:PORT or unix:PATH";
    let wrong = |what: &str| format!("\"{text}\" {what}; {FORMS}");
    if let Some(path) = text.strip_prefix("unix:") {
        /// What the kernel takes, without the byte that ends it.
        const LONGEST: usize = 107;
        let full = base.join(path);
        return match full.as_os_str().len() {
            _ if path.is_empty() || path.contains('\0') => Err(wrong("has no path")),
            length if length > LONGEST => Err(wrong("has a path of more than 107 bytes")),
            _ => Ok(Entry {
                address: Address::Unix(full),
                encrypted: false,
                weight: 1,
            }),
        };
    }
    let (rest, encrypted) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        (None, None) => return Err(wrong("starts with none of http://, https:// and unix:")),
    };
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
    let address = match host.parse() {
        Ok(ip) => Address::Socket(SocketAddr::new(ip, port)),
        Err(_) => Address::Name { host, port },
    };
    Ok(Entry {
        address,
        encrypted,
        weight: 1,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{
        byte_rate, duration, endpoint, per_second, percent, rate, size, statuses, written_duration,
        written_size,
    };

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
    fn rates() {
        assert_eq!(per_second("2000/s"), Ok(2000));
        for wrong in ["", "2000", "0/s", "-1/s", "2000/m", "/s", "1.5/s"] {
            assert!(per_second(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate("100/s"), Ok((100, Duration::from_secs(1))));
        assert_eq!(rate("10/h"), Ok((10, Duration::from_secs(3600))));
        assert_eq!(byte_rate("64KiB/m"), Ok((65_536, Duration::from_secs(60))));
        for wrong in [
            "", "100", "0/s", "-1/s", "100/d", "1.5/s", "100/", "/s", "1KiB/s",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "64KiB", "100/s", "0B/s"] {
            assert!(byte_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent("0%"), Ok(0));
        assert_eq!(percent("100%"), Ok(100));
        for wrong in ["", "%", "20", "-1%", "101%", "20.5%", "20 %"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn status_ranges() {
        let numbers = |text| statuses(text).map(|(a, b)| (a.as_u16(), b.as_u16()));
        assert_eq!(numbers("200"), Some((200, 200)));
        assert_eq!(numbers("200-399"), Some((200, 399)));
        for wrong in [
            "",
            "20",
            "-",
            "200-",
            "300-200",
            "600",
            "200-600",
            "200-300-400",
        ] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn endpoints() {
        for (text, address, encrypted) in [
            ("http://127.0.0.1:9000", "127.0.0.1:9000", false),
            ("http://[::1]:9000/", "[::1]:9000", false),
            ("http://backend.example:80", "backend.example:80", false),
            ("https://backend.example:443", "backend.example:443", true),
            ("unix:/run/x.sock", "unix:/run/x.sock", false),
            ("unix:x.sock", "unix:/base/x.sock", false),
        ] {
            let endpoint = endpoint(text, Path::new("/base")).unwrap();
            assert_eq!(
                (endpoint.address.to_string().as_str(), endpoint.encrypted),
                (address, encrypted)
            );
        }
        for wrong in [
            "127.0.0.1:9000",
            "ftp://a:1",
            "http://a",
            "https://a",
            "http://a:0",
            "http://u@a:1",
            "http://:1",
            "http://a:1/x",
            "unix:",
            &format!("unix:/{}", "x".repeat(107)),
            "unix:/run/\0",
        ] {
            assert!(endpoint(wrong, Path::new("/base")).is_err(), "{wrong}");
        }
    }
}
