//! A device that speaks HTTP/2, by hyper's client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;

use super::device::Device;

/// Runs `test` on a runtime of its own, which may use `spawn_local`.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap()
        .block_on(async {
            tokio::time::timeout(super::PATIENCE, test)
                .await
                .expect("the test takes too long")
        })
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// How a connection ended.
pub(crate) type End = tokio::task::JoinHandle<hyper::Result<()>>;

/// Opens a connection that carries requests with bodies of type `B`.
pub(crate) async fn connect<B>(device: &Device, gateway: SocketAddr) -> (SendRequest<B>, End)
where
    B: hyper::body::Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let tcp = tokio::net::TcpStream::connect(gateway).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let tls = tokio_rustls::TlsConnector::from(device.config())
        .connect(device.server_name(), tcp)
        .await
        .unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = hyper::client::conn::http2::Builder::new(Local)
        .handshake(TokioIo::new(tls))
        .await
        .unwrap();
    (sender, tokio::task::spawn_local(connection))
}

/// A request with the body `text`, to be changed as the test needs it.
pub(crate) fn request(method: &str, uri: &str, text: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(uri)
        .version(Version::HTTP_2)
        .body(Full::from(text))
        .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request("GET", &format!("https://fleet.test{path}"), "")
}

/// Sends `request` and reads the whole answer.
pub(crate) async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Response<Bytes> {
    whole(sender.send_request(request).await.unwrap()).await
}

pub(crate) async fn whole(response: Response<Incoming>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}
