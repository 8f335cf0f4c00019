//! One connection, whatever carries it: its rooms, its rights, and when both are looked at again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_auth::{Identity, Refusal};
use kelly_live::{
    Close, Command, Connection, LeaveReason, MessageId, Mistake, MistakeCode, Progress, Request, Resume,
    Room, ServerMessage, Token, User, render,
};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use super::access::{self, TELL_BEFORE_END};
use super::counts::{Counted, Transport};
use super::figures::figures_of;
use super::seats::{NoSeat, Seat};
use crate::caller::identity_of;
use crate::ports::Credentials;
use crate::problem::{Code, Problem};
use crate::state::HandlerState;

/// What is on its way for a client.
pub(super) type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What came of it.
pub(super) enum Answer {
    /// The figures.
    Figures(Option<MessageId>, Result<Map<String, Value>, Problem>),
    /// Whose a newer token is.
    Token(Option<MessageId>, Result<Identity, String>),
}

/// What comes of a command: messages at once, or something that takes a while.
pub(super) enum Outcome {
    /// To be sent.
    Messages(Vec<Bytes>),
    /// To be waited for.
    Later(Asked),
}

/// A connection with its rights.
pub(crate) struct Session {
    pub(super) shared: HandlerState,
    identity: Identity,
    connection: Connection,
    /// Changes when some token was withdrawn.
    revoked: watch::Receiver<u64>,
    _seat: Seat,
    pub(super) counted: Counted,
    /// When the end of the token is told; `None` once it was, and where there is none.
    tell_end_at: Option<Instant>,
    end_at: Option<Instant>,
}

impl Session {
    /// A connection of this caller, if there is a place for it.
    pub(crate) async fn open(
        shared: &HandlerState,
        extensions: &axum::http::Extensions,
        transport: Transport,
    ) -> Result<Self, Problem> {
        let identity = identity_of(extensions)?;
        let live = &shared.app.live;
        if live.stop.has_begun() {
            return Err(Problem::new(Code::ServerBusy, "This server is stopping; connect again.")
                .retry_after(Duration::from_secs(1)));
        }
        // Clocks may differ, so a token is taken a little longer than it says; a connection would end as it begins.
        if access::time_left(&identity, (shared.app.settings.clock)()).is_some_and(|left| left.is_zero()) {
            return Err(Problem::not_signed_in(Refusal::Expired));
        }
        let seat = live.seats.take(access::user_of(&identity)).map_err(|reason| no_seat(reason, shared))?;
        let seat = seat.shared_by(shared.app.seats.as_ref()).await;
        let seat = seat.map_err(|reason| no_seat(reason, shared))?;
        let connection = Connection::new(&live.hub, identity.accounts.clone()).of_user(User::of(&identity));
        let mut session = Self {
            shared: shared.clone(),
            identity,
            connection,
            revoked: shared.app.authenticate.revoked(),
            _seat: seat,
            counted: live.counts.open(transport),
            tell_end_at: None,
            end_at: None,
        };
        session.note_end();
        Ok(session)
    }

    fn note_end(&mut self) {
        let now = Instant::now();
        let left = access::time_left(&self.identity, (self.shared.app.settings.clock)());
        // A token of a century ends after the connection.
        self.end_at = left.and_then(|left| now.checked_add(left));
        self.tell_end_at = left.and_then(|left| now.checked_add(left.saturating_sub(TELL_BEFORE_END)));
    }

    /// The first message.
    pub(super) fn welcome(&self) -> Bytes {
        let settings = &self.shared.app.live.settings;
        render(&ServerMessage::Welcome {
            ping_interval: settings.ping_every().as_secs(),
            timeout: settings.timeout.as_secs(),
            expires_at: self.identity.expires_at,
        })
    }

    pub(super) fn woken(&self) -> Arc<Notify> {
        self.connection.woken()
    }

    /// Obeys a message of the client, or says why not. One thing that takes a while is on its way at a time.
    pub(super) fn obey(&mut self, command: Command, is_busy: bool) -> Outcome {
        let Command { id, what } = command;
        match what {
            Request::GetMetrics | Request::RefreshToken(_) if is_busy => {
                let detail = "an earlier message is still on its way; wait for its answer".to_owned();
                Outcome::Messages(vec![render(&Mistake { id, code: MistakeCode::Busy, detail }.into())])
            }
            Request::Ping => Outcome::Messages(vec![render(&ServerMessage::Pong { id })]),
            Request::Subscribe(rooms) => Outcome::Messages(self.subscribe(id, rooms)),
            Request::Unsubscribe(rooms) => {
                Outcome::Messages(vec![self.connection.unsubscribe(id, &rooms, LeaveReason::Asked)])
            }
            Request::GetMetrics => match access::may_enter(&self.identity, &Room::Dashboard) {
                Ok(()) => {
                    let (shared, accounts) = (self.shared.clone(), self.identity.accounts.clone());
                    Outcome::Later(Box::pin(async move {
                        Answer::Figures(id, figures_of(&shared, &accounts).await)
                    }))
                }
                Err(mistake) => Outcome::Messages(vec![refusal(id, mistake)]),
            },
            Request::RefreshToken(token) => self.refresh(id, token),
        }
    }

    fn refresh(&self, id: Option<MessageId>, token: Token) -> Outcome {
        let authenticate = self.shared.app.authenticate.clone();
        Outcome::Later(Box::pin(async move {
            let found = authenticate.identify(Credentials::Token(token.reveal())).await;
            Answer::Token(id, found.map_err(|reason| reason.to_string()))
        }))
    }

    /// Goes on under a newer token of the same user, with the rights it gives.
    fn adopt(&mut self, id: Option<MessageId>, identity: Identity) -> Result<Vec<Bytes>, Close> {
        if (&identity.issuer, &identity.subject) != (&self.identity.issuer, &self.identity.subject) {
            let detail = "the token is of another user; connect with it instead".to_owned();
            return Ok(vec![token_refused(id, detail)]);
        }
        self.identity = identity;
        // It may have been withdrawn since it was verified, when this was looked at with the one before.
        self.recheck()?;
        self.note_end();
        self.connection.see(self.identity.accounts.clone());
        let lost: Vec<Room> = self
            .connection
            .rooms()
            .filter(|room| access::may_enter(&self.identity, room).is_err())
            .cloned()
            .collect();
        let expires_at = self.identity.expires_at;
        let mut messages = vec![render(&ServerMessage::TokenRefreshed { id, expires_at })];
        if !lost.is_empty() {
            messages.push(self.connection.unsubscribe(None, &lost, LeaveReason::Forbidden));
        }
        // Who sees other accounts now gets their figures, and what is unread of them.
        self.shared.app.live.figures.look(&self.shared);
        self.shared.app.live.reading.look(&self.shared, &User::of(&self.identity));
        Ok(messages)
    }

    /// Waits until some token was withdrawn, perhaps this one.
    pub(super) async fn withdrawn(&mut self) {
        if self.revoked.changed().await.is_err() {
            // Nothing is withdrawn any more.
            std::future::pending().await
        }
    }

    /// Whether the token is still in force.
    pub(super) fn recheck(&self) -> Result<(), Close> {
        self.shared.app.authenticate.recheck(&self.identity).map_err(|reason| match reason {
            Refusal::Expired => Close::TokenExpired,
            _ => Close::Forbidden,
        })
    }

    /// What is sent once something asked for is there.
    pub(super) fn answer(&mut self, answer: Answer) -> Result<Vec<Bytes>, Close> {
        Ok(match answer {
            Answer::Figures(id, Ok(figures)) => {
                vec![self.connection.figures_answer(id, to_raw_value(&figures).unwrap_or_default())]
            }
            Answer::Token(id, Ok(identity)) => return self.adopt(id, identity),
            Answer::Token(id, Err(reason)) => vec![token_refused(id, reason)],
            Answer::Figures(id, Err(problem)) => {
                let detail =
                    format!("the figures cannot be had at the moment ({}); ask again", problem.code().name());
                let mistake = Mistake { id, code: MistakeCode::FiguresUnavailable, detail };
                vec![render(&mistake.into())]
            }
        })
    }

    /// Whether all these rooms may be entered, where one that may not ends the request.
    pub(crate) fn permit(&self, rooms: &[Resume]) -> Result<(), Problem> {
        let refused = rooms.iter().find_map(|resume| access::may_enter(&self.identity, &resume.room).err());
        match refused {
            None => Ok(()),
            Some(Mistake { detail, .. }) => Err(Problem::new(Code::NotPermitted, sentence(&detail))),
        }
    }

    /// Enters rooms; all of them or none.
    pub(super) fn subscribe(&mut self, id: Option<MessageId>, rooms: Vec<Resume>) -> Vec<Bytes> {
        let mut checks = rooms.iter().map(|resume| access::may_enter(&self.identity, &resume.room));
        if let Some(mistake) = checks.find_map(Result::err) {
            return vec![refusal(id, mistake)];
        }
        if !self.connection.has_room_for(&rooms) {
            let detail = format!("a connection is in at most {} rooms", kelly_live::MAX_ROOMS);
            return vec![render(&Mistake { id, code: MistakeCode::TooManyRooms, detail }.into())];
        }
        let looks_at_figures = rooms.iter().any(|resume| resume.room == Room::Dashboard);
        let looks_at_reading = rooms.iter().any(|resume| resume.room == Room::ReadState);
        let messages = self.connection.subscribe(id, rooms, Instant::now());
        if looks_at_figures {
            self.shared.app.live.figures.look(&self.shared);
        }
        if looks_at_reading {
            self.shared.app.live.reading.look(&self.shared, &User::of(&self.identity));
        }
        messages
    }

    pub(super) fn next(&mut self, max_bytes: usize, give: &mut dyn FnMut(Bytes)) -> Progress {
        self.connection.next(Instant::now(), max_bytes, give)
    }

    pub(super) fn is_too_far_behind(&self) -> bool {
        self.connection.is_too_far_behind()
    }

    pub(super) fn tell_positions(&self) -> Vec<Bytes> {
        self.connection.tell_positions()
    }

    pub(super) fn position_text(&self) -> Option<String> {
        self.connection.position_text()
    }

    /// When to look again though nothing came.
    pub(super) fn look_again_at(&self) -> Option<Instant> {
        [self.connection.look_again_at(), self.tell_end_at, self.end_at].into_iter().flatten().min()
    }

    /// Whether the rights still hold, and what there is to say about them.
    pub(super) fn check(&mut self, now: Instant) -> Result<Option<Bytes>, Close> {
        if self.end_at.is_some_and(|end| end <= now) {
            return Err(Close::TokenExpired);
        }
        if self.tell_end_at.is_some_and(|at| at <= now) {
            self.tell_end_at = None;
            let expires_at = self.identity.expires_at.unwrap_or_default();
            return Ok(Some(render(&ServerMessage::TokenExpiring { expires_at })));
        }
        Ok(None)
    }
}

fn token_refused(id: Option<MessageId>, detail: String) -> Bytes {
    render(&Mistake { id, code: MistakeCode::TokenRefused, detail }.into())
}

/// Details of mistakes are fragments; one of a problem is a sentence.
fn sentence(fragment: &str) -> String {
    let mut characters = fragment.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), characters.as_str())
}

fn refusal(id: Option<MessageId>, mistake: Mistake) -> Bytes {
    render(&Mistake { id, ..mistake }.into())
}

fn no_seat(reason: NoSeat, shared: &HandlerState) -> Problem {
    let settings = &shared.app.live.settings;
    match reason {
        NoSeat::AllTaken => Problem::new(
            Code::ServerBusy,
            format!(
                "This server has {} live connections open, as many as it takes (WEBSOCKET_MAX_CONNECTIONS). Try again \
                 after a moment, or at another instance.",
                settings.max_connections
            ),
        )
        .retry_after(Duration::from_secs(5)),
        NoSeat::ShareTaken => Problem::new(
            Code::TooManySockets,
            format!(
                "You have {} live connections open, as many as one user may. Close one, or share one connection among \
                 the pages of a browser.",
                settings.max_of_a_user
            ),
        ),
    }
}
