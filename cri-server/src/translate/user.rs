//! Who a process runs as.

use super::path::without_nul;
use super::{Refused, Result, known, quoted};
use crate::proto::{Int64Value, LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use orlop_model::container::{GroupsPolicy, User};

/// Why a group without a user is refused; the interface says it must be.
pub(crate) const GROUP_ALONE: &str = "needs run_as_user too: a group alone says nothing about who runs";

/// Most supplementary groups; `NGROUPS_MAX`, setgroups(2).
const GROUPS_MAX: usize = 65536;

/// Checks who a container runs as.
pub(crate) fn user(asked: &LinuxContainerSecurityContext) -> Result<User> {
    const USER: &str = "linux.security_context.run_as_user";
    const NAME: &str = "linux.security_context.run_as_username";
    const GROUP: &str = "linux.security_context.run_as_group";
    let uid = ids(USER, asked.run_as_user.as_ref())?;
    let group = ids(GROUP, asked.run_as_group.as_ref())?;
    let name = asked.run_as_username.as_str();
    let user = match uid {
        Some(_) if !name.is_empty() => {
            return Err(Refused::invalid(NAME, "can't be given together with run_as_user; leave one out"));
        }
        Some(uid) => uid.to_string(),
        None => user_name(NAME, name)?,
    };
    if group.is_some() && user.is_empty() {
        return Err(Refused::invalid(GROUP, GROUP_ALONE));
    }
    Ok(User {
        user,
        group,
        supplemental_groups: groups(&asked.supplemental_groups)?,
        supplemental_group_names: Vec::new(),
        groups_policy: policy(asked.supplemental_groups_policy)?,
    })
}

/// Checks a user or group id. The greatest means "leave it" to the kernel; setresuid(2).
pub(crate) fn ids(field: &str, asked: Option<&Int64Value>) -> Result<Option<u32>> {
    asked.map(|asked| id(field, asked.value)).transpose()
}

fn id(field: &str, number: i64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        Ok(_) | Err(_) => Err(Refused::invalid(field, format!("{number} is not an id; use 0 to {}", u32::MAX - 1))),
    }
}

/// Checks supplementary groups.
pub(crate) fn groups(asked: &[i64]) -> Result<Vec<u32>> {
    const FIELD: &str = "linux.security_context.supplemental_groups";
    if asked.len() > GROUPS_MAX {
        return Err(Refused::invalid(FIELD, format!("{} groups are given, at most {GROUPS_MAX} fit", asked.len())));
    }
    asked.iter().map(|&number| id(FIELD, number)).collect()
}

/// Checks where supplementary groups come from.
pub(crate) fn policy(asked: i32) -> Result<GroupsPolicy> {
    Ok(match known("linux.security_context.supplemental_groups_policy", asked)? {
        SupplementalGroupsPolicy::Merge => GroupsPolicy::Merge,
        SupplementalGroupsPolicy::Strict => GroupsPolicy::Strict,
    })
}

fn user_name(field: &str, name: &str) -> Result<String> {
    without_nul(field, name)?;
    // A colon would add a group behind the back of run_as_group; passwd(5) allows none in a name.
    if name.contains([':', '\n']) {
        return Err(Refused::invalid(field, format!("{} is not a user's name", quoted(name))));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn asked(uid: Option<i64>, gid: Option<i64>, name: &str) -> LinuxContainerSecurityContext {
        LinuxContainerSecurityContext {
            run_as_user: uid.map(|value| Int64Value { value }),
            run_as_group: gid.map(|value| Int64Value { value }),
            run_as_username: name.into(),
            ..Default::default()
        }
    }

    #[test]
    fn users_are_ids_or_names() {
        for (asked, user_expected, group_expected) in [
            (asked(None, None, ""), "", None),
            (asked(Some(0), None, ""), "0", None),
            (asked(Some(1000), Some(0), ""), "1000", Some(0)),
            (asked(None, Some(7), "nobody"), "nobody", Some(7)),
        ] {
            let user = user(&asked).unwrap();
            assert_eq!((user.user.as_str(), user.group), (user_expected, group_expected));
        }
    }

    #[test]
    fn users_that_contradict_themselves_are_refused() {
        for (asked, says) in [
            (asked(None, Some(5), ""), "run_as_group: needs run_as_user"),
            (asked(Some(1), None, "nobody"), "together with run_as_user"),
            (asked(Some(-1), None, ""), "-1 is not an id"),
            (asked(Some(4_294_967_295), None, ""), "4294967295 is not an id"),
            (asked(Some(1), Some(i64::MAX), ""), "run_as_group"),
            (asked(None, None, "a:b"), "not a user's name"),
            (asked(None, None, "a\0"), "NUL"),
        ] {
            check_refused(user(&asked), InvalidArgument, &[says]);
        }
    }

    #[test]
    fn groups_and_their_policy_are_kept() {
        let mut strict = asked(None, None, "");
        strict.supplemental_groups = vec![1234, 5];
        strict.supplemental_groups_policy = SupplementalGroupsPolicy::Strict as i32;
        let kept = user(&strict).unwrap();
        assert_eq!((kept.supplemental_groups, kept.groups_policy), (vec![1234, 5], GroupsPolicy::Strict));
        strict.supplemental_groups_policy = 2;
        check_refused(user(&strict), InvalidArgument, &["supplemental_groups_policy", "2 is not a value"]);
        check_refused(groups(&[1, -7]), InvalidArgument, &["-7"]);
        check_refused(groups(&vec![1; GROUPS_MAX + 1]), InvalidArgument, &["at most"]);
    }
}
