//! Blocks of headers: compressed, with a memory that reaches over all blocks of a connection.
//!
//! A client's are inflated into a bounded space: what would fill more is refused before it is there. Ours are always empty,
//! so they are written as stored blocks and cost no compressor.

use super::dictionary;
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;

/// Longest block, inflated. Clients of the CRI send three short headers.
const INFLATED_BYTES_MAX: usize = 16 << 10;
/// Most headers of a stream.
const HEADERS_MAX: usize = 32;

/// Headers of one stream, names in lower case. A header with several values holds them with NUL between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

/// Why a block can't be understood. The connection can't go on: its compression's memory is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Not zlib, another dictionary, or damaged.
    #[error("headers that are not compressed as SPDY/3 says")]
    Compression,
    /// The block ends the whole stream of compression.
    #[error("headers that end the compression for good")]
    Ended,
    /// Longer than [`INFLATED_BYTES_MAX`].
    #[error("headers of more than {INFLATED_BYTES_MAX} bytes")]
    Long,
    /// More than [`HEADERS_MAX`].
    #[error("more than {HEADERS_MAX} headers")]
    Many,
    /// Shorter or longer than its lengths say, not UTF-8, a name that is empty or not in lower case, or there twice.
    #[error("headers that are malformed")]
    Malformed,
}

/// Reads a client's blocks, in the order of their arrival.
pub(crate) struct Reader {
    inflate: Decompress,
}

/// Writes our blocks.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    begun: bool,
}

// === impl Headers ===

impl Headers {
    /// Returns the value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// SPDY Protocol, Draft 3.1, 2.6.10.
    fn parse(mut bytes: &[u8]) -> Result<Self, Unreadable> {
        let count = number(&mut bytes)?;
        if count > HEADERS_MAX {
            return Err(Unreadable::Many);
        }
        let mut headers = Self::default();
        for _ in 0..count {
            let (name, value) = (text(&mut bytes)?, text(&mut bytes)?);
            let named_well = !name.is_empty() && !name.contains(|c: char| c.is_ascii_uppercase());
            if !named_well || headers.get(&name).is_some() {
                return Err(Unreadable::Malformed);
            }
            headers.0.push((name, value));
        }
        if bytes.is_empty() { Ok(headers) } else { Err(Unreadable::Malformed) }
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

fn number(bytes: &mut &[u8]) -> Result<usize, Unreadable> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Unreadable::Malformed)?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| Unreadable::Malformed)
}

fn text(bytes: &mut &[u8]) -> Result<String, Unreadable> {
    let length = number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Unreadable::Malformed)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Unreadable::Malformed)
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(true) }
    }

    /// Reads the next block.
    pub(crate) fn read(&mut self, block: &[u8]) -> Result<Headers, Unreadable> {
        Headers::parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Unreadable> {
        // One byte more than may be there, so that a full space says that more would come.
        let mut space = vec![0; INFLATED_BYTES_MAX + 1];
        let (taken_before, given_before) = (self.inflate.total_in(), self.inflate.total_out());
        loop {
            let taken = since(self.inflate.total_in(), taken_before);
            let given = since(self.inflate.total_out(), given_before);
            if given == space.len() {
                return Err(Unreadable::Long);
            }
            match self.inflate.decompress(&block[taken..], &mut space[given..], FlushDecompress::Sync) {
                Ok(Status::Ok) => {}
                // Nothing more to take, and nothing more to give.
                Ok(Status::BufError) if since(self.inflate.total_in(), taken_before) == block.len() => {
                    space.truncate(since(self.inflate.total_out(), given_before));
                    return Ok(space);
                }
                Ok(Status::BufError) => return Err(Unreadable::Compression),
                Ok(Status::StreamEnd) => return Err(Unreadable::Ended),
                Err(wrong) if wrong.needs_dictionary().is_some() => self.give_dictionary()?,
                Err(_) => return Err(Unreadable::Compression),
            }
        }
    }

    fn give_dictionary(&mut self) -> Result<(), Unreadable> {
        self.inflate.set_dictionary(&dictionary::dictionary()).map(|_| ()).map_err(|_| Unreadable::Compression)
    }
}

/// How much of the block at hand a counter over all blocks has seen.
fn since(total: u64, before: u64) -> usize {
    usize::try_from(total - before).expect("a block fits into memory")
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

// === impl Writer ===

impl Writer {
    /// What a stream of zlib with our dictionary begins with: deflate, 32 KiB, a dictionary; RFC 1950, 2.2.
    const BEGIN: [u8; 2] = [0x78, 0x20];
    /// A stored block of four bytes, which are the number of headers: none; RFC 1951, 3.2.4.
    const NO_HEADERS: [u8; 9] = [0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0];
    /// An empty stored block, on which receivers hand on what is before it.
    const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

    /// Writes a block without headers.
    pub(crate) fn empty(&mut self) -> Vec<u8> {
        let mut block = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            block.extend(Self::BEGIN);
            block.extend(dictionary::ID.to_be_bytes());
        }
        block.extend(Self::NO_HEADERS);
        block.extend(Self::FLUSH);
        block
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    /// Compresses blocks as a client does.
    pub(crate) struct Compressor(Compress);

    impl Compressor {
        pub(crate) fn new() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&dictionary::dictionary()).unwrap();
            Self(compress)
        }

        pub(crate) fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            self.compress(&plain(headers))
        }

        fn compress(&mut self, plain: &[u8]) -> Vec<u8> {
            let mut block = Vec::with_capacity(plain.len() + 1024);
            self.0.compress_vec(plain, &mut block, FlushCompress::Sync).unwrap();
            assert!(block.len() < block.capacity(), "the block was cut");
            block
        }
    }

    fn plain(headers: &[(&str, &str)]) -> Vec<u8> {
        let length = |text: &str| u32::try_from(text.len()).unwrap().to_be_bytes();
        let mut plain = u32::try_from(headers.len()).unwrap().to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text));
            plain.extend(text.as_bytes());
        }
        plain
    }

    #[test]
    fn blocks_share_one_compression() {
        let (mut compressor, mut reader) = (Compressor::new(), Reader::new());
        let first = compressor.block(&[("streamtype", "error"), ("port", "80")]);
        let second = compressor.block(&[("streamtype", "data"), ("port", "80")]);
        assert!(second.len() < first.len(), "the second leans on the first");
        assert_eq!(reader.read(&first).unwrap().get("streamtype"), Some("error"));
        let headers = reader.read(&second).unwrap();
        assert_eq!(
            (headers.get("streamtype"), headers.get("port"), headers.get("x")),
            (Some("data"), Some("80"), None)
        );
    }

    #[test]
    fn our_blocks_are_read_by_a_real_inflater() {
        let (mut writer, mut reader) = (Writer::default(), Reader::new());
        for _ in 0..3 {
            assert_eq!(reader.read(&writer.empty()), Ok(Headers::default()));
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_memory() {
        let bomb = Compressor::new().compress(&vec![0; 15 << 20]);
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        assert_eq!(Reader::new().read(&bomb), Err(Unreadable::Long));
    }

    #[test]
    fn malformed_headers_are_refused() {
        let many: Vec<(String, &str)> = (0..=HEADERS_MAX).map(|i| (format!("h{i}"), "")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let mut longer = plain(&[]);
        longer.push(0);
        let mut shorter = plain(&[("port", "80")]);
        shorter.pop();
        for (plain, why) in [
            (plain(&[("Port", "80")]), Unreadable::Malformed),
            (plain(&[("", "80")]), Unreadable::Malformed),
            (plain(&[("port", "80"), ("port", "81")]), Unreadable::Malformed),
            (plain(&many), Unreadable::Many),
            (vec![0xff; 4], Unreadable::Many),
            (vec![0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], Unreadable::Malformed),
            (vec![0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0, 0, 0, 0], Unreadable::Malformed),
            (longer, Unreadable::Malformed),
            (shorter, Unreadable::Malformed),
            (Vec::new(), Unreadable::Malformed),
        ] {
            let block = Compressor::new().compress(&plain);
            assert_eq!(Reader::new().read(&block), Err(why), "{plain:?}");
        }
    }

    #[test]
    fn another_dictionary_or_an_end_is_refused() {
        let mut other = Compress::new(Compression::fast(), true);
        other.set_dictionary(b"streamtype").unwrap();
        let mut block = Vec::with_capacity(256);
        other.compress_vec(&plain(&[]), &mut block, FlushCompress::Sync).unwrap();
        assert_eq!(Reader::new().read(&block), Err(Unreadable::Compression));

        let mut compressor = Compressor::new();
        let mut block = Vec::with_capacity(256);
        compressor.0.compress_vec(&plain(&[]), &mut block, FlushCompress::Finish).unwrap();
        assert_eq!(Reader::new().read(&block), Err(Unreadable::Ended));
    }

    proptest! {
        #[test]
        fn any_headers_survive_the_round_trip(
            blocks in prop::collection::vec(
                prop::collection::btree_map("[a-z0-9:-]{1,20}", "\\PC{0,40}", 0..8), 1..6),
        ) {
            let (mut compressor, mut reader) = (Compressor::new(), Reader::new());
            for block in &blocks {
                let pairs: Vec<(&str, &str)> = block.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let headers = reader.read(&compressor.block(&pairs)).unwrap();
                for (name, value) in pairs {
                    prop_assert_eq!(headers.get(name), Some(value));
                }
            }
        }

        #[test]
        fn hostile_blocks_never_panic_and_never_grow(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new();
            drop(reader.read(&bytes));
            // The same behind a good beginning, where the bytes are deflate's.
            let (mut compressor, mut reader) = (Compressor::new(), Reader::new());
            reader.read(&compressor.block(&[("a", "b")])).unwrap();
            if let Ok(inflated) = reader.inflate(&bytes) {
                prop_assert!(inflated.len() <= INFLATED_BYTES_MAX);
            }
        }
    }
}
