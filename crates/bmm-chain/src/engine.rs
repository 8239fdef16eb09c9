//! Rules that depend on the engine.
