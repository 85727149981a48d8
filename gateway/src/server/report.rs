//! What an administrator is shown of a running gateway: the configuration in force, its upstreams, its caches and keys.
//!
//! As JSON, made when it is asked for. It shows where secrets are kept and never what they are.

use serde_json::{Map, Value, json};

use super::Server;
use crate::clock;
use crate::metrics::exposition::Exposition;
use crate::tls::resumption::Format;

impl Server {
    /// Every key of the configuration in force, with its value or its default.
    pub fn configuration(&self) -> Value {
        let keys: Map<String, Value> = self
            .config
            .in_force
            .iter()
            .map(|(key, value)| (key.clone(), serde_json::to_value(value).unwrap_or_default()))
            .collect();
        json!({
            "schema": "gateway.config/1",
            "generation": self.snapshot.load().generation(),
            "keys": keys,
        })
    }

    /// The upstreams in force with their endpoints, and all that the metrics say of each entry of the configuration.
    pub fn upstreams_in_force(&self) -> Value {
        let page = self.render_metrics();
        let samples = Exposition::parse(&page);
        let upstreams = self.upstream_views().into_iter().map(|upstream| {
            let entries = upstream.up_by_entry().into_keys().map(|entry| {
                let of_it = samples.all().filter(|sample| {
                    sample.label("upstream") == Some(&upstream.name)
                        && sample.label("endpoint") == Some(entry)
                });
                let metrics: Vec<Value> = of_it
                    .map(|sample| sample.to_json(&["upstream", "endpoint"]))
                    .collect();
                json!({ "entry": entry, "metrics": metrics })
            });
            let entries = entries.collect::<Vec<_>>();
            let mut shown = serde_json::to_value(&upstream).unwrap_or_default();
            if let Some(fields) = shown.as_object_mut() {
                fields.insert("entries".into(), entries.into());
            }
            shown
        });
        json!({ "schema": "gateway.upstreams/1", "upstreams": upstreams.collect::<Vec<_>>() })
    }

    /// The verified-chain cache, ticket keys, revocation lists and responders, by trust domain.
    pub fn state(&self) -> Value {
        let snapshot = self.snapshot.load();
        let now = clock::unix_seconds();
        let resumption = &self.config.resumption;
        let domains = snapshot.domains().all().iter().map(|domain| {
            let set = domain.revocations().set();
            let lists = set.lists().map(|list| {
                json!({
                    "issuer": list.issuer,
                    "entries": list.entries,
                    "age_seconds": now.saturating_sub(list.this_update),
                    "stale": list.next_update <= now,
                    "next_update_seconds": i128::from(list.next_update) - i128::from(now),
                })
            });
            let authorities = |all: &[crate::verify::AuthorityCertificate]| -> Vec<String> {
                all.iter().map(|authority| authority.name().to_owned()).collect()
            };
            json!({
                "name": domain.name().as_ref(),
                "server_names": domain.settings().server_names.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "anchors": authorities(domain.material().anchors()),
                "intermediates": authorities(domain.material().intermediates()),
                "revocation_lists": lists.collect::<Vec<_>>(),
                "responders": domain.responders().map(|checker| json!({
                    "answers_remembered": checker.cached(),
                    "questions_under_way": checker.in_flight(),
                })),
            })
        });
        // The keys follow from the secret and the time alone, the same for every trust domain.
        let sealing_since = now % resumption.rotation;
        json!({
            "schema": "gateway.state/1",
            "generation": snapshot.generation(),
            "ready": self.is_ready(),
            "workers": self.workers(),
            "chain_cache": {
                "entries": self.lasting.cache().len(),
                "capacity": self.config.chain_cache_entries,
            },
            "tickets": {
                "enabled": resumption.enabled,
                "format": match resumption.tickets {
                    Format::Compact => "compact",
                    Format::SelfContained => "self_contained",
                },
                "secret": match resumption.secret_file {
                    Some(_) => "file",
                    None => "generated",
                },
                "sealing_key_age_seconds": sealing_since,
                "next_key_in_seconds": resumption.rotation - sealing_since,
            },
            "orders": self.orders().len(),
            "trust_domains": domains.collect::<Vec<_>>(),
        })
    }
}
