//! kelly-api.
