//! `[[routes]]`.

use crate::config::section::Section;
use crate::route::Settings;
use crate::upstream;

/// Reads all routes; those that name no upstream are noted and left out.
pub(super) fn read(file: &mut Section<'_>, upstreams: &[upstream::Settings]) -> Vec<Settings> {
    let mut routes: Vec<Settings> = Vec::new();
    for mut section in file.tables("routes") {
        let path_prefix = section
            .string("path_prefix")
            .unwrap_or_else(|| "/".to_owned());
        if !path_prefix.starts_with('/') {
            section.error("path_prefix", "a path starts with /");
        }
        if routes.iter().any(|other| other.path_prefix == path_prefix) {
            section.error(
                "path_prefix",
                &format!("another route has \"{path_prefix}\" too"),
            );
        }
        let allow_anonymous = section.boolean("allow_anonymous", false);
        let name = section.required("upstream");
        let upstream = name
            .as_ref()
            .and_then(|name| upstreams.iter().position(|upstream| upstream.name == *name));
        match (name, upstream) {
            (Some(name), None) => {
                section.error("upstream", &format!("no upstream is called \"{name}\""))
            }
            (_, Some(upstream)) => routes.push(Settings {
                path_prefix,
                upstream,
                allow_anonymous,
            }),
            (None, None) => {}
        }
        section.finish();
    }
    routes
}
