//! The image that is pulled cold, and its pulls and removals.

use super::clock::Clock;
use super::samples::{Operation, Who};
use super::side::Side;
use orlop_testkit::client::{image, v1};
use orlop_testkit::shelf::Image;
use orlop_testkit::{Tree, wait_for};
use std::io;
use std::time::Duration;

/// Its reference: it shares no layer with an image that stays.
const REFERENCE: &str = "registry.k8s.io/bench/layers:1";
const REPOSITORY: &str = "bench/layers";
/// Its shape: 8 layers of 250 files of 32 KiB, 62 MiB in all; as they travel 45 MiB.
const LAYERS: u32 = 8;
const FILES: u32 = 250;
const FILE_WORDS: u32 = 4096;
/// The longest that the trash of a removed image may take to be freed.
const FREED_LIMIT: Duration = Duration::from_secs(30);

/// Makes the image. The same every time, so that it is compressed once and lies in the cache then.
pub fn layered() -> Image {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let trees: Vec<Tree> = (0..LAYERS).map(|layer| layer_tree(layer, &mut random)).collect();
    let trees: Vec<&Tree> = trees.iter().collect();
    Image::new(REPOSITORY, &["1"], &trees, &["sh"])
}

fn layer_tree(layer: u32, random: &mut u64) -> Tree {
    let mut tree = Tree::default();
    for file in 0..FILES {
        let mut content = Vec::new();
        for _ in 0..FILE_WORDS {
            // xorshift64; of its eight bytes four are kept and four are alike: so a part compresses, as in programs.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            let bytes = random.to_le_bytes();
            content.extend_from_slice(&[bytes[0], bytes[1], bytes[2], bytes[3], 0, 0, 0, 0]);
        }
        tree.file(&format!("layer-{layer}/folder-{}/file-{file}", file % 10), 0o644, content);
    }
    tree
}

/// Pulls and removes it once.
pub fn pull_and_remove(side: &Side, clock: &mut Clock<'_>) -> io::Result<()> {
    let used = used_bytes(side)?;
    let pull = v1::PullImageRequest { image: Some(image(REFERENCE)), ..Default::default() };
    clock.time(Operation::PullImage, || side.client.pull_image(pull))?;
    let remove = v1::RemoveImageRequest { image: Some(image(REFERENCE)) };
    clock.time(Operation::RemoveImage, || side.client.remove_image(remove))?;
    match side.who {
        Who::Ours => wait_until_freed(side, used),
        // It frees before it answers, and counts only every ten seconds.
        Who::Theirs => Ok(()),
    }
}

/// Waits until the disk has its space back, so that freeing it in the background costs the other side nothing.
fn wait_until_freed(side: &Side, before: u64) -> io::Result<()> {
    let freed = || used_bytes(side).is_ok_and(|used| used <= before).then_some(());
    wait_for(FREED_LIMIT, freed)
        .ok_or_else(|| io::Error::other(format!("{}: a removed image still takes its space", side.name())))
}

/// Returns what the images of a side take, by its own answer.
fn used_bytes(side: &Side) -> io::Result<u64> {
    let info = side.client.image_fs_info(v1::ImageFsInfoRequest {}).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(info.image_filesystems.iter().filter_map(|one| one.used_bytes.as_ref()).map(|bytes| bytes.value).sum())
}
