//! Values on the command line: durations, rates, sizes, and the names of choices.

use std::time::Duration;

use clap::ValueEnum;
use loadgen::plan;
use loadgen::plan::workload::exchange::Qos;

/// `500ms`, `30s`, `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    plan::written::duration::parse(text)
}

/// A duration longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// `2000/s`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    plan::written::rate::parse(text)
}

/// `5%`, as a share.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .map(|percent| percent / 100.0)
        .filter(|share| (0.0..=10.0).contains(share))
        .ok_or_else(|| format!("`{text}` is not a percentage; write 5% or 0.1%"))
}

/// A load to search at: `100`, or `100/s`.
pub(crate) fn load(text: &str) -> Result<f64, String> {
    match text.split_once('/') {
        Some(_) => rate(text),
        None => rate(&format!("{text}/s")),
    }
    .map_err(|_| format!("`{text}` is not a load; write 2000 or 2000/s"))
}

/// `3%`, as a share; from a tenth of a percent up to 50.
pub(crate) fn percentage(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.1..=50.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is not a percentage from 0.1% to 50%"))
}

/// `8s`: at least one second, and no part of one.
pub(crate) fn whole_seconds(text: &str) -> Result<u64, String> {
    let duration = positive_duration(text)?;
    if duration.subsec_nanos() > 0 {
        return Err(format!("`{text}` must be whole seconds"));
    }
    Ok(duration.as_secs())
}

/// `256`, `64KiB`, `1MiB`, `1GiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let bytes = plan::written::size::parse(text)?;
    usize::try_from(bytes).map_err(|_| format!("`{text}` is more than this machine can count"))
}

/// A part of a whole: `0.8` or `80%`.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    let ratio = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    ratio
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| format!("`{text}` is not a ratio from 0 to 1; write 0.8 or 80%"))
}

/// MQTT's quality of service.
pub(crate) fn qos(text: &str) -> Result<Qos, String> {
    let level = text.parse::<u8>().ok();
    level
        .and_then(|level| Qos::try_from(level).ok())
        .ok_or_else(|| format!("`{text}` is not 0, 1 or 2"))
}

/// A count of at least one.
pub(crate) fn at_least_one<T: std::str::FromStr + PartialOrd + From<u8>>(
    text: &str,
) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| *number >= T::from(1))
        .ok_or_else(|| format!("`{text}` is not a whole number of at least 1"))
}

/// What each attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Connect, full handshake, one GET, close.
    Full,
    /// Connect, handshake with the device's newest ticket, one GET, close.
    Resume,
    /// One POST on the device's open connection; a GET with --payload 0.
    Telemetry,
    /// 70 % telemetry, 25 % reconnections with a ticket, 5 % full ones; connections stay open.
    Mixed,
    /// Open every device's connection, one GET each, and hold them.
    Idle,
}

impl From<Mode> for plan::Mode {
    fn from(mode: Mode) -> plan::Mode {
        match mode {
            Mode::Full => plan::Mode::Full,
            Mode::Resume => plan::Mode::Resume,
            Mode::Telemetry => plan::Mode::Telemetry,
            Mode::Mixed => plan::Mode::Mixed,
            Mode::Idle => plan::Mode::Idle,
        }
    }
}

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    H2,
    /// WebSocket: messages that are echoed.
    Websocket,
    /// MQTT 3.1.1: connect, publish, subscribe.
    Mqtt,
    /// MQTT 5.
    Mqtt5,
    /// Nothing: the handshake is all there is.
    Tls,
}

impl From<Protocol> for plan::Protocol {
    fn from(protocol: Protocol) -> plan::Protocol {
        match protocol {
            Protocol::Http1 => plan::Protocol::Http1,
            Protocol::H2 => plan::Protocol::H2,
            Protocol::Websocket => plan::Protocol::Websocket,
            Protocol::Mqtt => plan::Protocol::Mqtt,
            Protocol::Mqtt5 => plan::Protocol::Mqtt5,
            Protocol::Tls => plan::Protocol::Tls,
        }
    }
}

/// How a device leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Close {
    /// The protocol's goodbye, close_notify, FIN.
    Notify,
    /// FIN alone.
    Fin,
    /// RST.
    Reset,
}

impl From<Close> for plan::Close {
    fn from(close: Close) -> plan::Close {
        match close {
            Close::Notify => plan::Close::Notify,
            Close::Fin => plan::Close::Fin,
            Close::Reset => plan::Close::Reset,
        }
    }
}

/// TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

impl From<Tls> for plan::TlsVersion {
    fn from(tls: Tls) -> plan::TlsVersion {
        match tls {
            Tls::Tls12 => plan::TlsVersion::Tls12,
            Tls::Tls13 => plan::TlsVersion::Tls13,
        }
    }
}

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// One every 1/rate seconds.
    Uniform,
    /// Independent of each other.
    Poisson,
}

impl From<Arrivals> for plan::Pattern {
    fn from(arrivals: Arrivals) -> plan::Pattern {
        match arrivals {
            Arrivals::Uniform => plan::Pattern::Uniform,
            Arrivals::Poisson => plan::Pattern::Poisson,
        }
    }
}

/// Key exchange group.
pub(crate) fn group(text: &str) -> Result<plan::Group, String> {
    plan::Group::named(text)
        .ok_or_else(|| format!("`{text}` is not one of X25519, P-256, P-384, X25519MLKEM768"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_everywhere_else() {
        assert_eq!(share("5%"), Ok(0.05));
        assert!(
            ["5", "-1%", "x%", "NaN%", "%"]
                .iter()
                .all(|text| share(text).is_err())
        );
        assert_eq!(rate("2000/s"), Ok(2000.0));
        assert_eq!(rate("120/m"), Ok(2.0));
        assert!(
            ["", "x/s", "-1/s", "0/s", "NaN/s", "inf/s", "5/h"]
                .iter()
                .all(|text| rate(text).is_err())
        );
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!((ratio("0.8"), ratio("80%")), (Ok(0.8), Ok(0.8)));
        assert!(
            ["", "1.1", "-0.1", "NaN", "101%", "%"]
                .iter()
                .all(|text| ratio(text).is_err())
        );
        assert_eq!(qos("2"), Ok(Qos::ExactlyOnce));
        assert!(["3", "-1", "", "x"].iter().all(|text| qos(text).is_err()));
        assert!(positive_duration("0s").is_err());
        assert_eq!((load("200"), load("200/s")), (Ok(200.0), Ok(200.0)));
        assert!(load("0").is_err() && load("x/s").is_err());
        assert_eq!(percentage("3%"), Ok(0.03));
        assert!(
            ["3", "0%", "90%", "x%"]
                .iter()
                .all(|text| percentage(text).is_err())
        );
        assert_eq!(whole_seconds("1m"), Ok(60));
        assert!(whole_seconds("1500ms").is_err() && whole_seconds("0s").is_err());
        assert!(at_least_one::<usize>("0").is_err());
    }
}
