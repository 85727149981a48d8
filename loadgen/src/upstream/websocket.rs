//! `/ws`: an echo for WebSocket clients (RFC 6455).

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::reply::ReplyBody;

/// Bytes read at a time.
const READ: usize = 4096;

/// The answer to a request for an upgrade: 101 with the first subprotocol offered; `None` if it asks for something else.
pub(super) fn upgrade<B>(request: &Request<B>) -> Option<Response<ReplyBody>> {
    let mut response = create_response_with_body(request, || ReplyBody::Once(None)).ok()?;
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if let Some(first) = offered.and_then(|names| names.to_str().ok()?.split(',').next())
        && let Ok(name) = HeaderValue::from_str(first.trim())
    {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    Some(response)
}

/// Sends back every message, until either side has had enough. `early` came with the request.
pub(super) async fn echo(stream: TcpStream, early: Bytes) {
    let configuration = WebSocketConfig::default().read_buffer_size(READ);
    let mut socket = WebSocketStream::from_partially_read(
        stream,
        early.into(),
        Role::Server,
        Some(configuration),
    )
    .await;
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        // The library answers pings and the goodbye; that nobody listens any more is seen by the next read.
        if is_data && socket.send(message).await.is_err() {
            break;
        }
    }
}
