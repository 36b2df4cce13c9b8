//! A path inside a container, as a client wrote it. Pure.

use crate::error::Error;

/// Longest path: the kernel takes less than 4096 bytes at once.
const PATH_BYTES_MAX: usize = 4000;

/// A path from the root, without `.`, `..` and doubled slashes; they are taken away as text, links are not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Parts joined by slashes; empty is the root.
    joined: Vec<u8>,
    ending: Ending,
}

/// What a path ends with: it says whether a last link is followed, and what the thing is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Name,
    Slash,
    Dot,
}

// === impl Path ===

impl Path {
    /// Parses a path; one without a slash in front begins at the root too.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadPath { path: super::pack::shown(text), why: why.to_owned() };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(bad("it is longer than any path"));
        }
        if text.contains(&0) {
            return Err(bad("it holds a zero byte"));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let ending = match text.rsplit(|byte| *byte == b'/').next() {
            Some(b".") => Ending::Dot,
            Some(b"") => Ending::Slash,
            Some(_) | None => Ending::Name,
        };
        Ok(Self { joined: parts.join(&b'/'), ending })
    }

    /// Returns the path as the kernel resolves it from the root.
    pub(super) fn for_kernel(&self) -> Vec<u8> {
        match (self.joined.is_empty(), self.ending) {
            (true, _) => b".".to_vec(),
            (false, Ending::Name) => self.joined.clone(),
            (false, Ending::Slash | Ending::Dot) => [&self.joined[..], b"/."].concat(),
        }
    }

    /// Returns the path of the folder it is in and its own name there; `None` for the root.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        let slash = self.joined.iter().rposition(|byte| *byte == b'/');
        match slash {
            _ if self.joined.is_empty() => None,
            Some(at) => Some((&self.joined[..at], &self.joined[at + 1..])),
            None => Some((b"", &self.joined)),
        }
    }

    /// Returns what the thing is called in answers and archives.
    pub(super) fn name(&self) -> &[u8] {
        match (self.split(), self.ending) {
            (None, Ending::Dot) | (Some(_), Ending::Dot) => b".",
            (None, Ending::Name | Ending::Slash) => b"/",
            (Some((_, name)), Ending::Name | Ending::Slash) => name,
        }
    }

    /// Returns a path below this one, all links on the way followed.
    pub(super) fn below(&self, parts: &[&[u8]]) -> Vec<u8> {
        let below = parts.join(&b'/');
        match (self.joined.is_empty(), below.is_empty()) {
            (true, true) => b".".to_vec(),
            (true, false) => [&below[..], b"/."].concat(),
            (false, true) => [&self.joined[..], b"/."].concat(),
            (false, false) => [&self.joined[..], b"/", &below[..], b"/."].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_keep_what_their_ending_means() {
        for (text, kernel, name) in [
            ("/", ".", "/"),
            ("/.", ".", "."),
            (".", ".", "."),
            ("..", ".", "/"),
            ("/../../etc/passwd", "etc/passwd", "passwd"),
            ("etc//x/../passwd", "etc/passwd", "passwd"),
            ("/tmp/", "tmp/.", "tmp"),
            ("/tmp/.", "tmp/.", "."),
            ("/tmp/..", ".", "/"),
        ] {
            let path = Path::parse(text.as_bytes()).unwrap();
            let (kernel, name) = (kernel.as_bytes().to_vec(), name.as_bytes());
            assert_eq!((path.for_kernel(), path.name()), (kernel, name), "{text}");
        }
        for bad in [&b""[..], b"a\0b", &[b'a'; 5000]] {
            assert!(matches!(Path::parse(bad), Err(Error::BadPath { .. })));
        }
        let path = |text: &str| Path::parse(text.as_bytes()).unwrap();
        assert_eq!(path("/").below(&[b"a", b"b"]), b"a/b/.");
        assert_eq!(path("/t").below(&[]), b"t/.");
        assert_eq!(path("/t/u").split(), Some((&b"t"[..], &b"u"[..])));
        assert_eq!(path("/t").split(), Some((&b""[..], &b"t"[..])));
        assert_eq!(path("/").split(), None);
    }
}
