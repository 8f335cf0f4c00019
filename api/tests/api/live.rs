//! Live push over real connections: WebSockets with a client of another make than the server's, server-sent events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use kelly_api::{Drained, Listening, LiveSettings, PeerBounds, Transport, serve};
use kelly_auth::{Accounts, Identity, Refusal, Role, Roles};
use kelly_live::{Close, Hub, ResetReason, events_of};
use kelly_schemas::Limits;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::ServiceExt;

use crate::support::{Api, Fate, Setup, everything, identity, now};

pub(crate) struct Server {
    pub(crate) api: Api,
    token: String,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

impl Server {
    pub(crate) async fn start(live: LiveSettings) -> Self {
        Self::start_for(live, everything()).await
    }

    /// For a client that is signed in as this one.
    async fn start_for(live: LiveSettings, identity: Identity) -> Self {
        Self::start_with(Setup { live, ..Setup::default() }, identity).await
    }

    pub(crate) async fn start_with(setup: Setup, identity: Identity) -> Self {
        let live = setup.live;
        let api = Api::new(setup);
        api.hub.begin("e", &[0, 0], ResetReason::OtherEpoch);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap() };
        let token = api.authenticate.token_of(&identity);
        let ended = tokio::spawn(serve(
            Listening { listener, tls: None, peers: PeerBounds::new(1) },
            api.router(),
            live.max_connections,
            shutdown,
        ));
        Self { api, token, address, stop, ended }
    }

    pub(crate) async fn connect(&self, path: &str) -> Result<Client, u16> {
        self.connect_with(&self.token, path).await
    }

    async fn connect_as(&self, identity: &Identity, path: &str) -> Result<Client, u16> {
        self.connect_with(&self.api.authenticate.token_of(identity), path).await
    }

    async fn connect_with(&self, token: &str, path: &str) -> Result<Client, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        let token = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(self.address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A client in these rooms.
    pub(crate) async fn follow(&self, rooms: &[&str]) -> Client {
        let mut client = self.connect("/ws/kelly/monitoring").await.unwrap();
        assert_eq!(client.message().await["type"], "welcome");
        client.send(json!({"type": "subscribe", "rooms": rooms})).await;
        client
    }

    /// Stops as the binary does, and says how that went.
    pub(crate) async fn stop(self) -> Drained {
        self.api.live.stop();
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }
}

pub(crate) fn publish(hub: &Arc<Hub>, partition: u32, offset: u64, account: &str, conversation: &str) {
    let row = json!({
        "event_type": "e", "title": format!("{partition}/{offset}"),
        "account_id": account, "conversation_id": conversation,
    });
    let payload = row.to_string().into_bytes();
    hub.publish([events_of(&payload, (partition, offset), 1_790_000_000_000, &Limits::default())]);
}

pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Client {
    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message that is no ping.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub(crate) async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Code and reason of the close frame; what comes before it is passed over.
    async fn end(&mut self) -> (u16, String) {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?} in place of a close frame"),
            }
        }
    }

    /// Ends it as one does; the server answers the frame with the same.
    async fn close(mut self) {
        let frame = CloseFrame { code: Close::Normal.code().into(), reason: "done".into() };
        self.0.close(Some(frame)).await.unwrap();
        assert_eq!(self.end().await, (Close::Normal.code(), "done".to_owned()));
        assert!(self.0.next().await.is_none());
    }

    async fn ends_with(mut self, close: Close) {
        assert_eq!(self.end().await, (close.code(), close.reason().to_owned()));
    }
}

#[tokio::test]
async fn messages_are_answered_under_their_ids() {
    let server = Server::start(LiveSettings::default()).await;
    let mut client = server.connect("/ws/kelly/monitoring").await.unwrap();
    let welcome = client.message().await;
    let settings = json!({"type": "welcome", "ping_interval": 30, "timeout": 300, "expires_at": null});
    assert_eq!(welcome, settings);
    client.send(json!({"type": "ping", "id": 7})).await;
    assert_eq!(client.message().await, json!({"type": "pong", "id": 7}));
    client
        .send(json!({"type": "subscribe", "id": "s", "rooms": ["activity_feed", "emergency_monitoring"]}))
        .await;
    let subscribed = client.message().await;
    assert_eq!((&subscribed["type"], &subscribed["id"]), (&"subscribed".into(), &"s".into()));
    assert_eq!(subscribed["rooms"][0]["offsets"], json!([0, 0]));
    assert!(subscribed["rooms"][1]["note"].as_str().unwrap().contains("no emergency actions yet"));
    assert_eq!(client.message().await["type"], "activity_snapshot");
    client.send(json!({"type": "get_metrics", "id": "m"})).await;
    let figures = client.message().await;
    let overview = server.api.get("/api/v1/kelly/monitoring/metrics").await.json();
    assert_eq!((&figures["id"], &figures["data"]), (&"m".into(), &overview));
    client.send(json!({"type": "subscribe", "id": 8, "rooms": ["nowhere"]})).await;
    let error = client.message().await;
    assert_eq!((&error["id"], &error["code"]), (&8.into(), &"unknown_room".into()));
    assert_eq!(error["temporary"], false);
    client.send(json!({"type": "refresh_token", "id": 9, "token": "x.y.z"})).await;
    assert_eq!(client.message().await["code"], "token_refused");
    client.send(json!({"type": "unsubscribe", "rooms": ["activity_feed"]})).await;
    assert_eq!(client.message().await["type"], "unsubscribed");
    publish(&server.api.hub, 0, 0, "a", "1");
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.message().await, json!({"type": "pong"}), "nothing comes of a room that was left");
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn events_come_and_a_cut_connection_goes_on_where_it_was() {
    let server = Server::start(LiveSettings::default()).await;
    let mut client = server.follow(&["activity_feed"]).await;
    assert_eq!(client.message_of("activity_snapshot").await["offsets"], json!([0, 0]));
    publish(&server.api.hub, 1, 0, "acme", "1");
    let event = client.message().await;
    let place = json!([event["room"], event["epoch"], event["partition"], event["offset"], event["next"]]);
    assert_eq!(place, json!(["activity_feed", "e", 1, 0, 1]));
    assert_eq!(event["data"]["title"], "1/0");
    drop(client);
    publish(&server.api.hub, 0, 0, "acme", "1");
    publish(&server.api.hub, 1, 1, "acme", "2");
    let mut again = server.connect("/ws/kelly/monitoring").await.unwrap();
    let resume = json!({"activity_feed": {"epoch": "e", "offsets": [0, 1]}});
    again.send(json!({"type": "subscribe", "rooms": ["activity_feed"], "resume": resume})).await;
    assert_eq!(again.message_of("subscribed").await["rooms"][0]["resumed"], true);
    let titles =
        [again.message().await["data"]["title"].clone(), again.message().await["data"]["title"].clone()];
    assert_eq!(titles, ["0/0", "1/1"]);
    // Another epoch is told so.
    let resume = json!({"activity_feed": {"epoch": "other", "offsets": [0, 1]}});
    again.send(json!({"type": "subscribe", "rooms": ["activity_feed"], "resume": resume})).await;
    assert_eq!(again.message().await["reason"], "other_epoch");
    assert_eq!(again.message().await["rooms"][0]["resumed"], false);
    drop(again);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn the_other_sockets_begin_in_their_rooms() {
    let server = Server::start(LiveSettings::default()).await;
    let mut conversation = server.connect("/ws/kelly/conversation/c%201").await.unwrap();
    let mut alerts = server.connect("/ws/kelly/alerts").await.unwrap();
    let entered = conversation.message_of("subscribed").await;
    let rooms = [&entered["rooms"][0]["room"], &entered["rooms"][1]["room"]];
    assert_eq!(rooms, ["conversation:c 1", "conversation_alerts:c 1"]);
    assert_eq!(alerts.message_of("subscribed").await["rooms"][0]["room"], "alerts_monitoring");
    publish(&server.api.hub, 0, 0, "a", "other");
    publish(&server.api.hub, 0, 1, "a", "c 1");
    let event = conversation.message_of("activity_event").await;
    assert_eq!((&event["offset"], &event["room"]), (&1.into(), &"conversation:c 1".into()));
    let mut again = server
        .connect("/ws/kelly/conversation/c%201?resume=conversation%253ac%25201%3De%3A1,0")
        .await
        .unwrap();
    assert_eq!(again.message_of("subscribed").await["rooms"][0]["resumed"], true);
    assert_eq!(again.message_of("activity_event").await["offset"], 1);
    drop((conversation, alerts, again));
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn who_is_limited_to_accounts_gets_their_events_and_figures() {
    let mine = identity(Roles::of(&[Role::Viewer]), Accounts::only(["mine"]).unwrap());
    let server = Server::start_for(LiveSettings::default(), mine).await;
    let mut client = server.follow(&["activity_feed", "conversation:1", "monitoring_dashboard"]).await;
    client.message_of("metrics_update").await;
    assert!(server.api.queries.asked.lock().unwrap().iter().all(|asked| asked.contains("mine")));
    publish(&server.api.hub, 0, 0, "other", "1");
    publish(&server.api.hub, 0, 1, "mine", "1");
    let events = [client.message().await, client.message().await];
    let offsets: Vec<(&Value, &Value)> =
        events.iter().map(|event| (&event["room"], &event["offset"])).collect();
    assert!(offsets.iter().all(|(_, offset)| **offset == 1), "{offsets:?}");
    assert_ne!(offsets[0].0, offsets[1].0, "in each of its rooms");
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_room_asks_for_its_own_permission() {
    let worker = identity(Roles::of(&[Role::Worker]), Accounts::All);
    let server = Server::start_for(LiveSettings::default(), worker.clone()).await;
    let mut client = server.follow(&["activity_feed", "interventions_monitoring"]).await;
    let error = client.message().await;
    assert_eq!((&error["code"], &error["temporary"]), (&"forbidden".into(), &false.into()), "all or none");
    client.send(json!({"type": "get_metrics", "id": 1})).await;
    let error = client.message().await;
    assert_eq!((&error["code"], &error["id"]), (&"forbidden".into(), &1.into()));
    client.send(json!({"type": "subscribe", "rooms": ["interventions_monitoring"]})).await;
    assert_eq!(client.message().await["type"], "subscribed");
    assert_eq!(server.connect("/ws/kelly/conversation/1").await.err(), Some(403));
    assert_eq!(server.connect("/ws/kelly/alerts").await.err(), Some(403));
    let path = "/api/v1/kelly/live/events?rooms=activity_feed";
    let refused = server.api.send_as(&worker, "GET", path, &[], Body::empty()).await;
    assert_eq!(refused.code(), "not_permitted");
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

/// A viewer whose token ends so many seconds after the tests' clock.
fn viewer(ends_in: i64) -> Identity {
    let expires_at = Some(now().timestamp() + ends_in);
    Identity { expires_at, ..identity(Roles::of(&[Role::Viewer]), Accounts::All) }
}

async fn signed_in(ends_in: i64) -> Server {
    Server::start_for(LiveSettings::default(), viewer(ends_in)).await
}

#[tokio::test]
async fn a_token_that_ends_is_told_and_ends_the_socket() {
    let server = signed_in(1).await;
    let mut client = server.connect("/ws/kelly/monitoring").await.unwrap();
    let ends = now().timestamp() + 1;
    assert_eq!(client.message_of("welcome").await["expires_at"], ends);
    assert_eq!(client.message().await, json!({"type": "token_expiring", "expires_at": ends}));
    client.ends_with(Close::TokenExpired).await;
    assert_eq!(server.stop().await, Drained::Complete);
}

/// Clocks may differ, so a token is taken for a little longer than it says. A connection would end as it begins, again and again.
#[tokio::test]
async fn a_token_that_has_ended_opens_nothing() {
    let server = signed_in(0).await;
    assert_eq!(server.connect("/ws/kelly/monitoring").await.err(), Some(401));
    let path = "/api/v1/kelly/live/events?rooms=activity_feed";
    let refused = server.api.send_as(&viewer(0), "GET", path, &[], Body::empty()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "token_expired".to_owned()));
    assert_eq!(server.stop().await, Drained::Complete);
}

/// Between the look at the newer token and its adoption: what was withdrawn then is told to who has the one before.
#[tokio::test]
async fn a_newer_token_that_was_withdrawn_meanwhile_ends_the_socket() {
    let server = signed_in(30).await;
    let mut client = server.follow(&["activity_feed"]).await;
    client.message_of("activity_snapshot").await;
    *server.api.authenticate.refused.lock().unwrap() = Some(Refusal::Revoked);
    let newer = server.api.authenticate.token_of(&viewer(60));
    client.send(json!({"type": "refresh_token", "token": newer})).await;
    client.ends_with(Close::Forbidden).await;
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_newer_token_changes_what_is_permitted() {
    let server = signed_in(30).await;
    let mut client = server.follow(&["activity_feed", "interventions_monitoring"]).await;
    client.message_of("activity_snapshot").await;
    let token_of = |identity: &Identity| server.api.authenticate.token_of(identity);
    let another = token_of(&Identity { subject: "another".into(), ..viewer(60) });
    for token in ["nonsense", &another] {
        client.send(json!({"type": "refresh_token", "id": 7, "token": token})).await;
        let error = client.message_of("error").await;
        assert_eq!((&error["id"], &error["code"]), (&7.into(), &"token_refused".into()));
    }
    let worker = Identity { roles: Roles::of(&[Role::Worker]), ..viewer(3_600) };
    client.send(json!({"type": "refresh_token", "id": 1, "token": token_of(&worker)})).await;
    let refreshed = json!({"type": "token_refreshed", "id": 1, "expires_at": worker.expires_at});
    assert_eq!(client.message_of("token_refreshed").await, refreshed);
    let left = json!({"type": "unsubscribed", "rooms": ["activity_feed"], "reason": "forbidden"});
    assert_eq!(client.message().await, left);
    publish(&server.api.hub, 0, 0, "a", "1");
    client.send(json!({"type": "subscribe", "id": 2, "rooms": ["activity_feed"]})).await;
    assert_eq!(client.message().await["code"], "forbidden", "nothing comes of the room before it");
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_token_that_is_withdrawn_ends_sockets_and_streams() {
    let server = signed_in(3_600).await;
    let client = server.follow(&["activity_feed"]).await;
    let path = "/api/v1/kelly/live/events?rooms=activity_feed";
    let mut events = Events::open(&server.api, path, None).await;
    assert_eq!(events.next().await.unwrap().1["type"], "welcome");
    // Somebody else's.
    server.api.authenticate.changed.send_modify(|count| *count += 1);
    let mut other = server.follow(&["activity_feed"]).await;
    assert_eq!(other.message().await["type"], "subscribed");
    *server.api.authenticate.refused.lock().unwrap() = Some(Refusal::Revoked);
    server.api.authenticate.changed.send_modify(|count| *count += 1);
    client.ends_with(Close::Forbidden).await;
    other.ends_with(Close::Forbidden).await;
    let mut last = Value::Null;
    while let Some((_, message)) = events.next().await {
        last = message;
    }
    assert_eq!(last, json!({"type": "closing", "code": 4503, "reason": "forbidden"}));
    // One that was verified just before does not get in either.
    server.connect("/ws/kelly/monitoring").await.unwrap().ends_with(Close::Forbidden).await;
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_user_has_so_many_sockets() {
    let live = LiveSettings { max_of_a_user: 2, ..LiveSettings::default() };
    let server = Server::start_for(live, viewer(3_600)).await;
    let first = server.connect("/ws/kelly/monitoring").await.unwrap();
    let second = server.connect("/ws/kelly/monitoring").await.unwrap();
    assert_eq!(server.connect("/ws/kelly/monitoring").await.err(), Some(429));
    let other = Identity { subject: "another".into(), ..viewer(3_600) };
    let path = "/api/v1/kelly/live/events?rooms=activity_feed";
    let streams = server.api.send_as(&other, "GET", path, &[], Body::empty()).await;
    assert_eq!(streams.status, 200, "others have their own");
    first.close().await;
    assert!(server.connect("/ws/kelly/monitoring").await.is_ok());
    // Where nobody signs in, everybody is one: nobody is counted, up to the bound of all.
    let everybody = Identity { expires_at: None, ..viewer(0) };
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(server.connect_as(&everybody, "/ws/kelly/monitoring").await.unwrap());
    }
    drop((second, sockets));
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn figures_come_at_once_and_again_when_they_change() {
    let often = Duration::from_millis(20);
    let settings = LiveSettings { figures_interval: often, ping_interval: often, ..LiveSettings::default() };
    let server = Server::start(settings).await;
    let mut client = server.follow(&["monitoring_dashboard"]).await;
    let first = client.message_of("metrics_update").await;
    assert_eq!((&first["offset"], &first["partial"]), (&1.into(), &false.into()));
    let overview = server.api.get("/api/v1/kelly/monitoring/metrics").await.json();
    assert_eq!(first["data"], overview);
    // Nothing has changed: that is told, and nothing else.
    for _ in 0..20 {
        let told = client.message().await;
        assert_eq!((&told["type"], &told["offsets"]), (&"position".into(), &json!([1])));
    }
    let mut other = overview.as_object().unwrap().clone();
    other.insert("alert_count".to_owned(), 99.into());
    server.api.hub.publish_figures(&Accounts::All, other);
    let second = client.message_of("metrics_update").await;
    assert_eq!((&second["data"], &second["partial"]), (&json!({"alert_count": 99}), &true.into()));
    let third = client.message_of("metrics_update").await;
    let changed = json!({"alert_count": overview["alert_count"]});
    assert_eq!((&third["data"], &third["offset"]), (&changed, &3.into()), "as they are computed again");
    // Nobody looks any more: nothing is asked of the store.
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

/// The store takes long for one set of accounts, and that for ever.
#[tokio::test]
async fn figures_that_take_long_keep_no_others_waiting() {
    let gate = Arc::new(Semaphore::new(0));
    let live = LiveSettings { figures_interval: Duration::from_millis(20), ..LiveSettings::default() };
    let setup = Setup { live, queries: Fate::HeldWith("slow", gate.clone()), ..Setup::default() };
    let slow = identity(Roles::of(&[Role::Viewer]), Accounts::only(["slow"]).unwrap());
    let server = Server::start_with(setup, slow).await;
    let mut waiting = server.follow(&["monitoring_dashboard"]).await;
    waiting.message_of("subscribed").await;
    while server.api.queries.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut other = server.connect_as(&everything(), "/ws/kelly/monitoring").await.unwrap();
    other.send(json!({"type": "subscribe", "rooms": ["monitoring_dashboard"]})).await;
    other.message_of("metrics_update").await;
    gate.add_permits(1);
    waiting.message_of("metrics_update").await;
    drop((waiting, other));
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn what_breaks_the_rules_is_closed_with_its_code() {
    let server = Server::start(LiveSettings::default()).await;
    let mut client = server.connect("/ws/kelly/monitoring").await.unwrap();
    client.0.send(Message::binary(vec![1, 2])).await.unwrap();
    client.ends_with(Close::NotText).await;
    let mut client = server.connect("/ws/kelly/monitoring").await.unwrap();
    client.0.send(Message::text("x".repeat(70_000))).await.unwrap();
    client.ends_with(Close::TooLarge).await;
    let mut client = server.connect("/ws/kelly/monitoring").await.unwrap();
    for _ in 0..100 {
        // It may have been closed in the middle.
        let _ = client.0.send(Message::text("{}")).await;
    }
    client.ends_with(Close::TooManyMessages).await;
    let client = server.connect("/ws/kelly/monitoring").await.unwrap();
    client.close().await;
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn one_of_the_subprotocols_that_are_offered_is_chosen() {
    let server = Server::start(LiveSettings::default()).await;
    for (offered, chosen) in [("other, kelly.v1", Some("kelly.v1")), ("", None)] {
        let mut request =
            format!("ws://{}/ws/kelly/monitoring", server.address).into_client_request().unwrap();
        let token = format!("Bearer {}", server.token).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        if !offered.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
        }
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (socket, answer) = client_async(request, stream).await.unwrap();
        let told = answer.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap());
        assert_eq!(told, chosen, "{offered:?}");
        Client(socket).close().await;
    }
    assert_eq!(server.stop().await, Drained::Complete);
}

/// It reads nothing before it is closed. Then it finds whole messages, and the close frame behind them.
#[tokio::test]
async fn who_does_not_read_is_closed_behind_a_whole_message() {
    let server = Server::start(LiveSettings::default()).await;
    let mut slow = server.follow(&["activity_feed"]).await;
    slow.message_of("activity_snapshot").await;
    let is_closed = || {
        let closes = server.api.live.counts(Transport::WebSocket).closes;
        closes.contains(&(Close::SlowConsumer, 1))
    };
    let conversation = "x".repeat(100);
    let mut offset = 0;
    while !is_closed() {
        publish(&server.api.hub, 0, offset, "a", &conversation);
        offset += 1;
        tokio::task::yield_now().await;
    }
    let mut next = 0;
    let (code, reason) = loop {
        match slow.0.next().await.unwrap().unwrap() {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["offset"], next, "none is left out");
                next += 1;
            }
            Message::Close(Some(frame)) => break (u16::from(frame.code), frame.reason.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((code, reason.as_str()), (Close::SlowConsumer.code(), Close::SlowConsumer.reason()));
    assert!((1..offset).contains(&next), "{next} of {offset}");
    assert_eq!(server.stop().await, Drained::Complete);
}

/// The client sends all the time and answers no ping: its other half may as well be gone.
#[tokio::test]
async fn who_answers_no_ping_is_closed_whatever_else_is_sent() {
    let (ping_interval, timeout) = (Duration::from_millis(20), Duration::from_millis(300));
    let server = Server::start(LiveSettings { ping_interval, timeout, ..LiveSettings::default() }).await;
    let client = server.connect("/ws/kelly/monitoring").await.unwrap();
    // Below the WebSocket, so that nothing answers for it.
    let (stream, mut seen) = (client.0.into_inner(), Vec::new());
    let (mut reading, mut writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        // A masked text frame with `{}`.
        while writing.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'{', b'}']).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    });
    let code = Close::NoSignOfLife.code().to_be_bytes();
    let reason = Close::NoSignOfLife.reason().as_bytes();
    let frame = [&[0x88, (code.len() + reason.len()) as u8], &code[..], reason].concat();
    while !seen.windows(frame.len()).any(|window| window == frame) {
        use tokio::io::AsyncReadExt;
        seen.push(reading.read_u8().await.expect("a close frame comes first"));
    }
    drop(reading);
    sending.abort();
    drop(sending.await);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let (ping_interval, timeout) = (Duration::from_millis(20), Duration::from_millis(200));
    let server = Server::start(LiveSettings { ping_interval, timeout, ..LiveSettings::default() }).await;
    let mut client = server.follow(&["activity_feed"]).await;
    // Positions are told with the pings: so many of them are longer than the time-out.
    for _ in 0..20 {
        assert_eq!(client.message_of("position").await["offsets"], json!([0, 0]));
    }
    drop(client);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn places_are_bounded() {
    let server = Server::start(LiveSettings { max_connections: 2, ..LiveSettings::default() }).await;
    let first = server.connect("/ws/kelly/monitoring").await.unwrap();
    let second = server.connect("/ws/kelly/alerts").await.unwrap();
    assert_eq!(server.connect("/ws/kelly/monitoring").await.err(), Some(503));
    let stream = server.api.get("/api/v1/kelly/live/events?rooms=activity_feed").await;
    assert_eq!(stream.code(), "server_busy");
    drop(first);
    // The server has given its place back when it has answered.
    second.close().await;
    let freed = server.connect("/ws/kelly/monitoring").await;
    assert!(freed.is_ok(), "a place that was given back is free");
    drop(freed);
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_stop_closes_sockets_with_a_code_and_waits_for_them() {
    let server = Server::start(LiveSettings::default()).await;
    let clients = [server.follow(&["activity_feed"]).await, server.follow(&["monitoring_dashboard"]).await];
    assert_eq!(server.api.live.open(), 2);
    let live = server.api.live.clone();
    let stopping = tokio::spawn(server.stop());
    for client in clients {
        client.ends_with(Close::ShuttingDown).await;
    }
    assert_eq!(stopping.await.unwrap(), Drained::Complete);
    assert_eq!(live.open(), 0);
}

/// More than are closed at once, and streams of server-sent events among them.
#[tokio::test]
async fn however_many_there_are_a_stop_closes_all_of_them() {
    let server = Server::start(LiveSettings::default()).await;
    let path = "/api/v1/kelly/live/events?rooms=activity_feed";
    let mut streams = Vec::new();
    let mut sockets = Vec::new();
    for number in 0..250 {
        if number % 5 == 0 {
            streams.push(Events::open(&server.api, path, None).await);
        } else {
            sockets.push(server.connect("/ws/kelly/monitoring").await.unwrap());
        }
    }
    let live = server.api.live.clone();
    let stopping = tokio::spawn(server.stop());
    let ends = sockets.into_iter().map(|socket| socket.ends_with(Close::ShuttingDown));
    let streams = streams.into_iter().map(|mut stream| async move {
        let mut last = Value::Null;
        while let Some((_, message)) = stream.next().await {
            last = message;
        }
        assert_eq!(last["code"], Close::ShuttingDown.code());
    });
    tokio::join!(join_all(ends), join_all(streams));
    assert_eq!(stopping.await.unwrap(), Drained::Complete);
    assert_eq!(live.open(), 0);
}

#[tokio::test]
async fn only_a_web_socket_is_answered_with_one() {
    let api = Api::new(Setup::default());
    for path in ["/ws/kelly/monitoring", "/ws/kelly/alerts", "/ws/kelly/conversation/1"] {
        assert_eq!(api.get(path).await.code(), "not_a_websocket", "{path}");
    }
    assert_eq!(api.get("/ws/kelly/monitoring?token=x").await.code(), "invalid_parameter");
    assert_eq!(api.get("/ws/kelly/conversation/1?resume=x").await.code(), "invalid_cursor");
    assert_eq!(api.get("/api/v1/kelly/live/events").await.code(), "invalid_parameter");
    assert_eq!(api.get("/api/v1/kelly/live/events?rooms=nowhere").await.code(), "invalid_parameter");
    let foreign = [
        ("host", "localhost:8000"),
        ("origin", "http://evil.example"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = api.send("GET", "/ws/kelly/monitoring", &foreign, Body::empty()).await;
    assert_eq!(answer.code(), "origin_not_allowed");
}

struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(api: &Api, path: &str, last_event_id: Option<&str>) -> Self {
        let token = format!("Bearer {}", api.authenticate.token_of(&everything()));
        let mut request = Request::get(path).header("host", "localhost:8000").header("authorization", token);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = api.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event: its id and its message. `None` at the end.
    async fn next(&mut self) -> Option<(Option<String>, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    return Some((field("id: ").map(str::to_owned), serde_json::from_str(data).unwrap()));
                }
                continue;
            }
            let bytes = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn the_same_rooms_come_as_server_sent_events() {
    let api = Api::new(Setup::default());
    api.hub.begin("e", &[0, 0], ResetReason::OtherEpoch);
    let path = "/api/v1/kelly/live/events?rooms=activity_feed,monitoring_dashboard";
    let mut events = Events::open(&api, path, None).await;
    let kinds = [events.next().await.unwrap().1, events.next().await.unwrap().1].map(|m| m["type"].clone());
    assert_eq!(kinds, ["welcome", "subscribed"]);
    let (id, snapshot) = events.next().await.unwrap();
    assert_eq!(
        (&snapshot["type"], id.as_deref()),
        (&"activity_snapshot".into(), Some("activity_feed=e:0,0"))
    );
    for offset in 0..3 {
        publish(&api.hub, 1, offset, "a", "1");
    }
    let mut last = None;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (id, message) = events.next().await.unwrap();
        if message["type"] == "activity_event" {
            seen.push(message["offset"].clone());
            last = id;
        }
    }
    assert_eq!(last.as_deref(), Some("activity_feed=e:0,2"), "one event an id");
    drop(events);
    let mut again = Events::open(&api, path, last.as_deref()).await;
    assert_eq!(again.next().await.unwrap().1["type"], "welcome");
    assert_eq!(again.next().await.unwrap().1["rooms"][0]["resumed"], true);
    loop {
        let (_, message) = again.next().await.unwrap();
        if message["type"] == "activity_event" {
            assert_eq!(message["offset"], 2);
            break;
        }
    }
    // The end has a message of its own.
    api.live.stop();
    let mut closing = None;
    while let Some((_, message)) = again.next().await {
        closing = Some(message);
    }
    assert_eq!(closing, Some(json!({"type": "closing", "code": 4000, "reason": "shutting_down"})));
}

/// Nothing comes for it while others fill what is kept: the id that a browser comes back with moves all the same.
#[tokio::test]
async fn a_quiet_stream_is_told_where_it_is() {
    let ping_interval = Duration::from_millis(20);
    let live = LiveSettings { ping_interval, ..LiveSettings::default() };
    let api = Api::new(Setup { live, ..Setup::default() });
    api.hub.begin("e", &[0, 0], ResetReason::OtherEpoch);
    let mut events = Events::open(&api, "/api/v1/kelly/live/events?rooms=conversation:1", None).await;
    while events.next().await.unwrap().1["type"] != "activity_snapshot" {}
    for offset in 0..7 {
        publish(&api.hub, 1, offset, "a", "another");
    }
    let moved = loop {
        let (id, message) = events.next().await.unwrap();
        assert_eq!(message["type"], "position");
        if message["offsets"] == json!([0, 7]) {
            break id;
        }
    };
    assert_eq!(moved.as_deref(), Some("conversation%3a1=e:0,7"));
}
