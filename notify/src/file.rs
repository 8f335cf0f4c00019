//! Reads a file of settings, and refuses one with something wrong in it.

use crate::check::{Fault, check};
use crate::settings::Settings;

/// The form of the file, for editors.
pub const JSON_SCHEMA: &str = include_str!("../json/notifications.schema.json");

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// It has another form.
    #[error("this is no file of notifications: {0}")]
    Form(String),
    /// Something in it is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Wrong(Vec<Fault>),
}

impl Settings {
    /// Reads TOML.
    ///
    /// # Errors
    /// When it is none, or when something in it is wrong.
    pub fn parse_toml(text: &str) -> Result<Self, SettingsFault> {
        let settings =
            toml::from_str(text).map_err(|error| SettingsFault::Form(error.message().to_owned()))?;
        Self::checked(settings)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When it is none, or when something in it is wrong.
    pub fn parse_json(text: &str) -> Result<Self, SettingsFault> {
        let settings = serde_json::from_str(text).map_err(|error| SettingsFault::Form(error.to_string()))?;
        Self::checked(settings)
    }

    fn checked(settings: Self) -> Result<Self, SettingsFault> {
        let faults = check(&settings);
        if faults.is_empty() { Ok(settings) } else { Err(SettingsFault::Wrong(faults)) }
    }
}
