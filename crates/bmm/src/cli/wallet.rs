//! `bmm wallet …`
