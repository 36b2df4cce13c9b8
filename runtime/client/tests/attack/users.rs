//! `/etc/passwd`, `/etc/group` and USER of an image that means harm.

use crate::ground::Ground;
use crate::up;
use orlop_model::ErrorKind;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::time::{Duration, Instant};

/// How long a look at users may take, whatever they are; one that hangs ends later, and with another failure.
const WITHIN: Duration = Duration::from_secs(9);

async fn check(ground: &Ground, name: &str, user: &str) -> Result<(u32, Vec<u32>), ErrorKind> {
    let (mut spec, id) = ground.spec(name, "exit 0");
    spec.process.user.user = user.to_owned();
    let began = Instant::now();
    let checked = ground.world.check(&ground.pod, &spec, &id).await;
    assert!(began.elapsed() < WITHIN, "{name} took {:?}", began.elapsed());
    checked.map(|checked| (checked.uid, checked.groups)).map_err(|failure| failure.kind)
}

#[tokio::test]
async fn attack_user_files_that_are_no_files_or_huge_are_refused_in_time() {
    let ground = up!("userfiles");
    for file in ["/etc/passwd", "/etc/group"] {
        let at = ground.inside(file);
        let kept = std::fs::read(&at).unwrap();
        let node = |kind, number| mknodat(CWD, &at, kind, Mode::RUSR | Mode::WUSR, number).unwrap();
        type Spoil<'a> = (&'a str, Box<dyn Fn() + 'a>);
        let spoils: [Spoil<'_>; 7] = [
            ("fifo", Box::new(|| node(FileType::Fifo, 0))),
            ("zero", Box::new(|| node(FileType::CharacterDevice, makedev(1, 5)))),
            ("watchdog", Box::new(|| node(FileType::CharacterDevice, makedev(10, 130)))),
            ("folder", Box::new(|| std::fs::create_dir(&at).unwrap())),
            ("ring", Box::new(|| ground.plant(file, file))),
            ("sparse", Box::new(|| std::fs::File::create(&at).unwrap().set_len(1 << 40).unwrap())),
            ("entries", Box::new(|| std::fs::write(&at, "u:x:7:7::/:\n".repeat(10_000_000)).unwrap())),
        ];
        for (name, spoil) in spoils {
            let _ = std::fs::remove_file(&at);
            spoil();
            let found = check(&ground, &format!("{name}{}", at.file_name().unwrap().display()), "web").await;
            assert_eq!(found, Err(ErrorKind::InvalidArgument), "{name} {file}");
            let _ = std::fs::remove_dir(&at);
        }
        // Links that lead out end inside, where there is nothing: the node's users are not the image's.
        for (way, to) in ["/proc/self/root/etc/passwd", "../../../../../../../etc/shadow"].into_iter().enumerate() {
            ground.plant(file, to);
            let found = check(&ground, &format!("out{way}{}", at.file_name().unwrap().display()), "daemon").await;
            assert_eq!(found, Err(ErrorKind::InvalidArgument), "{to}");
        }
        std::fs::remove_file(&at).unwrap();
        std::fs::write(&at, kept).unwrap();
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_user_that_overflows_is_refused_though_the_image_has_a_user_of_that_name() {
    let mut ground = up!("overflow");
    let names = [
        "2147483648",
        "4294967295",
        "4294967296",
        "99999999999",
        "18446744073709551616",
        "1000abc",
        "+5",
        "-1",
        "0x10",
    ];
    let lines: String = names.iter().map(|name| format!("{name}:x:0:0::/root:/bin/sh\n")).collect();
    std::fs::write(ground.inside("/etc/passwd"), lines).unwrap();
    for (at, name) in names.into_iter().chain(["1:", ":5", "0:4294967296", "web:x:y"]).enumerate() {
        assert_eq!(check(&ground, &format!("c{at}"), name).await, Err(ErrorKind::InvalidArgument), "{name}");
        ground.pod.image.user = name.to_owned();
        assert_eq!(check(&ground, &format!("i{at}"), "").await, Err(ErrorKind::InvalidArgument), "{name} of the image");
        ground.pod.image.user.clear();
    }
    ground.end().await;
}

#[tokio::test]
async fn attack_user_files_exchanged_while_they_are_read_by_execs_open_no_device() {
    use rustix::fs::{RenameFlags, renameat_with};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let ground = up!("userrace");
    let (passwd, other) = (ground.inside("/etc/passwd"), ground.inside("/etc/other"));
    // A pipe that was opened for reading lets its other end be opened for writing without waiting.
    mknodat(CWD, &other, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let running = ground.start("one", "sleep 1000", |_| {}).await;
    let pipe = rustix::fs::open(&other, rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&stop);
    let swap = std::thread::spawn(move || {
        while !ends.load(Ordering::Relaxed) {
            renameat_with(CWD, &passwd, CWD, &other, RenameFlags::EXCHANGE).unwrap();
        }
    });
    let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
    let ended = Arc::clone(&stop);
    let watch = std::thread::spawn(move || {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let mut opened = 0;
        while !ended.load(Ordering::Relaxed) {
            opened += usize::from(rustix::fs::open(&by_descriptor, flags, Mode::empty()).is_ok());
        }
        opened
    });
    for _ in 0..100 {
        let _ = ground.world.exec(&ground.pod, &running.spec, &running.id, &["/bin/sh", "-c", ":"], None).await;
    }
    stop.store(true, Ordering::Relaxed);
    swap.join().unwrap();
    assert_eq!(watch.join().unwrap(), 0, "what was not a file was opened");
    ground.end().await;
}
