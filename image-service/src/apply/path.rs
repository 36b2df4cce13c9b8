//! What the path of an archive member means. Pure.

/// Longest path of a member, in bytes: the kernel takes less than 4096 at once.
pub(super) const PATH_BYTES_MAX: usize = 4000;

/// Longest component; the bound of every file system that layers are stored on.
const NAME_BYTES_MAX: usize = 255;

const WHITEOUT: &[u8] = b".wh.";

/// What a member's path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The root of the layer itself.
    Root,
    /// An entry.
    Entry(Target<'a>),
    /// An entry of lower layers is gone.
    Whiteout(Target<'a>),
    /// Everything in this folder of lower layers is gone.
    Opaque(Vec<&'a [u8]>),
    /// Bookkeeping of an old storage driver (aufs) that means nothing here.
    Skip,
}

/// A name in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Components of the folder; empty is the root.
    pub(super) parent: Vec<&'a [u8]>,
    pub(super) name: &'a [u8],
}

/// Splits a path into components. Leading slashes and `.` mean nothing; `..` is refused, also where it would stay inside:
/// no tool that makes images writes it, and it has been the way out of every careless unpacker.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.len() > PATH_BYTES_MAX {
        return Err("its path is too long");
    }
    let mut found = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("its path has a '..' that could lead out of the layer"),
            _ if component.len() > NAME_BYTES_MAX => return Err("a name in its path is too long"),
            _ if component.contains(&0) => return Err("its path holds a zero byte"),
            _ => found.push(component),
        }
    }
    Ok(found)
}

/// Returns what a path means. image-spec, layer.md "Whiteouts".
pub(super) fn meaning(path: &[u8]) -> Result<Meaning<'_>, &'static str> {
    let mut parent = components(path)?;
    let Some(name) = parent.pop() else { return Ok(Meaning::Root) };
    for component in &parent {
        if component.starts_with(b".wh..wh.") {
            return Ok(Meaning::Skip);
        }
        if component.starts_with(WHITEOUT) {
            return Err("a whiteout stands where its folder should be");
        }
    }
    let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(Meaning::Entry(Target { parent, name })) };
    match hidden {
        b"" | b"." | b".." => Err("it is a whiteout of nothing"),
        b".wh..opq" => Ok(Meaning::Opaque(parent)),
        _ if hidden.starts_with(WHITEOUT) => Ok(Meaning::Skip),
        _ => Ok(Meaning::Whiteout(Target { parent, name: hidden })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(parent: &[&'a str], name: &'a str) -> Target<'a> {
        Target { parent: parent.iter().map(|part| part.as_bytes()).collect(), name: name.as_bytes() }
    }

    #[test]
    fn paths_mean_what_the_image_spec_says() {
        for (path, expected) in [
            ("./", Ok(Meaning::Root)),
            ("/", Ok(Meaning::Root)),
            ("", Ok(Meaning::Root)),
            ("a", Ok(Meaning::Entry(entry(&[], "a")))),
            ("/a//./b/", Ok(Meaning::Entry(entry(&["a"], "b")))),
            ("a/.wh.b", Ok(Meaning::Whiteout(entry(&["a"], "b")))),
            ("a/.wh.b/", Ok(Meaning::Whiteout(entry(&["a"], "b")))),
            ("a/.wh..wh..opq", Ok(Meaning::Opaque(vec![b"a"]))),
            (".wh..wh..opq", Ok(Meaning::Opaque(vec![]))),
            (".wh..wh.plnk", Ok(Meaning::Skip)),
            (".wh..wh.plnk/1.2", Ok(Meaning::Skip)),
            (".wh..wh.aufs", Ok(Meaning::Skip)),
            ("a/.wh..hidden", Ok(Meaning::Whiteout(entry(&["a"], ".hidden")))),
            ("..a/...", Ok(Meaning::Entry(entry(&["..a"], "...")))),
        ] {
            assert_eq!(meaning(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn paths_that_lead_astray_are_refused() {
        let long = "a".repeat(256);
        let deep = "a/".repeat(2001);
        for path in
            ["..", "../a", "a/../../b", "a/..", "/..", ".wh.", "a/.wh..", "a/.wh...", ".wh.a/b", "a\0b", &long, &deep]
        {
            assert!(meaning(path.as_bytes()).is_err(), "{path}");
        }
    }
}
