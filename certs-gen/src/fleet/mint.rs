//! The fleet's authorities, and what they issue to the server and to each device. No files.

use std::time::Duration;

use time::{Duration as Span, OffsetDateTime};

use super::{Error, FleetSpec, Progress, Silent};
use crate::IssueError;
use crate::authority::{Authority, AuthoritySpec, EndEntitySpec, SubjectAltName};
use crate::credential::Credential;
use crate::entropy::{Entropy, Place};
use crate::key::KeyKind;
use crate::layout::device_id;
use crate::manifest::{Algorithms, Manifest, SCHEMA, ValidityRecord};
use crate::names::{ServerName, device_uri};

/// Certificates are valid from so long before they are made, for devices whose clocks are late.
const BACKDATED: Span = Span::HOUR;

/// Authorities live at least so long, and never shorter than what they issue.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3650 * 86_400);

/// A fleet's authorities in memory, ready to issue to any device by its number.
pub struct Mint {
    spec: FleetSpec,
    server_names: Vec<ServerName>,
    entropy: Entropy,
    created: OffsetDateTime,
    anchor: Authority,
    policies: Vec<Authority>,
    intermediates: Vec<Authority>,
}

impl Mint {
    /// Makes the authorities of the fleet; `spec.out`, `spec.jobs` and `spec.force` are not looked at.
    ///
    /// # Errors
    /// [`Error`] if the specification cannot be met or a certificate not be made.
    pub fn new(spec: &FleetSpec) -> Result<Self, Error> {
        Self::unless_cancelled(spec, &Silent)
    }

    /// The same, given up when `progress` says so: a hundred RSA intermediates take minutes.
    pub(super) fn unless_cancelled(
        spec: &FleetSpec,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        spec.check()?;
        let now = OffsetDateTime::now_utc();
        let created = now.replace_nanosecond(0).unwrap_or(now);
        let entropy = Entropy::new(spec.seed);
        // Two fleets' authorities must not share names: chains are built by name.
        let tag = entropy.tag()?;
        let not_after = created + AUTHORITY_VALIDITY.max(spec.validity);
        let describe = |common_name: String, place: Place, below: usize| -> Result<_, Error> {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let authority = AuthoritySpec {
                common_name,
                key: spec.ca_key,
                not_before: created - BACKDATED,
                not_after,
                path_length: u8::try_from(below).ok(),
                serial: Some(entropy.serial(place)?),
            };
            Ok((authority, entropy.key(spec.ca_key, place)?))
        };

        let (anchor_spec, key) = describe(
            format!("Fleet {tag} trust anchor"),
            Place::new("trust-anchor", 0),
            spec.depth,
        )?;
        let anchor = Authority::trust_anchor_with_key(&anchor_spec, key)?;

        let mut policies: Vec<Authority> = Vec::new();
        for layer in 1..spec.depth {
            let place = Place::new("policy", layer);
            let (policy, key) = describe(
                format!("Fleet {tag} policy {layer:02}"),
                place,
                spec.depth - layer,
            )?;
            let above = policies.last().unwrap_or(&anchor);
            policies.push(above.intermediate_with_key(&policy, key)?);
        }

        let count = if spec.depth == 0 {
            0
        } else {
            spec.intermediates
        };
        let above = policies.last().unwrap_or(&anchor);
        let intermediates = (0..count)
            .map(|number| {
                let place = Place::new("intermediate", number);
                let (intermediate, key) =
                    describe(format!("Fleet {tag} intermediate {number:02}"), place, 0)?;
                Ok(above.intermediate_with_key(&intermediate, key)?)
            })
            .collect::<Result<_, Error>>()?;

        let server_names = spec.parsed_server_names()?;
        Ok(Self {
            spec: spec.clone(),
            server_names,
            entropy,
            created,
            anchor,
            policies,
            intermediates,
        })
    }

    /// The trust anchor.
    pub fn trust_anchor(&self) -> &Authority {
        &self.anchor
    }

    /// The policy layers, the one next to the trust anchor first.
    pub fn policies(&self) -> &[Authority] {
        &self.policies
    }

    /// The issuing intermediates; empty when the trust anchor itself issues.
    pub fn intermediates(&self) -> &[Authority] {
        &self.intermediates
    }

    /// Who issues to device number `index`: the intermediates in turn.
    pub fn issuer_of(&self, index: usize) -> &Authority {
        let number = index.checked_rem(self.intermediates.len()).unwrap_or(0);
        self.intermediates.get(number).unwrap_or(&self.anchor)
    }

    /// Makes the credential of device number `index`.
    ///
    /// # Errors
    /// [`IssueError`] if its key or certificate cannot be made.
    pub fn device(&self, index: usize) -> Result<Credential, IssueError> {
        let id = device_id(index);
        let mut entity = EndEntitySpec::device(&id);
        if let Some(domain) = &self.spec.spiffe_domain {
            entity.subject_alt_names = vec![SubjectAltName::Uri(device_uri(&id, Some(domain)))];
        }
        self.issue(
            self.issuer_of(index),
            entity,
            self.spec.key,
            Place::new("device", index),
        )
    }

    /// Makes the server's credential, issued by the first intermediate.
    ///
    /// # Errors
    /// [`IssueError`] if its key or certificate cannot be made.
    pub fn server(&self) -> Result<Credential, IssueError> {
        let entity = EndEntitySpec::server(&self.server_names);
        self.issue(
            self.issuer_of(0),
            entity,
            self.spec.server_key,
            Place::new("server", 0),
        )
    }

    fn issue(
        &self,
        issuer: &Authority,
        entity: EndEntitySpec,
        key: KeyKind,
        place: Place,
    ) -> Result<Credential, IssueError> {
        let entity = EndEntitySpec {
            key,
            not_before: self.not_before(),
            not_after: self.not_after(),
            serial: Some(self.entropy.serial(place)?),
            ..entity
        };
        issuer.issue_with_key(&entity, &self.entropy.key(key, place)?)
    }

    fn not_before(&self) -> OffsetDateTime {
        self.created - BACKDATED
    }

    fn not_after(&self) -> OffsetDateTime {
        self.created + Duration::from_secs(self.spec.validity.as_secs())
    }

    /// What `fleet.json` says of this fleet.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            schema: SCHEMA.to_owned(),
            generator: concat!("certs-gen ", env!("CARGO_PKG_VERSION")).to_owned(),
            created: self.created,
            devices: self.spec.devices,
            intermediates: self.intermediates.len(),
            depth: self.spec.depth,
            algorithms: Algorithms {
                device: self.spec.key,
                ca: self.spec.ca_key,
                server: self.spec.server_key,
            },
            validity: ValidityRecord {
                not_before: self.not_before(),
                not_after: self.not_after(),
                seconds: self.spec.validity.as_secs(),
            },
            server_names: self.server_names.iter().map(ToString::to_string).collect(),
            spiffe_domain: self.spec.spiffe_domain.clone(),
            seed: self.spec.seed,
        }
    }
}

// By hand: neither keys nor the seed belong into debug output.
impl std::fmt::Debug for Mint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Mint")
            .field("devices", &self.spec.devices)
            .finish_non_exhaustive()
    }
}
