//! The most that a server carries.

pub mod judgement;
pub mod level;
pub mod search;
