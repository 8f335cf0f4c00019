//! Checks of column values.
