//! How numbers go into JSON.

/// Numbers as text: they pass what JSON's numbers hold exactly (2^53).
pub mod text {
    use serde::Serializer;

    /// Writes a number.
    pub fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }
}
