//! What an administrator orders while the gateway runs: revoke a device or a certificate, or reinstate it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Server;
use crate::admin::revoke;
use crate::trust::denylist::Order;

/// Why an order by hand did not go as wished.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No trust domain has this name.
    #[error("no trust domain is called \"{0}\"")]
    NoSuchDomain(String),
    /// It is in force, and could not be written down.
    #[error("{0}")]
    NotKept(String),
}

impl Server {
    /// Revokes by hand, at once: new handshakes, tickets and open connections. What came of it, in words.
    ///
    /// # Errors
    /// The order names a trust domain that there is not, or is in force but could not be kept.
    pub fn revoke(&self, order: Order) -> Result<&'static str, OrderError> {
        if let Order::Device { trust_domain, .. } = &order
            && self.snapshot.load().domains().named(trust_domain).is_none()
        {
            return Err(OrderError::NoSuchDomain(trust_domain.clone()));
        }
        let new = self.lasting.denylist().add(order);
        self.review_connections();
        self.keep_orders()?;
        Ok(match (new, &self.config.revocations_file) {
            (false, _) => "it was revoked already",
            (true, Some(_)) => "revoked",
            (true, None) => {
                "revoked until the gateway restarts; admin.revocations_file keeps orders for longer"
            }
        })
    }

    /// Lifts an order of [`Server::revoke`]. What came of it, in words.
    ///
    /// # Errors
    /// It could not be kept.
    pub fn reinstate(&self, order: &Order) -> Result<&'static str, OrderError> {
        let was = self.lasting.denylist().remove(order);
        self.keep_orders()?;
        Ok(if was {
            "reinstated"
        } else {
            "there was no such order"
        })
    }

    /// The orders in force.
    pub fn orders(&self) -> Arc<BTreeSet<Order>> {
        self.lasting.denylist().orders()
    }

    fn keep_orders(&self) -> Result<(), OrderError> {
        match &self.config.revocations_file {
            Some(path) => revoke::save(path, &self.orders()).map_err(OrderError::NotKept),
            None => Ok(()),
        }
    }
}
