//! The table.

use super::{Row, bmm};
use serde::Serialize;
use std::fmt::Write as _;

/// All rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the chain whose parameters were used.
    pub chain: String,
    /// One for each attack and setting.
    pub rows: Vec<Row>,
}

impl Report {
    /// Returns one JSON object; amounts are in units.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is plain values")
    }

    /// Returns a table for people; amounts are in BMM, of one day where the setting says nothing else.
    pub fn to_text(&self) -> String {
        let mut text = "| attack | setting | cost | gain | pays |\n| --- | --- | --- | --- | --- |\n".to_owned();
        for row in &self.rows {
            let (cost, gain) = (bmm(row.cost), bmm(row.gain));
            let pays = if row.pays() {
                "yes"
            } else if row.is_attack {
                "no"
            } else {
                "-"
            };
            writeln!(text, "| {} | {} | {cost} | {gain} | {pays} |", row.attack, row.setting)
                .expect("a String takes all that is written");
        }
        text
    }
}
