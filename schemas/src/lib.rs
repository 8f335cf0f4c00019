//! kelly-schemas.
