//! A daemon with a registry beside it: what most tests of the whole daemon stand on.

use crate::debian::add_busybox;
use crate::ground::Ground;
use crate::guard::Guard;
use crate::local_registry::LocalRegistry;
use crate::node::Node;
use crate::program::compiled;
use crate::shelf::{Damage, Image, Layer, shelve};
use crate::tree::Tree;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The image of most tests: Debian's busybox, a page, and a program that writes numbered lines.
const TEST_IMAGE: (&str, &str) = ("orlop/test", "1");
/// The same without a command of its own.
const COMMANDLESS: (&str, &str) = ("orlop/commandless", "1");

/// A ground with something to pull from it.
#[derive(Debug)]
pub struct Surroundings {
    /// The ground.
    pub ground: Arc<Ground>,
    /// The image to pull.
    pub reference: String,
    registry: Option<LocalRegistry>,
}

impl Surroundings {
    /// A ground with a registry that holds the test images.
    ///
    /// # Errors
    /// When an image can't be made, or the registry not be started.
    pub fn with_registry(guard: &Guard) -> io::Result<Self> {
        Self::over(guard, &shelve_test_images()?, Some(TEST_IMAGE))
    }

    /// A ground with a registry that holds the images; the reference is that of the first.
    ///
    /// # Errors
    /// When an image can't be made, or the registry not be started.
    pub fn with_images(guard: &Guard, images: &[Image]) -> io::Result<Self> {
        let first = images.first().and_then(|image| Some((image.repository.as_str(), image.tags.first()?.as_str())));
        Self::over(guard, &shelve(images)?, first)
    }

    fn over(guard: &Guard, storage: &Path, first: Option<(&str, &str)>) -> io::Result<Self> {
        let ground = guard.ground();
        let registry = LocalRegistry::start(&ground, storage)?;
        let reference = first.map(|(repository, tag)| format!("{}/{repository}:{tag}", registry.host()));
        Ok(Self { ground, reference: reference.unwrap_or_default(), registry: Some(registry) })
    }

    /// A ground on the host's network, from which the image given can be reached as from the host.
    #[must_use]
    pub fn of_host(guard: &Guard, reference: String) -> Self {
        Self { ground: guard.ground_on_host_network(), reference, registry: None }
    }

    /// Says whether the image is the one made here.
    #[must_use]
    pub fn own_image(&self) -> bool {
        self.registry.is_some()
    }

    /// Lets a daemon on the ground find in this registry what others hold.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn mirror(&self, hosts: &[&str]) -> io::Result<()> {
        self.registry.as_ref().map_or(Ok(()), |registry| registry.mirror(&self.ground, hosts))
    }
}

/// A daemon that runs, with a registry. Its parts are dropped in this order, so the guard compares last.
#[derive(Debug)]
pub struct Lab {
    /// The daemon.
    pub node: Node,
    surroundings: Surroundings,
    /// Compares in the end.
    pub guard: Guard,
}

impl Lab {
    /// Starts a daemon and a registry that holds the test images; other tests may go on beside this one.
    ///
    /// # Panics
    /// When any of it fails.
    #[must_use]
    pub fn start() -> Self {
        Self::under(Guard::beside_others(), |_| Vec::new())
    }

    /// The same with a daemon that serves Docker clients too.
    ///
    /// # Panics
    /// When any of it fails.
    #[must_use]
    pub fn with_docker() -> Self {
        Self::under(Guard::beside_others(), |ground| Node::docker_settings(ground).into())
    }

    /// The same with the test images pulled.
    ///
    /// # Panics
    /// When any of it fails.
    #[must_use]
    pub fn with_image() -> Self {
        Self::start().pull_test_images()
    }

    /// The same alone on the host: for tests that measure time or memory.
    ///
    /// # Panics
    /// When any of it fails.
    #[must_use]
    pub fn alone_with_image() -> Self {
        Self::under(Guard::new(), |_| Vec::new()).pull_test_images()
    }

    /// The same for Docker clients, with nothing pulled.
    ///
    /// # Panics
    /// When any of it fails.
    #[must_use]
    pub fn alone_with_docker() -> Self {
        Self::under(Guard::new(), |ground| Node::docker_settings(ground).into())
    }

    fn under(guard: Guard, settings: impl FnOnce(&Ground) -> Vec<(&'static str, String)>) -> Self {
        let surroundings = Surroundings::with_registry(&guard).expect("the registry starts");
        let settings = settings(&surroundings.ground);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(flag, value)| (*flag, value.as_str())).collect();
        let node = Node::start_on(Arc::clone(&surroundings.ground), &settings);
        Self { node, surroundings, guard }
    }

    fn pull_test_images(self) -> Self {
        use crate::client::{image, v1};
        for reference in [self.image(), self.image_without_command()] {
            let request = v1::PullImageRequest { image: Some(image(&reference)), ..Default::default() };
            self.node.client().pull_image(request).unwrap_or_else(|status| panic!("pull {reference}: {status}"));
        }
        self
    }

    /// Starts a daemon and a registry that holds the images, and answers for those of the hosts.
    ///
    /// # Errors
    /// When an image can't be made, or one of the two not be started.
    pub fn with_images(images: &[Image], mirrored: &[&str]) -> io::Result<Self> {
        let guard = Guard::new();
        let surroundings = Surroundings::with_images(&guard, images)?;
        surroundings.mirror(mirrored)?;
        let mut node = Node::prepare(Arc::clone(&surroundings.ground), &[]);
        node.try_start().map_err(io::Error::other)?;
        Ok(Self { node, surroundings, guard })
    }

    /// Returns the reference of the test image.
    #[must_use]
    pub fn image(&self) -> String {
        self.reference(TEST_IMAGE.0, TEST_IMAGE.1)
    }

    /// Returns the reference of the image that has no command.
    #[must_use]
    pub fn image_without_command(&self) -> String {
        self.reference(COMMANDLESS.0, COMMANDLESS.1)
    }

    /// Returns the reference of an image at this registry, there or not.
    #[must_use]
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        let host = self.surroundings.registry.as_ref().map_or("", LocalRegistry::host);
        format!("{host}/{repository}:{tag}")
    }

    /// Returns images that must not be accepted: what is wrong with each, and its reference.
    #[must_use]
    pub fn bad_images(&self) -> Vec<(&'static str, String)> {
        bad_layers().iter().map(|(name, ..)| (*name, self.reference(&format!("bad/{name}"), "1"))).collect()
    }
}

/// Returns the storage folder of the test images, made unless the cache has it; also for tests that run where none can be
/// made. Once per program: to know which they are takes some seconds on a slow machine.
///
/// # Errors
/// When a package can't be fetched, or the cache not be written.
pub fn shelve_test_images() -> io::Result<PathBuf> {
    static SHELF: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    if shelf.is_none() {
        *shelf = Some(shelve(&test_images()?)?);
    }
    Ok(shelf.clone().unwrap_or_default())
}

/// All images of the test registry, the usual one first.
fn test_images() -> io::Result<Vec<Image>> {
    let mut busybox = Tree::default();
    add_busybox(&mut busybox)?;
    let mut top = Tree::default();
    top.file("www/index.html", 0o644, "a page\n");
    top.file("lines", 0o755, fs::read(compiled("lines", include_str!("programs/lines.c"))?)?);
    let image = |(repository, tag): (&str, &str), command| Image::new(repository, &[tag], &[&busybox, &top], command);
    let mut images = vec![image(TEST_IMAGE, &["sh"]), image(COMMANDLESS, &[])];
    for (name, layer, damage) in bad_layers() {
        let mut bad = Image::new(&format!("bad/{name}"), &["1"], &[], &["sh"]).damaged(damage);
        bad.layers.push(Layer::Tar(layer));
        images.push(bad);
    }
    Ok(images)
}

/// Layers that must not be accepted: the name says what is wrong.
fn bad_layers() -> Vec<(&'static str, Vec<u8>, Damage)> {
    // Each of another content: layers are stored by digest, and damage to one must not reach the others.
    let good = |content: &'static str| {
        let mut tree = Tree::default();
        tree.file("file", 0o644, content.repeat(1000));
        tree.to_tar().unwrap_or_default()
    };
    let file = tar::EntryType::Regular;
    vec![
        ("truncated", good("cut short"), Damage::Truncated),
        ("flipped", good("one bit"), Damage::Flipped),
        ("wrong-diff-id", good("another"), Damage::WrongDiffId),
        ("climbs-out", raw_tar(&[(file, "../../../../../escaped", "")]), Damage::None),
        ("link-out", raw_tar(&[(tar::EntryType::Link, "passwd", "../../../../etc/passwd")]), Damage::None),
        ("no-tar", b"this is not a tar archive, though long enough to be looked at as one".repeat(20), Damage::None),
    ]
}

/// A tar with names that no honest archiver writes: type, name, link target; files hold one line.
fn raw_tar(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, target) in entries {
        let content = if kind.is_file() { b"escaped\n".as_slice() } else { b"" };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    // Two empty blocks end an archive.
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_serves_what_is_on_the_shelf() {
        let guard = Guard::new();
        let surroundings = Surroundings::with_registry(&guard).unwrap();
        let host = surroundings.registry.as_ref().unwrap().host();
        let address: std::net::SocketAddr = host.parse().unwrap();
        // Asked for nothing in particular, this registry would try to make a manifest of the oldest kind.
        let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json\r\n";
        let get = |path: &str| surroundings.ground.http_get_with(address.ip(), address.port(), path, accept).unwrap();
        let (status, manifest) = get("/v2/orlop/test/manifests/1");
        assert!(status.contains("200"), "{status} {manifest}");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let (status, config) = get(&format!("/v2/orlop/test/blobs/{config}"));
        assert!(status.contains("200") && config.contains("diff_ids"), "{status} {config}");
        assert!(get("/v2/orlop/test/manifests/2").0.contains("404"));
    }

    #[test]
    fn climbing_archive_is_one_that_others_would_follow() {
        let tar = raw_tar(&[(tar::EntryType::Regular, "../x", "")]);
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["../x"]);
    }
}
