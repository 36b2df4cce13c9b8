//! Walks through an archive, member by member.

use super::header::{BLOCK, Header};
use super::pax::{self, Pax};
use super::{Entry, Kind, TarError};
use rustix::io::Errno;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

/// Largest name or extended header that stands in a member of its own. Go's reader has the same bound.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// An archive that is being read. After each [`Archive::next`] the entry's data is read from the archive itself.
pub(crate) struct Archive<'a> {
    input: &'a mut dyn Read,
    /// Bytes of the current member's data not read yet.
    data_left: u64,
    /// Bytes that fill its last block.
    padding: u64,
    entry: u64,
    ended: bool,
}

/// Names that come in members of their own before the member they belong to.
#[derive(Default)]
struct Extensions {
    pax: Pax,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

// === impl Archive ===

impl<'a> Archive<'a> {
    /// Starts reading.
    pub(crate) fn new(input: &'a mut dyn Read) -> Self {
        Self { input, data_left: 0, padding: 0, entry: 0, ended: false }
    }

    /// Skips what is left of the current member and returns the next one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                self.ended = true;
                return Ok(None);
            };
            match header.type_flag {
                b'x' => extensions.pax = self.extension(&header).and_then(|bytes| self.pax(&bytes))?,
                // Defaults for all members: only tools that archive source code write it, and Go leaves it out too.
                b'g' => drop(self.extension(&header)?),
                b'L' => extensions.path = Some(until_zero(self.extension(&header)?)),
                b'K' => extensions.link = Some(until_zero(self.extension(&header)?)),
                _ => {
                    let entry = self.finish(header, extensions)?;
                    self.entry += 1;
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().any(|byte| *byte != 0) {
            return Header::parse(&block).map(Some).map_err(|why| self.malformed(why));
        }
        // One block of zeros at the very end is common, a header behind it is not.
        match self.block()? {
            Some(second) if second.iter().any(|byte| *byte != 0) => {
                Err(self.malformed("a single block of zeros stands in its place"))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match read(self.input, &mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(TarError::Truncated("a header")),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let size = self.size(header.size)?;
        if size > EXTENSION_BYTES_MAX {
            let why = format!("its name or attributes have {size} bytes, at most {EXTENSION_BYTES_MAX} are read");
            return Err(TarError::Unsupported { entry: self.entry, why });
        }
        self.expect_data(size);
        let mut bytes = Vec::new();
        let input = &mut *self.input;
        let count = input.take(size).read_to_end(&mut bytes).map_err(TarError::Read)?;
        self.data_left -= count as u64;
        if self.data_left > 0 { Err(TarError::Truncated("an extended header")) } else { Ok(bytes) }
    }

    fn pax(&self, bytes: &[u8]) -> Result<Pax, TarError> {
        pax::parse(bytes).map_err(|why| self.malformed(why))
    }

    fn finish(&mut self, header: Header, extensions: Extensions) -> Result<Entry, TarError> {
        let pax = extensions.pax;
        let path = extensions.path.or(pax.path).unwrap_or(header.path);
        let link = extensions.link.or(pax.link).unwrap_or(header.link);
        if pax.sparse || header.type_flag == b'S' {
            return Err(TarError::Unsupported { entry: self.entry, why: "it is a sparse file".to_owned() });
        }
        let kind = match header.type_flag {
            // Before POSIX a folder was told by its name alone.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let why = format!("its type {:?} is not known", char::from(other));
                return Err(TarError::Unsupported { entry: self.entry, why });
            }
        };
        // Some writers give links the size of their target; no data follows.
        let size = if kind == Kind::File { self.size(pax.size.unwrap_or(header.size))? } else { 0 };
        self.expect_data(size);
        let device = (self.narrow(header.device.0, "device number")?, self.narrow(header.device.1, "device number")?);
        Ok(Entry {
            path,
            link,
            kind,
            mode: header.mode,
            uid: self.narrow(pax.uid.unwrap_or(header.uid), "owner")?,
            gid: self.narrow(pax.gid.unwrap_or(header.gid), "group")?,
            modified: pax.modified.unwrap_or(header.modified),
            size,
            device,
            attributes: pax.attributes,
        })
    }

    fn size(&self, size: i64) -> Result<u64, TarError> {
        u64::try_from(size).map_err(|_| self.malformed("its size is negative"))
    }

    fn narrow(&self, value: i64, what: &str) -> Result<u32, TarError> {
        u32::try_from(value).map_err(|_| self.malformed(format!("its {what} {value} is out of range")))
    }

    fn expect_data(&mut self, size: u64) {
        self.data_left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip(&mut self) -> Result<(), TarError> {
        let left = self.data_left + self.padding;
        let skipped = io::copy(&mut (&mut *self.input).take(left), &mut io::sink()).map_err(TarError::Read)?;
        // Nothing needs the filling of the very last block, and some writers leave it out.
        if skipped < self.data_left {
            return Err(TarError::Truncated("a file"));
        }
        (self.data_left, self.padding) = (0, 0);
        Ok(())
    }

    fn malformed(&self, why: impl Into<String>) -> TarError {
        TarError::Malformed { entry: self.entry, why: why.into() }
    }

    /// Reads data of the current member; 0 when it has all been read.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let want = usize::try_from(self.data_left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        match read(self.input, &mut buffer[..want])? {
            0 => Err(TarError::Truncated("a file")),
            count => {
                self.data_left -= count as u64;
                Ok(count)
            }
        }
    }
}

/// Why a member's data did not get into a file.
#[derive(Debug)]
pub(crate) enum PourError {
    /// The archive can't be read.
    Read(TarError),
    /// The file can't be written.
    Write(Errno),
}

impl Archive<'_> {
    /// Writes the rest of the current member's data to a file, by way of a buffer.
    pub(crate) fn pour(&mut self, buffer: &mut [u8], file: BorrowedFd<'_>) -> Result<(), PourError> {
        loop {
            let count = self.read_data(buffer).map_err(PourError::Read)?;
            if count == 0 {
                return Ok(());
            }
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                match rustix::io::write(file, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(PourError::Write(errno)),
                }
            }
        }
    }
}

fn read(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, TarError> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(TarError::Read),
        }
    }
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(zero);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
        let mut archive = Archive::new(&mut bytes);
        let mut found = Vec::new();
        while let Some(entry) = archive.next()? {
            let mut data = Vec::new();
            let mut buffer = [0; 100];
            loop {
                match archive.read_data(&mut buffer)? {
                    0 => break,
                    count => data.extend_from_slice(&buffer[..count]),
                }
            }
            found.push((entry, data));
        }
        Ok(found)
    }

    fn archive_of(names: &[&str]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (at, name) in names.iter().enumerate() {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(at as u64 * 300);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &vec![b'x'; at * 300][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn names_of_any_length_and_data_come_back() {
        let long = "d/".repeat(200) + "file";
        let found = all(&archive_of(&["a", &long, "b"])).unwrap();
        let names: Vec<_> = found.iter().map(|(entry, data)| (entry.path.clone(), data.len())).collect();
        assert_eq!(names, [(b"a".to_vec(), 0), (long.into_bytes(), 300), (b"b".to_vec(), 600)]);
    }

    #[test]
    fn missing_trailer_is_accepted_and_a_cut_is_not() {
        let bytes = archive_of(&["a", "b", "c"]);
        let end = bytes.len() - 1024;
        assert_eq!(all(&bytes[..end]).unwrap().len(), 3);
        assert_eq!(all(&bytes[..end + 512]).unwrap().len(), 3);
        assert_eq!(all(&bytes[..0]).unwrap().len(), 0);
        for cut in [end - 513, 100, 513] {
            assert!(all(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn huge_extension_is_refused_before_it_is_read() {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        assert!(matches!(all(header.as_bytes()), Err(TarError::Unsupported { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0_u8..=255, 0..2000), flips in proptest::collection::vec((0..3000_usize, 0_u8..=255), 0..4)) {
            let _ = all(&bytes);
            let mut archive = archive_of(&["a", "b/c"]);
            for (at, value) in flips {
                if let Some(byte) = archive.get_mut(at) {
                    *byte = value;
                }
            }
            let _ = all(&archive);
        }
    }
}
