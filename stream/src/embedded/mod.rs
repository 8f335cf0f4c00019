//! placeholder
/// x
pub struct EmbeddedConfig;
/// x
pub struct EmbeddedLog;
