//! Memory of this process.

/// Gives memory that is free in the allocator's arenas back to the kernel; malloc_trim(3). Says whether there was any.
///
/// glibc by itself gives back only what lies at the end of an arena, and after many objects that lived side by side nearly
/// nothing does.
pub fn give_back() -> bool {
    // SAFETY: malloc_trim takes no pointer and may be called from any thread at any time; it locks each arena itself.
    // WHY: the allocator offers this by no other way.
    unsafe { libc::malloc_trim(0) == 1 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_between_what_lives_is_given_back() {
        // Pages' worth of objects, of which each second one lives on.
        let all: Vec<Box<[u8; 8192]>> = (0..2000).map(|_| Box::new([1; 8192])).collect();
        let kept: Vec<_> = all.into_iter().enumerate().filter_map(|(at, page)| (at % 2 == 0).then_some(page)).collect();
        assert!(super::give_back());
        assert!(kept.iter().all(|page| page[0] == 1));
    }
}
