//! An inspection as text for people: one paragraph an item, one line a fact.

use std::fmt::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{
    BasicConstraintsItem, CertificateItem, ExtensionsItem, Inspection, Item, KeyItem, Lifetime,
    LifetimeState, RequestItem, RevocationListItem,
};

/// More revoked certificates than these are counted, not listed; the JSON form has them all.
const MOST_REVOKED_LISTED: usize = 20;

pub(super) fn inspection(inspection: &Inspection) -> String {
    let mut text = Text(String::new());
    let count = inspection.items.len();
    for (position, item) in inspection.items.iter().enumerate() {
        if position > 0 {
            text.0.push('\n');
        }
        let title = match item {
            Item::Certificate(_) => "certificate".to_owned(),
            Item::PrivateKey(_) => "private key".to_owned(),
            Item::EncryptedPrivateKey => "encrypted private key".to_owned(),
            Item::PublicKey(_) => "public key".to_owned(),
            Item::Request(_) => "certificate signing request".to_owned(),
            Item::RevocationList(_) => "certificate revocation list".to_owned(),
            Item::Other { label } => format!("PEM block {}", printable(label)),
        };
        text.title(&title, position + 1, count);
        match item {
            Item::Certificate(item) => text.certificate(item),
            Item::PrivateKey(item) | Item::PublicKey(item) => text.key(item),
            Item::Request(item) => text.request(item),
            Item::RevocationList(item) => text.revocation_list(item),
            Item::EncryptedPrivateKey | Item::Other { .. } => {}
        }
    }
    text.0
}

struct Text(String);

impl Text {
    fn title(&mut self, title: &str, number: usize, count: usize) {
        let place = if count > 1 {
            format!(" {number} of {count} items")
        } else {
            String::new()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{title}{place}");
    }

    fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "  {name:<20} {}", printable(value));
    }

    fn list(&mut self, name: &str, values: &[impl AsRef<str>]) {
        if !values.is_empty() {
            let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
            self.line(name, &values.join(", "));
        }
    }

    fn certificate(&mut self, item: &CertificateItem) {
        if item.version != 3 {
            self.line("version", &format!("{} (without extensions)", item.version));
        }
        self.line("subject", or_empty(&item.subject));
        let issuer = if item.self_issued { " (itself)" } else { "" };
        self.line("issuer", &format!("{}{issuer}", or_empty(&item.issuer)));
        self.line("serial", &item.serial);
        self.lifetime(&item.validity);
        self.line("key", &item.key);
        self.line("signature", &item.signature);
        self.extensions(&item.extensions);
        self.line("SHA-256", &item.sha256);
        self.line("public key SHA-256", &item.public_key_sha256);
    }

    fn key(&mut self, item: &KeyItem) {
        self.line("key", &item.key);
        if let Some(number) = item.belongs_to_item {
            self.line("owner", &format!("belongs to item {number}"));
        }
        self.line("public key SHA-256", &item.public_key_sha256);
    }

    fn request(&mut self, item: &RequestItem) {
        self.line("subject", or_empty(&item.subject));
        self.line("key", &item.key);
        self.line("signature", &item.signature);
        self.extensions(&item.extensions);
        self.line("public key SHA-256", &item.public_key_sha256);
    }

    fn revocation_list(&mut self, item: &RevocationListItem) {
        self.line("issuer", or_empty(&item.issuer));
        if let Some(number) = &item.number {
            self.line("number", number);
        }
        if let Some(base) = &item.delta_to {
            self.line("delta", &format!("adds to full list {base}"));
        }
        match &item.validity {
            Some(validity) => self.lifetime(validity),
            None => self.line(
                "valid",
                &format!("{}, without nextUpdate", moment(item.this_update)),
            ),
        }
        self.line("signature", &item.signature);
        if let Some(id) = &item.authority_key_id {
            self.line("authority key id", id);
        }
        self.line("revoked", &item.revoked_count.to_string());
        for revoked in item.revoked.iter().take(MOST_REVOKED_LISTED) {
            let reason = revoked
                .reason
                .as_deref()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            self.line(
                "",
                &format!("{} on {}{reason}", revoked.serial, moment(revoked.date)),
            );
        }
        if item.revoked_count > MOST_REVOKED_LISTED {
            self.line(
                "",
                &format!("and {} more", item.revoked_count - MOST_REVOKED_LISTED),
            );
        }
        self.line("SHA-256", &item.sha256);
    }

    fn lifetime(&mut self, lifetime: &Lifetime) {
        let days = match lifetime.days {
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let state = match lifetime.state {
            LifetimeState::Valid => format!("expires in {days}"),
            LifetimeState::Expired => format!("expired {days} ago"),
            LifetimeState::NotYetValid => format!("not valid yet, begins in {days}"),
        };
        self.line(
            "valid",
            &format!(
                "{} to {}",
                moment(lifetime.not_before),
                moment(lifetime.not_after)
            ),
        );
        self.line("", &state);
    }

    fn extensions(&mut self, item: &ExtensionsItem) {
        self.list("alternative names", &item.subject_alt_names);
        self.list("key usage", &item.key_usages);
        self.list("purposes", &item.extended_key_usages);
        if let Some(BasicConstraintsItem { ca, path_length }) = item.basic_constraints {
            let text = match (ca, path_length) {
                (false, _) => "not a CA".to_owned(),
                (true, Some(0)) => "a CA, no intermediates below it".to_owned(),
                (true, None) => "a CA, any number of intermediates below it".to_owned(),
                (true, Some(length)) => format!("a CA, at most {length} intermediates below it"),
            };
            self.line("basic constraints", &text);
        }
        if let Some(id) = &item.subject_key_id {
            self.line("subject key id", id);
        }
        if let Some(id) = &item.authority_key_id {
            self.line("authority key id", id);
        }
        self.list("other extensions", &item.other_extensions);
    }
}

fn or_empty(name: &str) -> &str {
    if name.is_empty() { "(empty)" } else { name }
}

fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Control characters made visible: a name in a certificate must not drive the reader's terminal.
fn printable(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.to_string()
        }
    };
    text.chars().map(visible).collect()
}
