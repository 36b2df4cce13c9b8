use super::*;

fn id(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

fn anonymous(name: &str) -> VolumeUse {
    VolumeUse { name: name.into(), target: "/data".into(), anonymous: true, ..VolumeUse::default() }
}

fn holder(number: u8, uses: &[VolumeUse]) -> Holder {
    Holder { id: id(number), uses: uses.into(), removed_at_end: true }
}

fn names(volumes: &Volumes) -> Vec<String> {
    volumes.list().into_iter().map(|volume| volume.name).collect()
}

#[test]
fn a_volume_that_is_held_is_not_removed() {
    let temp = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(temp.path().join("volumes"), &[]);
    volumes.create(Volume { name: "mine".into(), ..Volume::default() }).unwrap();
    let uses = [VolumeUse { name: "mine".into(), ..VolumeUse::default() }];
    assert!(volumes.take(&uses, &id(1), Timestamp(0)).unwrap().is_empty());
    let refused = volumes.remove("mine").unwrap_err();
    assert_eq!(refused.status().as_u16(), 409);
    assert!(refused.message().starts_with("remove mine: volume is in use - [0101"), "{}", refused.message());
    volumes.release(&id(1));
    std::fs::write(volumes.data("mine").join("file"), "x").unwrap();
    volumes.remove("mine").unwrap();
    assert_eq!(volumes.remove("mine").unwrap_err().message(), "get mine: no such volume");
    assert_eq!(std::fs::read_dir(temp.path().join("volumes")).unwrap().count(), 0);
}

#[test]
fn what_was_made_for_a_container_goes_with_it_unless_it_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(temp.path().into(), &[]);
    volumes.take(&[anonymous("one")], &id(1), Timestamp(0)).unwrap();
    volumes.take(&[anonymous("two")], &id(2), Timestamp(0)).unwrap();
    volumes.keep(&id(2), |_| true).unwrap();
    volumes.release(&id(1));
    volumes.release(&id(2));
    assert_eq!(names(&volumes), ["two"]);
    volumes.remove_anonymous(&[anonymous("two")]);
    assert!(names(&volumes).is_empty());
}

#[test]
fn the_next_daemon_finds_volumes_and_removes_what_nobody_has() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let volumes = Volumes::open(folder.into(), &[]);
    let labels = TextMap::from([("a".to_owned(), "b".to_owned())]);
    volumes.create(Volume { name: "named".into(), labels, created: Timestamp(7), ..Volume::default() }).unwrap();
    // One whose container was removed with nobody there to see it, one of a container that is there, one cut off.
    volumes.take(&[anonymous("left")], &id(1), Timestamp(0)).unwrap();
    volumes.take(&[anonymous("held")], &id(2), Timestamp(0)).unwrap();
    volumes.take(&[anonymous("unread")], &id(3), Timestamp(0)).unwrap();
    std::fs::create_dir_all(folder.join("cut/_data")).unwrap();
    let expected = volumes.find("named");
    drop(volumes);
    // What the third holds can't be read.
    let volumes = Volumes::open(folder.into(), &[holder(2, &[anonymous("held")]), holder(3, &[])]);
    assert_eq!(names(&volumes), ["held", "named", "unread"]);
    assert_eq!(volumes.find("named"), expected);
    assert_eq!((volumes.holders("held"), volumes.holders("named")), (1, 0));
    assert!(!folder.join("cut").exists() && !folder.join("left").exists());
}

#[test]
fn a_volume_that_somebody_else_wants_goes_with_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let named = |name: &str| VolumeUse { name: name.into(), ..VolumeUse::default() };
    let volumes = Volumes::open(temp.path().into(), &[]);
    volumes.take(&[named("shared"), named("asked"), named("alone")], &id(1), Timestamp(0)).unwrap();
    // While the first is still being created, or after its creation failed.
    assert!(volumes.take(&[named("shared")], &id(2), Timestamp(0)).unwrap().is_empty());
    volumes.create(Volume { name: "asked".into(), ..Volume::default() }).unwrap();
    volumes.release(&id(1));
    volumes.release(&id(2));
    assert_eq!(names(&volumes), ["asked", "shared"]);
    drop(volumes);
    assert_eq!(names(&Volumes::open(temp.path().into(), &[])), ["asked", "shared"]);
}

#[test]
fn a_creation_cut_off_once_the_container_is_there_keeps_what_has_a_name() {
    let temp = tempfile::tempdir().unwrap();
    let uses = [VolumeUse { name: "named".into(), ..VolumeUse::default() }, anonymous("unnamed")];
    let volumes = Volumes::open(temp.path().into(), &[]);
    volumes.take(&uses, &id(1), Timestamp(0)).unwrap();
    drop(volumes);
    let volumes = Volumes::open(temp.path().into(), &[holder(1, &uses)]);
    volumes.release(&id(1));
    assert_eq!(names(&volumes), ["named"]);
}

#[test]
fn a_tree_deeper_than_any_stack_is_deleted() {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    // In memory: 30,000 folders take a disk that is busy more than a minute.
    let temp = tempfile::tempdir_in("/dev/shm").unwrap();
    let volumes = Volumes::open(temp.path().into(), &[]);
    volumes.take(&[anonymous("deep")], &id(1), Timestamp(0)).unwrap();
    let mut folder = rustix::fs::open(volumes.data("deep"), OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..30_000 {
        mkdirat(&folder, "d", Mode::RWXU).unwrap();
        folder = openat(&folder, "d", OFlags::PATH, Mode::empty()).unwrap();
    }
    drop(folder);
    volumes.release(&id(1));
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
