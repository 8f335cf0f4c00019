//! The client of one request, as the handlers of questions see it.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use kelly_auth::{Accounts, Identity};
use kelly_query::Reader;

use crate::answers::{self, Question};
use crate::caller::{Caller, identity_of};
use crate::problem::Problem;
use crate::state::HandlerState;

/// What a handler of a question returns.
pub(crate) type Answered = Result<Response, Problem>;

/// What answers a client, and what its headers say.
pub(crate) struct Client {
    pub(crate) shared: HandlerState,
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Identity,
    pub(crate) caller: Caller,
    /// The accounts that the caller may see.
    pub(crate) accounts: Accounts,
    /// The caller, as who has read events.
    pub(crate) reader: Reader,
}

impl Client {
    /// The answer to a question, as this client takes it.
    pub(crate) async fn answer(&self, question: Question) -> Answered {
        answers::answer(&self.shared, question, &self.caller, &self.headers).await
    }
}

impl FromRequestParts<HandlerState> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &HandlerState) -> Result<Self, Problem> {
        let caller = Caller::of(&parts.extensions);
        let identity = identity_of(&parts.extensions)?;
        let (accounts, reader) = (identity.accounts.clone(), Reader::of(&identity));
        let (shared, headers) = (shared.clone(), parts.headers.clone());
        Ok(Self { shared, headers, identity, caller, accounts, reader })
    }
}
