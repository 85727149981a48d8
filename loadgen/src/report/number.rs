//! Numbers as people read them: three significant digits, a unit that fits, thousands apart.

/// Microseconds in the unit that fits: `845 µs`, `12.3 ms`, `1.20 s`.
pub fn time(microseconds: f64) -> String {
    // What would round up to a thousand of one unit is one of the next.
    match microseconds {
        us if us < 999.5 => format!("{} µs", three_digits(us)),
        us if us < 999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// A round time as axes have it, without the digits that say nothing: `30 ms`, `1 s`.
pub fn round_time(microseconds: f64) -> String {
    let text = time(microseconds);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} {unit}")
        }
        _ => text,
    }
}

/// Bytes in the unit that fits: `812 B`, `1.50 KiB`, `23.9 GiB`.
pub fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value.abs() >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if unit == "B" {
        format!("{value:.0} {unit}")
    } else {
        format!("{} {unit}", three_digits(value))
    }
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or another quantity that need not be whole: `1,998`, `87.4`, `0.250`.
pub fn quantity(value: f64) -> String {
    if value.abs() >= 1000.0 && value.abs() < 1e18 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", count(value.abs().round() as u64))
    } else {
        three_digits(value)
    }
}

/// A share as per cent, fine enough that what is not nothing does not look so: `0.013 %`, `4.2 %`, `100 %`.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        0.0 => "0 %".to_owned(),
        small if small < 0.001 => "<0.001 %".to_owned(),
        small if small < 0.1 => format!("{value:.3} %"),
        middle if middle < 10.0 => format!("{value:.2} %"),
        // All but a few is not all.
        nearly if (99.0..100.0).contains(&nearly) => {
            format!("{:.2} %", (value * 100.0).floor() / 100.0)
        }
        whole if (whole - whole.round()).abs() < 1e-9 => format!("{value:.0} %"),
        _ => format!("{value:.1} %"),
    }
}

/// A quantile as it is spoken of: `p50`, `p99.9`, `max`.
pub fn quantile(quantile: f64) -> String {
    if quantile >= 1.0 {
        return "max".to_owned();
    }
    // Rounded to where the noise of the multiplication is gone.
    let percent = (quantile * 1e9).round() / 1e7;
    format!("p{percent}")
}

/// Text of others without control characters: what reaches a terminal or a file must not steer it.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.9995 => format!("{value:.2}"),
        smaller if smaller >= 0.0005 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_fits() {
        assert_eq!(time(845.0), "845 µs");
        assert_eq!(time(9.0), "9.00 µs");
        assert_eq!(time(999.7), "1.00 ms");
        assert_eq!(time(12_345.0), "12.3 ms");
        assert_eq!(time(1_200_000.0), "1.20 s");
        assert_eq!(round_time(30_000.0), "30 ms");
        assert_eq!(round_time(100_000.0), "100 ms");
        assert_eq!(bytes(812.0), "812 B");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(1e30).split(' ').next_back(), Some("TiB"));
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(quantity(1998.4), "1,998");
        assert_eq!(quantity(87.44), "87.4");
        assert_eq!(quantity(-1500.0), "-1,500");
    }

    #[test]
    fn almost_nothing_and_almost_all_do_not_look_like_it() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_001), "<0.001 %");
        assert_eq!(percent(0.000_13), "0.013 %");
        assert_eq!(percent(0.042), "4.20 %");
        assert_eq!(percent(0.999_99), "99.99 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn quantiles_have_names() {
        assert_eq!(quantile(0.5), "p50");
        assert_eq!(quantile(0.999), "p99.9");
        assert_eq!(quantile(0.9999), "p99.99");
        assert_eq!(quantile(1.0), "max");
    }

    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(plain("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
