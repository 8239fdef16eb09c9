//! What commands print: results to stdout, as text or as one JSON object; everything else to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place of the program that prints")]

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Display;

/// Prints a command's result: `value` as one JSON object under `--json`, else `text`.
pub fn print(json: bool, value: &impl Serialize, text: impl Display) {
    if json {
        println!("{}", serde_json::to_string_pretty(value).expect("results are plain values"));
    } else {
        println!("{text}");
    }
}

/// Prints one JSON object on a line of its own: one of many, as they come.
pub fn line(value: &impl Serialize) {
    println!("{}", serde_json::to_string(value).expect("results are plain values"));
}

/// Prints raw text to stdout (completions, man pages).
pub fn print_raw(text: &[u8]) {
    use std::io::Write;
    // A closed pipe (`bmm man | head`) is no failure.
    let _ = std::io::stdout().write_all(text);
}

/// Prints a line for the person at the terminal; programs that asked for JSON do not see it.
pub fn note(json: bool, text: impl Display) {
    if !json {
        eprintln!("{text}");
    }
}

/// Prints a failure to stderr.
pub fn print_failure(failure: &Failure, json: bool) {
    if json {
        let object = serde_json::json!({ "error": failure });
        eprintln!("{}", serde_json::to_string_pretty(&object).expect("failures are plain values"));
        return;
    }
    eprintln!("error: {}", failure.message);
    for hint in &failure.hints {
        eprintln!("hint: {hint}");
    }
}
