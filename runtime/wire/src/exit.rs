//! How a process ended, in a message and in a file.
//!
//! A shim writes `<dir>/exits/<container>` (to a temporary name beside it, which starts with a dot, then renamed) before it
//! reports an end, so that the daemon knows it when the shim is dead. The file:
//!
//! ```text
//! "orlX"  version u8  how u8 (0 code, 1 signal)  value u8  oom u8  started i64 LE  finished i64 LE  CRC-32 LE of all before
//! ```

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned this.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

/// How the first process of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// When its program was running, nanoseconds since the epoch.
    pub started_ns: i64,
    /// When it ended, nanoseconds since the epoch.
    pub finished_ns: i64,
    /// How.
    pub status: ExitStatus,
    /// Whether the kernel killed a process of the container for memory.
    pub oom: bool,
}

/// Why bytes are not an exit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Not of this form, or of another version.
    #[error("not an exit record of version {VERSION}")]
    NotARecord,
    /// The checksum does not fit.
    #[error("the exit record is damaged")]
    Damaged,
}

/// Size of the file.
pub const RECORD_BYTES: usize = 28;

const MAGIC: [u8; 4] = *b"orlX";
const VERSION: u8 = 1;
const CODE: u8 = 0;
const SIGNAL: u8 = 1;

impl ExitRecord {
    /// Encodes the file.
    #[must_use]
    pub fn to_file(&self) -> [u8; RECORD_BYTES] {
        let (how, value) = match self.status {
            ExitStatus::Code(code) => (CODE, code),
            ExitStatus::Signal(signal) => (SIGNAL, signal),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, how, value, u8::from(self.oom)]);
        bytes[8..16].copy_from_slice(&self.started_ns.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.finished_ns.to_le_bytes());
        let sum = crc32(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Decodes the file.
    pub fn from_file(bytes: &[u8]) -> Result<Self, BadRecord> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().map_err(|_| BadRecord::NotARecord)?;
        if bytes[..4] != MAGIC || bytes[4] != VERSION {
            return Err(BadRecord::NotARecord);
        }
        if bytes[24..] != crc32(&bytes[..24]).to_le_bytes() {
            return Err(BadRecord::Damaged);
        }
        let status = match bytes[5] {
            CODE => ExitStatus::Code(bytes[6]),
            SIGNAL => ExitStatus::Signal(bytes[6]),
            _ => return Err(BadRecord::NotARecord),
        };
        let number = |at: usize| {
            bytes[at..].first_chunk().map_or(Err(BadRecord::NotARecord), |chunk| Ok(i64::from_le_bytes(*chunk)))
        };
        Ok(Self { started_ns: number(8)?, finished_ns: number(16)?, status, oom: bytes[7] != 0 })
    }
}

/// CRC-32 (IEEE 802.3), bit by bit: 24 bytes are not worth a table or a crate.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    prop_compose! {
        fn record()(started_ns: i64, finished_ns: i64, code: bool, value: u8, oom: bool) -> ExitRecord {
            let status = if code { ExitStatus::Code(value) } else { ExitStatus::Signal(value) };
            ExitRecord { started_ns, finished_ns, status, oom }
        }
    }

    proptest! {
        #[test]
        fn record_survives_the_file(record in record()) {
            prop_assert_eq!(ExitRecord::from_file(&record.to_file()), Ok(record));
        }

        #[test]
        fn one_changed_bit_is_noticed(record in record(), at in 0..RECORD_BYTES * 8) {
            let mut bytes = record.to_file();
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(ExitRecord::from_file(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = ExitRecord::from_file(&bytes);
        }
    }
}
