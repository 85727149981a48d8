//! Local addresses from which devices connect.
//!
//! One address has some 28,000 ports and a closed connection keeps its port for a minute, so a single address carries
//! fewer than 500 connections a second. Loopback has 16 million addresses: by default a run against it uses 250.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::target::Target;

/// A range of local addresses, or none: then the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SourceAddresses {
    /// Both of the same family.
    range: Option<(IpAddr, IpAddr)>,
}

/// Why a range of addresses cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceAddressesError {
    /// Not an address or `FIRST-LAST`.
    #[error("`{0}` is not an address or a range such as 127.0.1.1-127.0.1.250 or fd00::1-fd00::ff")]
    Malformed(String),
    /// The last lies before the first.
    #[error("the range `{0}` ends before it begins")]
    Backwards(String),
}

impl SourceAddresses {
    /// 127.0.1.1 to 127.0.1.250 for a target on IPv4 loopback, the kernel's choice otherwise.
    pub fn automatic(target: &Target) -> SourceAddresses {
        let range = match target.literal_address().map(|address| address.ip()) {
            Some(IpAddr::V4(ip)) if ip.is_loopback() => Some((
                Ipv4Addr::new(127, 0, 1, 1).into(),
                Ipv4Addr::new(127, 0, 1, 250).into(),
            )),
            _ => None,
        };
        SourceAddresses { range }
    }

    /// The first and the last, of one family; `None` where the kernel chooses.
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        self.range
    }

    /// How many there are; `None` where the kernel chooses.
    pub fn count(&self) -> Option<u128> {
        let (first, last) = self.range?;
        Some((bits(last) - bits(first)).saturating_add(1))
    }

    /// The address of device number `index`, the range used round and round.
    pub fn of(&self, index: usize) -> Option<IpAddr> {
        let (first, _) = self.range?;
        let address = bits(first) + index as u128 % self.count()?;
        Some(match first {
            // It lies between two addresses of this family.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(address).ok()?)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(address)),
        })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for SourceAddresses {
    type Err = SourceAddressesError;

    fn from_str(text: &str) -> Result<SourceAddresses, SourceAddressesError> {
        if text.is_empty() {
            return Ok(SourceAddresses::default());
        }
        let malformed = || SourceAddressesError::Malformed(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: IpAddr = first.trim().parse().map_err(|_| malformed())?;
        let last: IpAddr = last.trim().parse().map_err(|_| malformed())?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(malformed());
        }
        if last < first {
            return Err(SourceAddressesError::Backwards(text.to_owned()));
        }
        Ok(SourceAddresses {
            range: Some((first, last)),
        })
    }
}

impl fmt::Display for SourceAddresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some((first, last)) if first == last => write!(formatter, "{first}"),
            Some((first, last)) => write!(formatter, "{first}-{last}"),
            None => Ok(()),
        }
    }
}

impl From<SourceAddresses> for String {
    fn from(addresses: SourceAddresses) -> String {
        addresses.to_string()
    }
}

impl TryFrom<String> for SourceAddresses {
    type Error = SourceAddressesError;

    fn try_from(text: String) -> Result<SourceAddresses, SourceAddressesError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_round_and_round() {
        let range: SourceAddresses = "127.0.1.1-127.0.1.3".parse().unwrap();
        assert_eq!(range.of(0), Some(Ipv4Addr::new(127, 0, 1, 1).into()));
        assert_eq!(range.of(5), Some(Ipv4Addr::new(127, 0, 1, 3).into()));
        let sixth: SourceAddresses = "fd00::ff-fd00::101".parse().unwrap();
        assert_eq!(
            (sixth.count(), sixth.of(4)),
            (Some(3), "fd00::100".parse().ok())
        );
        assert_eq!(sixth.to_string(), "fd00::ff-fd00::101");
        let all: SourceAddresses = "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            .parse()
            .unwrap();
        assert_eq!(all.of(1), "::1".parse().ok());
        assert_eq!(range.to_string(), "127.0.1.1-127.0.1.3");
        assert_eq!(SourceAddresses::default().of(3), None);
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "x",
            "127.0.0.1-",
            "127.0.0.9-127.0.0.1",
            "1.2.3.4-5",
            "::1-127.0.0.1",
            "::2-::1",
            "::1%lo",
        ] {
            assert!(text.parse::<SourceAddresses>().is_err(), "{text}");
        }
    }

    #[test]
    fn automatic_only_for_loopback() {
        let automatic = |text| SourceAddresses::automatic(&Target::parse(text).unwrap());
        assert!(automatic("https://127.0.0.1:1").of(0).is_some());
        assert!(automatic("https://192.0.2.1:1").of(0).is_none());
        assert!(automatic("https://gateway.example").of(0).is_none());
    }
}
