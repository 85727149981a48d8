//! `[[listeners]]`.

use crate::config::section::Section;
use crate::listener::Settings;

/// Reads all listeners; what is wrong is noted and left out.
pub(super) fn read(file: &mut Section<'_>) -> Vec<Settings> {
    let mut listeners: Vec<Settings> = Vec::new();
    for mut section in file.tables("listeners") {
        let name = section.required("name");
        let address = section.address("address");
        if address.is_none() {
            section.missing("address");
        }
        let _ = section.choice("protocol", &[("http", ())]);
        if let (Some(name), Some(address)) = (name, address) {
            if listeners.iter().any(|other| other.name == name) {
                section.error(
                    "name",
                    &format!("another listener is called \"{name}\" too"),
                );
            }
            if address.port() != 0 && listeners.iter().any(|other| other.address == address) {
                section.error("address", &format!("another listener has {address} too"));
            }
            listeners.push(Settings { name, address });
        }
        section.finish();
    }
    listeners
}
