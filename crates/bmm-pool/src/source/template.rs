//! A parent's block template, as litecoind's `getblocktemplate` gives it. Its transactions are opaque bytes here.

use super::coinbase::{Output, with_witness};
use alloy_primitives::{B256, U256, hex};
use bmm_pow::{
    auxpow::{
        merkle::{reversed, sha256d},
        wire::put_compact,
    },
    difficulty::Target,
};
use bmm_types::seal::PARENT_HEADER_LEN;
use serde::Deserialize;

/// Most transactions of a template.
const MAX_TRANSACTIONS: usize = 100_000;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not what `getblocktemplate` should answer.
    #[error("{0}")]
    Shape(String),
    /// A field cannot be read.
    #[error("`{field}` {what}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It asks for a rule that is not known here.
    #[error("it asks for the rule {0}, which this program does not know; a newer one may")]
    Rule(String),
}

#[derive(Deserialize)]
struct Raw {
    version: u32,
    #[serde(default)]
    rules: Vec<String>,
    previousblockhash: String,
    transactions: Vec<RawTransaction>,
    coinbasevalue: u64,
    target: String,
    curtime: u64,
    bits: String,
    height: u64,
    default_witness_commitment: Option<String>,
    mweb: Option<String>,
    #[serde(default)]
    longpollid: String,
}

#[derive(Deserialize)]
struct RawTransaction {
    data: String,
    txid: String,
}

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentTemplate {
    /// Version of the header.
    pub version: u32,
    /// Previous block, in the order of bytes of headers.
    pub previous: B256,
    /// Height.
    pub height: u64,
    /// What the coinbase may take, in base units.
    pub value: u64,
    /// Compact target.
    pub bits: u32,
    /// Target.
    pub target: Target,
    /// Time, in Unix seconds.
    pub time: u32,
    /// What to wait for the next template with.
    pub long_poll_id: String,
    /// Merkle branch of the coinbase.
    pub branch: Vec<B256>,
    /// Script of the output that commits to witnesses.
    witness_commitment: Option<Vec<u8>>,
    /// The transactions but the coinbase, serialised, one after the other. After MWEB's activation the last is the HogEx.
    transactions: Vec<u8>,
    /// How many.
    count: usize,
    /// MWEB's block, serialised.
    mweb: Option<Vec<u8>>,
}

impl ParentTemplate {
    /// Reads what the node answered.
    pub fn read(answer: serde_json::Value) -> Result<Self, TemplateError> {
        let raw: Raw = serde_json::from_value(answer).map_err(|error| TemplateError::Shape(error.to_string()))?;
        let known = |rule: &&String| !rule.starts_with('!') || ["!segwit", "!mweb"].contains(&rule.as_str());
        if let Some(rule) = raw.rules.iter().find(|rule| !known(rule)) {
            return Err(TemplateError::Rule(rule.clone()));
        }
        if raw.transactions.len() > MAX_TRANSACTIONS {
            return Err(TemplateError::Field { field: "transactions", what: "are too many" });
        }
        let (mut transactions, mut ids) = (Vec::new(), Vec::new());
        for transaction in &raw.transactions {
            transactions.extend(bytes("transactions.data", &transaction.data)?);
            ids.push(hash("transactions.txid", &transaction.txid)?);
        }
        let fail = |field, what| TemplateError::Field { field, what };
        let target = U256::from_be_bytes(hash("target", &raw.target)?.0);
        // `hash` turns the bytes; a target is displayed as a number.
        let target = U256::from_le_bytes(target.to_be_bytes::<32>());
        let bits = u32::from_str_radix(&raw.bits, 16).map_err(|_| fail("bits", "is not 8 hex digits"))?;
        let target = Target::new(target).ok_or_else(|| fail("target", "is zero"))?;
        if Target::from_compact(bits) != Some(target) {
            return Err(fail("bits", "says another target than `target`"));
        }
        Ok(Self {
            version: raw.version,
            previous: hash("previousblockhash", &raw.previousblockhash)?,
            height: raw.height,
            value: raw.coinbasevalue,
            bits,
            target,
            time: u32::try_from(raw.curtime).map_err(|_| fail("curtime", "is after the year 2106"))?,
            long_poll_id: raw.longpollid,
            branch: coinbase_branch(ids),
            witness_commitment: raw
                .default_witness_commitment
                .map(|text| bytes("default_witness_commitment", &text))
                .transpose()?,
            transactions,
            count: raw.transactions.len(),
            mweb: raw.mweb.map(|text| bytes("mweb", &text)).transpose()?,
        })
    }

    /// Returns the coinbase's outputs: everything to `script`, and the commitment to witnesses.
    pub fn outputs(&self, script: &[u8]) -> Vec<Output> {
        let pay = Output { value: self.value, script: script.to_vec() };
        let commitment = self.witness_commitment.clone().map(|script| Output { value: 0, script });
        [pay].into_iter().chain(commitment).collect()
    }

    /// Serialises the block of this header and coinbase (without witness).
    pub fn block(&self, header: &[u8; PARENT_HEADER_LEN], coinbase: &[u8]) -> Vec<u8> {
        let mut block = header.to_vec();
        put_compact(&mut block, u64::try_from(self.count).unwrap_or(u64::MAX).saturating_add(1));
        match &self.witness_commitment {
            Some(_) => block.extend(with_witness(coinbase)),
            None => block.extend_from_slice(coinbase),
        }
        block.extend_from_slice(&self.transactions);
        if let Some(mweb) = &self.mweb {
            block.push(1);
            block.extend_from_slice(mweb);
        }
        block
    }
}

fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, TemplateError> {
    hex::decode(text).map_err(|_| TemplateError::Field { field, what: "is not hex" })
}

/// Reads a hash as it is displayed into the order of bytes in which it is hashed.
pub fn hash(field: &'static str, text: &str) -> Result<B256, TemplateError> {
    let bytes = bytes(field, text)?;
    let hash = B256::try_from(&bytes[..]).map_err(|_| TemplateError::Field { field, what: "is not 64 hex digits" })?;
    Ok(reversed(hash))
}

/// Returns the branch that leads from the first transaction, which is not known yet, to the root; `ids` are those of the others.
pub fn coinbase_branch(ids: Vec<B256>) -> Vec<B256> {
    let mut branch = Vec::new();
    // Without the node in the first place: the next one is its sibling.
    let mut level = ids;
    while let Some((sibling, rest)) = level.split_first() {
        branch.push(*sibling);
        level = rest
            .chunks(2)
            .map(|pair| {
                let (left, right) = (pair[0], pair.get(1).copied().unwrap_or(pair[0]));
                sha256d(&[left.0, right.0].concat())
            })
            .collect();
    }
    branch
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_pow::auxpow::merkle::fold;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn template() -> Value {
        let zeros = "00".repeat(31);
        json!({
            "version": 0x2000_0000u32, "rules": ["csv", "!segwit", "mweb"], "previousblockhash": format!("{zeros}07"),
            "transactions": [{ "data": "aabb", "txid": "11".repeat(32) }, { "data": "cc", "txid": "22".repeat(32) }],
            "coinbasevalue": 1_250_000_000u64, "longpollid": "x", "target": format!("7fffff{}", "00".repeat(29)),
            "curtime": 1_900_000_000u32, "bits": "207fffff", "height": 433,
            "default_witness_commitment": "6a24aa21a9ed", "mweb": "0102",
        })
    }

    #[test]
    fn a_block_ends_with_its_transactions_and_the_mweb() {
        let read = ParentTemplate::read(template()).expect("good");
        assert_eq!((read.previous[0], read.height, read.value), (7, 433, 1_250_000_000));
        let coinbase = vec![9; 60];
        let block = read.block(&[3; 80], &coinbase);
        assert_eq!((&block[..80], block[80]), (&[3; 80][..], 3));
        assert!(block.ends_with(&[0xaa, 0xbb, 0xcc, 1, 1, 2]), "{block:02x?}");
        assert_eq!(block.len(), 81 + 60 + 36 + 3 + 3);
        assert_eq!(read.outputs(&[0x51]).len(), 2);
    }

    #[test]
    fn before_segwit_and_mweb_nothing_is_added() {
        let mut raw = template();
        raw["default_witness_commitment"] = Value::Null;
        raw.as_object_mut().expect("an object").remove("mweb");
        let read = ParentTemplate::read(raw).expect("good");
        assert_eq!(read.block(&[3; 80], &[9; 60]).len(), 81 + 60 + 3);
        assert_eq!(read.outputs(&[0x51]), [Output { value: 1_250_000_000, script: vec![0x51] }]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, value, word) in [
            ("bits", json!("1d00ffff"), "bits"),
            ("bits", json!("x"), "bits"),
            ("target", json!("00"), "target"),
            ("previousblockhash", json!("zz"), "previousblockhash"),
            ("curtime", json!(1u64 << 40), "curtime"),
            ("rules", json!(["!other"]), "!other"),
            ("transactions", json!([{ "data": "0", "txid": "" }]), "transactions.data"),
            ("coinbasevalue", json!(-1), "-1"),
            ("mweb", json!("0"), "mweb"),
        ] {
            let mut raw = template();
            raw[field] = value;
            let words = ParentTemplate::read(raw).expect_err(field).to_string();
            assert!(words.contains(word), "{words}");
        }
    }

    /// The root as the definition says: pairs, the last one doubled where it is alone.
    fn root(mut level: Vec<B256>) -> B256 {
        while level.len() > 1 {
            level =
                level.chunks(2).map(|pair| sha256d(&[pair[0].0, pair.get(1).unwrap_or(&pair[0]).0].concat())).collect();
        }
        level[0]
    }

    proptest! {
        #[test]
        fn the_branch_leads_to_the_root(count in 0u32..40) {
            let ids: Vec<B256> = (0..=count).map(|id| sha256d(&id.to_le_bytes())).collect();
            let branch = coinbase_branch(ids[1..].to_vec());
            prop_assert_eq!(fold(ids[0], &branch, 0), root(ids));
        }
    }
}
