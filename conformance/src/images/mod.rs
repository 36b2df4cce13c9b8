//! The images that critest and crictl ask for, made from Debian packages and two tiny static programs.
//!
//! What each must contain is what the specs do with it; where a spec expects something odd, the reason stands beside it.

use orlop_testkit::Tree;
use orlop_testkit::debian::{add_busybox, add_program};
use orlop_testkit::program::compiled;
use orlop_testkit::shelf::Image;
use std::fs;
use std::io;

/// Packages that the programs beside busybox need, the program's own first.
const PGREP: &[&str] = &[
    "procps",
    "libproc2-0",
    "libsystemd0",
    "liblz4-1",
    "liblzma5",
    "libzstd1",
    "libgcrypt20",
    "libgpg-error0",
    "libcap2",
];
const IPCS: &[&str] = &["util-linux", "libsmartcols1"];
const NGINX: &[&str] = &["nginx", "libpcre2-8-0", "libssl3", "zlib1g", "libcrypt1"];

/// Registries that the suites name. All their repositories lie in the one local registry: the paths don't clash.
pub const MIRRORED: [&str; 4] = ["registry.k8s.io", "k8s.gcr.io", "gcr.io", "public.ecr.aws"];

/// The default test container of critest.
pub const BUSYBOX: &str = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

/// Makes all images.
pub fn all() -> io::Result<Vec<Image>> {
    let busybox = busybox()?;
    let mut images = vec![default_container(&busybox)?, pause()?, nginx(&busybox)?, no_new_privileges(&busybox)?];
    images.extend(web_servers(&busybox));
    images.extend(image_manager(&busybox));
    images.extend(benchmark(&busybox));
    Ok(images)
}

/// Only what the crictl script needs.
pub fn small() -> io::Result<Vec<Image>> {
    // The pause image is for the peer: orlop needs none.
    Ok(vec![default_container(&busybox()?)?, pause()?])
}

fn busybox() -> io::Result<Tree> {
    let mut tree = Tree::default();
    add_busybox(&mut tree)?;
    Ok(tree)
}

fn default_container(busybox: &Tree) -> io::Result<Image> {
    let mut tree = Tree::default();
    // Debian's busybox has neither; a "not found" on standard error fails a spec.
    add_program(&mut tree, "usr/bin/pgrep", "usr/bin/pgrep", PGREP)?;
    add_program(&mut tree, "usr/bin/ipcs", "usr/bin/ipcs", IPCS)?;
    Ok(Image::new("e2e-test-images/busybox", &["1.29-2"], &[busybox, &tree], &["sh"]))
}

/// The pause image, which runtimes of others keep in every pod.
pub fn pause() -> io::Result<Image> {
    let mut tree = Tree::default();
    tree.copy("pause", &compiled("pause", include_str!("pause.c"))?)?;
    Ok(Image::new("pause", &["3.9", "3.10"], &[&tree], &["/pause"]))
}

fn nginx(busybox: &Tree) -> io::Result<Image> {
    let mut tree = Tree::default();
    add_program(&mut tree, "usr/sbin/nginx", "usr/sbin/nginx", NGINX)?;
    tree.file("etc/nginx/nginx.conf", 0o644, NGINX_CONF);
    for folder in ["var/lib/nginx", "var/log/nginx", "var/run"] {
        tree.folder(folder, 0o755);
    }
    Ok(Image::new("e2e-test-images/nginx", &["1.14-2"], &[busybox, &tree], &["nginx", "-g", "daemon off;"]))
}

/// The specs read `/var/run/nginx.pid`, and find the web server by "master process" in its title.
const NGINX_CONF: &str = "pid /var/run/nginx.pid;\n\
    error_log /dev/stderr;\n\
    worker_processes 1;\n\
    events { worker_connections 64; }\n\
    http {\n\
    \x20   access_log /dev/stdout;\n\
    \x20   server { listen 80; location / { default_type text/plain; return 200 'served by nginx\\n'; } }\n\
    }\n";

fn no_new_privileges(busybox: &Tree) -> io::Result<Image> {
    let mut tree = Tree::default();
    tree.file("usr/local/bin/nnp", 0o6755, fs::read(compiled("nnp", include_str!("nnp.c"))?)?);
    Ok(Image::new("e2e-test-images/nonewprivs", &["1.3"], &[busybox, &tree], &["nnp"]))
}

fn web_servers(busybox: &Tree) -> Vec<Image> {
    let mut tree = Tree::default();
    tree.file("www/index.html", 0o644, "served by httpd\n");
    // A spec looks for the server's name in its log.
    let on_80 = ["sh", "-c", "echo httpd is starting; exec httpd -f -v -p 80 -h /www"];
    let on_12003 = ["httpd", "-f", "-v", "-p", "12003", "-h", "/www"];
    vec![
        Image::new("e2e-test-images/httpd", &["2.4.39-4"], &[busybox, &tree], &on_80),
        Image::new("k8s-staging-cri-tools/hostnet-nginx-amd64", &["latest"], &[busybox, &tree], &on_12003),
    ]
}

/// Images that differ in one file, or not at all: what the specs of the image manager count.
fn image_manager(busybox: &Tree) -> Vec<Image> {
    let image = |repository, tags: &[&str], file: &str| {
        let mut tree = Tree::default();
        tree.file(file, 0o644, file);
        Image::new(repository, tags, &[busybox, &tree], &["sh"])
    };
    let mut images = vec![
        image("k8s-staging-cri-tools/test-image-latest", &["latest"], "latest"),
        image("k8s-staging-cri-tools/test-image-tag", &["test"], "test"),
        image("k8s-staging-cri-tools/test-image-tag", &["all"], "all"),
        image("k8s-staging-cri-tools/test-image-1", &["latest"], "one"),
        image("k8s-staging-cri-tools/test-image-2", &["latest"], "two"),
        image("k8s-staging-cri-tools/test-image-3", &["latest"], "three"),
        // One manifest under three tags.
        image("k8s-staging-cri-tools/test-image-tags", &["1", "2", "3"], "tags"),
        image("k8s-staging-cri-tools/test-image-user-uid", &["latest"], "uid").user("1002"),
        image("k8s-staging-cri-tools/test-image-user-username", &["latest"], "username").user("www-data"),
        image("k8s-staging-cri-tools/test-image-user-uid-group", &["latest"], "uid-group").user("1003:1004"),
        image("k8s-staging-cri-tools/test-image-user-username-group", &["latest"], "username-group")
            .user("www-data:1004"),
    ];
    images.push(predefined_group(busybox));
    images
}

/// A user that the image itself puts into a group; the specs of the supplemental groups' policy look for it.
fn predefined_group(busybox: &Tree) -> Image {
    let mut tree = Tree::default();
    tree.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/home:/bin/sh\n");
    tree.file("etc/group", 0o644, "root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n");
    let repository = "k8s-staging-cri-tools/test-image-predefined-group";
    Image::new(repository, &["latest"], &[busybox, &tree], &["sh"]).user("1000")
}

fn benchmark(busybox: &Tree) -> Vec<Image> {
    let tags = &["1", "1.35.0-glibc", "1-glibc", "1-musl", "1-uclibc"];
    vec![Image::new("docker/library/busybox", tags, &[busybox], &["sh"])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_testkit::shelf::Layer;
    use std::collections::BTreeSet;

    #[test]
    fn every_repository_and_tag_is_there_once() {
        let images = all().unwrap();
        let mut seen = BTreeSet::new();
        for image in &images {
            for tag in &image.tags {
                assert!(seen.insert(format!("{}:{tag}", image.repository)), "{}:{tag} twice", image.repository);
            }
        }
        assert!(seen.contains("pause:3.9") && seen.contains("e2e-test-images/nginx:1.14-2"));
    }

    #[test]
    fn images_that_must_differ_do() {
        let images = all().unwrap();
        let tree = |repository: &str, tag: &str| {
            let found = images
                .iter()
                .find(|image| image.repository.ends_with(repository) && image.tags.iter().any(|has| has == tag));
            match found.unwrap().layers.last().unwrap() {
                Layer::Tree(tree) => tree.to_tar().unwrap(),
                Layer::Tar(bytes) => bytes.clone(),
            }
        };
        assert!(tree("test-image-tag", "test") != tree("test-image-tag", "all"));
        assert!(tree("test-image-1", "latest") != tree("test-image-2", "latest"));
    }
}
