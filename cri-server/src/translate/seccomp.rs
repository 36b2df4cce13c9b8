//! Which system calls a container may make.

use super::path::absolute;
use super::{Refused, Result, known, quoted};
use crate::proto::SecurityProfile;
use crate::proto::security_profile::ProfileType;
use std::path::PathBuf;

/// Where a profile comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// No profile.
    Unconfined,
    /// The default list.
    RuntimeDefault,
    /// A file of the node, to be read when the container is created.
    Localhost(PathBuf),
}

const FIELD: &str = "linux.security_context.seccomp";
const OLD_FIELD: &str = "linux.security_context.seccomp_profile_path";

/// Checks a profile. One that is there but empty is the default one, one that is not there is none; the newer field wins.
/// A privileged container has none, whatever it asks for.
pub(crate) fn of(asked: Option<&SecurityProfile>, old: &str, privileged: bool) -> Result<Seccomp> {
    let seccomp = match asked {
        Some(asked) => of_profile(asked)?,
        None => of_string(old)?,
    };
    Ok(if privileged { Seccomp::Unconfined } else { seccomp })
}

fn of_profile(asked: &SecurityProfile) -> Result<Seccomp> {
    let file = asked.localhost_ref.as_str();
    match known(format!("{FIELD}.profile_type"), asked.profile_type)? {
        ProfileType::Localhost => absolute(format!("{FIELD}.localhost_ref"), file).map(Seccomp::Localhost),
        ProfileType::RuntimeDefault | ProfileType::Unconfined if !file.is_empty() => {
            Err(Refused::invalid(format!("{FIELD}.localhost_ref"), "is only for the profile type Localhost"))
        }
        ProfileType::RuntimeDefault => Ok(Seccomp::RuntimeDefault),
        ProfileType::Unconfined => Ok(Seccomp::Unconfined),
    }
}

fn of_string(old: &str) -> Result<Seccomp> {
    match old {
        "" | "unconfined" => Ok(Seccomp::Unconfined),
        "runtime/default" | "docker/default" => Ok(Seccomp::RuntimeDefault),
        other => match other.strip_prefix("localhost/") {
            Some(file) => absolute(OLD_FIELD, file).map(Seccomp::Localhost),
            None => {
                let problem =
                    format!("{} is none of runtime/default, unconfined and localhost/<absolute path>", quoted(other));
                Err(Refused::invalid(OLD_FIELD, problem))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn profile(profile_type: i32, localhost_ref: &str) -> SecurityProfile {
        SecurityProfile { profile_type, localhost_ref: localhost_ref.into() }
    }

    #[test]
    fn an_empty_profile_is_the_default_one_and_an_absent_one_is_none() {
        let file = Seccomp::Localhost("/p.json".into());
        for (asked, old, expected) in [
            (Some(profile(0, "")), "", Seccomp::RuntimeDefault),
            (None, "", Seccomp::Unconfined),
            (Some(profile(1, "")), "", Seccomp::Unconfined),
            (Some(profile(2, "/p.json")), "", file.clone()),
            (None, "runtime/default", Seccomp::RuntimeDefault),
            (None, "docker/default", Seccomp::RuntimeDefault),
            (None, "unconfined", Seccomp::Unconfined),
            (None, "localhost//p.json", file.clone()),
            (Some(profile(1, "")), "runtime/default", Seccomp::Unconfined),
        ] {
            assert_eq!(of(asked.as_ref(), old, false).unwrap(), expected);
            assert_eq!(of(asked.as_ref(), old, true).unwrap(), Seccomp::Unconfined);
        }
    }

    #[test]
    fn profiles_that_make_no_sense_are_refused() {
        for (asked, old, says) in [
            (Some(profile(3, "")), "", "3 is not a value"),
            (Some(profile(2, "")), "", "localhost_ref"),
            (Some(profile(2, "p.json")), "", "absolute"),
            (Some(profile(2, "/a/../b")), "", ".."),
            (Some(profile(0, "/p.json")), "", "only for the profile type Localhost"),
            (None, "localhost/p.json", "absolute"),
            (None, "default", "none of"),
        ] {
            check_refused(of(asked.as_ref(), old, false), InvalidArgument, &["seccomp", says]);
        }
    }
}
