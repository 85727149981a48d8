//! Certificate revocation lists become one pre-verified set: is this certificate of this issuer revoked?
//!
//! A list is parsed and its signature checked once, when it is loaded; afterwards a look-up is a probe into a flat table
//! of hashes, whatever the list's size. `list` reads DER, `issuer` checks the signature, [`set`] chooses the lists in force
//! and answers, [`load`] reads files.
//!
//! Delta lists are applied over their full list. Indirect lists, lists for some reasons only, and lists with a critical
//! extension that is not understood are refused whole (RFC 5280, section 5.2). Nothing is fetched, and nothing here
//! decides what a revoked device, a stale list or a missing one means.

pub mod load;
pub mod set;

mod error;
mod issuer;
mod list;
mod points;
mod reason;
mod scope;
mod table;

pub use error::ListError;
pub use issuer::{Authority, MalformedAuthority, VerifiedList, verify_list};
pub use list::{ListNumber, ParsedList, parse};
pub use points::distribution_points;
pub use reason::Reason;
pub use scope::{Coverage, Role};
pub use set::{ListInfo, RevocationSet, Status, Warning};
pub use table::RevocationKey;

#[cfg(test)]
mod tests;
