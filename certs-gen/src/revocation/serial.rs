//! A certificate's serial number as people write it, in one form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::der::without_leading_zeros;
use crate::public_key::hex;

/// The most bytes of a serial number (RFC 5280 section 4.1.2.2).
const LONGEST: usize = 20;

/// A serial number: hexadecimal, lower case, without leading zero bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(Vec<u8>);

impl Serial {
    /// From the bytes as they stand in a certificate.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(without_leading_zeros(bytes).to_vec())
    }

    /// Big-endian bytes, without leading zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = String;

    /// Takes upper and lower case, colons between bytes, and `0x` before them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no serial number: give 1 to {LONGEST} bytes in hexadecimal, such as 4a:6f:01"
            )
        };
        let digits: String = text
            .strip_prefix("0x")
            .unwrap_or(text)
            .chars()
            .filter(|character| *character != ':')
            .collect();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        // A first digit that stands alone is a small one.
        let digits = format!("{}{digits}", if digits.len() % 2 == 1 { "0" } else { "" });
        let byte = |at: usize| {
            digits
                .get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Vec<u8> = (0..digits.len()).step_by(2).filter_map(byte).collect();
        let serial = Self::from_bytes(&bytes);
        if serial.0.is_empty() || serial.0.len() > LONGEST {
            return Err(wrong());
        }
        Ok(serial)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl TryFrom<String> for Serial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Serial;

    #[test]
    fn one_form_for_all_spellings() {
        for text in ["4a6f01", "4A:6F:01", "0x4a6f01", "00:4a:6f:01"] {
            assert_eq!(
                text.parse::<Serial>().unwrap().to_string(),
                "4a6f01",
                "{text}"
            );
        }
        assert_eq!("abc".parse::<Serial>().unwrap().bytes(), [0x0a, 0xbc]);
    }

    #[test]
    fn what_is_no_serial_number() {
        for bad in ["", "0", "0x", "g", "4a 6f", "-1", "é", &"ab".repeat(21)] {
            assert!(bad.parse::<Serial>().is_err(), "{bad:?}");
        }
    }
}
