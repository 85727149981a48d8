//! The devices of a fleet, read from a folder of certificates.
//!
//! Knows files and credentials; opens no connection.

pub mod device;
pub mod load;
pub mod ticket;

pub use device::Device;
pub use load::{FleetError, TrustAnchors};
