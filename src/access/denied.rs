//! The deny lists of a process: the configured file, which is read again when it changes, and what requests to this process
//! denied, which is kept in the data directory where there is one.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use kelly_api::NotKept;
use kelly_auth::{BadDenied, Denied, DeniedLine, Identity, Target};
use kelly_cli::Usage;
use tokio::sync::watch;

/// How often the configured file is looked at. It is taken once two looks found the same, so what it denies is refused within a
/// second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Largest file of either list: room for as many entries as are kept. A larger one is wrong.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Name of what this process denied, in its data directory.
const KEPT_FILE: &str = "denied.jsonl";

/// Both lists.
pub struct DenyLists {
    configured: RwLock<Arc<Denied>>,
    kept: RwLock<Arc<Denied>>,
    kept_path: Option<PathBuf>,
    /// Of the configured file, from before it was read first: what changes while it is read is read again.
    first_stamp: Option<Stamp>,
    /// One change at a time is made, and written to the end before the next one begins.
    changing: Arc<tokio::sync::Mutex<()>>,
    changed: watch::Sender<u64>,
}

impl DenyLists {
    /// Reads what there is.
    pub fn open(configured: Option<&Path>, directory: Option<&Path>) -> anyhow::Result<Self> {
        let first_stamp = configured.and_then(stamp);
        let kept_path = directory.map(|directory| directory.join(KEPT_FILE));
        let kept = match &kept_path {
            Some(path) => read(path)?.unwrap_or_default(),
            None => Denied::default(),
        };
        let configured = configured.map(|path| {
            read(path)?.ok_or_else(|| {
                Usage(format!(
                    "KELLY_AUTH_DENIED: the file {} is not there; make it, if empty",
                    path.display()
                ))
                .into()
            })
        });
        let configured: Option<anyhow::Result<Denied>> = configured;
        Ok(Self {
            configured: RwLock::new(Arc::new(configured.transpose()?.unwrap_or_default())),
            kept: RwLock::new(Arc::new(kept)),
            kept_path,
            first_stamp,
            changing: Arc::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// Changes whenever a list does.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether this caller is refused.
    pub fn denies(&self, caller: &Identity, now: i64) -> bool {
        [&self.configured, &self.kept]
            .into_iter()
            .any(|list| list.read().unwrap_or_else(PoisonError::into_inner).denies(caller, now))
    }

    /// What this process denied.
    pub fn kept(&self) -> Arc<Denied> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that outlives the process.
    pub fn is_kept(&self) -> bool {
        self.kept_path.is_some()
    }

    /// Takes away what this process denied; whether it was there.
    pub async fn allow(self: &Arc<Self>, target: &Target) -> Result<bool, NotKept> {
        let target = target.clone();
        self.change(move |lists: Arc<Self>| async move {
            let mut list = Denied::clone(&lists.kept());
            if !list.remove(&target) {
                return Ok(false);
            }
            // Kept first: what is on disk denies until then, and nobody gets in whom a restart would refuse.
            let list = Arc::new(list);
            lists.keep(&list).await?;
            lists.put(list);
            Ok::<bool, NotKept>(true)
        })
        .await
    }

    /// Denies until a time; in force, and on disk where it is kept, once this returns.
    pub async fn deny(self: &Arc<Self>, target: Target, until: Option<i64>, now: i64) -> Result<(), NotKept> {
        self.refuse(now, move |list| list.add(target, until)).await
    }

    /// The same, and where it is denied for longer already it stays so.
    pub async fn deny_at_least(
        self: &Arc<Self>,
        target: Target,
        until: Option<i64>,
        now: i64,
    ) -> Result<(), NotKept> {
        self.refuse(now, move |list| list.add_or_extend(target, until)).await
    }

    async fn refuse(
        self: &Arc<Self>,
        now: i64,
        add: impl FnOnce(&mut Denied) -> Result<(), BadDenied> + Send + 'static,
    ) -> Result<(), NotKept> {
        self.change(move |lists: Arc<Self>| async move {
            let mut list = Denied::clone(&lists.kept());
            list.forget_ended(now);
            add(&mut list).map_err(|_| NotKept::Full)?;
            // In force first: also where it cannot be written, it is refused until this process ends.
            let list = Arc::new(list);
            lists.put(list.clone());
            lists.keep(&list).await
        })
        .await
    }

    /// Makes a change alone, and to its end, also where whoever asked for it goes away meanwhile: a request whose client hangs up is
    /// dropped where it waits, and half a change would be lost with the next one.
    async fn change<T, F>(
        self: &Arc<Self>,
        change: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T, NotKept>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, NotKept>> + Send + 'static,
    {
        let alone = self.changing.clone().lock_owned().await;
        let lists = self.clone();
        let changing = tokio::spawn(async move {
            let outcome = change(lists).await;
            drop(alone);
            outcome
        });
        changing.await.unwrap_or_else(|error| Err(NotKept::Unwritable { reason: error.to_string() }))
    }

    /// On disk, where it is kept, once this returns.
    async fn keep(&self, list: &Arc<Denied>) -> Result<(), NotKept> {
        let Some(path) = self.kept_path.clone() else { return Ok(()) };
        let list = list.clone();
        let written = match tokio::task::spawn_blocking(move || write(&path, &list)).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        written.map_err(|reason| NotKept::Unwritable { reason })
    }

    /// In force once this returns.
    fn put(&self, list: Arc<Denied>) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = list;
        self.tell();
    }

    /// Looks at the configured file until it is dropped.
    pub async fn watch(self: Arc<Self>, path: PathBuf) {
        let mut looks = Looks::new(self.first_stamp);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (lists, path) = (self.clone(), path.clone());
            // A file may be on a disk that hangs.
            let looking = tokio::task::spawn_blocking(move || {
                lists.look(&mut looks, &path);
                looks
            });
            looks = match looking.await {
                Ok(looks) => looks,
                // It panicked, and begins again.
                Err(_) => Looks::new(None),
            };
        }
    }

    /// Looks at the configured file once, and takes it where it is another one and steady. A file that is wrong, or gone, denies
    /// what it did before: a slip must let nobody in again.
    fn look(&self, looks: &mut Looks, path: &Path) {
        let found = stamp(path);
        if !looks.is_new(found) {
            return;
        }
        let content = read(path);
        if stamp(path) != found {
            // It was written meanwhile.
            return;
        }
        looks.taken = found;
        match content {
            Ok(Some(list)) => {
                *self.configured.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
                self.tell();
                tracing::info!(file = %path.display(), "the deny list was read again");
            }
            Ok(None) => {
                tracing::error!(file = %path.display(), "the deny list is gone; what it denied is still denied");
            }
            Err(error) => {
                tracing::error!("the deny list is wrong and what was denied before still is: {error:#}");
            }
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// When a file is taken that may be written in place: what is read of it half written would let in who stands in the rest.
#[derive(Debug)]
struct Looks {
    taken: Option<Stamp>,
    last: Option<Stamp>,
}

impl Looks {
    fn new(taken: Option<Stamp>) -> Self {
        Self { taken, last: taken }
    }

    /// Whether it is another one than was taken, and was the same at the look before.
    fn is_new(&mut self, found: Option<Stamp>) -> bool {
        let is_steady = found == self.last;
        self.last = found;
        is_steady && found != self.taken
    }
}

/// What changes with a file's content: its node, size, and times of change.
type Stamp = (u64, u64, i64, i64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}

fn read(path: &Path) -> anyhow::Result<Option<Denied>> {
    let mut text = String::new();
    let reading =
        fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    match reading {
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => {
            return Err(Usage(format!(
                "the deny list {} has more than {} MiB",
                path.display(),
                MAX_FILE_BYTES >> 20
            ))
            .into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading the deny list {}", path.display())),
    }
    let wrong = |error: BadDenied| Usage(format!("the deny list {}: {error}", path.display()));
    Ok(Some(Denied::parse(&text).map_err(wrong)?))
}

/// Written whole or not at all, and on disk.
fn write(path: &Path, list: &Denied) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut text = String::new();
    for (target, until) in list.iter() {
        text.push_str(&serde_json::to_string(&DeniedLine::of(&target, until))?);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelly_auth::{Accounts, Roles};

    fn caller(subject: &str, token: Option<&str>) -> Identity {
        Identity {
            issuer: "kelly".into(),
            subject: subject.into(),
            roles: Roles::NONE,
            accounts: Accounts::All,
            token_id: token.map(Into::into),
            expires_at: None,
            origin_ends_at: None,
        }
    }

    #[tokio::test]
    async fn what_was_denied_still_is_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Arc::new(DenyLists::open(None, Some(directory.path())).unwrap());
        let lists = open();
        let mut changed = lists.changed();
        let token = Target::Token { issuer: Some("kelly".into()), id: "t-1".into() };
        lists.deny(token, Some(100), 10).await.unwrap();
        lists.deny(Target::User { issuer: None, subject: "bob".into() }, None, 10).await.unwrap();
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        let lists = open();
        assert!(lists.denies(&caller("alice", Some("t-1")), 99));
        assert!(!lists.denies(&caller("alice", Some("t-1")), 100), "it has ended");
        assert!(lists.denies(&caller("bob", None), 1_000));
        let bob = Target::User { issuer: None, subject: "bob".into() };
        assert!(lists.allow(&bob).await.unwrap());
        assert!(!lists.allow(&bob).await.unwrap());
        assert!(!open().denies(&caller("bob", None), 1_000));
    }

    #[test]
    fn a_file_is_taken_once_it_does_not_change_any_more() {
        let at = |size| Some((1, size, 0, 0, 0, 0));
        let mut looks = Looks::new(at(100));
        assert!(!looks.is_new(at(100)), "it is the one that was taken");
        // Written anew in place: emptied, half written, whole.
        for half in [0, 50] {
            assert!(!looks.is_new(at(half)), "{half}");
        }
        assert!(!looks.is_new(at(120)));
        assert!(looks.is_new(at(120)));
        looks.taken = at(120);
        assert!(!looks.is_new(at(120)));
        assert!(!looks.is_new(None) && looks.is_new(None), "gone is told as well");
    }

    #[test]
    fn a_file_without_end_is_wrong() {
        let refused = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(refused.contains("more than 64 MiB"), "{refused}");
    }

    /// A client that hangs up drops its request where it waits: here, for the disk.
    async fn hang_up<T>(change: impl Future<Output = T>) {
        tokio::select! {
            biased;
            _ = change => panic!("it did not wait"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn a_change_goes_on_when_whoever_asked_for_it_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Arc::new(DenyLists::open(None, Some(directory.path())).unwrap());
        let lists = open();
        let user = |name: &str| Target::User { issuer: None, subject: name.into() };
        hang_up(lists.deny(user("bob"), None, 0)).await;
        lists.deny(user("eve"), None, 0).await.unwrap();
        for lists in [&lists, &open()] {
            assert!(lists.denies(&caller("bob", None), 0) && lists.denies(&caller("eve", None), 0));
        }
        hang_up(lists.allow(&user("bob"))).await;
        assert!(lists.allow(&user("eve")).await.unwrap());
        for lists in [&lists, &open()] {
            assert!(!lists.denies(&caller("bob", None), 0) && !lists.denies(&caller("eve", None), 0));
        }
    }

    #[tokio::test]
    async fn who_is_denied_is_refused_though_it_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let lists = Arc::new(DenyLists::open(None, Some(directory.path())).unwrap());
        let bob = Target::User { issuer: None, subject: "bob".into() };
        let in_the_way = directory.path().join(KEPT_FILE).with_extension("new");
        fs::create_dir(&in_the_way).unwrap();
        let outcome = lists.deny(bob.clone(), None, 0).await;
        assert!(matches!(outcome, Err(NotKept::Unwritable { .. })), "{outcome:?}");
        assert!(lists.denies(&caller("bob", None), 0));
        fs::remove_dir(&in_the_way).unwrap();
        lists.deny(bob.clone(), None, 0).await.unwrap();
        // What a restart would refuse is refused until then.
        fs::create_dir(&in_the_way).unwrap();
        assert!(lists.allow(&bob).await.is_err() && lists.denies(&caller("bob", None), 0));
    }

    #[test]
    fn a_wrong_or_missing_list_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("denied");
        fs::write(&path, "{\"sub\": \"bob\"}\n").unwrap();
        let lists = DenyLists::open(Some(&path), None).unwrap();
        let changed = lists.changed();
        let mut looks = Looks::new(lists.first_stamp);
        // It is taken once two looks found the same.
        let mut look_twice = || {
            lists.look(&mut looks, &path);
            lists.look(&mut looks, &path);
            looks.taken
        };
        fs::write(&path, "bob\nnobody else\n").unwrap();
        assert_eq!(look_twice(), stamp(&path), "it was read, and is not read again");
        assert!(lists.denies(&caller("bob", None), 0), "it is wrong");
        fs::remove_file(&path).unwrap();
        assert_eq!(look_twice(), None, "that it is gone was seen");
        assert!(lists.denies(&caller("bob", None), 0), "it is gone");
        assert!(!changed.has_changed().unwrap());
        fs::write(&path, "{\"sub\": \"eve\"}\n").unwrap();
        assert_eq!(look_twice(), stamp(&path));
        assert!(lists.denies(&caller("eve", None), 0) && !lists.denies(&caller("bob", None), 0));
        assert!(changed.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_configured_list_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("denied");
        assert!(DenyLists::open(Some(&path), None).err().unwrap().to_string().contains("is not there"));
        fs::write(&path, "# nobody\n").unwrap();
        let lists = Arc::new(DenyLists::open(Some(&path), None).unwrap());
        let mut changed = lists.changed();
        let watching = tokio::spawn(lists.clone().watch(path.clone()));
        // Written in place, and put in place of it.
        fs::write(&path, "{\"sub\": \"bob\"}\n").unwrap();
        changed.changed().await.unwrap();
        assert!(lists.denies(&caller("bob", None), 0));
        fs::write(directory.path().join("next"), "{\"sub\": \"eve\"}\n{\"sub\": \"bob\"}\n").unwrap();
        fs::rename(directory.path().join("next"), &path).unwrap();
        changed.changed().await.unwrap();
        assert!(lists.denies(&caller("eve", None), 0) && lists.denies(&caller("bob", None), 0));
        watching.abort();
    }
}
