//! The images of the pods: Debian's busybox with two tiny programs that can be counted on.

use crate::images::pause;
use orlop_testkit::Tree;
use orlop_testkit::debian::add_busybox;
use orlop_testkit::program::compiled;
use orlop_testkit::shelf::Image;
use std::fs;
use std::io;

/// The image of nearly all pods: repository and tag.
pub const MAIN: (&str, &str) = ("kubelet/main", "1");
/// One that only the scenario of pull policies pulls.
pub const PULLED: (&str, &str) = ("kubelet/pulled", "1");
/// The same under a name that nobody pulls.
pub const NEVER: (&str, &str) = ("kubelet/never", "1");

/// Makes them.
pub fn all() -> io::Result<Vec<Image>> {
    let mut busybox = Tree::default();
    add_busybox(&mut busybox)?;
    let mut top = Tree::default();
    // `lines N RATE LIMIT` writes numbered lines; `burn cpu S` and `burn memory MIB` spend what they say.
    let lines = include_str!("../../../testkit/src/programs/lines.c");
    top.file("lines", 0o755, fs::read(compiled("lines", lines)?)?);
    top.file("burn", 0o755, fs::read(compiled("burn", include_str!("burn.c"))?)?);
    let image = |(repository, tag): (&str, &str)| {
        let mut own = Tree::default();
        own.file("image", 0o644, repository);
        Image::new(repository, &[tag], &[&busybox, &top, &own], &["sh"])
    };
    // The pause image is for the peer: orlop needs none.
    Ok(vec![image(MAIN), image(PULLED), image(NEVER), pause()?])
}
