//! Kernel modules with what they need. There is no modprobe, which the kernel would call itself.

use crate::vm::Outcome;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

/// Where Debian puts the modules of this kernel, by release.
const FOLDER: &str = "/usr/lib/uml/modules";

/// What the runtime, the network and the tests use.
const WANTED: [&str; 9] =
    ["overlay", "erofs", "ipv6", "veth", "bridge", "nf_tables", "nf_conntrack_netlink", "nft_masq", "nft_reject"];

/// Loads them.
pub fn load() -> Outcome<()> {
    let folder = Path::new(FOLDER).join(&*rustix::system::uname().release().to_string_lossy());
    let table = folder.join("modules.dep");
    let text = fs::read_to_string(&table).map_err(|error| format!("read {}: {error}", table.display()))?;
    for file in order(&text, &WANTED)? {
        let path = folder.join(file);
        let module = File::open(&path).map_err(|error| format!("open {}: {error}", path.display()))?;
        match rustix::system::finit_module(&module, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(format!("load {}: {error}", path.display())),
        }
    }
    Ok(())
}

/// Returns the files to load in turn. A line of modules.dep names all that a module needs, the one to load first last.
fn order<'a>(table: &'a str, wanted: &[&str]) -> Outcome<Vec<&'a str>> {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    let by_name: BTreeMap<&str, (&str, &str)> = lines.map(|(file, needs)| (name(file), (file, needs))).collect();
    let mut files = Vec::new();
    for module in wanted {
        let (file, needs) = by_name.get(module).ok_or_else(|| format!("this kernel has no module {module}"))?;
        files.extend(needs.split_whitespace().rev().chain([*file]));
    }
    Ok(files)
}

fn name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let table = "net/b.ko: net/c.ko net/d.ko\nnet/c.ko: net/d.ko\nnet/d.ko:\nx/other.ko:\n";
        assert_eq!(order(table, &["b", "other"]).unwrap(), ["net/d.ko", "net/c.ko", "net/b.ko", "x/other.ko"]);
        assert!(order(table, &["absent"]).unwrap_err().contains("absent"));
    }
}
