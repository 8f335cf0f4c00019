//! How much is kept.

/// How much is kept, for all and for one connection.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Events kept for those who resume. At it: the oldest one goes; a position before it is answered with `reset`.
    pub ring_events: usize,
    /// Bytes of their messages. At it: the same.
    pub ring_bytes: usize,
    /// Bytes between a connection that has caught up and the newest event. At it: it is closed with `slow_consumer`.
    pub behind_bytes: usize,
    /// Events of a snapshot. At it: the older ones are left out.
    pub snapshot_events: usize,
    /// Alerts of a snapshot. At it: those that are less bad are left out, and it says how many there are.
    pub snapshot_alerts: usize,
    /// Bytes of a snapshot. At it: the same.
    pub snapshot_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            ring_events: 20_000,
            ring_bytes: 16 << 20,
            // A record of the log, which comes at once, is smaller.
            behind_bytes: 4 << 20,
            snapshot_events: 50,
            snapshot_alerts: 500,
            snapshot_bytes: 256 << 10,
        }
    }
}
