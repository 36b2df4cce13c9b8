//! Times, for a person to read: `cargo test -p orlop-images --test store -- --ignored --nocapture speed`.
#![allow(clippy::print_stdout, reason = "a measurement talks to a person")]

use crate::bench::{Bench, pull, remove};
use orlop_images::{Config, Store};
use orlop_model::ports::Images;
use orlop_testkit::Tree;
use orlop_testkit::image_builder::ImageBuilder;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;

/// Text that gzip makes about three times smaller, as programs are.
fn filling(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
        out.extend_from_slice(b"0123456789abcdefghij");
    }
    out.truncate(bytes);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; says nothing about right or wrong"]
async fn speed_of_an_image_of_8_layers() {
    let bench = Bench::new();
    let mut builder = ImageBuilder::new();
    for layer in 0..8 {
        let mut tree = Tree::default();
        for file in 0..100 {
            tree.file(&format!("layer{layer}/file{file}"), 0o644, filling(layer * 1000 + file, 200_000));
        }
        builder = builder.layer(&tree);
    }
    let built = builder.build();
    built.push(&bench.registry, "x", &["1"]).unwrap();
    let travelling: usize = built.layers.iter().map(Vec::len).sum();
    println!("{:.1} MiB compressed, 8 layers, 800 files of 200 kB", travelling as f64 / 1048576.0);
    let (mut pulls, mut removals, mut again, mut mounts) = (vec![], vec![], vec![], vec![]);
    // A store for each round, all removed at the end: ext4 is slow to give out inodes that were just freed.
    let mut stores = Vec::new();
    for round in 0..ROUNDS {
        let store = Store::open(Config::new(bench.folder.path().join(format!("store{round}")))).unwrap();
        let time = Instant::now();
        let id = pull(&store, &bench.at("x:1")).await.unwrap();
        pulls.push(time.elapsed());
        let time = Instant::now();
        pull(&store, &bench.at("x:1")).await.unwrap();
        again.push(time.elapsed());
        let container = crate::bench::container("c");
        let time = Instant::now();
        store.prepare(&container, &id).await.unwrap();
        drop(store.rootfs(&container, None).await.unwrap());
        mounts.push(time.elapsed());
        stores.push((store, id));
    }
    let inflating = Instant::now();
    std::thread::scope(|scope| {
        for half in built.layers.chunks(4) {
            scope.spawn(move || {
                for layer in half {
                    std::io::copy(&mut flate2::bufread::GzDecoder::new(layer.as_slice()), &mut std::io::sink())
                        .unwrap();
                }
            });
        }
    });
    println!("inflating alone, on two threads: {:?}", inflating.elapsed());
    for (store, id) in &stores {
        store.drop_rootfs(&crate::bench::container("c")).await.unwrap();
        let time = Instant::now();
        remove(store, &id.to_string()).await.unwrap();
        removals.push(time.elapsed());
    }
    for (what, times) in [("pull", pulls), ("pull again", again), ("prepare and rootfs", mounts), ("remove", removals)]
    {
        println!("{what}: {}", summary(times));
    }
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("median {:?}, best {:?}, worst {:?}", times[times.len() / 2], times[0], times[times.len() - 1])
}
