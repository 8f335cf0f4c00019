//! The files of an engine's directory: secrets, configuration, and `engine.json`, by which others find it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::USERS_FILE;
use super::error::EngineError;
use super::{APPLICATION_USER, Credentials, DATABASE, GRAFANA_USER};
use crate::client::StoreConfig;

/// Bytes of randomness in a password.
const PASSWORD_BYTES: usize = 24;

/// `engine.json`: where the engine listens and who its users are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EngineFile {
    /// Port of the HTTP interface, on loopback.
    pub(super) http_port: u16,
    /// Port of the native protocol, on loopback.
    pub(super) tcp_port: u16,
    /// Names of the users; the passwords are in `secrets/`.
    pub(super) users: EngineUsers,
    /// Process of the engine.
    pub(super) pid: Option<u32>,
}

/// The users' names in `engine.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EngineUsers {
    pub(super) application: String,
    pub(super) grafana: String,
}

/// Name of the engine's configuration.
pub(super) const SERVER_CONFIG: &str = "kelly-config.xml";

/// Paths in an engine's directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Creates the directories that are missing.
    pub(super) fn create(root: &Path) -> Result<Layout, EngineError> {
        let layout = Layout { root: absolute(root)? };
        if let Some(parent) = layout.root.parent() {
            fs::create_dir_all(parent).map_err(EngineError::files("create the directory", parent))?;
        }
        for dir in [layout.root.clone(), layout.root.join("secrets"), layout.data()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(EngineError::files("create the directory", &dir))?;
            // The child works in it: that it may not would else look like a fault of the program.
            fs::read_dir(&dir)
                .and_then(|_| fs::metadata(dir.join(".")))
                .map_err(EngineError::files("read the directory", &dir))?;
        }
        Ok(layout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The engine's data and its configuration: the directory it works in.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("engine")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("engine.lock")
    }

    pub(super) fn server_config(&self) -> PathBuf {
        self.data().join(SERVER_CONFIG)
    }

    pub(super) fn users_config(&self) -> PathBuf {
        self.data().join(USERS_FILE)
    }

    fn engine_file(&self) -> PathBuf {
        self.root.join("engine.json")
    }

    /// The password of `user`, made at the first start and kept.
    pub(super) fn credentials(&self, user: &str) -> Result<Credentials, EngineError> {
        let path = self.root.join(format!("secrets/engine-{user}.password"));
        let password = match fs::read_to_string(&path) {
            Ok(text) => {
                keep_secret(&path)?;
                text.trim().to_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = new_password()?;
                write_secret(&path, &password)?;
                password
            }
            Err(source) => return Err(EngineError::files("read", &path)(source)),
        };
        if password.is_empty() {
            return Err(EngineError::Damaged { path, detail: "no password in it".to_owned() });
        }
        Ok(Credentials { user: user.to_owned(), password })
    }

    /// `engine.json` with ports that are free now: those of the last run where they are, so that dashboards which
    /// know them go on working.
    pub(super) fn choose_ports(&self) -> Result<EngineFile, EngineError> {
        self.choose(fs::read(self.engine_file()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// The same with other ports than the last run's: one of those was taken when the engine wanted it.
    pub(super) fn choose_other_ports(&self) -> Result<EngineFile, EngineError> {
        self.choose(None)
    }

    fn choose(&self, last: Option<EngineFile>) -> Result<EngineFile, EngineError> {
        // Both are held until both are chosen, so that they differ.
        let http = listen(last.as_ref().map(|last| last.http_port))?;
        let tcp = listen(last.as_ref().map(|last| last.tcp_port))?;
        Ok(EngineFile {
            http_port: port(&http)?,
            tcp_port: port(&tcp)?,
            users: EngineUsers { application: APPLICATION_USER.to_owned(), grafana: GRAFANA_USER.to_owned() },
            pid: None,
        })
    }

    /// Writes `engine.json`; a reader sees the old text or the new, never half of one.
    pub(super) fn publish(&self, file: &EngineFile) -> Result<(), EngineError> {
        let mut text = serde_json::to_vec_pretty(file).map_err(|error| EngineError::System {
            action: "write engine.json",
            detail: error.to_string(),
        })?;
        text.push(b'\n');
        let path = self.engine_file();
        let temporary = path.with_extension("json.new");
        fs::write(&temporary, text).map_err(EngineError::files("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(EngineError::files("write", &path))
    }
}

/// How to reach the engine that runs in a directory, by what it left there: `engine.json` and its password. Nothing is
/// written, and whether it answers is not asked.
///
/// # Errors
/// When no engine has been started there, or what it left cannot be read.
pub fn running(directory: &Path) -> Result<StoreConfig, EngineError> {
    let layout = Layout { root: absolute(directory)? };
    let path = layout.engine_file();
    let text = fs::read(&path).map_err(EngineError::files("read", &path))?;
    let file: EngineFile = serde_json::from_slice(&text)
        .map_err(|error| EngineError::Damaged { path: path.clone(), detail: error.to_string() })?;
    let user = file.users.application;
    let path = layout.root.join(format!("secrets/engine-{user}.password"));
    let password = fs::read_to_string(&path).map_err(EngineError::files("read", &path))?;
    Ok(StoreConfig {
        url: format!("http://127.0.0.1:{}", file.http_port),
        database: DATABASE.to_owned(),
        user,
        password: password.trim().to_owned(),
        inserts_yield: true,
    })
}

/// Writes a file only its owner may read, replacing what was there.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), EngineError> {
    let temporary = path.with_extension("new");
    // A left-over of a crash may have another mode.
    let _ = fs::remove_file(&temporary);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(EngineError::files("write", path))
}

/// Takes away the rights others were given to a secret since it was written, and tells of it.
fn keep_secret(path: &Path) -> Result<(), EngineError> {
    let mode = fs::metadata(path).map_err(EngineError::files("read", path))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(
        file = %path.display(),
        mode = format!("{:o}", mode & 0o777),
        "others could read this password; only its owner may now. Remove the file and start again to have a new one"
    );
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(EngineError::files("change the rights of", path))
}

fn new_password() -> Result<String, EngineError> {
    let mut bytes = [0u8; PASSWORD_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| EngineError::System { action: "make a password", detail: error.to_string() })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn listen(preferred: Option<u16>) -> Result<TcpListener, EngineError> {
    preferred
        .and_then(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .map_or_else(|| TcpListener::bind(("127.0.0.1", 0)), Ok)
        .map_err(|error| EngineError::System {
            action: "find a free port on 127.0.0.1",
            detail: error.to_string(),
        })
}

fn port(listener: &TcpListener) -> Result<u16, EngineError> {
    listener.local_addr().map(|address| address.port()).map_err(|error| EngineError::System {
        action: "find a free port on 127.0.0.1",
        detail: error.to_string(),
    })
}

/// The path as it is from any working directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, EngineError> {
    std::path::absolute(path).map_err(EngineError::files("find", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_made_once_and_only_their_owner_may_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let first = layout.credentials("kelly").unwrap();
        assert_eq!(layout.credentials("kelly").unwrap(), first);
        assert_ne!(layout.credentials("grafana").unwrap().password, first.password);
        assert_eq!(first.password.len(), 2 * PASSWORD_BYTES);
        let mode =
            fs::metadata(dir.path().join("secrets/engine-kelly.password")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn rights_others_were_given_are_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let layout = Layout::create(&root).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root), 0o700);
        let first = layout.credentials("kelly").unwrap();
        let path = root.join("secrets/engine-kelly.password");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(layout.credentials("kelly").unwrap(), first);
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn ports_of_the_last_run_are_taken_again_when_they_are_free() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let first = layout.choose_ports().unwrap();
        assert_ne!(first.http_port, first.tcp_port);
        layout.publish(&first).unwrap();
        let taken = TcpListener::bind(("127.0.0.1", first.http_port)).unwrap();
        let second = layout.choose_ports().unwrap();
        assert_ne!(second.http_port, first.http_port);
        assert_eq!(second.tcp_port, first.tcp_port);
        drop(taken);
    }

    #[test]
    fn a_running_engine_is_found_by_what_it_left() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        assert!(running(dir.path()).unwrap_err().to_string().contains("engine.json"));
        let password = layout.credentials(APPLICATION_USER).unwrap().password;
        let file = layout.choose_ports().unwrap();
        layout.publish(&file).unwrap();
        let found = running(dir.path()).unwrap();
        assert_eq!(found.url, format!("http://127.0.0.1:{}", file.http_port));
        assert_eq!((found.user.as_str(), found.password), (APPLICATION_USER, password));
    }

    #[test]
    fn an_empty_password_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        fs::write(dir.path().join("secrets/engine-kelly.password"), "\n").unwrap();
        let message = layout.credentials("kelly").unwrap_err().to_string();
        assert!(message.contains("engine-kelly.password is damaged"), "{message}");
    }
}
