//! Where libchdb is.

use std::path::{Path, PathBuf};

use super::error::EngineError;

/// Name of the library, on every platform.
const LIBRARY: &str = "libchdb.so";

/// Where to look for libchdb.
#[derive(Debug, Clone, Default)]
pub struct LibraryPlaces {
    /// The one path, when it is configured (`KELLY_LIBCHDB`); nothing else is tried then.
    pub configured: Option<PathBuf>,
    /// Directory of this program.
    pub program_dir: Option<PathBuf>,
    /// Kelly's cache (`KELLY_CACHE`), which holds `engine/node_modules`.
    pub cache_dir: Option<PathBuf>,
}

impl LibraryPlaces {
    /// The places the environment names: `KELLY_LIBCHDB`, the directory of the running program, and
    /// `KELLY_CACHE`, else `$XDG_CACHE_HOME/kelly`, else `~/.cache/kelly`.
    pub fn from_environment() -> Self {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        LibraryPlaces {
            configured: variable("KELLY_LIBCHDB"),
            program_dir: std::env::current_exe()
                .ok()
                .and_then(|program| program.parent().map(Path::to_owned)),
            cache_dir: variable("KELLY_CACHE")
                .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("kelly")))
                .or_else(|| variable("HOME").map(|dir| dir.join(".cache/kelly"))),
        }
    }
}

/// The first place that has libchdb.
///
/// # Errors
/// When none has, or none can on this platform.
pub fn find_library(places: &LibraryPlaces) -> Result<PathBuf, EngineError> {
    let looked_at = candidates(places);
    if let Some(found) = looked_at.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    match (&places.configured, package()) {
        (None, None) => Err(EngineError::UnsupportedPlatform { platform: platform() }),
        _ => Err(EngineError::LibraryMissing { looked_at }),
    }
}

fn candidates(places: &LibraryPlaces) -> Vec<PathBuf> {
    if let Some(configured) = &places.configured {
        return vec![configured.clone()];
    }
    let near_program = places.program_dir.iter().map(|dir| dir.join(LIBRARY));
    let cached = places
        .cache_dir
        .iter()
        .zip(package())
        .map(|(dir, package)| dir.join("engine/node_modules/@chdb").join(package).join(LIBRARY));
    near_program.chain(cached).collect()
}

/// The package that carries libchdb for this platform.
fn package() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH, cfg!(target_env = "musl")) {
        ("linux", "x86_64", false) => Some("lib-linux-x64-gnu"),
        ("linux", "aarch64", false) => Some("lib-linux-arm64-gnu"),
        ("macos", "aarch64", _) => Some("lib-darwin-arm64"),
        ("macos", "x86_64", _) => Some("lib-darwin-x64"),
        _ => None,
    }
}

fn platform() -> String {
    let libc = if cfg!(target_env = "musl") { " with musl" } else { "" };
    format!("{}-{}{libc}", std::env::consts::OS, std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_path_is_the_only_one_tried() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LIBRARY), "").unwrap();
        let near_program =
            LibraryPlaces { program_dir: Some(dir.path().to_owned()), ..LibraryPlaces::default() };
        assert_eq!(find_library(&near_program).unwrap(), dir.path().join(LIBRARY));
        let configured = LibraryPlaces { configured: Some("/nowhere/libchdb.so".into()), ..near_program };
        let message = find_library(&configured).unwrap_err().to_string();
        assert!(message.contains("looked at /nowhere/libchdb.so."), "{message}");
        assert!(message.contains("KELLY_STORE=http"), "{message}");
    }
}
