//! kelly-harness.
