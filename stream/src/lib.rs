//! kelly-stream.
