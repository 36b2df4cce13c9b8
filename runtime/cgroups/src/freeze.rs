//! Freezing and thawing.
//!
//! The unified tree's freezer is taken where there is one, in hybrid mode too: its frozen processes can still be killed.
//! Thawing undoes both, since either may have been used.

use crate::leaf::{Folder, is_gone};
use crate::{Error, Leaf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long freezing may take, in milliseconds: every process must have had its turn on a busy node. One in an uninterruptible
/// wait delays it without bound.
const WAIT_MS_MAX: u64 = 3_000;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// The two freezers.
#[derive(Clone, Copy)]
enum Freezer<'a> {
    Unified(&'a Folder),
    V1(&'a Folder),
}

impl Leaf {
    /// Freezes every process of it and of the cgroups below it, and waits until they are. What can't be frozen in time is let
    /// go on whole.
    pub fn freeze(&self) -> Result<(), Error> {
        self.ask_freeze()?;
        let frozen = self.wait_for(true);
        if frozen.is_err() {
            self.ask_thaw()?;
        }
        frozen
    }

    /// Thaws every process of it, and waits until they are. Quiet when nothing is frozen or the cgroup is gone.
    pub fn thaw(&self) -> Result<(), Error> {
        if self.ask_thaw()? { self.wait_for(false) } else { Ok(()) }
    }

    /// Asks for thawing and does not wait for it; says whether there is anything to wait for.
    pub(crate) fn ask_thaw(&self) -> Result<bool, Error> {
        let mut asked = false;
        for freezer in self.freezers() {
            match freezer.set(false) {
                Ok(()) => asked = true,
                Err(Error::Io { source, .. } | Error::Write { source, .. }) if is_gone(&source) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(asked)
    }

    /// Says whether all of its processes are frozen.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        for freezer in self.freezers() {
            if freezer.is_frozen()? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks for freezing and does not wait for it.
    pub(crate) fn ask_freeze(&self) -> Result<(), Error> {
        match self.freezers().next() {
            Some(freezer) => freezer.set(true),
            None => Err(Error::NoFreezer(self.path().clone())),
        }
    }

    fn freezers(&self) -> impl Iterator<Item = Freezer<'_>> {
        let unified = self.folder("").map(Freezer::Unified);
        // The root has none, and so have kernels before 5.2.
        let unified = unified.filter(|freezer| matches!(freezer.is_frozen(), Ok(Some(_))));
        unified.into_iter().chain(self.folder("freezer").map(Freezer::V1))
    }

    fn wait_for(&self, frozen: bool) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let mut all = true;
            for freezer in self.freezers() {
                let is = freezer.is_frozen()?;
                // Only the first was asked to freeze; all were asked to thaw.
                all &= is.is_none_or(|is| is == frozen);
                if frozen {
                    break;
                }
            }
            if all {
                return Ok(());
            }
            if began.elapsed() >= Duration::from_millis(WAIT_MS_MAX) {
                let (path, wanted) = (self.path().clone(), if frozen { "frozen" } else { "thawed" });
                return Err(Error::FreezeTimedOut { path, wanted, waited_ms: WAIT_MS_MAX });
            }
            sleep(PAUSE);
        }
    }
}

impl Freezer<'_> {
    fn set(self, frozen: bool) -> Result<(), Error> {
        match self {
            Self::Unified(folder) => folder.write("cgroup.freeze", if frozen { "1" } else { "0" }),
            Self::V1(folder) => folder.write("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        }
    }

    /// Says whether all is frozen; `None` when that can't be told any more.
    fn is_frozen(self) -> Result<Option<bool>, Error> {
        Ok(match self {
            Self::Unified(folder) => {
                let events = folder.read_if_there("cgroup.events")?;
                events.and_then(|text| text.lines().find_map(|l| Some(l.strip_prefix("frozen ")?.trim() == "1")))
            }
            // Reading also makes the kernel look again, which turns FREEZING into FROZEN.
            Self::V1(folder) => folder.read_if_there("freezer.state")?.map(|text| text.trim() == "FROZEN"),
        })
    }
}
