//! Signs callers in: finds the issuer of a token and its keys, lets `kelly_auth` judge, and looks at the deny lists.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use chrono::Utc;
use kelly_api::{Authenticate, Credentials, ManageAccess, NotKept, NotSignedIn, Proof, SignInCode};
use kelly_auth::{
    Accounts, Algorithm, Denied, Identity, Issuer, Links, MAX_LEEWAY_SECONDS, MAX_NAME_BYTES, Refusal, Role,
    Roles, Session, Sessions, SigningSecret, Target, USUAL_TYPES, Unverified, is_name,
};
use kelly_cli::Usage;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::denied::DenyLists;
use super::issuers::{self, Configured, KeyPlace};
use super::keys::{AtUrl, Fetch, InFile, KeySource, Pace, Published};
use super::random;
use crate::config::Config;

/// How long a sign-in link works, if it is not used before.
pub const LINK_LASTS: Duration = Duration::from_secs(15 * 60);

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
        if !is_name(&auth.issuer) {
            return Err(Usage(format!(
                "KELLY_AUTH_ISSUER: has 1 to {MAX_NAME_BYTES} bytes and no control characters: it is what `iss` says in tokens"
            ))
            .into());
        }
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
        if let Some(path) = &auth.issuers {
            for Configured { issuer, keys } in issuers::read(path, config)? {
                let name = issuer.name.clone();
                let keys =
                    key_source(&issuer, keys).with_context(|| format!("the keys of the issuer {name}"))?;
                if let KeySource::Published(published) = &keys {
                    tasks.push(tokio::spawn(published.clone().keep()));
                }
                issuers.insert(name, Source { issuer, keys });
            }
        }
        if issuers.is_empty() {
            return Err(Usage(
                "nobody could sign in: set KELLY_AUTH_SECRET_FILE to a file with a secret of at least 32 bytes, the same for \
                 every process (`openssl rand -hex 32` makes one), or KELLY_AUTH_ISSUERS, or, on loopback, KELLY_AUTH=off"
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

    /// A session outlives a restart, and must not outlive that its issuer is accepted.
    fn check_issuer(&self, caller: Identity) -> Result<Identity, Refusal> {
        let is_accepted = self.issuers.contains_key(&caller.issuer) || caller.issuer == self.owner.issuer;
        if is_accepted { Ok(caller) } else { Err(Refusal::Issuer) }
    }

    fn check_denied(&self, caller: &Identity, now: i64) -> Result<(), Refusal> {
        if self.denied.denies(caller, now) { Err(Refusal::Revoked) } else { Ok(()) }
    }
}

/// Where the keys of an issuer come from. Published ones are not waited for: the issuer may be away.
fn key_source(issuer: &Issuer, place: KeyPlace) -> anyhow::Result<KeySource> {
    let (place, pace): (Box<dyn Fetch>, Pace) = match place {
        KeyPlace::Secret(path) => {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let secret = SigningSecret::new(&text)
                .map_err(|error| Usage(format!("the secret in {}: {error}", path.display())))?;
            return Ok(KeySource::Fixed(Arc::new(secret.keys())));
        }
        KeyPlace::File(path) => (Box::new(InFile(path)), Pace::FILE),
        KeyPlace::Url(url) => (Box::new(AtUrl::new(url)?), Pace::URL),
    };
    let published = Published::new(issuer.name.clone(), issuer.algorithm, place, pace);
    Ok(KeySource::Published(Arc::new(published)))
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
        origin_ends_at: None,
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("issuers", &self.issuers.keys()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ManageAccess for Gate {
    fn new_link(&self, caller: &Identity) -> Result<SignInCode, NotKept> {
        let code = self.link(caller.clone());
        let code = code.map_err(|error| NotKept::Unwritable { reason: error.to_string() })?;
        Ok(SignInCode { code, lasts: LINK_LASTS })
    }

    fn denied(&self) -> Denied {
        Denied::clone(&self.denied.kept())
    }

    async fn deny(&self, target: Target, until: Option<i64>) -> Result<(), NotKept> {
        self.denied.deny(target, until, Utc::now().timestamp()).await
    }

    async fn allow(&self, target: &Target) -> Result<bool, NotKept> {
        self.denied.allow(target).await
    }

    fn keeps_denied(&self) -> bool {
        self.denied.is_kept()
    }
}

#[async_trait]
impl Authenticate for Gate {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, NotSignedIn> {
        let now = Utc::now().timestamp();
        let caller = match credentials {
            Credentials::Nothing => return Err(Refusal::Missing.into()),
            Credentials::Token(text) => self.verify(text, now).await?,
            Credentials::Session(text) => self.check_issuer(self.sessions.verify(text, now)?)?,
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
        Ok(self.sessions.open(&caller, &fresh_id, now)?)
    }

    async fn close(&self, caller: &Identity) -> Result<(), NotKept> {
        match &caller.token_id {
            Some(token) => {
                // A token is taken a little longer than it says: clocks differ.
                let until = caller.all_ended_at().map(|end| end.saturating_add(MAX_LEEWAY_SECONDS));
                let token = Target::Token { issuer: Some(caller.issuer.clone()), id: token.clone() };
                self.denied.deny_at_least(token, until, Utc::now().timestamp()).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use kelly_auth::{Grant, mint};
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "https://login.example.com";

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token(key: &Ed25519KeyPair, kid: &str, issuer: &str) -> String {
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": kid});
        let claims = json!({
            "iss": issuer, "aud": "kelly", "sub": "alice", "jti": "t-1", "roles": ["viewer"],
            "exp": Utc::now().timestamp() + 60,
        });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = encode(key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn key_set(keys: &[(&str, &Ed25519KeyPair)]) -> Value {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kid, key)| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(key.public_key())}))
            .collect();
        json!({ "keys": keys })
    }

    fn own_token(subject: &str, token_id: &str) -> String {
        lasting_token(subject, token_id, 60)
    }

    fn lasting_token(subject: &str, token_id: &str, lifetime_seconds: i64) -> String {
        let grant = Grant {
            issuer: "kelly",
            audience: "kelly",
            subject,
            roles: Roles::of(&[Role::Viewer]),
            accounts: Accounts::All,
            token_id,
            lifetime_seconds,
        };
        mint(&SigningSecret::new(SECRET).unwrap(), &grant, Utc::now().timestamp())
    }

    async fn gate(directory: &Path, issuers: &str) -> Arc<Gate> {
        let file = directory.join("issuers.toml");
        std::fs::write(&file, issuers).unwrap();
        let config = Config::of(&[("KELLY_AUTH_ISSUERS", file.to_str().unwrap())]);
        Gate::open(&config, Some(SigningSecret::new(SECRET).unwrap()), Some(directory)).await.unwrap()
    }

    async fn verdict(gate: &Gate, token: &str) -> Result<String, NotSignedIn> {
        Authenticate::identify(gate, Credentials::Token(token))
            .await
            .map(|caller| format!("{} of {}", caller.subject, caller.issuer))
    }

    /// An issuer over HTTP that publishes what it is told to; the address of its set.
    async fn publish(set: Arc<Mutex<Value>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let body = set.lock().unwrap().to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}/keys")
    }

    #[tokio::test]
    async fn several_issuers_get_in_each_with_its_own_keys() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, others] = [(); 2].map(|()| Ed25519KeyPair::generate().unwrap());
        let url = publish(Arc::new(Mutex::new(key_set(&[("a", &ours)])))).await;
        let entry = format!("[[issuer]]\niss = \"{OTHER}\"\nalgorithm = \"EdDSA\"\njwks = \"{url}\"\n");
        let gate = gate(directory.path(), &entry).await;
        let alice = format!("alice of {OTHER}");
        assert_eq!(verdict(&gate, &token(&ours, "a", OTHER)).await, Ok(alice));
        assert_eq!(verdict(&gate, &own_token("bob", "t-2")).await, Ok("bob of kelly".to_owned()));
        for (wrong, expected) in [
            (token(&others, "a", OTHER), Refusal::Signature),
            (token(&ours, "b", OTHER), Refusal::UnknownKey),
            (token(&ours, "a", "kelly"), Refusal::Algorithm),
            (token(&ours, "a", "https://evil.example"), Refusal::Issuer),
        ] {
            assert_eq!(verdict(&gate, &wrong).await, Err(expected.into()));
        }
    }

    #[tokio::test]
    async fn a_set_in_a_file_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let [old, new] = [(); 2].map(|()| Ed25519KeyPair::generate().unwrap());
        let file = directory.path().join("keys.json");
        let entry = format!(
            "[[issuer]]\niss = \"{OTHER}\"\nalgorithm = \"EdDSA\"\njwks_file = \"{}\"\n",
            file.display()
        );
        let gate = gate(directory.path(), &entry).await;
        let (old_token, new_token) = (token(&old, "old", OTHER), token(&new, "new", OTHER));
        let away = verdict(&gate, &old_token).await;
        assert!(matches!(away, Err(NotSignedIn::KeysUnavailable { .. })), "{away:?}");
        for (keys, right) in
            [(key_set(&[("old", &old)]), &old_token), (key_set(&[("new", &new)]), &new_token)]
        {
            std::fs::write(&file, keys.to_string()).unwrap();
            while verdict(&gate, right).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(
            verdict(&gate, &old_token).await,
            Err(Refusal::UnknownKey.into()),
            "its key was taken away"
        );
    }

    #[tokio::test]
    async fn who_is_denied_is_refused_at_once_and_everywhere() {
        let directory = tempfile::tempdir().unwrap();
        let gate = gate(directory.path(), "").await;
        let (bob, other) = (own_token("bob", "t-1"), own_token("bob", "t-2"));
        let session = gate.open_session(Proof::Token(&bob)).await.unwrap();
        assert_eq!(
            Authenticate::identify(&*gate, Credentials::Session(&session.text)).await.unwrap(),
            session.identity
        );
        let mut revoked = gate.revoked();
        gate.close(&session.identity).await.unwrap();
        assert!(revoked.has_changed().unwrap(), "open connections are told");
        revoked.mark_unchanged();
        assert_eq!(gate.recheck(&session.identity), Err(Refusal::Revoked));
        let refused = Err(NotSignedIn::Refused(Refusal::Revoked));
        assert_eq!(Authenticate::identify(&*gate, Credentials::Session(&session.text)).await, refused);
        assert_eq!(
            Authenticate::identify(&*gate, Credentials::Token(&bob)).await,
            refused,
            "and so is what it was opened with"
        );
        assert!(gate.open_session(Proof::Token(&bob)).await.is_err());
        assert!(
            Authenticate::identify(&*gate, Credentials::Token(&other)).await.is_ok(),
            "the user has another token"
        );
        let user = Target::User { issuer: Some("kelly".into()), subject: "bob".into() };
        gate.deny(user.clone(), None).await.unwrap();
        assert!(revoked.has_changed().unwrap());
        assert_eq!(Authenticate::identify(&*gate, Credentials::Token(&other)).await, refused);
        assert!(gate.allow(&user).await.unwrap());
        assert!(Authenticate::identify(&*gate, Credentials::Token(&other)).await.is_ok());
        let over = Identity { expires_at: Some(1), ..session.identity };
        assert_eq!(gate.recheck(&over), Err(Refusal::Expired));
    }

    #[tokio::test]
    async fn signing_out_denies_the_token_of_one_issuer_and_also_one_without_an_id() {
        let directory = tempfile::tempdir().unwrap();
        let key = Ed25519KeyPair::generate().unwrap();
        let file = directory.path().join("keys.json");
        std::fs::write(&file, key_set(&[("a", &key)]).to_string()).unwrap();
        let entry = format!(
            "[[issuer]]\niss = \"{OTHER}\"\nalgorithm = \"EdDSA\"\njwks_file = \"{}\"\n",
            file.display()
        );
        let gate = gate(directory.path(), &entry).await;
        // The other issuer chooses the id of a token of Kelly's own.
        let (ours, theirs) = (own_token("bob", "t-1"), token(&key, "a", OTHER));
        while verdict(&gate, &theirs).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let caller = Authenticate::identify(&*gate, Credentials::Token(&theirs)).await.unwrap();
        gate.close(&caller).await.unwrap();
        assert_eq!(verdict(&gate, &theirs).await, Err(Refusal::Revoked.into()));
        assert_eq!(
            verdict(&gate, &ours).await,
            Ok("bob of kelly".to_owned()),
            "withdrawn by another issuer's token"
        );

        let claims = json!({
            "iss": "kelly", "aud": "kelly", "sub": "eve", "roles": ["viewer"], "exp": Utc::now().timestamp() + 60,
        });
        let nameless = signed_by_own_secret(&claims);
        let first = gate.open_session(Proof::Token(&nameless)).await.unwrap();
        let second = gate.open_session(Proof::Token(&nameless)).await.unwrap();
        gate.close(&first.identity).await.unwrap();
        let refused = Err(NotSignedIn::Refused(Refusal::Revoked));
        assert_eq!(verdict(&gate, &nameless).await, Err(Refusal::Revoked.into()));
        assert_eq!(Authenticate::identify(&*gate, Credentials::Session(&second.text)).await, refused);
        assert_eq!(gate.denied().iter().count(), 2, "however many sessions it opened");
    }

    /// A token lasts longer than its sessions, and signing out of one of them ends it for good.
    #[tokio::test]
    async fn what_was_signed_out_stays_so_until_its_token_has_ended() {
        const DAY: i64 = 86_400;
        let directory = tempfile::tempdir().unwrap();
        let gate = gate(directory.path(), "").await;
        let text = lasting_token("bob", "t-1", 90 * DAY);
        let token = Authenticate::identify(&*gate, Credentials::Token(&text)).await.unwrap();
        let first = gate.open_session(Proof::Token(&text)).await.unwrap();
        let second = gate.open_session(Proof::Token(&text)).await.unwrap();
        assert!(first.lasts_seconds < DAY, "a session is shorter");
        // As the cookie says it: whoever signs out has nothing else.
        let cookie = Authenticate::identify(&*gate, Credentials::Session(&first.text)).await.unwrap();
        gate.close(&cookie).await.unwrap();
        let now = Utc::now().timestamp();
        for (later, expected) in [(0, true), (DAY, true), (90 * DAY - 1, true), (91 * DAY, false)] {
            for caller in [&token, &first.identity, &second.identity] {
                assert_eq!(gate.denied.denies(caller, now + later), expected, "{later} s later: {caller:?}");
            }
        }
        // What was denied for longer, or for ever, still is after a sign-out.
        let target = Target::Token { issuer: Some("kelly".into()), id: "t-1".into() };
        gate.deny(target, None).await.unwrap();
        gate.close(&cookie).await.unwrap();
        assert!(gate.denied.denies(&token, now + 1_000 * DAY));
    }

    #[tokio::test]
    async fn sessions_end_with_what_is_accepted_of_their_issuer() {
        let directory = tempfile::tempdir().unwrap();
        let key = Ed25519KeyPair::generate().unwrap();
        let url = publish(Arc::new(Mutex::new(key_set(&[("a", &key)])))).await;
        let entry = format!("[[issuer]]\niss = \"{OTHER}\"\nalgorithm = \"EdDSA\"\njwks = \"{url}\"\n");
        let before = gate(directory.path(), &entry).await;
        let theirs = before.open_session(Proof::Token(&token(&key, "a", OTHER))).await.unwrap();
        let ours = before.open_session(Proof::Token(&own_token("bob", "t-2"))).await.unwrap();
        let owners = before.open_session(Proof::Code(&before.owners_link().unwrap())).await.unwrap();
        async fn asked(gate: &Gate, session: &Session) -> Result<(), NotSignedIn> {
            Authenticate::identify(gate, Credentials::Session(&session.text)).await.map(drop)
        }
        // After a restart, with and without the other issuer.
        let refused = NotSignedIn::Refused(Refusal::Issuer);
        for (issuers, expected) in [(entry.as_str(), Ok(())), ("", Err(refused))] {
            let after = gate(directory.path(), issuers).await;
            assert_eq!(asked(&after, &theirs).await, expected, "{issuers}");
            assert_eq!(asked(&after, &ours).await, Ok(()));
            assert_eq!(asked(&after, &owners).await, Ok(()));
        }
    }

    /// A token of Kelly's own secret with any claims.
    fn signed_by_own_secret(claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            encode(json!({"typ": "JWT", "alg": "HS256"}).to_string()),
            encode(claims.to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[tokio::test]
    async fn a_link_signs_the_owner_in_once() {
        let directory = tempfile::tempdir().unwrap();
        let gate = gate(directory.path(), "").await;
        let code = gate.owners_link().unwrap();
        let session = gate.open_session(Proof::Code(&code)).await.unwrap();
        assert_eq!((&*session.identity.subject, session.identity.roles.has(Role::Admin)), ("owner", true));
        let again = gate.open_session(Proof::Code(&code)).await.map(drop);
        assert_eq!(again, Err(Refusal::Link.into()));
        // What somebody makes for themselves ends with what they are signed in with.
        let link = gate
            .new_link(&Identity { expires_at: Some(Utc::now().timestamp() + 5), ..session.identity })
            .unwrap();
        assert!(gate.open_session(Proof::Code(&link.code)).await.unwrap().lasts_seconds <= 5);
    }
}
