//! Metadata.
/// Vip.
pub(crate) fn says_vip(_metadata: &str) -> bool { false }
