//! BIP-39 phrases of English words, and the keys that BIP-32 and BIP-44 derive from them.

use super::Secret;
use crate::failure::{Failure, Outcome};
use alloy_primitives::B256;
use alloy_signer_local::{
    MnemonicBuilder, PrivateKeySigner,
    coins_bip39::{English, Entropy, Mnemonic, Wordlist},
};
use zeroize::Zeroizing;

/// Numbers of words that BIP-39 knows.
const WORD_COUNTS: [usize; 5] = [12, 15, 18, 21, 24];

/// Returns the path of the `index`-th account, as every Ethereum wallet derives it (BIP-44).
pub fn derivation_path(index: u32) -> String {
    format!("m/44'/60'/0'/0/{index}")
}

/// A phrase whose words and checksum are right.
pub struct Phrase(Secret);

impl Phrase {
    /// Makes a new phrase of 12 or 24 words from the system's randomness.
    pub fn random(words: usize) -> Outcome<Self> {
        let random = Zeroizing::new(B256::random().0);
        let entropy = match words {
            12 => &random[..16],
            24 => &random[..],
            _ => {
                return Err(Failure::user(format!("a phrase of {words} words is not offered"))
                    .hint("use --words 12 or --words 24"));
            }
        };
        let entropy = Entropy::from_slice(entropy).expect("16 and 32 bytes are lengths of BIP-39");
        Ok(Self(Zeroizing::new(Mnemonic::<English>::new_from_entropy(entropy).to_phrase())))
    }

    /// Reads a phrase; capitals and extra spaces do not matter. No word of it appears in the failure.
    pub fn parse(text: &str) -> Outcome<Self> {
        let text = Zeroizing::new(text.to_lowercase());
        let words: Vec<&str> = text.split_whitespace().collect();
        if !WORD_COUNTS.contains(&words.len()) {
            return Err(Failure::user(format!("the phrase has {} words", words.len()))
                .hint("phrases have 12, 15, 18, 21 or 24 words"));
        }
        if let Some(position) = words.iter().position(|word| English::get_index(word).is_err()) {
            let position = position.saturating_add(1);
            return Err(Failure::user(format!("word {position} of the phrase is not in the English list of BIP-39"))
                .hint("look at its spelling; the first four letters of each word are unique"));
        }
        let phrase = Zeroizing::new(words.join(" "));
        Mnemonic::<English>::new_from_phrase(&phrase).map_err(|_| {
            Failure::user("the phrase's checksum does not fit")
                .hint("every word is known, so one is wrong or the order is; compare it with the original")
        })?;
        Ok(Self(phrase))
    }

    /// Returns the words, separated by single spaces.
    pub fn words(&self) -> &str {
        &self.0
    }

    /// Derives the key of the `index`-th account.
    pub fn key(&self, index: u32) -> Outcome<PrivateKeySigner> {
        let builder = MnemonicBuilder::from_phrase(self.words())
            .derivation_path(derivation_path(index))
            .map_err(|_| Failure::user(format!("--index {index} is too large")).hint("the largest is 2147483647"))?;
        Ok(builder.build().expect("the phrase was checked when it was made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;

    const JUNK: &str = "test test test test test test test test test test test junk";

    #[test]
    fn derives_the_well_known_accounts() {
        let phrase = Phrase::parse(JUNK).expect("valid");
        let first = phrase.key(0).expect("index 0").address();
        assert_eq!(first, address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
        assert_eq!(phrase.key(1).expect("index 1").address(), address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"));
        assert!(phrase.key(1 << 31).is_err());
    }

    #[test]
    fn spelling_is_forgiven_where_it_cannot_matter() {
        let phrase = Phrase::parse(&format!("  {}\n", JUNK.replace(' ', " \t ").to_uppercase())).expect("valid");
        assert_eq!(phrase.words(), JUNK);
    }

    #[test]
    fn new_phrases_differ_and_can_be_read() {
        for words in [12, 24] {
            let one = Phrase::random(words).expect("offered");
            assert_eq!(one.words().split(' ').count(), words);
            assert_ne!(one.words(), Phrase::random(words).expect("offered").words());
            let read = Phrase::parse(one.words()).expect("valid");
            assert_eq!(read.key(7).expect("index").address(), one.key(7).expect("index").address());
        }
        assert!(Phrase::random(13).is_err());
    }

    #[test]
    fn failures_tell_what_is_wrong_and_no_word() {
        let cases = [
            ("test test", "2 words"),
            (&JUNK.replace("junk", "junc"), "word 12"),
            (&JUNK.replace("junk", "test"), "checksum"),
            ("", "0 words"),
        ];
        for (text, told) in cases {
            let failure = Phrase::parse(text).err().expect(text);
            assert!(failure.message.contains(told), "{failure:?}");
            assert!(!format!("{failure:?}").contains("junc"), "{failure:?}");
        }
    }
}
