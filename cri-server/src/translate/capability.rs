//! Capabilities, with or without `CAP_` in front.

use super::{Refused, Result, quoted};
use crate::proto::Capability;

/// What a container gets beside, or instead of, the default set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Taken away.
    pub drop: Vec<String>,
    /// Ambient.
    pub ambient: Vec<String>,
}

/// Checks names and returns them without `CAP_`, in capitals. Whether the kernel knows them is seen when the process is
/// planned.
pub(crate) fn capabilities(asked: Option<&Capability>) -> Result<Capabilities> {
    let Some(asked) = asked else { return Ok(Capabilities::default()) };
    Ok(Capabilities {
        add: names("add_capabilities", &asked.add_capabilities)?,
        drop: names("drop_capabilities", &asked.drop_capabilities)?,
        ambient: names("add_ambient_capabilities", &asked.add_ambient_capabilities)?,
    })
}

fn names(field: &str, asked: &[String]) -> Result<Vec<String>> {
    let name = |text: &String| {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            let field = format!("linux.security_context.capabilities.{field}");
            return Err(Refused::invalid(field, format!("{} is not a capability", quoted(text))));
        }
        Ok(name.to_owned())
    };
    asked.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn add(names: &[&str]) -> Capability {
        Capability { add_capabilities: names.iter().map(|&n| n.into()).collect(), ..Default::default() }
    }

    #[test]
    fn a_capability_is_the_same_with_and_without_its_prefix() {
        let kept = capabilities(Some(&add(&["CAP_NET_ADMIN", "net_admin", "ALL", "CAP_ALL"]))).unwrap();
        assert_eq!(kept.add, ["NET_ADMIN", "NET_ADMIN", "ALL", "ALL"]);
        assert_eq!(capabilities(None).unwrap(), Capabilities::default());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for bad in ["", "CAP_", "NET ADMIN", "../x", "É"] {
            check_refused(capabilities(Some(&add(&[bad]))), InvalidArgument, &["add_capabilities", "not a capability"]);
        }
    }
}
