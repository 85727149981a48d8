//! `[admin]`.

use std::path::{Path, PathBuf};

use crate::admin::access::{Settings, TlsFiles};
use crate::config::section::Section;

/// Reads where operators look, and the file that keeps their revocations.
pub(super) fn read(file: &mut Section<'_>, base: &Path) -> (Option<Settings>, Option<PathBuf>) {
    let mut section = file.table("admin", false);
    let address = section.address("address");
    let revocations_file = section
        .string("revocations_file")
        .map(|path| base.join(path));
    let token_file = section.string("token_file").map(|path| base.join(path));
    let hosts = section.strings("hosts").unwrap_or_default();
    for host in &hosts {
        if host.is_empty() || host.contains(|letter: char| !is_of_a_name(letter)) {
            section.error(
                "hosts",
                &format!("\"{host}\" is no host name without a port"),
            );
        }
    }
    let tls = section
        .optional_table("tls")
        .and_then(|section| tls(section, base));
    let settings = address.map(|address| Settings {
        address,
        token_file,
        tls,
        hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
    });
    if let Some(settings) = settings.as_ref().filter(|settings| !settings.is_guarded()) {
        let problem = format!(
            "{} can be reached from other machines, and whoever reaches it may revoke and drain; name an admin.token_file or \
             admin.tls.anchors, or listen on 127.0.0.1",
            settings.address.ip()
        );
        section.error("address", &problem);
    }
    section.finish();
    (settings, revocations_file)
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_')
}

fn tls(mut section: Section<'_>, base: &Path) -> Option<TlsFiles> {
    let certificate = section.required("certificate");
    let private_key = section.required("private_key");
    let anchors = section.strings("anchors").unwrap_or_default();
    section.finish();
    Some(TlsFiles {
        certificate: base.join(certificate?),
        private_key: base.join(private_key?),
        anchors: anchors.iter().map(|path| base.join(path)).collect(),
    })
}
