//! Authentication that is off: everybody is an administrator. On loopback only.

use async_trait::async_trait;
use kelly_api::{Authenticate, Credentials, ManageAccess, NotKept, NotSignedIn, Proof, SignInCode};
use kelly_auth::{Accounts, Denied, Identity, Refusal, Role, Roles, Session, Target};
use tokio::sync::watch;

/// Who everybody is of.
pub const ISSUER: &str = "off";

/// Lets everybody in.
pub struct Off {
    everybody: Identity,
    never: watch::Sender<u64>,
}

impl Off {
    pub fn new() -> Self {
        let everybody = Identity {
            issuer: ISSUER.into(),
            subject: "everybody".into(),
            roles: Roles::of(&[Role::Admin]),
            accounts: Accounts::All,
            token_id: None,
            expires_at: None,
            origin_ends_at: None,
        };
        Self { everybody, never: watch::Sender::new(0) }
    }
}

#[async_trait]
impl Authenticate for Off {
    async fn identify(&self, _: Credentials<'_>) -> Result<Identity, NotSignedIn> {
        Ok(self.everybody.clone())
    }

    fn recheck(&self, _: &Identity) -> Result<(), Refusal> {
        Ok(())
    }

    fn revoked(&self) -> watch::Receiver<u64> {
        self.never.subscribe()
    }

    /// There are none to be opened: no link is given out.
    async fn open_session(&self, _: Proof<'_>) -> Result<Session, NotSignedIn> {
        Err(Refusal::Link.into())
    }

    async fn close(&self, _: &Identity) -> Result<(), NotKept> {
        Ok(())
    }
}

#[async_trait]
impl ManageAccess for Off {
    fn new_link(&self, _: &Identity) -> Result<SignInCode, NotKept> {
        Err(NotKept::Off)
    }

    fn denied(&self) -> Denied {
        Denied::default()
    }

    async fn deny(&self, _: Target, _: Option<i64>) -> Result<(), NotKept> {
        Err(NotKept::Off)
    }

    async fn allow(&self, _: &Target) -> Result<bool, NotKept> {
        Err(NotKept::Off)
    }

    fn keeps_denied(&self) -> bool {
        false
    }
}
