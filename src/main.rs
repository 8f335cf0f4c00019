//! kelly
fn main() {}
