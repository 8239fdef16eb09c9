//! Bribes for bets.

use super::{BMM, Emitted, Row, least_weight};
use bmm_types::{ChainParams, params::FootstoneRules};

/// P + ε: whoever bets on the briber's branch is promised, should it lose, what that costs and a little more; if all take it, it wins, and nothing is
/// paid. What it costs is what the briber must have and show. And bribes for contradicting bets, which must be worth the bonds.
///
/// What is gained is at most the producers' reward of the blocks that can be undone: those of two intervals and the depth at which bets are placed.
pub(super) fn rows(rules: &FootstoneRules, params: &ChainParams, emitted: Emitted) -> Vec<Row> {
    let blocks = 2 * rules.checkpoint_blocks + rules.bet_depth;
    let gain = emitted.producer * u128::from(blocks);
    let intervals = u128::from(params.epoch_blocks / rules.checkpoint_blocks.max(1));
    let mut found = Vec::new();
    for weight in [1, 3, 10, 100].map(|times| least_weight(rules) * times) {
        let two_thirds = weight * BMM * 2 / 3;
        let lost = two_thirds / 10_000 * u128::from(rules.lost_bet_bps);
        let reward = emitted.footstones / intervals.max(1) * 2 / 3;
        let setting =
            format!("2/3 of a weight of {weight} BMM on another branch for one checkpoint; what must be shown");
        found.push(Row { attack: "P + epsilon", setting, cost: lost + reward, gain, is_attack: true });
        let bonds = weight * BMM / 3;
        let kept = bonds / 10_000 * u128::from(rules.bounty_bps);
        let setting = format!("1/3 of a weight of {weight} BMM contradicts itself and reports itself");
        found.push(Row { attack: "bought contradiction", setting, cost: bonds - kept, gain, is_attack: true });
    }
    found
}
