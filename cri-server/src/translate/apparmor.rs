//! AppArmor: not built. What a kubelet sends to nodes without it is accepted, a profile of the node is not.

use super::{Refused, Result, known, quoted};
use crate::proto::SecurityProfile;
use crate::proto::security_profile::ProfileType;

/// Checks that no profile of the node is asked for: running without it would be weaker than what the caller thinks. The
/// newer field wins.
pub(crate) fn check(asked: Option<&SecurityProfile>, old: &str) -> Result<()> {
    const FIELD: &str = "linux.security_context.apparmor";
    const OLD_FIELD: &str = "linux.security_context.apparmor_profile";
    if let Some(asked) = asked {
        return match known(format!("{FIELD}.profile_type"), asked.profile_type)? {
            ProfileType::RuntimeDefault | ProfileType::Unconfined => Ok(()),
            ProfileType::Localhost => Err(missing(FIELD, &asked.localhost_ref)),
        };
    }
    match old {
        "" | "unconfined" | "runtime/default" => Ok(()),
        other => match other.strip_prefix("localhost/") {
            Some(profile) => Err(missing(OLD_FIELD, profile)),
            None => {
                let problem = format!("{} is none of runtime/default, unconfined and localhost/<name>", quoted(other));
                Err(Refused::invalid(OLD_FIELD, problem))
            }
        },
    }
}

fn missing(field: &str, profile: &str) -> Refused {
    let problem = format!("profile {} asked for, but there is no AppArmor on this node; leave it out", quoted(profile));
    Refused::unsupported(field, problem)
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::{InvalidArgument, Unsupported};

    fn profile(profile_type: i32) -> SecurityProfile {
        SecurityProfile { profile_type, localhost_ref: if profile_type == 2 { "p".into() } else { String::new() } }
    }

    #[test]
    fn what_a_kubelet_sends_without_apparmor_is_accepted() {
        for (asked, old) in [
            (None, ""),
            (None, "unconfined"),
            (None, "runtime/default"),
            (Some(profile(0)), ""),
            (Some(profile(1)), "localhost/p"),
        ] {
            assert_eq!(check(asked.as_ref(), old), Ok(()));
        }
    }

    #[test]
    fn a_profile_that_would_not_be_enforced_is_refused() {
        check_refused(check(Some(&profile(2)), ""), Unsupported, &["\"p\"", "no AppArmor on this node"]);
        check_refused(check(None, "localhost/p"), Unsupported, &["apparmor_profile", "\"p\""]);
        check_refused(check(None, "p"), InvalidArgument, &["apparmor_profile", "none of"]);
        check_refused(check(Some(&profile(5)), ""), InvalidArgument, &["5 is not a value"]);
    }
}
