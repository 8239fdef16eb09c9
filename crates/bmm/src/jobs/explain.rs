//! The market's explanation, as people and programs read it.

use super::quote::how_verified;
use alloy_primitives::Address;

use bmm_market::requester::Explanation;
use bmm_types::market::JobSpec;
use serde::Serialize;
use std::fmt;

/// Why a job has the providers that it has.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    providers: usize,
    matching: usize,
    needed: usize,
    verify: String,
    conditions: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    name: &'static str,
    wanted: String,
    matching: usize,
    others: Vec<Other>,
}

#[derive(Clone, Debug, Serialize)]
struct Other {
    provider: Address,
    why: String,
}

impl Shown {
    /// Takes over an explanation of a job.
    pub fn of(spec: &JobSpec, explanation: &Explanation) -> Self {
        let rows = explanation.conditions.iter().map(|condition| Row {
            name: condition.name,
            wanted: condition.wanted.clone(),
            matching: condition.matching,
            others: condition
                .others
                .iter()
                .map(|(provider, why)| Other { provider: *provider, why: why.clone() })
                .collect(),
        });
        Self {
            providers: explanation.providers,
            matching: explanation.matching,
            needed: explanation.needed,
            verify: how_verified(spec.verify),
            conditions: rows.collect(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} providers match; the job needs {}", self.matching, self.providers, self.needed)?;
        for row in &self.conditions {
            write!(f, "  {:<16} {:<32} {} of {}", row.name, row.wanted, row.matching, self.providers)?;
            for other in &row.others {
                write!(f, "\n    {}: {}", other.provider, other.why)?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  {:<16} {}", "verify", self.verify)
    }
}
