//! How far away the devices are: the round trip between each of them and the server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest round trip that can be asked for: farther than any satellite.
const FARTHEST: Duration = Duration::from_secs(60);

/// Round trips, given to the devices in turn; without any, every device is as near as the network puts it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "Vec<f64>", try_from = "Vec<f64>")]
pub struct Distances {
    round_trips: Vec<Duration>,
}

/// Why a list of distances cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a round trip of at most a minute; write 60ms, or 60ms,300ms for devices in turn"
)]
pub struct DistanceError(String);

impl Distances {
    /// These round trips, in turn.
    ///
    /// # Errors
    ///
    /// One is longer than a minute.
    pub fn new(round_trips: &[Duration]) -> Result<Distances, DistanceError> {
        if let Some(far) = round_trips.iter().find(|trip| **trip > FARTHEST) {
            return Err(DistanceError(format!("{}s", far.as_secs_f64())));
        }
        Ok(Distances {
            round_trips: round_trips.to_vec(),
        })
    }

    /// The round trip of device number `number`, in addition to the network's own.
    pub fn of(&self, number: usize) -> Duration {
        let turn = number.checked_rem(self.round_trips.len());
        turn.and_then(|turn| self.round_trips.get(turn).copied())
            .unwrap_or_default()
    }
}

impl FromStr for Distances {
    type Err = DistanceError;

    fn from_str(text: &str) -> Result<Distances, DistanceError> {
        let round_trips = text
            .split(',')
            .map(|part| {
                humantime::parse_duration(part.trim()).map_err(|_| DistanceError(part.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Distances::new(&round_trips).map_err(|_| DistanceError(text.to_owned()))
    }
}

impl fmt::Display for Distances {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, trip) in self.round_trips.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(
                formatter,
                "{comma}{}",
                humantime::format_duration(*trip)
                    .to_string()
                    .replace(' ', "")
            )?;
        }
        Ok(())
    }
}

impl From<Distances> for Vec<f64> {
    fn from(distances: Distances) -> Vec<f64> {
        let trips = distances.round_trips.iter();
        trips.map(Duration::as_secs_f64).collect()
    }
}

impl TryFrom<Vec<f64>> for Distances {
    type Error = DistanceError;

    fn try_from(seconds: Vec<f64>) -> Result<Distances, DistanceError> {
        let round_trips = seconds
            .into_iter()
            .map(|trip| {
                Duration::try_from_secs_f64(trip).map_err(|_| DistanceError(trip.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Distances::new(&round_trips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_take_the_distances_in_turn() {
        let both: Distances = "60ms,300ms".parse().unwrap();
        let trips = [0, 1, 2, 7].map(|number| both.of(number).as_millis());
        assert_eq!(trips, [60, 300, 60, 300]);
        assert_eq!(both.to_string(), "60ms,300ms");
        let one: Distances = "1s".parse().unwrap();
        assert_eq!((one.of(0), one.of(9)), (one.of(1), Duration::from_secs(1)));
        assert_eq!(Distances::default().of(5), Duration::ZERO);
    }

    #[test]
    fn nonsense_is_refused_and_json_holds_seconds() {
        for text in ["", "x", "60", "-1ms", "60ms,", "61s"] {
            assert!(text.parse::<Distances>().is_err(), "{text}");
        }
        let json = serde_json::to_string(&"60ms,1s".parse::<Distances>().unwrap()).unwrap();
        assert_eq!(json, "[0.06,1.0]");
        assert!(serde_json::from_str::<Distances>("[-1.0]").is_err());
        assert!(serde_json::from_str::<Distances>("[1e9]").is_err());
    }
}
