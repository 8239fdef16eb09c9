//! What becomes of the stakes of providers that were found wrong.

use super::escrow::{Escrow, now_secs};
use crate::{failure::Outcome, output};
use alloy_primitives::Address;
use bmm_types::system::{Jobs, stake_state};

/// Where the dispute about a stake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispute {
    /// There is none: nothing was locked, or it is gone, or back with its provider, or was never disputed.
    None,
    /// Somebody may still act, until this Unix second.
    Open(u64),
    /// Its time is over, and anybody can end it.
    Due,
}

impl Dispute {
    /// Reads what the escrow says of a stake.
    pub const fn of(state: u8, until: u64, now: u64) -> Self {
        match state {
            stake_state::ACCUSED | stake_state::OBJECTED if now < until => Self::Open(until),
            stake_state::ACCUSED | stake_state::OBJECTED => Self::Due,
            _ => Self::None,
        }
    }
}

/// Shows contradictions; one that cannot be shown now is told, and given again when the job is resumed.
pub fn show(escrow: &Escrow, contradictions: &[Jobs::contradictCall]) {
    for call in contradictions {
        if let Err(failure) = escrow.contradict(call) {
            let provider = call.first.provider;
            tracing::warn!(%provider, message = failure.message, "a provider's contradiction could not be shown");
        }
    }
}

/// Ends the disputes about the stakes of those providers whose time is over, and says what is left to do.
pub fn end(json: bool, id: &str, escrow: &Escrow, wrong: impl IntoIterator<Item = Address>) -> Outcome {
    for provider in wrong {
        match escrow.dispute(provider)? {
            Dispute::None => {}
            Dispute::Open(until) => {
                let secs = until.saturating_sub(now_secs());
                let text = format!(
                    "the stake of {provider}, which was wrong, is in dispute for {secs} s more; then `bmm job resume {id}` ends that"
                );
                output::note(json, text);
            }
            Dispute::Due => {
                let mined = escrow.resolve(provider)?;
                output::note(json, format!("the dispute with {provider} is over ({})", mined.transaction));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispute_is_due_when_its_time_is_over() {
        for state in [stake_state::ACCUSED, stake_state::OBJECTED] {
            assert_eq!(Dispute::of(state, 100, 99), Dispute::Open(100));
            assert_eq!(Dispute::of(state, 100, 100), Dispute::Due);
        }
        for state in [stake_state::NONE, stake_state::HELD, stake_state::CLEARED, stake_state::GONE] {
            assert_eq!(Dispute::of(state, 100, 200), Dispute::None);
        }
    }
}
