use std::cell::Cell;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tungstenite::error::CapacityError;

use super::*;

type Client = WebSocketStream<DuplexStream>;

/// Both ends of a connection that holds so many bytes.
async fn connected(bytes: usize) -> (Wire<DuplexStream>, Client) {
    let (here, there) = duplex(bytes);
    (Wire::new(here), WebSocketStream::from_raw_socket(there, Role::Client, None).await)
}

/// What the server gets for these bytes, and then the end.
async fn read(bytes: &[u8]) -> (Vec<Message>, Error) {
    let (here, mut there) = duplex(bytes.len() + 1);
    there.write_all(bytes).await.unwrap();
    there.shutdown().await.unwrap();
    let mut wire = Wire::new(here);
    let mut messages = Vec::new();
    loop {
        match wire.recv().await {
            Ok(message) => messages.push(message),
            Err(error) => {
                assert!(matches!(wire.recv().await, Err(Error::AlreadyClosed)), "nothing comes after it");
                return (messages, error);
            }
        }
    }
}

/// A frame of a client under the mask of noughts, which changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn messages_of_every_length_arrive_whole() {
    let texts: Vec<Bytes> =
        [0, 1, 125, 126, 65_535, 65_536, 300_000].map(|length| Bytes::from(vec![b'x'; length])).into();
    let (mut wire, client) = connected(100).await;
    let sent = texts.clone();
    let sending = tokio::spawn(async move {
        for text in sent {
            wire.send(text).await.unwrap();
            wire.ping().unwrap();
        }
        wire.flush().await.unwrap();
        wire
    });
    let received: Vec<Message> = client.take(2 * texts.len()).map(Result::unwrap).collect().await;
    for (pair, text) in received.chunks(2).zip(&texts) {
        assert_eq!(pair[0].to_text().unwrap().as_bytes(), text);
        assert_eq!(pair[1], Message::Ping(Bytes::new()));
    }
    let wire = sending.await.unwrap();
    assert_eq!(wire.outgoing.waiting(), 0);
    assert!(texts.iter().all(|text| text.is_empty() || text.is_unique()), "no socket holds them any more");
}

/// The connection takes a few bytes at a time, and writing is given up whenever it waits.
#[tokio::test]
async fn writing_goes_on_where_it_was_left() {
    let (here, mut there) = duplex(5);
    let mut wire = Wire::new(here);
    let texts = ["x".repeat(200), "ä".repeat(20_000), "z".repeat(3)];
    let left = Cell::new(0);
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        let mut some = [0; 3];
        loop {
            match there.read(&mut some).await.unwrap() {
                0 => return seen,
                count => seen.extend_from_slice(&some[..count]),
            }
        }
    });
    let leave = async || {
        tokio::task::yield_now().await;
        left.set(left.get() + 1);
    };
    for text in &texts {
        let text = Bytes::from(text.clone());
        loop {
            tokio::select! {
                biased;
                sent = wire.send(text.clone()) => break sent.unwrap(),
                () = leave() => {}
            }
        }
        loop {
            tokio::select! {
                biased;
                flushed = wire.flush() => break flushed.unwrap(),
                () = leave() => {}
            }
        }
    }
    drop(wire);
    let seen = reading.await.unwrap();
    let mut reader = tungstenite::WebSocket::from_raw_socket(io::Cursor::new(seen), Role::Client, None);
    for text in texts {
        assert_eq!(reader.read().unwrap(), Message::text(text));
    }
    assert!(reader.read().is_err(), "nothing else was written");
    assert!(left.get() > 100, "it was left in the middle of frames");
}

/// A ping is read while a message is half written: the answer comes behind it.
#[tokio::test]
async fn an_answer_does_not_get_into_a_message() {
    let (mut wire, mut client) = connected(100).await;
    client.send(Message::Ping(Bytes::from_static(b"here"))).await.unwrap();
    let text = "x".repeat(1_000);
    wire.send(Bytes::from(text.clone())).await.unwrap();
    let half = poll_fn(|context| Poll::Ready(wire.poll_written(context, 0))).await;
    assert!(half.is_pending() && wire.outgoing.waiting() > 0);
    assert_eq!(wire.recv().await.unwrap(), Message::Ping(Bytes::from_static(b"here")));
    let (flushed, first) = tokio::join!(wire.flush(), client.next());
    flushed.unwrap();
    assert_eq!(first.unwrap().unwrap(), Message::text(text));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"here")));
}

#[tokio::test]
async fn who_closes_is_answered() {
    let (mut wire, mut client) = connected(1_000).await;
    let frame = || CloseFrame { code: 1_000.into(), reason: Utf8Bytes::from_static("done") };
    client.close(Some(frame())).await.unwrap();
    assert_eq!(wire.recv().await.unwrap(), Message::Close(Some(frame())));
    wire.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(frame())));
    assert!(wire.recv().await.is_err());
    drop(wire);
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn who_is_closed_answers() {
    let (mut wire, mut client) = connected(1_000).await;
    wire.send(Bytes::from_static(b"{}")).await.unwrap();
    wire.close(4_008, "slow_consumer").unwrap();
    wire.flush().await.unwrap();
    // It may have sent something before it saw the close frame.
    client.send(Message::text("late")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("{}"));
    let frame = CloseFrame { code: 4_008.into(), reason: Utf8Bytes::from_static("slow_consumer") };
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(Some(frame.clone())));
    client.flush().await.unwrap();
    assert_eq!(wire.recv().await.unwrap(), Message::text("late"));
    assert_eq!(wire.recv().await.unwrap(), Message::Close(Some(frame)));
    assert!(wire.recv().await.is_err());
    drop(wire);
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn fragments_are_put_together_with_control_frames_between_them() {
    let bytes =
        [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x00, b"b"), frame(0x8a, b""), frame(0x80, b"c")];
    let (messages, _) = read(&bytes.concat()).await;
    let ping = Message::Ping(Bytes::from_static(b"p"));
    assert_eq!(messages, [ping, Message::Pong(Bytes::new()), Message::text("abc")]);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_reading() {
    let broken: [(&str, Vec<u8>); 11] = [
        ("no mask", vec![0x81, 1, b'x']),
        ("a reserved bit", frame(0xc1, b"x")),
        ("a reserved kind of message", frame(0x83, b"x")),
        ("a reserved kind of control frame", frame(0x8b, b"")),
        ("no UTF-8", frame(0x81, b"\xff")),
        ("no UTF-8 over fragments", [frame(0x01, b"\xc3"), frame(0x80, b"x")].concat()),
        ("a control frame in parts", frame(0x09, b"")),
        ("a long control frame", [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], &[b'x'; 126][..]].concat()),
        ("a message within another one", [frame(0x01, b"a"), frame(0x81, b"b")].concat()),
        ("a rest without a beginning", frame(0x80, b"x")),
        ("half a close code", frame(0x88, b"\x03")),
    ];
    for (what, bytes) in broken {
        // A good message behind it is not taken any more.
        let (messages, error) = read(&[bytes, frame(0x81, b"good")].concat()).await;
        assert!(messages.is_empty(), "{what}: {messages:?}");
        assert!(matches!(error, Error::Protocol(_) | Error::Utf8(_)), "{what}: {error}");
    }
    let (_, cut) = read(&frame(0x81, b"text")[..7]).await;
    assert!(matches!(cut, Error::Protocol(_)), "{cut}");
}

#[tokio::test]
async fn a_message_has_a_longest_length() {
    let head = |length: usize| [&[0x81, 0xff][..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
    let whole = |length: usize| [head(length), vec![b'x'; length]].concat();
    let (messages, _) = read(&whole(MAX_MESSAGE)).await;
    assert_eq!(messages, [Message::text("x".repeat(MAX_MESSAGE))]);
    // The head alone tells.
    for length in [MAX_MESSAGE + 1, usize::MAX >> 1] {
        let (_, error) = read(&head(length)).await;
        assert!(matches!(error, Error::Capacity(CapacityError::MessageTooLong { .. })), "{error}");
    }
    let mut fragments = [&[0x01][..], &whole(MAX_MESSAGE)[1..]].concat();
    fragments.extend(frame(0x80, b"x"));
    let (messages, error) = read(&fragments).await;
    assert!(messages.is_empty() && matches!(error, Error::Capacity(_)), "{error}");
}

#[tokio::test]
async fn a_code_that_may_not_be_sent_is_answered_as_a_mistake() {
    for (code, answer) in [(1_000_u16, 1_000_u16), (4_321, 4_321), (1_005, 1_002), (999, 1_002)] {
        let (here, mut there) = duplex(100);
        let mut wire = Wire::new(here);
        there.write_all(&frame(0x88, &code.to_be_bytes())).await.unwrap();
        assert!(matches!(wire.recv().await, Ok(Message::Close(Some(_)))));
        wire.flush().await.unwrap();
        drop(wire);
        let mut seen = Vec::new();
        there.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen[2..4], answer.to_be_bytes(), "{code}");
    }
}
