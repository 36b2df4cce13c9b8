//! Sizes of a terminal, as clients send them: JSON objects one behind the other, cut anywhere.

use orlop_model::streams::TerminalSize;
use serde_json::Value;

/// Longest object. Clients send some thirty bytes.
const SIZE_BYTES_MAX: usize = 256;

/// What came and is no whole object yet.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    pending: Vec<u8>,
}

/// The client sends something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sizes of the terminal are not objects such as {{\"Width\":80,\"Height\":24}}")]
pub(crate) struct NotASize;

impl Sizes {
    /// Takes bytes in; returns the newest size that is whole. Older ones are of no use any more.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<TerminalSize>, NotASize> {
        let mut newest = None;
        for byte in bytes {
            self.pending.push(*byte);
            if *byte == b'}' {
                newest = Some(parse(&std::mem::take(&mut self.pending))?);
            } else if self.pending.len() > SIZE_BYTES_MAX {
                return Err(NotASize);
            }
        }
        Ok(newest)
    }
}

fn parse(object: &[u8]) -> Result<TerminalSize, NotASize> {
    let object: Value = serde_json::from_slice(object).map_err(|_| NotASize)?;
    let number = |name: &str| object[name].as_u64().and_then(|number| u16::try_from(number).ok()).ok_or(NotASize);
    Ok(TerminalSize { rows: number("Height")?, columns: number("Width")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_size_counts_wherever_the_bytes_are_cut() {
        let text = b"{\"Width\":80,\"Height\":24}\n{\"Width\":132,\"Height\":43}\n{\"Wid";
        let size = |rows, columns| Some(TerminalSize { rows, columns });
        assert_eq!(Sizes::default().take(text), Ok(size(43, 132)));
        let mut sizes = Sizes::default();
        let seen: Vec<_> = text.iter().filter_map(|byte| sizes.take(&[*byte]).unwrap()).collect();
        assert_eq!(seen, [size(24, 80), size(43, 132)].map(Option::unwrap));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            [&b"{}"[..], b"}", b"{\"Width\":80}", b"{\"Width\":65536,\"Height\":1}", b"{\"Width\":-1,\"Height\":1}"]
        {
            assert_eq!(Sizes::default().take(text), Err(NotASize), "{text:?}");
        }
        assert_eq!(Sizes::default().take(&[b' '; SIZE_BYTES_MAX + 1]), Err(NotASize));
    }
}
