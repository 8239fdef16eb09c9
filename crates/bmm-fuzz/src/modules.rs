//! Programs that strangers want to have run: what is checked of a module or a component before anything is compiled.

use bmm_vm::{ModuleError, check_module};

/// Longest module here, bytes.
const MAX_MODULE_BYTES: u64 = 1 << 20;
/// Most memory of a program here, bytes.
const MAX_MEMORY_BYTES: u64 = 64 << 20;

/// Checks the bytes as a module, or as the component that their header says they are.
pub fn run(bytes: &[u8]) {
    match check_module(bytes, MAX_MODULE_BYTES, MAX_MEMORY_BYTES) {
        Ok(()) => assert!(bytes.starts_with(b"\0asm") && bytes.len() <= 1 << 20),
        Err(ModuleError::TooMany { count, max, .. }) => assert!(count > max),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
