//! Decompresses layers as they are read; nothing is held but the decoder's window.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Returns a reader of a layer's archive, whatever it is compressed by, which gives no more than `allowance` says.
pub(super) fn reader<'a>(bytes: &'a [u8], allowance: &Rc<Cell<u64>>) -> impl Read + 'a {
    let inner: Box<dyn Read + 'a> = if bytes.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(bytes))
    } else if bytes.starts_with(ZSTD) || skippable(bytes) {
        Box::new(Zstd { rest: bytes, frame: None })
    } else {
        Box::new(bytes)
    };
    Bounded { inner, allowance: Rc::clone(allowance) }
}

/// Fails once more is read than is allowed: a few bytes may decompress to any number.
struct Bounded<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let allowed = usize::try_from(self.allowance.get()).unwrap_or(usize::MAX).min(into.len());
        let count = self.inner.read(&mut into[..allowed])?;
        if count == 0 && allowed < into.len() {
            // Nothing was allowed, so whether this is the end is not known; it has to be.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other("the names or numbers of a file take too many bytes")),
            };
        }
        self.allowance.set(self.allowance.get() - count as u64);
        Ok(count)
    }
}

/// The frames of zstd one after the other.
struct Zstd<'a> {
    rest: &'a [u8],
    frame: Option<StreamingDecoder<&'a [u8], FrameDecoder>>,
}

/// Tells whether a frame for other programs is next.
fn skippable(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] & 0xf0 == 0x50 && bytes[1..4] == [0x2a, 0x4d, 0x18]
}

impl Read for Zstd<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(into)?;
                if count > 0 {
                    return Ok(count);
                }
                self.rest = frame.get_ref();
                self.frame = None;
            } else if self.rest.is_empty() {
                return Ok(0);
            } else if skippable(self.rest) {
                let (head, rest) = self.rest.split_at(8);
                let length = head[4..].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                self.rest = rest.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
            } else {
                self.frame = Some(StreamingDecoder::new(self.rest).map_err(io::Error::other)?);
            }
        }
    }
}
