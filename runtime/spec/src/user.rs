//! Who a process runs as: user strings, and the image's `/etc/passwd` and `/etc/group`. Pure and total.
//!
//! Everything read here is hostile. Digits are a number and never a name, however large (CVE-2024-40635, CVE-2026-46680);
//! what is neither a number nor a possible name is refused, not guessed at (CVE-2026-30892).

use crate::SpecError;
use orlop_model::container::{GroupsPolicy, User};

/// Most bytes read of `/etc/passwd` or `/etc/group`. CVE-2026-47262, CVE-2024-9676: a huge one must not fill the memory.
/// The caller reads at most so many, and hands over nothing of a larger file but an error.
pub const FILE_BYTES_MAX: usize = 10 << 20;

/// Highest id: tools keep ids in signed numbers, and -1 means "no one".
const ID_MAX: u64 = i32::MAX as u64;

/// Longest name; useradd(8) stops at 256.
const NAME_BYTES_MAX: usize = 256;

/// Most supplementary groups: the kernel's NGROUPS_MAX.
const GROUPS_MAX: usize = 65_536;

/// Where a user lives whose home nobody names.
const HOME_DEFAULT: &str = "/";

/// Who a process runs as, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, sorted, each once; the group itself among them.
    pub groups: Vec<u32>,
    /// Home folder, from `/etc/passwd`; `/` when it is not there.
    pub home: String,
}

/// The image's files, as read beneath its root; `None` when they are not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFiles<'a> {
    /// `/etc/passwd`.
    pub passwd: Option<&'a [u8]>,
    /// `/etc/group`.
    pub group: Option<&'a [u8]>,
}

/// Finds out who a process runs as: what the container asks for, or else what its image says.
pub fn resolve(user: &User, image_user: &str, files: UserFiles<'_>) -> Result<ResolvedUser, SpecError> {
    let (text, by) = match user.user.as_str() {
        "" => (image_user.trim(), By::Image),
        text => (text, By::Container),
    };
    if user.group.is_some() && user.user.is_empty() {
        return Err(SpecError::invalid("group", "a group needs a user beside it"));
    }
    let wanted = Wanted::parse(text, by)?;
    let entry = wanted.entry(files.passwd.unwrap_or_default());
    let uid = match (&wanted.user, &entry) {
        (Id::Number(uid), _) => *uid,
        (Id::Name(_), Some(entry)) => entry.uid,
        (Id::Name(name), None) => return Err(by.not_there("user", name, "/etc/passwd")),
    };
    let group_file = files.group.unwrap_or_default();
    let gid = match (user.group, &wanted.group) {
        (Some(gid), _) => check(gid, by)?,
        (None, Some(Id::Number(gid))) => *gid,
        (None, Some(Id::Name(name))) => {
            group_named(group_file, name).ok_or_else(|| by.not_there("group", name, "/etc/group"))?
        }
        (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut groups = vec![gid];
    for group in &user.supplemental_groups {
        groups.push(check(*group, By::Container)?);
    }
    for group in &user.supplemental_group_names {
        groups.push(match id(group, By::Container)? {
            Id::Number(gid) => gid,
            Id::Name(name) => {
                let found = group_named(group_file, &name);
                found.ok_or_else(|| By::Container.not_there("group", &name, "/etc/group"))?
            }
        });
    }
    let name = match (&wanted.user, &entry) {
        (Id::Name(name), _) => Some(name.as_bytes()),
        (Id::Number(_), Some(entry)) => Some(entry.name),
        (Id::Number(_), None) => None,
    };
    match (user.groups_policy, name) {
        (GroupsPolicy::Merge, Some(name)) => groups.extend(groups_of(group_file, name)),
        (GroupsPolicy::Merge, None) | (GroupsPolicy::Strict, _) => {}
    }
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > GROUPS_MAX {
        return Err(by.refuse("user", format!("it is in {} groups, the kernel takes {GROUPS_MAX}", groups.len())));
    }
    let home = entry.and_then(|entry| entry.home).unwrap_or(HOME_DEFAULT).to_owned();
    Ok(ResolvedUser { uid, gid, groups, home })
}

fn check(id: u32, by: By) -> Result<u32, SpecError> {
    if u64::from(id) <= ID_MAX { Ok(id) } else { Err(by.too_large(&id.to_string())) }
}

/// Whose words are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Container,
    Image,
}

impl By {
    fn refuse(self, field: &str, why: impl Into<String>) -> SpecError {
        match self {
            Self::Container => SpecError::invalid(field, why),
            Self::Image => SpecError::image(field, why),
        }
    }

    fn too_large(self, id: &str) -> SpecError {
        let shown: String = id.chars().take(40).collect();
        self.refuse("user", format!("the id {shown} is out of range, the last is {ID_MAX}"))
    }

    fn not_there(self, what: &str, name: &str, file: &str) -> SpecError {
        // The end is what tools have always said, and people look for.
        let base = file.rsplit('/').next().unwrap_or(file);
        self.refuse(
            what,
            format!(
                "{name:?} is not in the image's {file}; name one that is, or give a number: unable to find {what} {name}: no matching entries in {base} file"
            ),
        )
    }
}

/// A number or a name.
#[derive(Debug, PartialEq, Eq)]
enum Id {
    Number(u32),
    Name(String),
}

/// `user`, `user:group`.
struct Wanted {
    user: Id,
    group: Option<Id>,
}

impl Wanted {
    fn parse(text: &str, by: By) -> Result<Self, SpecError> {
        if text.is_empty() {
            return Ok(Self { user: Id::Number(0), group: None });
        }
        Ok(match text.split_once(':') {
            None => Self { user: id(text, by)?, group: None },
            Some((user, group)) => Self { user: id(user, by)?, group: Some(id(group, by)?) },
        })
    }

    fn entry<'a>(&self, passwd: &'a [u8]) -> Option<Entry<'a>> {
        let fits = |entry: &Entry<'_>| match &self.user {
            Id::Number(uid) => entry.uid == *uid,
            Id::Name(name) => entry.name == name.as_bytes(),
        };
        lines(passwd).filter_map(Entry::parse).find(fits)
    }
}

fn id(text: &str, by: By) -> Result<Id, SpecError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits {
        let number = text.parse().ok().filter(|number: &u64| *number <= ID_MAX);
        let number = number.and_then(|number| u32::try_from(number).ok());
        return number.map(Id::Number).ok_or_else(|| by.too_large(text));
    }
    let named = |c: char| !(c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | ','));
    let starts = |c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-'));
    if text.chars().next().is_some_and(starts) && text.chars().all(named) && text.len() <= NAME_BYTES_MAX {
        return Ok(Id::Name(text.to_owned()));
    }
    let shown: String = text.chars().take(40).collect();
    Err(by.refuse("user", format!("{shown:?} is neither a number nor a name; user, uid, user:group, uid:gid are")))
}

// === The image's files ===

/// A line of `/etc/passwd`. passwd(5).
struct Entry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// A line that does not read like one is passed over, as the C library does.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).and_then(|home| std::str::from_utf8(home).ok());
        let home = home.filter(|home| home.starts_with('/') && !home.contains(char::is_control));
        Some(Self { name, uid, gid, home })
    }
}

/// Returns the id of a group by its name. group(5).
fn group_named(group: &[u8], name: &str) -> Option<u32> {
    lines(group).find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        (fields.next()? == name.as_bytes()).then(|| number(fields.nth(1)?)).flatten()
    })
}

/// Returns the ids of groups that list a user.
fn groups_of<'a>(group: &'a [u8], user: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    lines(group).filter_map(move |line| {
        let mut fields = line.split(|b| *b == b':');
        let gid = number(fields.nth(2)?)?;
        let listed = fields.next()?.split(|b| *b == b',').any(|member| member.trim_ascii() == user);
        listed.then_some(gid)
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn number(field: &[u8]) -> Option<u32> {
    let digits = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(field).ok().filter(|_| digits)?.parse::<u64>().ok()?;
    u32::try_from(number).ok().filter(|_| number <= ID_MAX)
}

#[cfg(test)]
mod tests;
