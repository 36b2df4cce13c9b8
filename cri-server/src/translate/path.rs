//! Paths and other text of a request that must not surprise whoever uses it.

use super::{Refused, Result, quoted};
use std::fmt::Display;
use std::path::PathBuf;

/// `PATH_MAX` with its NUL; limits.h.
const PATH_BYTES_MAX: usize = 4095;

/// Checks a path that must be absolute and must not climb: no `..`, no NUL.
pub(crate) fn absolute(field: impl Display, text: &str) -> Result<PathBuf> {
    if !text.starts_with('/') {
        return Err(Refused::invalid(field, format!("{} is not an absolute path", quoted(text))));
    }
    straight(field, text)
}

/// Checks a path that must stay below a folder: relative, not empty, no `..`, no NUL.
pub(crate) fn relative(field: impl Display, text: &str) -> Result<PathBuf> {
    if text.is_empty() || text.starts_with('/') {
        return Err(Refused::invalid(field, format!("{} is not a relative path", quoted(text))));
    }
    straight(field, text)
}

fn straight(field: impl Display, text: &str) -> Result<PathBuf> {
    if text.len() > PATH_BYTES_MAX {
        let problem = format!("{} has {} bytes, at most {PATH_BYTES_MAX} are allowed", quoted(text), text.len());
        return Err(Refused::invalid(field, problem));
    }
    if text.split('/').any(|component| component == "..") {
        return Err(Refused::invalid(field, format!("{} holds \"..\"; give the path it leads to", quoted(text))));
    }
    without_nul(field, text)?;
    Ok(PathBuf::from(text))
}

/// Checks text that ends up in a system call: no NUL.
pub(crate) fn without_nul(field: impl Display, text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(Refused::invalid(field, format!("{} holds a NUL character", quoted(text))));
    }
    Ok(())
}

/// Checks one word of a line in a file that we write: not empty, no blank, no control character.
pub(crate) fn word(field: impl Display, text: &str) -> Result<String> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refused::invalid(field, format!("{} is not one word", quoted(text))));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;
    use proptest::prelude::*;

    #[test]
    fn paths_that_climb_or_are_not_what_they_must_be_are_refused() {
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for (text, says) in [
            ("", "absolute"),
            ("a/b", "absolute"),
            ("/a/../b", ".."),
            ("/..", ".."),
            ("/a\0", "NUL"),
            (long.as_str(), "bytes"),
        ] {
            check_refused(absolute("f", text), InvalidArgument, &["f: ", says]);
        }
        for (text, says) in [("", "relative"), ("/a", "relative"), ("..", ".."), ("a/../../b", ".."), ("a\0", "NUL")] {
            check_refused(relative("f", text), InvalidArgument, &["f: ", says]);
        }
        assert_eq!(absolute("f", "/a..b/.c/...").unwrap(), PathBuf::from("/a..b/.c/..."));
        assert_eq!(relative("f", "web/0.log").unwrap(), PathBuf::from("web/0.log"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_never_climbs(text in ".{0,40}") {
            for path in [absolute("f", &text), relative("f", &text)].into_iter().flatten() {
                prop_assert!(!path.components().any(|c| c == std::path::Component::ParentDir));
            }
        }
    }
}
