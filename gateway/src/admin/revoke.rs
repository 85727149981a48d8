//! `/revoke`: an administrator's orders against devices and certificates, as JSON, and the file that keeps them.
//!
//! It says what was asked for; what an order does is `trust`'s business. An order that cannot be kept is in force all the
//! same, and the answer says that it was not kept.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::trust::DEFAULT;
use crate::trust::denylist::Order;

const SCHEMA: &str = "gateway.revocations/1";

/// An order as it is written, in a request and in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust_domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    orders: Vec<Written>,
}

/// Reads an order from a request's body.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn parse(body: &[u8]) -> Result<Order, String> {
    let written: Written = serde_json::from_slice(body).map_err(|error| {
        format!("the body must be {{\"device_id\": …}} or {{\"fingerprint\": …}}: {error}")
    })?;
    order(written)
}

fn order(written: Written) -> Result<Order, String> {
    match written {
        Written {
            device_id: Some(device_id),
            trust_domain,
            fingerprint: None,
        } if !device_id.is_empty() => Ok(Order::Device {
            trust_domain: trust_domain.unwrap_or_else(|| DEFAULT.to_owned()),
            device_id,
        }),
        Written {
            device_id: None,
            trust_domain: None,
            fingerprint: Some(fingerprint),
        } => {
            let fingerprint = self::fingerprint(&fingerprint)?;
            Ok(Order::Certificate { fingerprint })
        }
        _ => Err(
            "name either a device_id (with its trust_domain, if it is not the default) or a fingerprint"
                .to_owned(),
        ),
    }
}

/// A certificate's fingerprint as orders keep it: lower-case hex without colons.
///
/// # Errors
/// A sentence that says what it must be.
pub(super) fn fingerprint(text: &str) -> Result<String, String> {
    let fingerprint = text.replace(':', "").to_ascii_lowercase();
    let is_hash =
        fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        Ok(fingerprint)
    } else {
        Err("fingerprint must be a SHA-256 hash in hex".to_owned())
    }
}

fn written(order: &Order) -> Written {
    match order {
        Order::Device {
            trust_domain,
            device_id,
        } => Written {
            device_id: Some(device_id.clone()),
            trust_domain: Some(trust_domain.clone()),
            fingerprint: None,
        },
        Order::Certificate { fingerprint } => Written {
            device_id: None,
            trust_domain: None,
            fingerprint: Some(fingerprint.clone()),
        },
    }
}

/// All orders as JSON.
pub(crate) fn render(orders: &BTreeSet<Order>) -> String {
    let file = File {
        schema: SCHEMA.to_owned(),
        orders: orders.iter().map(written).collect(),
    };
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

/// Reads the file that keeps the orders; one that is not there yet holds none.
///
/// # Errors
/// A sentence that names the file and says what is wrong.
pub fn load(path: &Path) -> Result<BTreeSet<Order>, String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    read(&bytes).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Reads what [`render`] wrote.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn read(bytes: &[u8]) -> Result<BTreeSet<Order>, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.schema != SCHEMA {
        return Err(format!(
            "the schema is \"{}\", not \"{SCHEMA}\"",
            file.schema
        ));
    }
    file.orders.into_iter().map(order).collect()
}

/// Writes the file anew, beside and then over the old one.
///
/// # Errors
/// A sentence that names the file and says what is wrong.
pub fn save(path: &Path, orders: &BTreeSet<Order>) -> Result<(), String> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(render(orders).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Order, load, parse, save};

    #[test]
    fn orders_are_read_strictly() {
        let device = parse(br#"{"device_id": "device-000001"}"#).unwrap();
        assert_eq!(
            device,
            Order::Device {
                trust_domain: "default".into(),
                device_id: "device-000001".into()
            }
        );
        let fingerprint = "AB:".repeat(31) + "AB";
        let body = format!("{{\"fingerprint\": \"{fingerprint}\"}}");
        assert_eq!(
            parse(body.as_bytes()).unwrap(),
            Order::Certificate {
                fingerprint: "ab".repeat(32)
            }
        );
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"device_id": ""}"#,
            r#"{"device": "x"}"#,
            r#"{"fingerprint": "abcd"}"#,
            r#"{"device_id": "x", "fingerprint": "y"}"#,
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked.json");
        assert!(load(&path).unwrap().is_empty());
        let orders = [
            parse(br#"{"device_id": "a", "trust_domain": "plant-7"}"#).unwrap(),
            parse(br#"{"device_id": "b"}"#).unwrap(),
        ]
        .into();
        save(&path, &orders).unwrap();
        assert_eq!(load(&path).unwrap(), orders);
        std::fs::write(&path, "{\"schema\": \"other/1\", \"orders\": []}").unwrap();
        assert!(load(&path).unwrap_err().contains("other/1"));
        std::fs::write(&path, "{").unwrap();
        assert!(load(&path).unwrap_err().contains("revoked.json"));
    }
}
