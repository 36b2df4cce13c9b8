//! Devices of the node in a container.

use super::path::absolute;
use super::{Refused, Result, quoted};
use crate::proto::Device as Asked;
use orlop_model::container::Device;

/// Checks devices. Whether they are there is seen when the process is planned.
pub(crate) fn devices(asked: &[Asked]) -> Result<Vec<Device>> {
    let device = |(i, asked): (usize, &Asked)| {
        Ok(Device {
            target: absolute(format!("devices[{i}].container_path"), &asked.container_path)?,
            source: absolute(format!("devices[{i}].host_path"), &asked.host_path)?,
            permissions: permissions(i, &asked.permissions)?,
        })
    };
    asked.iter().enumerate().map(device).collect()
}

fn permissions(i: usize, text: &str) -> Result<String> {
    let known = text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
    let once = ['r', 'w', 'm'].iter().all(|&c| text.matches(c).count() <= 1);
    if text.is_empty() || !known || !once {
        let problem = format!("{} is none of the letters r, w and m, each once", quoted(text));
        return Err(Refused::invalid(format!("devices[{i}].permissions"), problem));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn one(target: &str, source: &str, permissions: &str) -> Result<Vec<Device>> {
        devices(&[Asked { container_path: target.into(), host_path: source.into(), permissions: permissions.into() }])
    }

    #[test]
    fn a_device_is_kept_as_asked_for() {
        let expected = Device { target: "/dev/a".into(), source: "/dev/b".into(), permissions: "mr".into() };
        assert_eq!(one("/dev/a", "/dev/b", "mr").unwrap(), [expected]);
    }

    #[test]
    fn bad_devices_are_refused() {
        for (target, source, permissions, says) in [
            ("", "/dev/b", "r", "container_path"),
            ("/dev/../b", "/dev/b", "r", ".."),
            ("/dev/a", "b", "r", "host_path"),
            ("/dev/a", "/dev/b", "", "permissions"),
            ("/dev/a", "/dev/b", "rx", "permissions"),
            ("/dev/a", "/dev/b", "rr", "permissions"),
        ] {
            check_refused(one(target, source, permissions), InvalidArgument, &["devices[0].", says]);
        }
    }
}
