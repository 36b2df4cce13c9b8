//! What `ps` shows of this process: the words it was started with, which lie in its own memory.

use std::ffi::CStr;
use std::io;
use std::sync::OnceLock;

/// Where the words are: address of the first byte, and bytes.
static WORDS: OnceLock<(usize, usize)> = OnceLock::new();

/// Fields of `/proc/self/stat` with the first byte of the words and the byte after the last, counted from the state, which is
/// the third of all and the first after the name; proc_pid_stat(5).
const START: usize = 48 - 3;
const END: usize = 49 - 3;

/// Finds where the words are, for [`replace`]. Allocates: call it before the clone.
///
/// # Errors
/// When `/proc` is not there, or says something else.
pub fn find() -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let place = place(&stat).ok_or(io::ErrorKind::InvalidData)?;
    // Once found it stays where it is.
    let _ = WORDS.set(place);
    Ok(())
}

fn place(stat: &str) -> Option<(usize, usize)> {
    // A name may have spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let address = |field: usize| fields.get(field)?.parse::<usize>().ok().filter(|address| *address > 0);
    let start = address(START)?;
    Some((start, address(END)?.checked_sub(start)?))
}

/// Writes a name over the words, as far as there is room, and zeros over the rest. Does nothing where they were not found.
///
/// Nobody may look at `std::env::args` from then on. Allocates nothing and takes no lock.
pub fn replace(name: &CStr) {
    let Some((start, bytes)) = WORDS.get().copied() else { return };
    // SAFETY: the kernel laid the words out there, in writable memory of this process's stack that lives as long as it does;
    // only the C library and std::env::args point to it, and nobody looks at those any more.
    // WHY: `PR_SET_MM` wants CAP_SYS_RESOURCE, and no library does this without an allocation.
    let words = unsafe { std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut::<u8>(start), bytes) };
    words.fill(0);
    // The last byte stays zero, so that whoever reads finds an end.
    let room = bytes.saturating_sub(1);
    for (to, from) in words[..room].iter_mut().zip(name.to_bytes()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    // That a process is shown by the name it took is tried where one does: runtime/client tests/real/sharing.rs.
    use super::*;

    #[test]
    fn places_are_those_of_the_kernels_line() {
        let mut line = "7 (a) b) S".to_owned();
        (4..=51).for_each(|field| line.push_str(&format!(" {field}00")));
        assert_eq!(place(&line), Some((4800, 100)));
        assert_eq!(place("7 (a) S 1 2"), None);
        assert_eq!(place(&line.replace(" 4800", " 0")), None);
    }
}
