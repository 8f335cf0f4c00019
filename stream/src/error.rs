//! What can go wrong on the log.
