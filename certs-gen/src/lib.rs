//! Public key infrastructure for a fleet of devices: a trust anchor, intermediates, a server, and as many
//! devices as wanted, each with its own key and certificate.
//!
//! ```text
//! FleetSpec ─▶ fleet::Mint ─▶ Authority ─▶ Credential ─▶ files, in the places that layout names
//!    what         who signs      how it is      chain           written beside, renamed into place
//!    is wanted    whom           signed         and key
//! ```
//!
//! * [`fleet`] makes a whole fleet in a folder, or in memory one device at a time;
//! * [`authority`] is the PKI without files, for tests that need an odd certificate;
//! * [`layout`] and [`manifest`] are the contract with those who read the folder;
//! * [`revocation`] records what is revoked, [`crl`] makes the lists of it, [`renew`] gives a device a new certificate;
//! * [`derivation`] gives keys and serial numbers that follow from a seed, for fleets minted where they are used;
//! * [`faults`] makes credentials that are wrong on purpose;
//! * [`sign`] answers a certificate signing request, [`inspect`] says in words what a file holds.
//!
//! What it deliberately does not do: hold keys in hardware, speak ACME or any other enrolment protocol, or
//! take care of a production root. It makes fleets for tests, laboratories and demonstrations.

#![forbid(unsafe_code)]

pub mod authority;
pub mod credential;
pub mod crl;
mod der;
pub mod derivation;
mod entropy;
pub mod faults;
pub mod fleet;
pub mod inspect;
mod issue_error;
pub mod key;
pub mod layout;
pub mod manifest;
pub mod names;
mod private_file;
mod public_key;
pub mod renew;
pub mod revocation;
pub mod sign;
mod signed;
mod staging;

pub use issue_error::IssueError;
