//! Who may use the admin listener: by a token, by a certificate, or because only this machine reaches it.
//!
//! It looks at a request's head and decides; it reads its files once, when the configuration is built. What an order does is
//! for whoever carries it out.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use rustls::ServerConfig;

use super::tls;
use crate::tls::credentials::CredentialError;

/// Where operators look, and how they prove that they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The file with the token that requests must bear.
    pub token_file: Option<PathBuf>,
    /// The listener's own TLS.
    pub tls: Option<TlsFiles>,
    /// Host names that requests may name besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Files of the admin listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, end entity first.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// Trust anchors of operators' certificates; with any, a client without such a certificate is refused.
    pub anchors: Vec<PathBuf>,
}

impl Settings {
    /// Whether nobody can use the listener without proving anything, unless they are on this machine.
    pub fn is_guarded(&self) -> bool {
        let asks_for_certificates = self.tls.as_ref().is_some_and(|tls| !tls.anchors.is_empty());
        self.address.ip().is_loopback() || self.token_file.is_some() || asks_for_certificates
    }

    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter().flat_map(|tls| {
            let own = [&tls.certificate, &tls.private_key];
            own.into_iter().chain(&tls.anchors)
        });
        self.token_file.iter().chain(tls).map(PathBuf::as_path)
    }
}

/// Why the files of the admin listener cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The token cannot be read, or is none.
    #[error("admin.token_file: {}: {problem}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A certificate, a key or an anchor.
    #[error("admin.tls: {0}")]
    Credential(#[from] CredentialError),
    /// The TLS stack refuses the combination.
    #[error("admin.tls: {0}")]
    Tls(String),
}

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It names a host that this listener is not known by, as a page does whose name was pointed here (DNS rebinding).
    Host,
    /// It does not bear the token.
    Token,
    /// It would change something, and a browser's page may have sent it.
    FromAPage,
}

impl Refused {
    /// The status, and what to do about it.
    pub fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "ask by address or as localhost; other names are to be listed in admin.hosts\n",
            ),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "send \"authorization: Bearer\" with the token of admin.token_file\n",
            ),
            Self::FromAPage => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send application/json, and not from a browser's page\n",
            ),
        }
    }
}

/// The fewest bytes of a token. With fewer it could be tried out.
const SHORTEST_TOKEN: usize = 16;

/// Paths that tell nothing worth keeping: whether the gateway is up, public keys, and the page, which asks for the token
/// itself.
const OPEN: [&str; 4] = ["/", "/livez", "/readyz", "/.well-known/jwks.json"];

/// The rules of one configuration, with its files read.
#[derive(Debug)]
pub struct Access {
    /// SHA-256 of the token.
    token: Option<[u8; 32]>,
    tls: Option<Arc<ServerConfig>>,
    hosts: Vec<String>,
}

impl Access {
    /// Reads what `settings` name.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, AccessError> {
        let token = settings.token_file.as_deref().map(token).transpose()?;
        let tls = settings.tls.as_ref().map(|files| {
            tls::server_config(&files.certificate, &files.private_key, &files.anchors)
        });
        let tls = tls.transpose()?;
        Ok(Self {
            token,
            tls,
            hosts: settings.hosts.clone(),
        })
    }

    /// The TLS that the listener speaks, if it does.
    pub fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// Decides about a request; with `changes`, about one that changes something.
    ///
    /// # Errors
    /// Why it is not carried out.
    pub fn check(&self, request: &Parts, changes: bool) -> Result<(), Refused> {
        if !self.is_our_name(request) {
            return Err(Refused::Host);
        }
        let is_open = OPEN.contains(&request.uri.path()) && !changes;
        if let Some(token) = self.token.as_ref().filter(|_| !is_open)
            && !bears(&request.headers, token)
        {
            return Err(Refused::Token);
        }
        // A page in a browser can send requests here, but not without an Origin, nor this content type without asking first.
        if changes && (!is_json(&request.headers) || request.headers.contains_key(ORIGIN)) {
            return Err(Refused::FromAPage);
        }
        Ok(())
    }

    fn is_our_name(&self, request: &Parts) -> bool {
        let mut hosts = request.headers.get_all(HOST).iter();
        let named = match (hosts.next(), hosts.next(), request.uri.authority()) {
            (_, Some(_), _) => return false,
            (Some(host), None, _) => Authority::try_from(host.as_bytes()).ok(),
            (None, None, target) => target.cloned(),
        };
        let Some(named) = named else {
            return false;
        };
        let host = named.host().trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.hosts.contains(&host)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let essence = value.split(|byte| *byte == b';').next().unwrap_or(value);
        essence.trim_ascii().eq_ignore_ascii_case(JSON)
    })
}

/// Compares hashes, and those in constant time: neither the token nor its length shows in how long this takes.
fn bears(headers: &HeaderMap, token: &[u8; 32]) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some((scheme, borne)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ")
        && verify_slices_are_equal(hash(borne.trim_ascii()).as_slice(), token).is_ok()
}

fn token(path: &Path) -> Result<[u8; 32], AccessError> {
    let wrong = |problem: String| AccessError::Token {
        path: path.to_owned(),
        problem,
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let token = bytes.trim_ascii();
    if token.len() < SHORTEST_TOKEN {
        return Err(wrong(format!(
            "a token has {SHORTEST_TOKEN} characters or more; \"openssl rand -hex 32\" makes one"
        )));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(wrong(
            "a token is one line of visible ASCII characters".into(),
        ));
    }
    Ok(hash(token))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Access, Refused, Settings, hash};

    const TOKEN: &str = "correct-horse-battery";

    fn access(token: Option<&str>) -> Access {
        Access {
            token: token.map(|token| hash(token.as_bytes())),
            tls: None,
            hosts: vec!["gateway.example".into()],
        }
    }

    fn check(
        access: &Access,
        path: &str,
        changes: bool,
        fields: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let mut request = Request::builder().uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        access.check(&request.body(()).unwrap().into_parts().0, changes)
    }

    #[test]
    fn only_names_of_its_own_are_answered() {
        let access = access(None);
        for good in [
            "127.0.0.1:9901",
            "[::1]:9901",
            "10.1.2.3",
            "LocalHost:1",
            "a.localhost",
            "Gateway.Example.:9901",
        ] {
            assert_eq!(
                check(&access, "/stats", false, &[("host", good)]),
                Ok(()),
                "{good}"
            );
        }
        for bad in [
            "attacker.example",
            "127.0.0.1.attacker.example",
            "x",
            "localhost.example",
            "",
        ] {
            let refused = check(&access, "/stats", false, &[("host", bad)]);
            assert_eq!(refused, Err(Refused::Host), "{bad}");
        }
        assert_eq!(check(&access, "/stats", false, &[]), Err(Refused::Host));
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(check(&access, "/stats", false, &two), Err(Refused::Host));
    }

    #[test]
    fn a_token_must_be_borne_whole_and_once() {
        let access = access(Some(TOKEN));
        let bearing = |value: &str| {
            check(
                &access,
                "/stats",
                false,
                &[("host", "127.0.0.1"), ("authorization", value)],
            )
        };
        assert_eq!(bearing(&format!("Bearer {TOKEN}")), Ok(()));
        assert_eq!(bearing(&format!("bearer   {TOKEN}")), Ok(()));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct-horse-batter",
            "Bearer correct-horse-batteryx",
            "Basic correct-horse-battery",
            TOKEN,
        ] {
            assert_eq!(bearing(wrong), Err(Refused::Token), "{wrong}");
        }
        let good = format!("Bearer {TOKEN}");
        let twice = [
            ("host", "127.0.0.1"),
            ("authorization", good.as_str()),
            ("authorization", good.as_str()),
        ];
        assert_eq!(check(&access, "/stats", false, &twice), Err(Refused::Token));
        let host = [("host", "127.0.0.1")];
        for open in super::OPEN {
            assert_eq!(check(&access, open, false, &host), Ok(()));
        }
        assert_eq!(
            check(&access, "/metrics", false, &host),
            Err(Refused::Token)
        );
        assert_eq!(check(&access, "/", true, &host), Err(Refused::Token));
    }

    #[test]
    fn changes_come_from_no_page() {
        let access = access(None);
        let host = ("host", "127.0.0.1");
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(check(&access, "/drain", true, &[host, json]), Ok(()));
        for fields in [
            &[host][..],
            &[host, ("content-type", "text/plain")],
            &[host, ("content-type", "application/jsonp")],
            &[host, json, ("origin", "http://127.0.0.1")],
            &[host, json, ("origin", "null")],
        ] {
            assert_eq!(
                check(&access, "/drain", true, fields),
                Err(Refused::FromAPage),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn an_exposed_listener_needs_a_guard() {
        let exposed = |address: &str, token: bool| {
            Settings {
                address: address.parse().unwrap(),
                token_file: token.then(|| "token".into()),
                tls: None,
                hosts: Vec::new(),
            }
            .is_guarded()
        };
        assert!(
            exposed("127.0.0.1:1", false)
                && exposed("[::1]:1", false)
                && exposed("0.0.0.0:1", true)
        );
        assert!(
            !exposed("0.0.0.0:1", false)
                && !exposed("[::]:1", false)
                && !exposed("192.0.2.1:1", false)
        );
    }

    #[test]
    fn a_token_file_holds_one_long_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(super::token(&path).is_err());
        for (content, good) in [
            ("0123456789abcdef\n", true),
            ("short\n", false),
            ("", false),
            ("two words are no token", false),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(super::token(&path).is_ok(), good, "{content}");
        }
    }
}
