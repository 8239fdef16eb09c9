//! A bet as it travels and is kept: with the signature of its footstone.

use alloy_primitives::{Address, B256, FixedBytes, U256, keccak256};
use alloy_rlp::{BufMut, Decodable, Encodable, RlpDecodable, RlpEncodable};
use bmm_ledger::rights::{Checkpoint, bet_signer};
use bmm_types::system::Bet;

/// Length of a bet's signature: r (32), s (32), recovery id (1; 27 or 28).
pub const BET_SIGNATURE_BYTES: usize = 65;

/// A bet with the signature that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBet {
    /// What is bet.
    pub bet: Bet,
    /// EIP-712, by the footstone.
    pub signature: FixedBytes<BET_SIGNATURE_BYTES>,
}

/// The same as a list of fields.
#[derive(RlpEncodable, RlpDecodable)]
struct Fields {
    footstone: Address,
    source: u64,
    source_hash: B256,
    target: u64,
    target_hash: B256,
    amount: U256,
    signature: FixedBytes<BET_SIGNATURE_BYTES>,
}

impl SignedBet {
    /// Returns the bet with a signature of any length; `None` if it is not one of 65 bytes.
    pub fn new(bet: Bet, signature: &[u8]) -> Option<Self> {
        Some(Self { bet, signature: FixedBytes::try_from(signature).ok()? })
    }

    /// Returns keccak of the encoding: the name of the message, not of the bet.
    pub fn hash(&self) -> B256 {
        keccak256(alloy_rlp::encode(self))
    }

    /// Whether the footstone signed it for the chain of that id.
    pub fn is_signed(&self, chain_id: u64) -> bool {
        bet_signer(chain_id, &self.bet, self.signature.as_slice()) == Some(self.bet.footstone)
    }

    /// Rule: a bet leads upwards, and something is at risk. Everything else depends on the chain.
    pub fn is_sound(&self) -> bool {
        self.bet.source < self.bet.target && !self.bet.amount.is_zero()
    }

    /// Returns where the bet begins.
    pub const fn source(&self) -> Checkpoint {
        Checkpoint { number: self.bet.source, id: self.bet.sourceHash }
    }

    /// Returns what is bet on.
    pub const fn target(&self) -> Checkpoint {
        Checkpoint { number: self.bet.target, id: self.bet.targetHash }
    }

    fn fields(&self) -> Fields {
        Fields {
            footstone: self.bet.footstone,
            source: self.bet.source,
            source_hash: self.bet.sourceHash,
            target: self.bet.target,
            target_hash: self.bet.targetHash,
            amount: self.bet.amount,
            signature: self.signature,
        }
    }
}

impl Encodable for SignedBet {
    fn encode(&self, out: &mut dyn BufMut) {
        self.fields().encode(out);
    }

    fn length(&self) -> usize {
        self.fields().length()
    }
}

impl Decodable for SignedBet {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let fields = Fields::decode(buf)?;
        let bet = Bet {
            footstone: fields.footstone,
            source: fields.source,
            sourceHash: fields.source_hash,
            target: fields.target,
            targetHash: fields.target_hash,
            amount: fields.amount,
        };
        Ok(Self { bet, signature: fields.signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bets_travel_as_they_are_and_a_short_signature_is_none() {
        let bet = Bet {
            footstone: Address::repeat_byte(1),
            source: 3,
            sourceHash: B256::repeat_byte(2),
            target: 4,
            targetHash: B256::repeat_byte(3),
            amount: U256::from(5),
        };
        let signed = SignedBet::new(bet.clone(), &[7; 65]).expect("a signature");
        let bytes = alloy_rlp::encode(&signed);
        assert_eq!(alloy_rlp::decode_exact::<SignedBet>(&bytes), Ok(signed));
        assert!(alloy_rlp::decode_exact::<SignedBet>(&bytes[..bytes.len() - 1]).is_err());
        assert!(SignedBet::new(bet, &[7; 64]).is_none());
    }
}
