//! fstab-style mount options, taken apart. mount(8), config.md "Mounts".

/// What a mount's options say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A bind mount, and whether with the mounts below it.
    pub(crate) bind: Option<Recursive>,
    /// `MOUNT_ATTR_*`.
    pub(crate) attributes: u64,
    /// Whether the attributes go for the mounts below it too.
    pub(crate) attributes_recursive: bool,
    /// `MS_SHARED` and so on; 0 when not said.
    pub(crate) propagation: u64,
    /// Whether owners are shown through the mapping of the user namespace where the file system can do it.
    pub(crate) mapped_if_possible: bool,
    /// For the file system itself: a name, and a value unless it is a flag.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// Options that are known and not built.
    pub(crate) unsupported: Vec<String>,
}

/// With what is mounted below, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recursive {
    Yes,
    No,
}

/// What one option does.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    Set(u64),
    Clear(u64),
    SetBelowToo(u64),
    ClearBelowToo(u64),
    Bind(Recursive),
    MapIfPossible,
    Propagate(u64),
    /// A superblock flag that the new mount API takes by name.
    Flag,
    Unsupported,
}

/// Option that no mount(8) knows: maps the owners of a bind mount where that is possible.
pub(crate) const MAP_IF_POSSIBLE: &str = "orlop:map-if-possible";

const ATIME_MODE: u64 = 0x70;
const RELATIME: u64 = 0;
const SHARED: u64 = libc::MS_SHARED;
const SLAVE: u64 = libc::MS_SLAVE;
const PRIVATE: u64 = libc::MS_PRIVATE;
const UNBINDABLE: u64 = libc::MS_UNBINDABLE;

const TABLE: &[(&str, Does)] = &[
    ("async", Does::Nothing),
    ("atime", Does::Clear(libc::MOUNT_ATTR_NOATIME)),
    ("bind", Does::Bind(Recursive::No)),
    ("copy-symlink", Does::Unsupported),
    ("defaults", Does::Nothing),
    ("dev", Does::Clear(libc::MOUNT_ATTR_NODEV)),
    ("diratime", Does::Clear(libc::MOUNT_ATTR_NODIRATIME)),
    ("dirsync", Does::Flag),
    ("exec", Does::Clear(libc::MOUNT_ATTR_NOEXEC)),
    ("idmap", Does::Unsupported),
    ("iversion", Does::Flag),
    ("lazytime", Does::Flag),
    ("loud", Does::Nothing),
    ("mand", Does::Flag),
    ("noatime", Does::Set(libc::MOUNT_ATTR_NOATIME)),
    ("nodev", Does::Set(libc::MOUNT_ATTR_NODEV)),
    ("nodiratime", Does::Set(libc::MOUNT_ATTR_NODIRATIME)),
    ("noexec", Does::Set(libc::MOUNT_ATTR_NOEXEC)),
    ("noiversion", Does::Nothing),
    ("nolazytime", Does::Nothing),
    ("nomand", Does::Nothing),
    ("norelatime", Does::Nothing),
    ("nostrictatime", Does::Nothing),
    ("nosuid", Does::Set(libc::MOUNT_ATTR_NOSUID)),
    ("nosymfollow", Does::Set(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    (MAP_IF_POSSIBLE, Does::MapIfPossible),
    ("private", Does::Propagate(PRIVATE)),
    ("ratime", Does::ClearBelowToo(libc::MOUNT_ATTR_NOATIME)),
    ("rbind", Does::Bind(Recursive::Yes)),
    ("rdev", Does::ClearBelowToo(libc::MOUNT_ATTR_NODEV)),
    ("rdiratime", Does::ClearBelowToo(libc::MOUNT_ATTR_NODIRATIME)),
    ("relatime", Does::Set(RELATIME)),
    ("remount", Does::Unsupported),
    ("rexec", Does::ClearBelowToo(libc::MOUNT_ATTR_NOEXEC)),
    ("ridmap", Does::Unsupported),
    ("rnoatime", Does::SetBelowToo(libc::MOUNT_ATTR_NOATIME)),
    ("rnodev", Does::SetBelowToo(libc::MOUNT_ATTR_NODEV)),
    ("rnodiratime", Does::SetBelowToo(libc::MOUNT_ATTR_NODIRATIME)),
    ("rnoexec", Does::SetBelowToo(libc::MOUNT_ATTR_NOEXEC)),
    ("rnosuid", Does::SetBelowToo(libc::MOUNT_ATTR_NOSUID)),
    ("rnosymfollow", Does::SetBelowToo(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro", Does::Set(libc::MOUNT_ATTR_RDONLY)),
    ("rprivate", Does::Propagate(PRIVATE)),
    ("rrelatime", Does::SetBelowToo(RELATIME)),
    ("rro", Does::SetBelowToo(libc::MOUNT_ATTR_RDONLY)),
    ("rrw", Does::ClearBelowToo(libc::MOUNT_ATTR_RDONLY)),
    ("rshared", Does::Propagate(SHARED)),
    ("rslave", Does::Propagate(SLAVE)),
    ("rstrictatime", Does::SetBelowToo(libc::MOUNT_ATTR_STRICTATIME)),
    ("rsuid", Does::ClearBelowToo(libc::MOUNT_ATTR_NOSUID)),
    ("rsymfollow", Does::ClearBelowToo(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("runbindable", Does::Propagate(UNBINDABLE)),
    ("rw", Does::Clear(libc::MOUNT_ATTR_RDONLY)),
    ("shared", Does::Propagate(SHARED)),
    ("silent", Does::Nothing),
    ("slave", Does::Propagate(SLAVE)),
    ("src-nofollow", Does::Unsupported),
    ("dest-nofollow", Does::Unsupported),
    ("strictatime", Does::Set(libc::MOUNT_ATTR_STRICTATIME)),
    ("suid", Does::Clear(libc::MOUNT_ATTR_NOSUID)),
    ("symfollow", Does::Clear(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("sync", Does::Flag),
    ("tmpcopyup", Does::Unsupported),
    ("unbindable", Does::Propagate(UNBINDABLE)),
];

impl Options {
    /// Takes options apart; a later one wins over an earlier one.
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut out = Self::default();
        for option in options.iter().filter(|option| !option.is_empty()) {
            match TABLE.iter().find(|(name, _)| name == option) {
                Some((_, does)) => out.apply(option, *does),
                None => out.data.push(match option.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (option.clone(), None),
                }),
            }
        }
        out
    }

    fn apply(&mut self, option: &str, does: Does) {
        match does {
            Does::Nothing => {}
            Does::Set(flag) => self.set(flag),
            Does::Clear(flag) => self.attributes &= !flag,
            Does::SetBelowToo(flag) => {
                self.set(flag);
                self.attributes_recursive = true;
            }
            Does::ClearBelowToo(flag) => {
                self.attributes &= !flag;
                self.attributes_recursive = true;
            }
            Does::Bind(recursive) => self.bind = Some(recursive),
            Does::Propagate(flag) => self.propagation = flag,
            Does::MapIfPossible => self.mapped_if_possible = true,
            Does::Flag => self.data.push((option.to_owned(), None)),
            Does::Unsupported => self.unsupported.push(option.to_owned()),
        }
    }

    /// The access-time modes are one field: the last one stands alone.
    fn set(&mut self, flag: u64) {
        if flag == RELATIME || flag & ATIME_MODE != 0 {
            self.attributes &= !ATIME_MODE;
        }
        self.attributes |= flag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn attributes_propagation_and_data_are_told_apart() {
        let got = parse(&["nosuid", "noexec", "ro", "mode=755", "size=64k", "newinstance", "rslave", "sync", ""]);
        let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY;
        assert_eq!((got.attributes, got.propagation, got.attributes_recursive), (flags, libc::MS_SLAVE, false));
        let data = [("mode", Some("755")), ("size", Some("64k")), ("newinstance", None), ("sync", None)];
        let got: Vec<_> = got.data.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(got, data);
    }

    #[test]
    fn later_options_win() {
        assert_eq!(parse(&["ro", "rw"]).attributes, 0);
        assert_eq!(parse(&["strictatime", "noatime"]).attributes, libc::MOUNT_ATTR_NOATIME);
        assert_eq!(parse(&["noatime", "relatime"]).attributes, 0);
        assert_eq!(
            parse(&["noatime", "nodiratime"]).attributes,
            libc::MOUNT_ATTR_NOATIME | libc::MOUNT_ATTR_NODIRATIME
        );
        assert_eq!(parse(&["rbind", "bind"]).bind, Some(Recursive::No));
    }

    #[test]
    fn recursive_attributes_are_marked() {
        let got = parse(&["rbind", "rro"]);
        assert_eq!((got.attributes, got.attributes_recursive), (libc::MOUNT_ATTR_RDONLY, true));
        assert_eq!(parse(&["tmpcopyup"]).unsupported, ["tmpcopyup"]);
    }

    #[test]
    fn table_names_each_option_once() {
        let mut names: Vec<_> = TABLE.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
