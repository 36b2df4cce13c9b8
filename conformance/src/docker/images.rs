//! What the Docker suites pull: images of docker.io's names, made from Debian's busybox.

use orlop_testkit::Tree;
use orlop_testkit::debian::add_busybox;
use orlop_testkit::shelf::Image;
use serde_json::json;
use std::io;

/// The users of alpine that docker-py's tests name, and their groups.
const ALPINE_USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:2:2:daemon:/sbin:/sbin/nologin\n\
    postgres:x:70:70::/var/lib/postgresql:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const ALPINE_GROUPS: &str = "root:x:0:\ndaemon:x:2:\ntty:x:5:\npostgres:x:70:\nnobody:x:65534:\n";

/// Makes the images of both suites.
pub fn all() -> io::Result<Vec<Image>> {
    let mut busybox = Tree::default();
    add_busybox(&mut busybox)?;
    Ok(vec![plain(&busybox), alpine(&busybox), described(&busybox), parted(&busybox, "a"), parted(&busybox, "b")])
}

/// The image of most commands.
fn plain(busybox: &Tree) -> Image {
    Image::new("library/busybox", &["latest", "1"], &[busybox], &["sh"]).history(&["add busybox of Debian"])
}

/// What docker-py's tests take for alpine: its users, `/var/opt`, and another id than busybox's.
fn alpine(busybox: &Tree) -> Image {
    let mut tree = Tree::default();
    tree.file("etc/passwd", 0o644, ALPINE_USERS);
    tree.file("etc/group", 0o644, ALPINE_GROUPS);
    tree.folder("var/opt", 0o755);
    Image::new("library/alpine", &["latest", "3.10"], &[busybox, &tree], &["/bin/sh"])
}

/// An image whose config says something about everything that a container takes from there.
fn described(busybox: &Tree) -> Image {
    let mut tree = Tree::default();
    tree.folder("srv/data", 0o755);
    tree.file("srv/greet", 0o755, "#!/bin/sh\necho \"$GREETING from $(pwd) as $(id -un): $*\"\n");
    Image::new("demo/described", &["1"], &[busybox, &tree], &["nobody"])
        .user("daemon")
        .setting("Entrypoint", json!(["/srv/greet"]))
        .setting("Env", json!(["PATH=/bin:/usr/bin", "GREETING=hello"]))
        .setting("WorkingDir", json!("/srv"))
        .setting("Labels", json!({"org.example.kind": "demo"}))
        .setting("ExposedPorts", json!({"8080/tcp": {}}))
        .setting("StopSignal", json!("SIGUSR1"))
        .history(&["add busybox of Debian", "add the greeter"])
}

/// Images that share all but one layer.
fn parted(busybox: &Tree, name: &str) -> Image {
    let mut tree = Tree::default();
    tree.file("part", 0o644, format!("{name}\n"));
    Image::new(&format!("demo/parted-{name}"), &["1"], &[busybox, &tree], &["cat", "/part"])
}
