//! Where the keys of an issuer come from: they are fixed, or published as a set in a file or at a URL. A published set is
//! fetched again now and then, and when a token names a key that is not in it; that is done once for all who wait, and not
//! again before a pause. While the issuer is away the keys that were fetched last stay in force.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use kelly_api::NotSignedIn;
use kelly_auth::{Algorithm, Keys, MAX_KEY_SET_BYTES};
use tokio::time::Instant;

/// The keys of an issuer.
pub enum KeySource {
    /// They never change.
    Fixed(Arc<Keys>),
    /// They are published.
    Published(Arc<Published>),
}

impl KeySource {
    /// The keys, with one of this name if the issuer has it.
    pub async fn with(&self, key_id: Option<&str>) -> Result<Arc<Keys>, NotSignedIn> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::Published(published) => published.with(key_id).await,
        }
    }
}

/// Gets the text of a key set.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The text now.
    async fn fetch(&self) -> anyhow::Result<Vec<u8>>;
}

/// When a set is fetched again.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Without a reason. A key that the issuer took away is accepted for so long.
    pub refresh: Duration,
    /// After it failed.
    pub retry: Duration,
    /// For the sake of tokens that name keys which are not in it: not sooner after the last time.
    pub cool_down: Duration,
}

impl Pace {
    /// Of a set at a URL.
    pub const URL: Self = Self {
        refresh: Duration::from_secs(300),
        retry: Duration::from_secs(10),
        cool_down: Duration::from_secs(30),
    };
    /// Of a set in a file, which costs little to read.
    pub const FILE: Self = Self {
        refresh: Duration::from_secs(1),
        retry: Duration::from_secs(1),
        cool_down: Duration::from_secs(1),
    };
}

/// A published set of keys.
pub struct Published {
    issuer: Arc<str>,
    algorithm: Algorithm,
    place: Box<dyn Fetch>,
    pace: Pace,
    state: RwLock<State>,
    /// Whoever has it fetches; the others wait for what comes of it.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    text: Arc<[u8]>,
    tried_at: Option<Instant>,
    is_away: bool,
}

impl Published {
    pub fn new(issuer: Arc<str>, algorithm: Algorithm, place: Box<dyn Fetch>, pace: Pace) -> Self {
        Self { issuer, algorithm, place, pace, state: RwLock::default(), flight: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn with(&self, key_id: Option<&str>) -> Result<Arc<Keys>, NotSignedIn> {
        if let Some(found) = self.without_fetching(key_id) {
            return found;
        }
        let _flight = self.flight.lock().await;
        // Whoever had it before may have fetched what this one waits for.
        if let Some(found) = self.without_fetching(key_id) {
            return found;
        }
        self.fetch().await;
        self.state().keys.ok_or(NotSignedIn::KeysUnavailable { retry_after: self.pace.cool_down })
    }

    /// The keys, where fetching them again would not help or is not due.
    fn without_fetching(&self, key_id: Option<&str>) -> Option<Result<Arc<Keys>, NotSignedIn>> {
        let State { keys, tried_at, .. } = self.state();
        let since = tried_at.map(|tried_at| tried_at.elapsed());
        let left =
            since.map(|since| self.pace.cool_down.saturating_sub(since)).filter(|left| !left.is_zero());
        match (keys, left) {
            (Some(keys), _) if keys.has(key_id) => Some(Ok(keys)),
            (Some(keys), Some(_)) => Some(Ok(keys)),
            (None, Some(left)) => Some(Err(NotSignedIn::KeysUnavailable { retry_after: left })),
            (_, None) => None,
        }
    }

    /// Fetches the set, and keeps what was there when that fails. Only who has the flight calls it.
    async fn fetch(&self) {
        let fetched = self.place.fetch().await;
        let before = self.state();
        let keys = fetched.and_then(|text| {
            if before.keys.is_some() && *text == *before.text {
                return Ok(None);
            }
            let keys = Keys::of_set(&text, self.algorithm)?;
            Ok(Some((Arc::new(keys), Arc::from(text))))
        });
        let issuer = &*self.issuer;
        match &keys {
            Err(error) if !before.is_away => {
                let kept = before.keys.is_some();
                tracing::warn!(issuer, kept, "the keys of an issuer cannot be fetched: {error:#}");
            }
            Ok(_) if before.is_away => tracing::info!(issuer, "the keys of an issuer were fetched again"),
            _ => {}
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.tried_at = Some(Instant::now());
        state.is_away = keys.is_err();
        if let Ok(Some((keys, text))) = keys {
            (state.keys, state.text) = (Some(keys), text);
        }
    }

    /// Fetches the set again and again, for ever.
    pub async fn keep(self: Arc<Self>) {
        loop {
            let flight = self.flight.lock().await;
            self.fetch().await;
            drop(flight);
            let pause = if self.state().is_away { self.pace.retry } else { self.pace.refresh };
            tokio::time::sleep(pause).await;
        }
    }
}

/// A set in a file.
pub struct InFile(pub PathBuf);

#[async_trait]
impl Fetch for InFile {
    async fn fetch(&self) -> anyhow::Result<Vec<u8>> {
        tokio::fs::read(&self.0).await.with_context(|| format!("reading {}", self.0.display()))
    }
}

/// A set at a URL.
pub struct AtUrl {
    client: reqwest::Client,
    url: reqwest::Url,
}

/// How long an issuer may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

impl AtUrl {
    pub fn new(url: reqwest::Url) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER_TIME)
            // The URL is configured; nobody else says where keys come from.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kelly/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("preparing the client that fetches keys")?;
        Ok(Self { client, url })
    }
}

#[async_trait]
impl Fetch for AtUrl {
    async fn fetch(&self) -> anyhow::Result<Vec<u8>> {
        let asking = self.client.get(self.url.clone()).header("accept", "application/json").send();
        let answer = asking.await.with_context(|| format!("asking {}", self.url))?;
        let status = answer.status();
        if status != reqwest::StatusCode::OK {
            bail!("{} answered {status}", self.url);
        }
        let mut pieces = answer.bytes_stream();
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await {
            text.extend_from_slice(&piece.with_context(|| format!("reading the answer of {}", self.url))?);
            if text.len() > MAX_KEY_SET_BYTES {
                bail!("{} answered more than {MAX_KEY_SET_BYTES} bytes", self.url);
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    /// An issuer that answers what it is told to, one answer a permit.
    #[derive(Clone)]
    struct Fake {
        answers: Arc<Mutex<VecDeque<Option<Vec<u8>>>>>,
        may_answer: Arc<Semaphore>,
        asked: Arc<Mutex<usize>>,
    }

    #[async_trait]
    impl Fetch for Fake {
        async fn fetch(&self) -> anyhow::Result<Vec<u8>> {
            *self.asked.lock().unwrap() += 1;
            self.may_answer.acquire().await?.forget();
            self.answers.lock().unwrap().pop_front().flatten().context("it is away")
        }
    }

    /// A set with Ed25519 keys of these names; any 32 bytes are a key until something is verified with it.
    fn set(names: &[&str]) -> Option<Vec<u8>> {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let keys: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": key}))
            .collect();
        Some(serde_json::json!({ "keys": keys }).to_string().into_bytes())
    }

    fn published(answers: Vec<Option<Vec<u8>>>, cool_down: Duration) -> (Fake, Arc<Published>) {
        let fake = Fake {
            may_answer: Arc::new(Semaphore::new(answers.len())),
            answers: Arc::new(Mutex::new(answers.into())),
            asked: Arc::default(),
        };
        let pace = Pace { refresh: LONG, retry: LONG, cool_down };
        let place = Box::new(fake.clone());
        (fake, Arc::new(Published::new("an issuer".into(), Algorithm::EdDsa, place, pace)))
    }

    #[tokio::test]
    async fn a_new_key_is_fetched_and_an_unknown_one_not_again_at_once() {
        let (fake, keys) = published(vec![set(&["a"]), set(&["a", "b"])], Duration::ZERO);
        assert!(keys.with(Some("a")).await.unwrap().has(Some("a")));
        assert!(keys.with(Some("a")).await.is_ok());
        assert_eq!(*fake.asked.lock().unwrap(), 1, "what is known is not asked for");
        assert!(keys.with(Some("b")).await.unwrap().has(Some("b")), "the issuer has a new key");

        let (fake, keys) = published(vec![set(&["a"])], LONG);
        for name in ["b", "c", "b"] {
            assert!(!keys.with(Some(name)).await.unwrap().has(Some(name)));
        }
        assert_eq!(*fake.asked.lock().unwrap(), 1, "and who invents names makes nobody ask");
    }

    #[tokio::test]
    async fn all_who_wait_share_one_answer() {
        let (fake, keys) = published(vec![set(&["a"])], LONG);
        // Nobody gets an answer before everybody waits.
        fake.may_answer.forget_permits(1);
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let keys = keys.clone();
                tokio::spawn(async move { keys.with(Some(if number % 2 == 0 { "a" } else { "b" })).await })
            })
            .collect();
        tokio::task::yield_now().await;
        fake.may_answer.add_permits(1);
        for waiting in waiting {
            assert!(waiting.await.unwrap().unwrap().has(Some("a")));
        }
        assert_eq!(*fake.asked.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn keys_stay_while_the_issuer_is_away_or_talks_nonsense() {
        let nonsense = Some(b"<html>".to_vec());
        let (_, keys) = published(vec![set(&["a"]), None, nonsense, set(&["c"])], Duration::ZERO);
        assert!(keys.with(Some("a")).await.is_ok());
        for _ in 0..2 {
            let kept = keys.with(Some("b")).await.unwrap();
            assert!(kept.has(Some("a")) && !kept.has(Some("b")));
        }
        let rotated = keys.with(Some("c")).await.unwrap();
        assert!(rotated.has(Some("c")) && !rotated.has(Some("a")), "what the issuer took away is gone");
    }

    #[tokio::test]
    async fn without_any_keys_it_says_when_to_come_again() {
        let (fake, keys) = published(vec![None], LONG);
        for _ in 0..3 {
            let Err(NotSignedIn::KeysUnavailable { retry_after }) = keys.with(Some("a")).await else {
                panic!("there are no keys")
            };
            assert!(!retry_after.is_zero() && retry_after <= LONG);
        }
        assert_eq!(*fake.asked.lock().unwrap(), 1);
    }
}
