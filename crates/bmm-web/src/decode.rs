//! Calls and events of the system contracts, in words.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolEventInterface, SolInterface};
use bmm_types::{
    Amount,
    system::{self, Accounts, Footstones, Jobs, Resources, Token},
};
use std::fmt::Debug;

/// Longest value that is shown, in characters.
const MAX_SHOWN: usize = 600;

/// A call or an event with its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Decoded {
    /// Its name.
    pub name: String,
    /// Names and values.
    pub fields: Vec<(String, String)>,
}

/// Fields that hold units of BMM.
const AMOUNTS: [&str; 17] = [
    "value",
    "amount",
    "budget",
    "spent",
    "bond",
    "reward",
    "referred",
    "fee",
    "total",
    "stake",
    "pot",
    "loss",
    "bounty",
    "compensation",
    "totals",
    "needed",
    "least",
];

/// Takes name and fields out of the derived `Debug` of a value in an enum of calls or events.
fn fields(value: &impl Debug) -> Decoded {
    let text = format!("{value:#?}");
    let mut lines = text.lines();
    let name = lines.next().unwrap_or_default().trim_end_matches(['(', '{', ' ']).to_owned();
    let mut decoded = Decoded { name, fields: Vec::new() };
    for line in lines {
        let inner = line.strip_prefix("        ");
        match inner {
            Some(field) if !field.starts_with([' ', ']', '}', ')']) => {
                if let Some((name, value)) = field.split_once(": ") {
                    decoded.fields.push((name.to_owned(), value.trim_end_matches(',').to_owned()));
                }
            }
            Some(rest) => {
                if let Some((_, value)) = decoded.fields.last_mut()
                    && value.len() < MAX_SHOWN
                {
                    value.push(' ');
                    value.push_str(rest.trim());
                }
            }
            None => {}
        }
    }
    for (name, value) in &mut decoded.fields {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if digits && AMOUNTS.contains(&name.as_str()) {
            if let Ok(units) = value.parse() {
                *value = Amount(units).to_string();
            }
        } else if value.chars().count() > MAX_SHOWN {
            *value = value.chars().take(MAX_SHOWN).chain(['…']).collect();
        }
    }
    decoded
}

fn call_of<T: SolInterface + Debug>(input: &[u8]) -> Option<Decoded> {
    T::abi_decode(input).ok().map(|call| fields(&call))
}

fn event_of<T: SolEventInterface + Debug>(topics: &[B256], data: &[u8]) -> Option<Decoded> {
    T::decode_raw_log(topics, data).ok().map(|event| fields(&event))
}

/// Decodes a call of a system contract.
pub(crate) fn call(to: &Address, input: &Bytes) -> Option<Decoded> {
    match *to {
        system::ACCOUNTS => call_of::<Accounts::AccountsCalls>(input),
        system::RESOURCES => call_of::<Resources::ResourcesCalls>(input),
        system::FOOTSTONES => call_of::<Footstones::FootstonesCalls>(input),
        system::JOBS => call_of::<Jobs::JobsCalls>(input),
        // The token of the chain, and those of others, which have the same face.
        _ => call_of::<Token::TokenCalls>(input),
    }
}

/// Decodes an event of a system contract, and transfers and approvals of any token.
pub(crate) fn event(contract: &Address, topics: &[B256], data: &[u8]) -> Option<Decoded> {
    match *contract {
        system::ACCOUNTS => event_of::<Accounts::AccountsEvents>(topics, data),
        system::RESOURCES => event_of::<Resources::ResourcesEvents>(topics, data),
        system::FOOTSTONES => event_of::<Footstones::FootstonesEvents>(topics, data),
        system::JOBS => event_of::<Jobs::JobsEvents>(topics, data),
        _ => event_of::<Token::TokenEvents>(topics, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use alloy_sol_types::{SolCall as _, SolEvent as _};

    #[test]
    fn calls_and_events_tell_their_fields() {
        let to = Address::repeat_byte(7);
        let input = Token::transferCall { to, value: Amount::from_bmm(5).units() }.abi_encode();
        let decoded = call(&system::TOKEN, &input.into()).expect("a call of the token");
        assert_eq!(decoded.name, "transfer");
        assert_eq!(decoded.fields[0], ("to".to_owned(), to.to_checksum(None)));
        assert_eq!(decoded.fields[1], ("value".to_owned(), "5 BMM".to_owned()));
        let event_ = Jobs::Settled { job: B256::ZERO, root: B256::ZERO, spent: U256::from(1), releaseAt: 9 };
        let log = event_.encode_log_data();
        let decoded = event(&system::JOBS, log.topics(), &log.data).expect("an event of the jobs");
        assert_eq!(decoded.name, "Settled");
        assert_eq!(decoded.fields[3], ("releaseAt".to_owned(), "9".to_owned()));
        assert_eq!(call(&system::JOBS, &Bytes::from_static(b"\x01\x02\x03\x04rubbish")), None);
    }
}
