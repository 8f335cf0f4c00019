//! What the caller has read: marking, undoing, counting, and telling the caller's other connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::{SinkExt, StreamExt};
use kelly_api::{Drained, Limits, Listening, LiveSettings, PeerBounds, serve};
use kelly_auth::{Accounts, Identity, Role, Roles};
use kelly_live::ResetReason;
use kelly_query::Reader;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Answer, Api, Fate, Setup, identity};

const MARK: &str = "/api/v1/kelly/monitoring/activity/mark-read";
const UNREAD: &str = "/api/v1/kelly/monitoring/activity/unread";
const FEED: &str = "/api/v1/kelly/monitoring/activity/feed";

fn viewer(subject: &str, accounts: Accounts) -> Identity {
    Identity { subject: subject.into(), ..identity(Roles::of(&[Role::Viewer]), accounts) }
}

async fn mark(api: &Api, who: &Identity, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    api.send_as(who, "POST", MARK, &headers, Body::from(body.to_string())).await
}

async fn get(api: &Api, who: &Identity, path: &str) -> Value {
    let answer = api.send_as(who, "GET", path, &[], Body::empty()).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

fn asked(api: &Api) -> Vec<String> {
    std::mem::take(&mut *api.queries.asked.lock().unwrap())
}

fn event(id: u128, account: Option<&str>) -> Value {
    json!({"id": uuid::Uuid::from_u128(id), "account_id": account})
}

#[tokio::test]
async fn a_mark_is_made_and_undone_by_its_id() {
    let api = Api::new(Setup::default());
    let ada = viewer("ada", Accounts::All);
    let own = "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d9";
    let marked =
        mark(&api, &ada, &json!({"mark_id": own, "events": [event(7, Some("a")), event(8, None)]})).await;
    assert_eq!((marked.status.as_u16(), marked.json()), (200, json!({"mark_id": own, "undone": false})));
    let question = asked(&api).remove(0);
    assert!(question.contains("\"ada\"") && question.contains(own), "{question}");
    // Without an id it gets one.
    let cursor = &crate::contract::DOCUMENT["paths"][MARK]["post"]["requestBody"]["content"]["application/json"]
        ["examples"]["one"]["value"];
    let made = mark(&api, &ada, cursor).await.json();
    let id = made["mark_id"].as_str().unwrap();
    assert_ne!(id, own);
    let undone = mark(&api, &ada, &json!({"undo": id})).await;
    assert_eq!((undone.status.as_u16(), undone.json()), (200, json!({"mark_id": id, "undone": true})));
    // Sent again, it stays undone.
    let mut again = cursor.clone();
    again["mark_id"] = id.into();
    assert_eq!(mark(&api, &ada, &again).await.json(), json!({"mark_id": id, "undone": true}));
    // A mark of somebody else's is none.
    let bob = viewer("bob", Accounts::All);
    let refused = mark(&api, &bob, &json!({"undo": own})).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn what_cannot_be_marked_is_refused_whole() {
    let api = Api::new(Setup::default());
    let own = Accounts::only(["own"]).unwrap();
    let limited = viewer("ada", own);
    let many: Vec<Value> = (0..201).map(|id| event(id, Some("own"))).collect();
    let id = uuid::Uuid::nil();
    let cases = [
        (json!({}), 400, "malformed_body"),
        (json!([]), 400, "malformed_body"),
        (json!({"events": []}), 400, "invalid_parameter"),
        (json!({"events": many}), 400, "invalid_parameter"),
        (json!({"events": [{"id": "7"}]}), 400, "malformed_body"),
        (json!({"events": [event(1, Some(""))]}), 400, "invalid_parameter"),
        (json!({"events": [event(1, Some("own"))], "undo": id}), 400, "malformed_body"),
        (json!({"undo": id, "mark_id": id}), 400, "malformed_body"),
        (json!({"ids": [id]}), 400, "malformed_body"),
        (json!({"up_to": {"cursor": "abc"}}), 400, "invalid_cursor"),
        (json!({"up_to": {"cursor": "abc", "severity": "worst"}}), 400, "malformed_body"),
        (json!({"events": [event(1, Some("own")), event(2, Some("others"))]}), 403, "account_not_permitted"),
        (json!({"events": [event(2, None)]}), 403, "account_not_permitted"),
        (json!({"up_to": {"cursor": "abc", "account_id": "others"}}), 403, "account_not_permitted"),
    ];
    for (body, status, code) in cases {
        let answer = mark(&api, &limited, &body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{body}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("others"), "{body}");
    }
    let plain = api.send_as(&limited, "POST", MARK, &[], Body::from("{}")).await;
    assert_eq!(plain.code(), "unsupported_media_type");
    let long = json!({"events": [{"id": id, "account_id": "a".repeat(200_000)}]});
    assert_eq!(mark(&api, &limited, &long).await.code(), "body_too_large");
    assert!(asked(&api).is_empty());
}

/// Users who have read other things are answered by themselves, and a user who has marked something is never answered with what was kept.
#[tokio::test]
async fn kept_answers_are_of_one_user_and_of_what_they_had_marked() {
    let api = Api::new(Setup::default());
    let [ada, bob] = ["ada", "bob"].map(|subject| viewer(subject, Accounts::All));
    for path in [UNREAD.to_owned(), format!("{FEED}?unread=true"), format!("{FEED}?unread=false")] {
        for who in [&ada, &ada, &bob, &bob] {
            get(&api, who, &path).await;
        }
        assert_eq!(asked(&api).len(), 2, "{path}");
        mark(&api, &ada, &json!({"events": [event(1, None)]})).await;
        asked(&api);
        get(&api, &ada, &path).await;
        get(&api, &bob, &path).await;
        assert_eq!(asked(&api).len(), 1, "{path}: only who marked something is asked for anew");
        // At another instance, of which this one knows nothing.
        api.queries.mark_elsewhere(&Reader::of(&ada));
        get(&api, &ada, &path).await;
        assert_eq!(asked(&api).len(), 1, "{path}");
    }
    // The feed that says nothing of anybody is everybody's.
    for who in [&ada, &bob] {
        get(&api, who, FEED).await;
    }
    assert_eq!(asked(&api).len(), 1);
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(api: &Api, address: SocketAddr, who: &Identity) -> Self {
        let mut request = format!("ws://{address}/ws/kelly/monitoring").into_client_request().unwrap();
        let token = format!("Bearer {}", api.authenticate.token_of(who)).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self(client_async(request, stream).await.unwrap().0);
        client.send(json!({"type": "subscribe", "rooms": ["read_state"]})).await;
        client
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn message_of(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == kind {
                    return message;
                }
            }
        }
    }

    /// What comes until the answer to a ping.
    async fn read_states(&mut self) -> Vec<Value> {
        self.send(json!({"type": "ping"})).await;
        let mut states = Vec::new();
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "pong" => return states,
                    "read_state" => states.push(message),
                    _ => {}
                }
            }
        }
    }
}

/// A router on an address of its own.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
}

impl Served {
    async fn start(api: &Api) -> Self {
        api.hub.begin("e", &[0], ResetReason::OtherEpoch);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { drop(stopped.await) };
        let listening = Listening { listener, tls: None, peers: PeerBounds::new(1) };
        let sockets = LiveSettings::default().max_connections;
        let serving = tokio::spawn(serve(listening, api.router(), sockets, shutdown));
        Self { address, stop, serving }
    }

    async fn end(self, api: &Api) {
        api.live.stop();
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_user_whose_marks_cannot_be_counted_keeps_no_state_from_the_others() {
    let gate = Arc::new(Semaphore::new(0));
    let limits = Limits { query_timeout: Duration::from_secs(3_600), ..Limits::default() };
    let queries = Fate::HeldWith("unread slow", gate.clone());
    let api = Api::new(Setup { queries, limits, ..Setup::default() });
    let served = Served::start(&api).await;
    let mut slow = Vec::new();
    for number in 0..3 {
        let user = viewer(&format!("slow-{number}"), Accounts::All);
        slow.push(Client::connect(&api, served.address, &user).await);
    }
    let bob = viewer("bob", Accounts::All);
    let mut bobs = Client::connect(&api, served.address, &bob).await;
    let others = async {
        assert_eq!(bobs.message_of("read_state").await["offset"], 0);
        for offset in 1..4 {
            // At this instance and at another one.
            match offset % 2 {
                0 => api.queries.mark_elsewhere(&Reader::of(&bob)),
                _ => drop(mark(&api, &bob, &json!({"events": [event(offset, None)]})).await),
            }
            assert_eq!(bobs.message_of("read_state").await["offset"], json!(offset as u64));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), others).await.expect("nobody waits for the slow ones");
    gate.add_permits(1);
    for mut client in slow {
        assert_eq!(client.message_of("read_state").await["offset"], 0);
    }
    drop(bobs);
    served.end(&api).await;
}

#[tokio::test]
async fn a_mark_is_pushed_to_all_connections_of_its_user_and_to_nobody_else() {
    let api = Api::new(Setup::default());
    let served = Served::start(&api).await;
    let address = served.address;
    let [ada, bob] = ["ada", "bob"].map(|subject| viewer(subject, Accounts::All));
    let mut one = Client::connect(&api, address, &ada).await;
    let mut two = Client::connect(&api, address, &ada).await;
    let mut bobs = Client::connect(&api, address, &bob).await;
    for client in [&mut one, &mut two, &mut bobs] {
        let state = client.message_of("read_state").await;
        crate::contract::assert_fits(
            &json!({"$ref": "#/components/schemas/LiveServerMessage"}),
            &state,
            "a state",
        );
        assert_eq!((&state["offset"], &state["room"]), (&0.into(), &"read_state".into()));
        assert_eq!(state["data"]["unread"], 7);
    }
    let id = mark(&api, &ada, &json!({"events": [event(1, None)]})).await.json()["mark_id"].clone();
    for client in [&mut one, &mut two] {
        let state = client.message_of("read_state").await;
        assert_eq!((&state["offset"], &state["epoch"]), (&1.into(), &id));
        assert_eq!(state["data"], get(&api, &ada, UNREAD).await, "as whoever asks is answered");
    }
    // Nobody tells this instance of a mark at another one: it looks.
    api.queries.mark_elsewhere(&Reader::of(&ada));
    for client in [&mut one, &mut two] {
        assert_eq!(client.message_of("read_state").await["offset"], 2);
        assert!(client.read_states().await.is_empty(), "once");
    }
    mark(&api, &ada, &json!({"undo": id})).await;
    assert_eq!(one.message_of("read_state").await["offset"], 3);
    assert!(bobs.read_states().await.is_empty());
    drop((one, two, bobs));
    served.end(&api).await;
}
