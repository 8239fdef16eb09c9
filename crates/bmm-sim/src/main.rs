//! Many nodes, providers and miners in one process, under virtual time and a seed.
fn main() {}
