//! The HTTP requests of a scenario.

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};

use super::payload::Payload;
use crate::plan::workload::exchange::{Http, Request as Settings};
use crate::plan::{IdentityEcho, Protocol, Say, Target};

/// The requests of a scenario, made once and copied cheaply.
#[derive(Debug)]
pub(crate) struct Requests {
    headers: HeaderMap,
    opening: Template,
    message: Template,
    /// Where their answers say for whom the server takes the device, if that is to be looked at.
    pub(crate) echo: Option<IdentityEcho>,
}

#[derive(Debug)]
struct Template {
    uri: Uri,
    send_bytes: u64,
    expect_bytes: Option<u64>,
}

impl Requests {
    /// What these settings request of `target`; `None` if it does not make a URI.
    pub(crate) fn new(
        protocol: Protocol,
        http: &Http,
        target: &Target,
        echo: Option<&IdentityEcho>,
    ) -> Option<Requests> {
        let authority = target.authority();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("loadgen/", env!("CARGO_PKG_VERSION"))),
        );
        if protocol == Protocol::Http1 {
            headers.insert(header::HOST, HeaderValue::from_str(&authority).ok()?);
        }
        let template = |settings: &Settings| {
            let path = settings.path.as_deref().unwrap_or(&target.path);
            let uri = match protocol {
                Protocol::H2 => format!("https://{authority}{path}").parse(),
                _ => path.parse(),
            };
            Some(Template {
                uri: uri.ok()?,
                send_bytes: settings.send_bytes,
                expect_bytes: settings.expect_bytes,
            })
        };
        Some(Requests {
            headers,
            opening: template(&http.opening)?,
            message: template(&http.message)?,
            echo: echo.cloned(),
        })
    }

    /// A POST where something is to be sent, else a GET.
    pub(crate) fn make(&self, say: Say) -> Request<Payload> {
        let template = self.template(say);
        let mut request = Request::new(Payload::new(template.send_bytes));
        if template.send_bytes > 0 {
            *request.method_mut() = Method::POST;
        }
        *request.uri_mut() = template.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The length that the answer's body must have; `None` for any.
    pub(crate) fn expected_bytes(&self, say: Say) -> Option<u64> {
        self.template(say).expect_bytes
    }

    fn template(&self, say: Say) -> &Template {
        match say {
            Say::Opening => &self.opening,
            Say::Message => &self.message,
        }
    }
}
