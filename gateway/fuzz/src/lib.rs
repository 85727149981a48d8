//! What the fuzz targets share: a test PKI, a gateway with it, and changes to DER that keep it DER.
//!
//! Nothing here decides what is a finding; each target says what must hold.

pub mod client;
pub mod der;
pub mod mutate;
pub mod pki;
pub mod server;
