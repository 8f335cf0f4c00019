//! Deciding: the port to this instance's replica of the control log, and from a verdict to an answer.

mod answer;

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use kelly_auth::{Identity, Role};
use kelly_control::{Actor, Command, Op, Outcome, Replica, State, SubmitError};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use uuid::Uuid;

use crate::parameters::{Id, Value, wrong_parameter};
use crate::problem::Problem;
use crate::state::HandlerState;

pub(crate) use answer::{Decided, not_found};

/// The header with which a client names its command, so that the same request sent again counts once.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header as the document describes it.
pub(crate) struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "A UUID of your choice for this request. Sent again with the same one within 24 hours, it counts once, and is answered what \
                 was decided the first time.",
            ))
            .schema(Some(Id::schema()));
        vec![parameter.build()]
    }
}

/// What is decided, as far as this instance has read, and who puts commands on the log. [`Replica`] is one.
#[async_trait]
pub trait Decisions: Send + Sync {
    /// Calls this once with what is decided. It has to be short: nothing is decided here meanwhile.
    fn look(&self, look: &mut dyn FnMut(&State));

    /// Puts a command on the log, and answers what the log decided.
    async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError>;
}

#[async_trait]
impl Decisions for Replica {
    fn look(&self, look: &mut dyn FnMut(&State)) {
        self.read(|state| look(state));
    }

    async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
        Self::submit(self, command).await
    }
}

/// What a look at the state finds.
pub(crate) fn read<T>(decisions: &dyn Decisions, look: impl FnOnce(&State) -> T) -> Result<T, Problem> {
    let (mut look, mut seen) = (Some(look), None);
    decisions.look(&mut |state| seen = look.take().map(|look| look(state)));
    seen.ok_or_else(|| Problem::internal("a look at what is decided saw nothing"))
}

/// Somebody who decides.
pub(crate) struct Deciding {
    decisions: Arc<dyn Decisions>,
    actor: Actor,
    key: Option<Uuid>,
}

impl Deciding {
    /// By this caller, under the key of the request if it has one.
    pub(crate) fn of(shared: &HandlerState, caller: &Identity, headers: &HeaderMap) -> Result<Self, Problem> {
        let actor = actor_of(caller, &shared.app.settings.issuer);
        Ok(Self { decisions: shared.app.decisions.clone(), actor, key: key_of(headers)? })
    }

    /// The same who says what others saw.
    pub(crate) fn for_others(self, kind: kelly_control::ActorKind) -> Self {
        Self { actor: Actor { kind, ..self.actor }, ..self }
    }

    /// As who.
    pub(crate) fn name(&self) -> &str {
        &self.actor.id
    }

    /// What is decided is done, or a problem says why it is not.
    pub(crate) async fn decide(&self, op: Op) -> Result<Decided, Problem> {
        self.submit(self.command(op)).await
    }

    /// The same for one of several commands of a request.
    pub(crate) async fn decide_part(&self, part: u32, op: Op) -> Result<Decided, Problem> {
        let mut command = self.command(op);
        if let Some(key) = self.key {
            command.id = Command::id_of_part(&key, part);
        }
        self.submit(command).await
    }

    /// The same under an id that follows from what is said.
    pub(crate) async fn decide_as(&self, id: Uuid, op: Op) -> Result<Decided, Problem> {
        let mut command = self.command(op);
        command.id = id;
        self.submit(command).await
    }

    fn command(&self, op: Op) -> Command {
        let mut command = Command::new(self.actor.clone(), op);
        if let Some(key) = self.key {
            command.id = key;
        }
        command
    }

    async fn submit(&self, command: Command) -> Result<Decided, Problem> {
        answer::judged(command.id, self.decisions.submit(&command).await)
    }
}

/// Who a caller is on the control log. The subject alone where Kelly's own issuer named it: subjects are unique within an issuer.
pub(crate) fn actor_of(caller: &Identity, own_issuer: &str) -> Actor {
    let id = match *caller.issuer == *own_issuer {
        true => caller.subject.to_string(),
        false => format!("{} ({})", caller.subject, caller.issuer),
    };
    // They are declared from the least to the most, programs last.
    let people = caller.roles.iter().filter(|role| !matches!(role, Role::Producer | Role::Worker)).last();
    let role = people.or_else(|| caller.roles.iter().last());
    Actor { role: role.map(|role| role.as_str().to_owned()), ..Actor::person(id) }
}

fn key_of(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = given.to_str().ok().and_then(|text| Id::parse(text).ok());
    key.map(|Id(id)| Some(id)).ok_or_else(|| {
        wrong_parameter(
            "Idempotency-Key",
            "is no UUID; choose a new one for each request that is another one",
        )
    })
}

#[cfg(test)]
mod tests {
    use kelly_auth::{Accounts, Roles};

    use super::*;

    #[test]
    fn an_actor_is_named_so_that_no_two_users_have_one_name() {
        let caller = |issuer: &str, roles: &[Role]| Identity {
            issuer: issuer.into(),
            subject: "ada".into(),
            roles: Roles::of(roles),
            accounts: Accounts::All,
            token_id: None,
            expires_at: None,
            origin_ends_at: None,
        };
        let named = |issuer, roles| {
            let actor = actor_of(&caller(issuer, roles), "kelly");
            (actor.id, actor.role.unwrap_or_default())
        };
        let some = |id: &str, role: &str| (id.to_owned(), role.to_owned());
        assert_eq!(named("kelly", &[Role::Viewer, Role::Operator, Role::Worker]), some("ada", "operator"));
        assert_eq!(named("https://sso", &[Role::Producer]), some("ada (https://sso)", "producer"));
    }
}
