//! A device against the server's side of the same library, and against bytes that no library would send.

use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server;

use super::*;

fn script(settings: &Settings) -> Script {
    let target = Target::parse("https://gateway.example:8443/ws").unwrap();
    Script::new(settings, &target).unwrap()
}

fn pair() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(97)
}

/// Accepts, with `subprotocol` in the answer.
async fn accept(
    stream: DuplexStream,
    subprotocol: Option<&'static str>,
) -> (WebSocketStream<DuplexStream>, server::Request) {
    let mut asked = None;
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let answer = |request: &server::Request, mut response: server::Response| {
        asked = Some(request.clone());
        if let Some(name) = subprotocol {
            let name = HeaderValue::from_static(name);
            response
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(response)
    };
    let socket = accept_hdr_async(stream, answer).await.unwrap();
    (socket, asked.unwrap())
}

fn settings() -> Settings {
    Settings {
        subprotocol: Some("telemetry.v1".to_owned()),
        messages: 3,
        message_bytes: 500,
        ..Settings::default()
    }
}

#[tokio::test]
async fn messages_come_back_one_by_one_and_both_sides_say_goodbye() {
    let (near, far) = pair();
    let script = script(&settings());
    let device = async {
        let mut socket = WebSocket::open(near, &script, 4).await.unwrap();
        socket.exchange(&script).await.unwrap();
        socket.exchange(&script).await.unwrap();
        socket.close().await;
    };
    let server = async {
        let (mut socket, asked) = accept(far, Some("telemetry.v1")).await;
        assert_eq!(asked.uri(), "/ws");
        assert_eq!(asked.headers()["host"], "gateway.example:8443");
        assert_eq!(asked.headers()["sec-websocket-protocol"], "telemetry.v1");
        let mut seen = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = &message {
                assert_eq!(bytes.len(), 500);
                assert!(!seen.contains(bytes));
                seen.push(bytes.clone());
                socket.send(Message::Ping(Bytes::new())).await.unwrap();
                socket.send(message).await.unwrap();
            } else if let Message::Close(frame) = message {
                assert_eq!(frame.unwrap().code, CloseCode::Normal);
            }
        }
        assert_eq!(seen.len(), 6);
    };
    tokio::join!(device, server);
}

#[tokio::test]
async fn another_subprotocol_than_the_one_asked_for_is_refused() {
    for (wanted, given) in [
        (Some("telemetry.v1"), Some("telemetry.v2")),
        (Some("telemetry.v1"), None),
        (None, Some("telemetry.v1")),
    ] {
        let (near, far) = pair();
        let script = script(&Settings {
            subprotocol: wanted.map(str::to_owned),
            ..Settings::default()
        });
        let device = WebSocket::open(near, &script, 0);
        let (result, _) = tokio::join!(device, accept(far, given));
        assert_eq!(result.unwrap_err(), Fault::Said(Cause::Subprotocol));
    }
}

#[tokio::test]
async fn what_is_not_an_upgrade_is_told_apart() {
    for (answer, expected) in [
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            Fault::Said(Cause::Status(403)),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", Fault::Said(Cause::Status(200))),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            Fault::Said(Cause::Protocol),
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", Fault::Said(Cause::Protocol)),
        ("", Fault::Stream),
    ] {
        let (near, mut far) = pair();
        let script = script(&Settings::default());
        let device = WebSocket::open(near, &script, 0);
        let server = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(far.read_u8().await.unwrap());
            }
            far.write_all(answer.as_bytes()).await.unwrap();
            far.shutdown().await.unwrap();
            far
        };
        let (result, _far) = tokio::join!(device, server);
        assert_eq!(result.unwrap_err(), expected, "{answer}");
    }
}

/// How an exchange ends when `answer` is what comes back.
async fn answered(settings: Settings, answer: Vec<Message>, then: &[u8]) -> Result<(), Fault> {
    let (near, far) = pair();
    let script = script(&settings);
    let device = async {
        let mut socket = WebSocket::open(near, &script, 0).await.unwrap();
        socket.exchange(&script).await
    };
    let server = async {
        let (mut socket, _) = accept(far, None).await;
        socket.next().await.unwrap().unwrap();
        for message in answer {
            socket.send(message).await.unwrap();
        }
        // A device that has had enough does not take the rest.
        let _ = socket.get_mut().write_all(then).await;
        let _ = socket.get_mut().shutdown().await;
    };
    tokio::join!(device, server).0
}

#[tokio::test]
async fn a_wrong_echo_a_close_and_an_end_have_their_names() {
    let one = Settings::default;
    let other = vec![Message::Binary(vec![b'y'; 256].into())];
    let wrong = answered(one(), other, b"").await;
    assert_eq!(wrong, Err(Fault::Said(Cause::WrongContent)));
    let text = vec![Message::Text("hello".into())];
    assert_eq!(
        answered(one(), text, b"").await,
        Err(Fault::Said(Cause::WrongContent))
    );
    let close = CloseFrame {
        code: CloseCode::Policy,
        reason: "no".into(),
    };
    let closed = answered(one(), vec![Message::Close(Some(close))], b"").await;
    assert_eq!(closed, Err(Fault::Said(Cause::WebSocketClose(1008))));
    let bare = answered(one(), vec![Message::Close(None)], b"").await;
    assert_eq!(bare, Err(Fault::Said(Cause::WebSocketClose(1005))));
    assert_eq!(answered(one(), Vec::new(), b"").await, Err(Fault::Stream));
    // A frame that announces more than a message may have; reserved bits; a masked frame.
    let huge = answered(one(), Vec::new(), &[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    assert_eq!(huge, Err(Fault::Said(Cause::TooLarge)));
    let reserved = answered(one(), Vec::new(), &[0xf2, 1, 0]).await;
    assert_eq!(reserved, Err(Fault::Said(Cause::Protocol)));
}

#[tokio::test]
async fn without_echo_messages_are_only_sent() {
    let silent = Settings {
        echo: false,
        messages: 5,
        ..Settings::default()
    };
    let (near, far) = pair();
    let script = script(&silent);
    let device = async {
        let mut socket = WebSocket::open(near, &script, 0).await.unwrap();
        socket.exchange(&script).await.unwrap();
        socket.close().await;
    };
    let server = async {
        let (mut socket, _) = accept(far, None).await;
        let mut binary = 0;
        while let Some(Ok(message)) = socket.next().await {
            binary += usize::from(message.is_binary());
        }
        assert_eq!(binary, 5);
    };
    tokio::join!(device, server);
}

#[tokio::test]
async fn an_idle_device_answers_pings_and_notices_the_end() {
    let (near, far) = pair();
    let script = script(&Settings::default());
    let device = async {
        let mut socket = WebSocket::open(near, &script, 0).await.unwrap();
        std::future::poll_fn(|context| socket.poll_end(context)).await
    };
    let server = async {
        let (mut socket, _) = accept(far, None).await;
        for number in 0..3 {
            let ping = Bytes::from(vec![number; 5]);
            socket.send(Message::Ping(ping.clone())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(ping));
        }
        socket.send(Message::Text("an order".into())).await.unwrap();
        socket.close(None).await.unwrap();
    };
    let (end, ()) = tokio::join!(device, server);
    assert_eq!(end, Fault::Said(Cause::WebSocketClose(1005)));
}
