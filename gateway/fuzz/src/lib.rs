//! What the fuzz targets share: a test PKI, and changes to DER that keep it DER.
//!
//! Nothing here decides what is a finding; each target says what must hold.

pub mod der;
pub mod mutate;
pub mod pki;
