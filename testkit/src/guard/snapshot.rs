//! What is there, as data, and how two such lists differ.

use std::collections::BTreeMap;
use std::fmt;

/// What kind of thing a test could leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A line of the mount table.
    Mount,
    /// An entry of a temporary folder.
    TempFile,
    /// An entry of a run folder.
    RunFile,
    /// A reservation in an IPAM folder.
    IpamFile,
    /// A living process.
    Process,
    /// A process that ended and that nobody has waited for.
    Zombie,
    /// A network interface.
    Link,
    /// An address of an interface.
    Address,
    /// A route.
    Route,
    /// A table, chain, rule, set or map of nf_tables.
    Nft,
    /// A kernel setting.
    Sysctl,
    /// A control group.
    Cgroup,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mount => "mount",
            Self::TempFile => "temp file",
            Self::RunFile => "run file",
            Self::IpamFile => "ipam file",
            Self::Process => "process",
            Self::Zombie => "zombie",
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Nft => "nft",
            Self::Sysctl => "sysctl",
            Self::Cgroup => "cgroup",
        })
    }
}

impl Kind {
    /// Says whether the absence of a thing that was there before counts: what a test must not have taken away.
    fn vanishing_counts(self) -> bool {
        match self {
            Self::Mount | Self::Link | Self::Address | Self::Route | Self::Nft | Self::IpamFile => true,
            // These come and go for reasons of their own; a sysctl of a link vanishes with the link.
            Self::TempFile | Self::RunFile | Self::Process | Self::Zombie | Self::Sysctl | Self::Cgroup => false,
        }
    }

    /// Says whether a new thing counts. Loading a kernel module brings new sysctls, and none of them is a leak.
    fn appearing_counts(self) -> bool {
        self != Self::Sysctl
    }
}

/// The name of a thing: its kind, where it is (empty: on the host), and what it is called there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its kind.
    pub kind: Kind,
    /// The ground it is in; empty for the host itself.
    pub place: String,
    /// Its name there.
    pub name: String,
}

/// One difference between before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leak {
    /// Was not there before.
    Left(Name),
    /// Is there no more.
    Missing(Name),
    /// Is not what it was.
    Changed {
        /// Which.
        name: Name,
        /// Its value before.
        before: String,
        /// Its value after.
        after: String,
    },
}

impl Leak {
    /// Returns the kind of the thing.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.name().kind
    }

    /// Says whether it is the same thing, though a process may have changed in what it is called, or into a zombie.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let pid = |leak: &Self| {
            let is_process = matches!(leak.kind(), Kind::Process | Kind::Zombie);
            is_process.then(|| leak.name().name.split(' ').next().unwrap_or_default().to_owned())
        };
        self == other || pid(self).is_some_and(|one| pid(other) == Some(one))
    }

    /// Returns which thing it is.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Left(name) | Self::Missing(name) | Self::Changed { name, .. } => name,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.place.is_empty() { Ok(()) } else { write!(f, " (in {})", self.place) }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left(name) => write!(f, "left behind: {name}"),
            Self::Missing(name) => write!(f, "taken away: {name}"),
            Self::Changed { name, before, after } => write!(f, "changed: {name}: was {before:?}, is {after:?}"),
        }
    }
}

/// All things of the watched kinds, each with a value where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    things: BTreeMap<Name, String>,
}

impl Snapshot {
    /// Adds a thing.
    pub fn add(&mut self, kind: Kind, place: &str, name: impl Into<String>, value: impl Into<String>) {
        let name = Name { kind, place: place.to_owned(), name: name.into() };
        self.things.insert(name, value.into());
    }

    /// Adds a thing of a list in which the same line may stand more than once: the second gets `#2`.
    pub fn add_counted(&mut self, kind: Kind, place: &str, name: &str) {
        let fits =
            |name: &String| !self.things.contains_key(&Name { kind, place: place.to_owned(), name: name.clone() });
        let free = std::iter::once(name.to_owned())
            .chain((2_u32..).map(|n| format!("{name} #{n}")))
            .find(fits)
            .expect("one of endlessly many names is free");
        self.add(kind, place, free, "");
    }

    /// Says whether there is such a thing.
    pub fn any(&self, which: impl Fn(&Name) -> bool) -> bool {
        self.things.keys().any(which)
    }

    /// Returns what differs in `after`.
    #[must_use]
    pub fn leaks_until(&self, after: &Self) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for (name, value) in &after.things {
            match self.things.get(name) {
                None if name.kind.appearing_counts() => leaks.push(Leak::Left(name.clone())),
                Some(before) if before != value => {
                    leaks.push(Leak::Changed { name: name.clone(), before: before.clone(), after: value.clone() });
                }
                None | Some(_) => (),
            }
        }
        let gone = self.things.keys().filter(|name| name.kind.vanishing_counts() && !after.things.contains_key(name));
        leaks.extend(gone.cloned().map(Leak::Missing));
        leaks
    }

    /// Takes in all things of another snapshot.
    pub fn extend(&mut self, other: Self) {
        self.things.extend(other.things);
    }

    /// Keeps only the things of which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&Name) -> bool) {
        self.things.retain(|name, _| keep(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(things: &[(Kind, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (kind, name, value) in things {
            snapshot.add(*kind, "", *name, *value);
        }
        snapshot
    }

    #[test]
    fn differences_are_told_by_name() {
        for (before, after, expected) in [
            (vec![], vec![(Kind::Link, "veth0", "")], vec!["left behind: link veth0"]),
            (vec![(Kind::Link, "veth0", "")], vec![], vec!["taken away: link veth0"]),
            (
                vec![(Kind::Sysctl, "net.x", "0")],
                vec![(Kind::Sysctl, "net.x", "1")],
                vec!["changed: sysctl net.x: was \"0\", is \"1\""],
            ),
            (vec![], vec![(Kind::Sysctl, "net.new", "1")], vec![]),
            (vec![(Kind::Process, "7", "")], vec![], vec![]),
            (vec![(Kind::Mount, "/a", "")], vec![(Kind::Mount, "/a", "")], vec![]),
        ] {
            let leaks = snapshot(&before).leaks_until(&snapshot(&after));
            assert_eq!(leaks.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_process_that_became_a_zombie_is_the_same() {
        let leak = |kind, name: &str| Leak::Left(Name { kind, place: String::new(), name: name.to_owned() });
        let process = leak(Kind::Process, "7 (sh), child of 1: sh");
        assert!(process.is_same(&leak(Kind::Zombie, "7 (sh), child of 1: ")));
        assert!(!process.is_same(&leak(Kind::Process, "71 (sh), child of 1: sh")));
        assert!(!leak(Kind::Mount, "/a").is_same(&leak(Kind::Mount, "/b")));
    }

    #[test]
    fn second_mount_on_one_place_is_a_thing_of_its_own() {
        let mut once = Snapshot::default();
        once.add_counted(Kind::Mount, "", "/a");
        let mut twice = once.clone();
        twice.add_counted(Kind::Mount, "", "/a");
        assert_eq!(once.leaks_until(&twice).len(), 1);
    }
}
