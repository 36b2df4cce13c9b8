//! The first datagram each way: which versions and abilities a side has.

use super::WireError;

/// Oldest version of the protocol that this build speaks.
pub const VERSION_MIN: u32 = 1;
/// Newest version of the protocol that this build speaks.
pub const VERSION_MAX: u32 = 1;
/// Optional ability: [`super::Request::TcpSockets`] to [`super::Request::FirstProcess`], and [`crate::plan::Op::Terminal`]. A shim without it
/// answers [`super::Reply::Unsupported`] to each, so that nobody needs to ask first.
pub const STREAMS: u64 = 1;
/// Optional abilities that this build has.
pub const FEATURES: u64 = STREAMS;

const HELLO_MAGIC: [u8; 4] = *b"orlp";
const HELLO_BYTES: usize = 20;

/// The first datagram each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version spoken.
    pub min: u32,
    /// Newest version spoken.
    pub max: u32,
    /// Optional abilities.
    pub features: u64,
}

impl Hello {
    /// What this build says.
    pub const OURS: Self = Self { min: VERSION_MIN, max: VERSION_MAX, features: FEATURES };

    /// Encodes it. This form never changes, whatever the version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.extend_from_slice(&HELLO_MAGIC);
        bytes.extend_from_slice(&self.min.to_le_bytes());
        bytes.extend_from_slice(&self.max.to_le_bytes());
        bytes.extend_from_slice(&self.features.to_le_bytes());
        bytes
    }

    /// Decodes the first datagram of a connection. Bytes behind the known ones are a newer build's and passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let rest = bytes.strip_prefix(&HELLO_MAGIC).ok_or(WireError::NotHello)?;
        let (min, rest) = rest.split_first_chunk().ok_or(WireError::NotHello)?;
        let (max, rest) = rest.split_first_chunk().ok_or(WireError::NotHello)?;
        let (features, _) = rest.split_first_chunk().ok_or(WireError::NotHello)?;
        Ok(Self {
            min: u32::from_le_bytes(*min),
            max: u32::from_le_bytes(*max),
            features: u64::from_le_bytes(*features),
        })
    }

    /// Returns the newest version that both sides speak.
    pub fn agree(&self, peer: &Self) -> Result<u32, WireError> {
        let version = self.max.min(peer.max);
        if version < self.min.max(peer.min) {
            return Err(WireError::NoCommonVersion { min: peer.min, max: peer.max });
        }
        Ok(version)
    }
}
