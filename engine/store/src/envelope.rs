//! What is around the body of every record: version, generation, boot, checksum. Pure.
//!
//! One line of JSON and a line feed, then the body as it is: `{"v":1,"generation":3,"boot_id":"…","sum":"<sha256 hex>"}`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of this format.
const VERSION: u32 = 1;
/// Longest first line; a longer one is no record of ours.
const HEAD_BYTES_MAX: usize = 1024;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    v: u32,
    generation: u64,
    boot_id: String,
    sum: String,
}

/// A record as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Goes up with every write.
    pub(crate) generation: u64,
    /// The boot it was written in.
    pub(crate) boot_id: String,
    /// What it says.
    pub(crate) body: Vec<u8>,
}

impl Envelope {
    /// Returns the bytes of the file.
    pub(crate) fn seal(generation: u64, boot_id: &str, body: &[u8]) -> Vec<u8> {
        let head = Head { v: VERSION, generation, boot_id: boot_id.to_owned(), sum: sum(generation, boot_id, body) };
        let mut bytes = serde_json::to_vec(&head).expect("a head of numbers and strings is always JSON");
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads the bytes of a file; says what is wrong with them.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or("it has no head line")?;
        let (head, body) = (&bytes[..end], &bytes[end + 1..]);
        let head: Head = serde_json::from_slice(head).map_err(|wrong| format!("its head can't be read: {wrong}"))?;
        if head.v != VERSION {
            return Err(format!("it has version {}, this daemon reads {VERSION}", head.v));
        }
        if head.sum != sum(head.generation, &head.boot_id, body) {
            return Err("its checksum does not match".to_owned());
        }
        Ok(Self { generation: head.generation, boot_id: head.boot_id, body: body.to_vec() })
    }
}

fn sum(generation: u64, boot_id: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(generation.to_le_bytes());
    hash.update(boot_id.as_bytes());
    hash.update(body);
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_can_be_opened(generation: u64, boot in "[a-f0-9-]{0,36}", body: Vec<u8>) {
            let opened = Envelope::open(&Envelope::seal(generation, &boot, &body)).unwrap();
            prop_assert_eq!(opened, Envelope { generation, boot_id: boot, body });
        }

        #[test]
        fn one_changed_byte_is_noticed(body in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = Envelope::seal(7, "boot", &body);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            // A change that leaves the JSON's meaning as it was can't be told and does no harm.
            if let Ok(opened) = Envelope::open(&bytes) {
                prop_assert_eq!(opened, Envelope { generation: 7, boot_id: "boot".to_owned(), body });
            }
        }

        #[test]
        fn hostile_bytes_are_refused_or_read_but_never_panic(bytes: Vec<u8>) {
            drop(Envelope::open(&bytes));
        }
    }
}
