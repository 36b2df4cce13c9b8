//! Changing the limits of a cgroup that has processes: all writes, or none.

use crate::{Error, Leaf};
use orlop_wire::plan::{CgroupWrite, Missing};

impl Leaf {
    /// Writes all of these files, in this order. When one fails, those before it get their old values back, and the error
    /// names the file and the value that was refused.
    pub fn write_all(&self, writes: &[CgroupWrite]) -> Result<(), Error> {
        let mut before = Vec::new();
        for write in writes {
            let old = self.value(write).and_then(|old| self.write(write).map(|()| old));
            match old {
                Ok(old) => before.extend(old),
                Err(refused) => return Err(self.restore(before, refused)),
            }
        }
        Ok(())
    }

    /// Returns what puts a file back to what it says now; `None` when it is not there.
    fn value(&self, write: &CgroupWrite) -> Result<Option<CgroupWrite>, Error> {
        let Some(folder) = self.folder(&write.controller) else { return Ok(None) };
        let Some(text) = folder.read_if_there(&write.file)? else { return Ok(None) };
        // Nothing at all (a v2 cpuset that has its parent's) is written as an empty line: an empty write never arrives.
        let value = if text.trim().is_empty() { "\n".to_owned() } else { text.trim().to_owned() };
        Ok(Some(CgroupWrite { value, missing: Missing::Ignore, ..write.clone() }))
    }

    /// Puts back what was written, last first: each step back was allowed on the way here. Goes on after a failure.
    fn restore(&self, before: Vec<CgroupWrite>, refused: Error) -> Error {
        let mut stuck = Vec::new();
        for old in before.iter().rev() {
            // A file of many lines (`io.max`) takes one at a time.
            for line in old.value.split_inclusive('\n') {
                if let Err(error) = self.write(&CgroupWrite { value: line.to_owned(), ..old.clone() }) {
                    stuck.push(error.to_string());
                }
            }
        }
        if stuck.is_empty() {
            return refused;
        }
        Error::NotRestored { stuck: stuck.join("; "), refused: Box::new(refused) }
    }
}
