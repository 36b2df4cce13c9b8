//! Folders and files of the node in a container.

use super::path::absolute;
use super::{Refused, Result, known, users};
use crate::proto::{Mount as Asked, MountPropagation};
use orlop_model::container::{MissingSource, Mount, MountAccess, Propagation};
use orlop_model::sandbox::IdMapping;

/// Whether the node's kernel can make a mount read-only with all mounts below it: mount_setattr(2), Linux 5.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecursiveReadOnly {
    /// It can.
    Possible,
    /// It can't.
    Impossible,
}

/// Checks mounts. Whether their sources are there is seen when the process is planned.
pub(crate) fn mounts(asked: &[Asked], recursive: RecursiveReadOnly, pod: Option<IdMapping>) -> Result<Vec<Mount>> {
    asked.iter().enumerate().map(|(i, asked)| mount(i, asked, recursive, pod)).collect()
}

fn mount(i: usize, asked: &Asked, recursive: RecursiveReadOnly, pod: Option<IdMapping>) -> Result<Mount> {
    let field = |name: &str| format!("mounts[{i}].{name}");
    if asked.image.as_ref().is_some_and(|image| !image.image.is_empty()) {
        let problem = "volumes made from images are not built yet";
        return Err(Refused::ImageVolume { field: field("image"), problem: problem.to_owned() });
    }
    if !asked.image_sub_path.is_empty() {
        return Err(Refused::invalid(field("image_sub_path"), "is only for mounts of images"));
    }
    if !asked.mount_options.is_empty() {
        return Err(Refused::unsupported(field("mount_options"), "mount options are not built yet; leave them out"));
    }
    let ids = users::of_mount(&field("uidMappings"), &asked.uid_mappings, &asked.gid_mappings, pod)?;
    let target = absolute(field("container_path"), &asked.container_path)?;
    if target.components().count() == 1 {
        return Err(Refused::invalid(field("container_path"), "\"/\" is the root file system itself"));
    }
    let propagation = match known(field("propagation"), asked.propagation)? {
        MountPropagation::PropagationPrivate => Propagation::Private,
        MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
        MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
    };
    let access = match (asked.recursive_read_only, asked.readonly) {
        (true, _) => {
            check_recursive(&field("recursive_read_only"), asked.readonly, propagation, recursive)?;
            MountAccess::ReadOnlyRecursive
        }
        (false, true) => MountAccess::ReadOnly,
        (false, false) => MountAccess::ReadWrite,
    };
    let source = absolute(field("host_path"), &asked.host_path)?;
    // The interface asks for an error, but kubelets look at no path whose type the pod leaves open, and pods count on a folder.
    let missing = MissingSource::MakeFolder;
    Ok(Mount { access, propagation, missing, ids, ..Mount::new(target, source) })
}

/// Recursive read-only must be read-only and private; the interface says so.
fn check_recursive(field: &str, readonly: bool, propagation: Propagation, recursive: RecursiveReadOnly) -> Result<()> {
    if !readonly {
        return Err(Refused::invalid(field, "needs readonly too"));
    }
    if propagation != Propagation::Private {
        return Err(Refused::invalid(field, "needs PROPAGATION_PRIVATE: mounts that arrive later would be writable"));
    }
    match recursive {
        RecursiveReadOnly::Possible => Ok(()),
        RecursiveReadOnly::Impossible => {
            let problem = "this node's kernel can't do it; Linux 5.12 can".to_owned();
            Err(Refused::RecursiveReadOnly { field: field.to_owned(), problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use crate::proto::{self, ImageSpec};
    use orlop_model::ErrorKind::{ImageVolumeFailed, InvalidArgument, RecursiveReadOnlyUnsupported, Unsupported};
    use orlop_model::{ErrorKind, Failure};

    fn asked(change: impl FnOnce(&mut Asked)) -> Vec<Asked> {
        let mut mount = Asked { container_path: "/data".into(), host_path: "/srv".into(), ..Default::default() };
        change(&mut mount);
        vec![mount]
    }

    #[test]
    fn a_mount_is_kept_as_asked_for() {
        for (change, access, propagation) in [
            ((false, false, 0), MountAccess::ReadWrite, Propagation::Private),
            ((true, false, 1), MountAccess::ReadOnly, Propagation::HostToContainer),
            ((false, false, 2), MountAccess::ReadWrite, Propagation::Bidirectional),
            ((true, true, 0), MountAccess::ReadOnlyRecursive, Propagation::Private),
        ] {
            let asked = asked(|m| (m.readonly, m.recursive_read_only, m.propagation) = change);
            let missing = MissingSource::MakeFolder;
            let expected = Mount { access, propagation, missing, ..Mount::new("/data", "/srv") };
            assert_eq!(mounts(&asked, RecursiveReadOnly::Possible, None).unwrap(), [expected]);
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Asked), kind: ErrorKind, says: &str) {
        check_refused(mounts(&asked(change), RecursiveReadOnly::Possible, None), kind, &["mounts[0].", says]);
    }

    #[test]
    fn bad_mounts_are_refused() {
        check(|m| m.container_path = "data".into(), InvalidArgument, "container_path");
        check(|m| m.container_path = "/a/../..".into(), InvalidArgument, "..");
        check(|m| m.container_path = "/".into(), InvalidArgument, "root file system");
        check(|m| m.container_path = "//".into(), InvalidArgument, "root file system");
        check(|m| m.host_path = String::new(), InvalidArgument, "host_path");
        check(|m| m.host_path = "srv".into(), InvalidArgument, "absolute");
        check(|m| m.propagation = 3, InvalidArgument, "3 is not a value");
        check(|m| m.image_sub_path = "etc".into(), InvalidArgument, "image_sub_path");
        check(|m| m.mount_options = vec!["noexec".into()], Unsupported, "mount_options");
        check(|m| m.uid_mappings = vec![proto::IdMapping::default()], InvalidArgument, "uidMappings");
        check(
            |m| m.image = Some(ImageSpec { image: "busybox".into(), ..Default::default() }),
            ImageVolumeFailed,
            "not built yet",
        );
    }

    #[test]
    fn recursive_read_only_must_be_read_only_private_and_possible() {
        check(|m| m.recursive_read_only = true, InvalidArgument, "needs readonly");
        for propagation in [1, 2] {
            check(
                |m| (m.recursive_read_only, m.readonly, m.propagation) = (true, true, propagation),
                InvalidArgument,
                "PROPAGATION_PRIVATE",
            );
        }
        let asked = asked(|m| (m.recursive_read_only, m.readonly) = (true, true));
        let refused = mounts(&asked, RecursiveReadOnly::Impossible, None);
        check_refused(refused.clone(), RecursiveReadOnlyUnsupported, &["5.12"]);
        let status = crate::status::of(&Failure::from(refused.unwrap_err()));
        assert!(status.message().starts_with("RROUnsupported: "), "{}", status.message());
    }
}
