//! A list of logs as JSON, written while they are found: answers hold them by the thousand, and nearly all of each is hex.

use super::answer::Place;
use crate::methods::Json;
use alloy_primitives::{B256, Log, hex};
use std::io::Write as _;

/// The list so far.
#[derive(Default)]
pub(crate) struct LogList {
    json: Vec<u8>,
    len: usize,
}

impl LogList {
    /// Returns how many logs are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.json.len()
    }

    /// Adds a log as [`super::answer::log`] gives it. `number` counts the logs of the whole block.
    pub(crate) fn push(&mut self, log: &Log, tx_hash: &B256, place: Place<'_>, number: usize) {
        self.text(if self.len == 0 { "[{\"address\":\"0x" } else { ",{\"address\":\"0x" });
        self.len = self.len.saturating_add(1);
        self.hex(log.address.as_slice());
        self.text("\",\"topics\":[");
        for (index, topic) in log.topics().iter().enumerate() {
            self.text(if index == 0 { "\"0x" } else { ",\"0x" });
            self.hex(topic.as_slice());
            self.text("\"");
        }
        self.text("],\"data\":\"0x");
        self.hex(&log.data.data);
        self.text("\",\"blockHash\":\"0x");
        self.hex(place.block.as_slice());
        let (block, time) = (place.header.number, place.header.timestamp);
        self.numbers(format_args!("\",\"blockNumber\":\"{block:#x}\",\"blockTimestamp\":\"{time:#x}"));
        self.text("\",\"transactionHash\":\"0x");
        self.hex(tx_hash.as_slice());
        let index = place.index;
        self.numbers(format_args!("\",\"transactionIndex\":\"{index:#x}\",\"logIndex\":\"{number:#x}"));
        self.text("\",\"removed\":false}");
    }

    /// Ends the list.
    pub(crate) fn finish(mut self) -> Json {
        self.text(if self.len == 0 { "[]" } else { "]" });
        Json::new(String::from_utf8(self.json).expect("hex and plain text"))
    }

    fn text(&mut self, text: &str) {
        self.json.extend_from_slice(text.as_bytes());
    }

    fn hex(&mut self, bytes: &[u8]) {
        let start = self.json.len();
        self.json.resize(start.saturating_add(bytes.len().saturating_mul(2)), 0);
        hex::encode_to_slice(bytes, &mut self.json[start..]).expect("two digits a byte");
    }

    fn numbers(&mut self, text: std::fmt::Arguments<'_>) {
        self.json.write_fmt(text).expect("memory takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::answer, *};
    use alloy_primitives::{Address, LogData};
    use bmm_types::Header;

    #[test]
    fn it_reads_as_the_types_of_the_library_write_it() {
        let (block, tx) = (B256::repeat_byte(0xab), B256::repeat_byte(0x0c));
        for (count, number, timestamp, index) in [(0, 0, 0, 0), (1, 1, 1_900_000_000, 15), (4, u64::MAX, 16, 70_000)] {
            let header = Header { number, timestamp, ..Header::default() };
            let place = Place { block, header: &header, index };
            let (mut list, mut expected) = (LogList::default(), Vec::new());
            for at in 0..count {
                let topics = (0..at).map(B256::with_last_byte).collect();
                let data = LogData::new_unchecked(topics, vec![at; usize::from(at) * 11].into());
                let log = Log { address: Address::repeat_byte(at), data };
                list.push(&log, &tx, place, index + usize::from(at));
                expected.push(answer::log(log, tx, place, index + usize::from(at)));
            }
            assert_eq!((list.len(), list.bytes() > 0), (expected.len(), count > 0));
            assert_eq!(list.finish().get(), serde_json::to_string(&expected).expect("plain values"));
        }
    }
}
