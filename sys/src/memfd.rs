//! Sealed memory files: bytes that the receiver can trust not to change or shrink under it.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Seals under which content is fixed for ever.
const FIXED: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// Makes a memory file of these bytes that nobody can change any more.
///
/// # Errors
/// What the kernel says, mostly for want of memory.
pub fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"orlop", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, FIXED | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Reads the first `bytes` of a memory file that must be sealed.
///
/// # Errors
/// `InvalidData` when it could still change; `UnexpectedEof` when it is shorter.
pub fn read_sealed(fd: impl AsFd, bytes: usize) -> io::Result<Vec<u8>> {
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    if !fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(FIXED)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the descriptor is not a sealed memory file"));
    }
    if file.metadata()?.len() < bytes as u64 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the memory file is shorter than said"));
    }
    let mut content = vec![0; bytes];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_come_back_and_can_not_be_changed() {
        let fd = sealed(b"a plan").unwrap();
        assert_eq!(read_sealed(&fd, 6).unwrap(), b"a plan");
        assert!(File::from(fd).write_at(b"x", 0).is_err());
    }

    #[test]
    fn file_that_could_change_or_is_too_short_is_refused() {
        let open = memfd_create(c"orlop-test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(read_sealed(&open, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let plain = File::open("/dev/null").unwrap();
        assert_eq!(read_sealed(&plain, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let short = sealed(b"ab").unwrap();
        assert_eq!(read_sealed(&short, 3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
