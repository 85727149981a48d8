//! What an administrator revoked by hand, ahead of the next list.
//!
//! Looked at wherever a device is authorized, so it reaches new handshakes, tickets and open connections alike. It outlives
//! reloads; whether it outlives the process is up to whoever keeps a copy of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::identity::{Identified, hex};

/// One order: a device of one trust domain, or one certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Whoever has this device id in this trust domain, whatever the certificate.
    Device {
        /// The trust domain's name.
        trust_domain: String,
        /// The device id.
        device_id: String,
    },
    /// The certificate with this SHA-256 fingerprint, in lower-case hex.
    Certificate {
        /// The fingerprint.
        fingerprint: String,
    },
}

/// All orders in force.
#[derive(Debug, Default)]
pub struct Denylist {
    orders: ArcSwap<BTreeSet<Order>>,
}

impl Denylist {
    /// Whether an order is against `device` of the trust domain called `trust_domain`.
    pub fn denies(&self, trust_domain: &str, device: &Identified) -> bool {
        let orders = self.orders.load();
        // Nearly always: nothing is hashed or allocated for an empty list.
        if orders.is_empty() {
            return false;
        }
        orders.contains(&Order::Device {
            trust_domain: trust_domain.to_owned(),
            device_id: device.device_id().to_owned(),
        }) || orders.contains(&Order::Certificate {
            fingerprint: hex(device.fingerprint()),
        })
    }

    /// Puts `order` into force. Whether it was not already.
    pub fn add(&self, order: Order) -> bool {
        self.change(|orders| orders.insert(order.clone()))
    }

    /// Lifts `order`. Whether it was in force.
    pub fn remove(&self, order: &Order) -> bool {
        self.change(|orders| orders.remove(order))
    }

    /// Replaces all orders.
    pub fn set(&self, orders: BTreeSet<Order>) {
        self.orders.store(Arc::new(orders));
    }

    /// The orders in force.
    pub fn orders(&self) -> Arc<BTreeSet<Order>> {
        self.orders.load_full()
    }

    fn change(&self, change: impl Fn(&mut BTreeSet<Order>) -> bool) -> bool {
        let mut changed = false;
        self.orders.rcu(|orders| {
            let mut orders = BTreeSet::clone(orders);
            changed = change(&mut orders);
            orders
        });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::{Denylist, Identified, Order};

    #[test]
    fn an_order_is_against_one_device_of_one_domain() {
        let list = Denylist::default();
        let device = Identified::for_tests("device-000001", 0, 10);
        assert!(!list.denies("default", &device));
        let order = Order::Device {
            trust_domain: "default".into(),
            device_id: "device-000001".into(),
        };
        assert!(list.add(order.clone()) && !list.add(order.clone()));
        assert!(list.denies("default", &device));
        assert!(!list.denies("plant-7", &device), "the same id elsewhere");
        assert!(!list.denies("default", &Identified::for_tests("device-000002", 0, 10)));
        assert!(list.remove(&order) && !list.remove(&order));
        assert!(!list.denies("default", &device));
    }

    #[test]
    fn a_certificate_is_named_by_its_fingerprint() {
        let list = Denylist::default();
        list.add(Order::Certificate {
            fingerprint: "ab".repeat(32),
        });
        assert!(list.denies("any", &Identified::for_tests("device-000001", 0, 10)));
    }
}
