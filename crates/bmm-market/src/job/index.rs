//! Where the chunks of lines and records begin in a file: one offset a chunk, not one a line.

/// Offsets of chunks: chunk `i` is `offsets[i]..offsets[i + 1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChunkIndex {
    offsets: Vec<usize>,
    /// Lines or records in all.
    pub items: u64,
}

impl ChunkIndex {
    /// Returns the bytes of a chunk.
    pub fn slice<'a>(&self, content: &'a [u8], chunk: usize) -> Option<&'a [u8]> {
        content.get(*self.offsets.get(chunk)?..*self.offsets.get(chunk + 1)?)
    }

    /// Takes note of the item that begins at `offset`.
    fn push(&mut self, offset: usize, chunk: u64) {
        if self.items.is_multiple_of(chunk) {
            self.offsets.push(offset);
        }
        self.items += 1;
    }

    /// Indexes lines; the last one may lack its newline.
    pub fn of_lines(content: &[u8], chunk: u64) -> Self {
        let mut index = Self::default();
        let mut start = 0;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            index.push(start, chunk);
            start += line.len();
        }
        index.offsets.push(content.len());
        index
    }
}

/// A CSV file (RFC 4180) with a header: its columns and where its records begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CsvIndex {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Length of the header with its line end, bytes.
    pub header: usize,
    /// The chunks of records.
    pub chunks: ChunkIndex,
}

impl CsvIndex {
    /// Reads the header and indexes the records. Fails on a record of another length, and on a header that is not UTF-8.
    pub fn of(content: &[u8], chunk: u64) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(content);
        let mut record = csv::ByteRecord::new();
        let mut read = |record: &mut csv::ByteRecord| reader.read_byte_record(record).map_err(|error| describe(&error));
        if !read(&mut record)? {
            return Err("it is empty; the first line names the columns".to_owned());
        }
        let names: Result<Vec<_>, _> = record.iter().map(|name| String::from_utf8(name.to_vec())).collect();
        let columns: Vec<String> = names.map_err(|_| "the names of its columns are not UTF-8".to_owned())?;
        let mut index = Self { columns, header: content.len(), chunks: ChunkIndex::default() };
        while read(&mut record)? {
            let at = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
            // The reader's position may stand on what is left of the line end before the record.
            let blank =
                content.get(at..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if index.chunks.items == 0 {
                index.header = at + blank;
            }
            index.chunks.push(at + blank, chunk);
        }
        index.chunks.offsets.push(content.len());
        Ok(index)
    }
}

/// Says in words what the CSV reader found.
fn describe(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} fields, the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// Returns the fields of one record.
pub(super) fn record_fields(record: &[u8]) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
    let mut fields = csv::ByteRecord::new();
    // Reading from memory cannot fail, and flexible records of any length are accepted.
    let _ = reader.read_byte_record(&mut fields);
    fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_chunk_is_shorter() {
        let content = b"a\nb\n\nd";
        let index = ChunkIndex::of_lines(content, 3);
        assert_eq!((index.items, index.slice(content, 0)), (4, Some(&b"a\nb\n\n"[..])));
        assert_eq!(index.slice(content, 1), Some(&b"d"[..]));
        assert_eq!(index.slice(content, 2), None);
    }

    #[test]
    fn records_may_hold_newlines_and_end_in_crlf() {
        let content = b"id,text\r\n1,\"a\r\nb\"\r\n2,c\r\n\r\n3,d";
        let index = CsvIndex::of(content, 2).unwrap();
        assert_eq!((index.columns.len(), index.header, index.chunks.items), (2, 9, 3));
        assert_eq!(index.chunks.slice(content, 0), Some(&b"1,\"a\r\nb\"\r\n2,c\r\n\r\n"[..]));
        assert_eq!(index.chunks.slice(content, 1), Some(&b"3,d"[..]));
        assert_eq!(record_fields(b"1,\"a\r\nb\"\r\n"), ["1", "a\r\nb"]);
        assert_eq!(CsvIndex::of(b"a,b\n1\n", 1).unwrap_err(), "line 2 has 1 fields, the header has 2");
    }

    proptest! {
        #[test]
        fn chunks_of_lines_are_the_whole_file(content in "[ab\n]{0,60}", chunk in 1u64..5) {
            let index = ChunkIndex::of_lines(content.as_bytes(), chunk);
            let all: Vec<u8> = (0..).map_while(|i| index.slice(content.as_bytes(), i)).flatten().copied().collect();
            prop_assert_eq!(all, content.as_bytes());
        }

        #[test]
        fn indexing_csv_never_panics(content in "[a,\"\r\n1]{0,60}", chunk in 1u64..4) {
            if let Ok(index) = CsvIndex::of(content.as_bytes(), chunk) {
                let all: usize = (0..).map_while(|i| index.chunks.slice(content.as_bytes(), i)).map(<[u8]>::len).sum();
                prop_assert!(index.chunks.items == 0 || index.header + all == content.len());
            }
        }
    }
}
