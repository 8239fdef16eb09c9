//! bmm
fn main() {}
