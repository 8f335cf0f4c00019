//! Signs callers in: finds the issuer of a token and its keys, lets `kelly_auth` judge, and looks at the deny lists.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use chrono::Utc;
use kelly_api::{Authenticate, Credentials, NotKept, NotSignedIn, Proof, Rights};
use kelly_auth::{
    Accounts, Algorithm, Identity, Issuer, Links, MAX_LEEWAY_SECONDS, Refusal, Role, Roles, Session,
    Sessions, SigningSecret, Target, USUAL_TYPES, Unverified,
};
use kelly_cli::Usage;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::denied::DenyLists;
use super::keys::KeySource;
use super::random;
use crate::config::Config;

/// How long a sign-in link works, if it is not used before.
pub const LINK_LASTS: Duration = Duration::from_secs(24 * 3_600);

/// Whom the sign-in link of `kelly up` signs in.
const OWNER: &str = "owner";

/// Issuers, sessions, links and deny lists of one process.
pub struct Gate {
    issuers: HashMap<Arc<str>, Source>,
    sessions: Sessions,
    links: Mutex<Links>,
    denied: Arc<DenyLists>,
    owner: Identity,
    /// End with it.
    tasks: Vec<JoinHandle<()>>,
}

/// An issuer, and where its keys come from.
struct Source {
    issuer: Issuer,
    keys: KeySource,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Gate {
    /// Opens it: with the issuer that has this secret, if there is one, and those of the configuration.
    pub async fn open(
        config: &Config,
        secret: Option<SigningSecret>,
        directory: Option<&Path>,
    ) -> anyhow::Result<Arc<Self>> {
        let auth = &config.auth;
        let denied = Arc::new(DenyLists::open(auth.denied.as_deref(), directory)?);
        let mut tasks = Vec::new();
        if let Some(path) = &auth.denied {
            tasks.push(tokio::spawn(denied.clone().watch(path.clone())));
        }
        let mut issuers = HashMap::new();
        if let Some(secret) = &secret {
            let issuer = own_issuer(config);
            issuers.insert(
                issuer.name.clone(),
                Source { issuer, keys: KeySource::Fixed(Arc::new(secret.keys())) },
            );
        }
        if issuers.is_empty() {
            return Err(Usage(
                "nobody could sign in: set KELLY_AUTH_SECRET_FILE to a file with a secret of at least 32 bytes, the same for \
                 every process (`openssl rand -hex 32` makes one), or, on loopback, KELLY_AUTH=off"
                    .to_owned(),
            )
            .into());
        }
        let lifetime = i64::try_from(auth.session_time.as_secs()).unwrap_or(i64::MAX);
        // Without a shared secret the sessions of a browser are this process's own.
        let session_secret = match secret {
            Some(secret) => secret,
            None => SigningSecret::new(&random::text()?).context("making a secret for sessions")?,
        };
        let gate = Self {
            issuers,
            sessions: Sessions::new(session_secret, &auth.audience, lifetime),
            links: Mutex::default(),
            denied,
            owner: owner(config),
            tasks,
        };
        Ok(Arc::new(gate))
    }

    /// The code of a sign-in link for the owner. It works once.
    pub fn owners_link(&self) -> anyhow::Result<String> {
        self.link(self.owner.clone())
    }

    fn link(&self, identity: Identity) -> anyhow::Result<String> {
        let code = random::text()?;
        let now = Utc::now().timestamp();
        let lasts = i64::try_from(LINK_LASTS.as_secs()).unwrap_or(i64::MAX);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.add(&code, identity, now.saturating_add(lasts), now);
        Ok(code)
    }

    async fn verify(&self, text: &str, now: i64) -> Result<Identity, NotSignedIn> {
        let token = Unverified::parse(text)?;
        let source = self.issuers.get(token.issuer()?).ok_or(Refusal::Issuer)?;
        // A token that is wrong anyway asks for no keys.
        source.issuer.check_form(&token)?;
        let keys = source.keys.with(token.key_id()).await?;
        Ok(source.issuer.verify(&token, &keys, now)?)
    }

    fn check_denied(&self, caller: &Identity, now: i64) -> Result<(), Refusal> {
        if self.denied.denies(caller, now) { Err(Refusal::Revoked) } else { Ok(()) }
    }
}

/// The issuer whose secret this Kelly has itself.
pub fn own_issuer(config: &Config) -> Issuer {
    let auth = &config.auth;
    Issuer {
        name: auth.issuer.as_str().into(),
        audience: auth.audience.clone(),
        algorithm: Algorithm::Hs256,
        types: USUAL_TYPES.map(str::to_owned).into(),
        roles_claim: auth.roles_claim.clone(),
        accounts_claim: auth.accounts_claim.clone(),
        accounts_required: false,
        leeway_seconds: i64::try_from(auth.leeway.as_secs()).unwrap_or(i64::MAX),
    }
}

/// The user who has everything: signed in by the link that `kelly up` prints.
fn owner(config: &Config) -> Identity {
    Identity {
        issuer: config.auth.issuer.as_str().into(),
        subject: OWNER.into(),
        roles: Roles::of(&[Role::Admin]),
        accounts: Accounts::All,
        token_id: None,
        expires_at: None,
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("issuers", &self.issuers.keys()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Rights for Gate {
    async fn identify(&self, token: &str) -> Result<Identity, String> {
        Authenticate::identify(self, Credentials::Token(token)).await.map_err(|reason| reason.to_string())
    }

    fn is_in_force(&self, caller: &Identity) -> bool {
        !self.denied.denies(caller, Utc::now().timestamp())
    }

    fn withdrawn(&self) -> watch::Receiver<u64> {
        self.denied.changed()
    }
}

#[async_trait]
impl Authenticate for Gate {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, NotSignedIn> {
        let now = Utc::now().timestamp();
        let caller = match credentials {
            Credentials::Nothing => return Err(Refusal::Missing.into()),
            Credentials::Token(text) => self.verify(text, now).await?,
            Credentials::Session(text) => self.sessions.verify(text, now)?,
        };
        self.check_denied(&caller, now)?;
        Ok(caller)
    }

    fn recheck(&self, caller: &Identity) -> Result<(), Refusal> {
        let now = Utc::now().timestamp();
        if caller.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        self.check_denied(caller, now)
    }

    fn revoked(&self) -> watch::Receiver<u64> {
        self.denied.changed()
    }

    async fn open_session(&self, proof: Proof<'_>) -> Result<Session, NotSignedIn> {
        let now = Utc::now().timestamp();
        let caller = match proof {
            Proof::Code(code) => self.links.lock().unwrap_or_else(PoisonError::into_inner).take(code, now)?,
            Proof::Token(text) => self.verify(text, now).await?,
        };
        self.check_denied(&caller, now)?;
        let fresh_id = uuid::Uuid::new_v4().to_string();
        Ok(self.sessions.open(&caller, &fresh_id, now))
    }

    async fn close(&self, caller: &Identity) -> Result<(), NotKept> {
        match &caller.token_id {
            Some(token) => {
                // A token is taken a little longer than it says: clocks differ.
                let until = caller.expires_at.map(|end| end.saturating_add(MAX_LEEWAY_SECONDS));
                self.denied.deny(Target::Token(token.clone()), until, Utc::now().timestamp()).await
            }
            None => Ok(()),
        }
    }
}
