//! Numbers as people read them; the same in tables and pages.

/// `12,345`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits or the whole number: `4,321`, `456`, `45.6`, `4.56`.
pub(crate) fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => count(value.round().max(0.0) as u64),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A share in percent, never rounded up to a hundred: `99.99 %` is not everything.
pub(crate) fn percent(share: f64) -> String {
    let hundredths = (share * 10_000.0 + 1e-6).floor();
    if hundredths >= 10_000.0 {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", hundredths / 100.0)
    }
}

/// A value that may be lacking, or a dash.
pub(crate) fn or_dash<T>(value: Option<T>, render: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), render)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_few_and_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        let plain: Vec<_> = [12345.6, 456.4, 45.64, 4.564, 0.0]
            .map(plain)
            .into_iter()
            .collect();
        assert_eq!(plain, ["12,346", "456", "45.6", "4.56", "0.00"]);
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.99999), "99.99 %");
        assert_eq!(percent(0.99), "99.00 %");
        assert_eq!(percent(0.0), "0.00 %");
    }
}
