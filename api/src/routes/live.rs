//! Live push: three WebSockets and a stream of server-sent events. docs/live.md has the messages and the close codes.

use std::fmt::Display;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use kelly_live::{Position, Positions, Resume, Room};
use kelly_schemas::limits::CONVERSATION_ID_CHARACTERS;
use tungstenite::handshake::derive_accept_key;

use crate::caller::identity_of;
use crate::client::Answered;
use crate::live::{SUBPROTOCOL, Session, Transport, begin_socket};
use crate::openapi::{EventStream, SocketProblems, StreamProblems, SwitchingProtocols};
use crate::parameters::{
    Identifier, InPath, LivePosition, Parameters, Required, RoomNames, parameters, wrong_parameter,
};
use crate::problem::{Code, Problem};
use crate::state::HandlerState;

/// The header in which a browser gives back the id of the last event it got.
const LAST_EVENT_ID: &str = "last-event-id";

parameters! {
    /// Where to go on.
    pub(crate) struct ResumeParameters {
        /// The position to go on at, as a stream of server-sent events gave it as an event's id; without it the room begins with a snapshot.
        resume: Option<LivePosition>,
    }
}

parameters! {
    /// Of one conversation.
    pub(crate) struct ConversationParameters {
        /// The conversation.
        conversation_id: InPath<Identifier<CONVERSATION_ID_CHARACTERS>>,
        resume: ResumeParameters,
    }
}

parameters! {
    /// Of the stream.
    pub(crate) struct StreamParameters {
        /// Names of rooms with commas between them.
        rooms: Required<RoomNames>,
        resume: ResumeParameters,
    }
}

/// Live dashboard (WebSocket)
///
/// Begins in no room: send `subscribe`. The messages are the components LiveClientMessage and LiveServerMessage; docs/live.md explains
/// them, the close codes and how to resume. The subprotocol is `kelly.v1`.
#[utoipa::path(
    get,
    path = "/ws/kelly/monitoring",
    tag = "live",
    operation_id = "live_monitoring",
    responses(SwitchingProtocols, SocketProblems)
)]
pub(crate) async fn monitoring(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
    request: Request,
) -> Answered {
    upgrade(shared, request, Vec::new()).await
}

/// One conversation (WebSocket)
///
/// As `/ws/kelly/monitoring`, and begins in the room of the conversation, and in that of its alerts.
#[utoipa::path(
    get,
    path = "/ws/kelly/conversation/{conversation_id}",
    tag = "live",
    operation_id = "live_conversation",
    params(ConversationParameters),
    responses(SwitchingProtocols, SocketProblems)
)]
pub(crate) async fn conversation(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<ConversationParameters>,
    request: Request,
) -> Answered {
    let ConversationParameters { conversation_id: InPath(Identifier(id)), resume } = asked;
    let room = Room::conversation(&id)
        .map_err(|_| wrong_parameter("conversation_id", "is no id of a conversation"))?;
    let alerts = Room::conversation_alerts(&id)
        .map_err(|_| wrong_parameter("conversation_id", "is no id of a conversation"))?;
    let mut positions = positions(resume, None)?;
    let caller = identity_of(request.extensions())?;
    let permitted = [room, alerts].into_iter().filter(|room| caller.may(room.permission()).is_ok());
    let rooms = permitted.map(|room| Resume { at: positions.remove(&room), room }).collect();
    upgrade(shared, request, rooms).await
}

/// Alerts (WebSocket)
///
/// As `/ws/kelly/monitoring`, and begins in the room of alerts.
#[utoipa::path(
    get,
    path = "/ws/kelly/alerts",
    tag = "live",
    operation_id = "live_alerts",
    params(ResumeParameters),
    responses(SwitchingProtocols, SocketProblems)
)]
pub(crate) async fn alerts(
    State(shared): State<HandlerState>,
    Parameters(resume): Parameters<ResumeParameters>,
    request: Request,
) -> Answered {
    let at = positions(resume, None)?.remove(&Room::Alerts);
    upgrade(shared, request, vec![Resume { room: Room::Alerts, at }]).await
}

/// Live rooms (server-sent events)
///
/// The same messages as over a WebSocket, one an event. Each event that moves a position has it as its id; a browser that connects
/// again sends it as Last-Event-ID and misses nothing. A comment is sent now and then so that the connection is not idle.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/live/events",
    tag = "live",
    operation_id = "live_events",
    params(StreamParameters),
    responses(EventStream, StreamProblems)
)]
pub(crate) async fn events(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<StreamParameters>,
    request: Request,
) -> Answered {
    let StreamParameters { rooms: Required(RoomNames(rooms)), resume } = asked;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let mut positions = positions(resume, last)?;
    let session = Session::open(&shared, request.extensions(), Transport::EventStream).await?;
    let resume = |room| Resume { at: positions.remove(&room), room };
    let rooms: Vec<Resume> = rooms.into_iter().map(resume).collect();
    session.permit(&rooms)?;
    Ok(crate::live::events(session, rooms))
}

/// Where to go on: where the last event was that a browser got, else where the parameter says.
fn positions(resume: ResumeParameters, last_event_id: Option<&str>) -> Result<Positions, Problem> {
    let given = resume.resume.map(|Identifier(text)| text);
    let Some(text) = last_event_id.or(given.as_deref()) else { return Ok(Positions::new()) };
    Position::read_all(text).map_err(|error| {
        Problem::new(Code::InvalidCursor, format!("The position (`resume`, or Last-Event-ID) is {error}."))
    })
}

/// Makes a WebSocket of the connection, in these rooms. axum looks whether that is asked for; the answer is made here, because
/// the WebSocket that axum would make has a buffer of its own for all that is written.
async fn upgrade(shared: HandlerState, request: Request, rooms: Vec<Resume>) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let upgrading = parts.extensions.get::<OnUpgrade>().cloned();
    let asked = WebSocketUpgrade::from_request_parts(&mut parts, &shared).await;
    let asked = asked.map_err(no_socket)?.protocols([SUBPROTOCOL]);
    let (Some(upgrading), Some(key)) = (upgrading, parts.headers.get(SEC_WEBSOCKET_KEY)) else {
        return Err(no_socket("the connection cannot be upgraded"));
    };
    let mut answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    if let Some(protocol) = asked.selected_protocol() {
        answer = answer.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let answer = answer.body(Body::empty()).map_err(no_socket)?;
    let session = Session::open(&shared, &parts.extensions, Transport::WebSocket).await?;
    begin_socket(upgrading, session, rooms);
    Ok(answer)
}

fn no_socket(why: impl Display) -> Problem {
    Problem::new(
        Code::NotAWebSocket,
        "The request does not ask for a WebSocket of version 13 (Connection, Upgrade, Sec-WebSocket-Key, \
         Sec-WebSocket-Version). Connect with a WebSocket client, or read /api/v1/kelly/live/events.",
    )
    .because(why.to_string())
}
