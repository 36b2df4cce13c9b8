//! Generates the messages and servers of the CRI from `proto/cri.proto`, without a `protoc` on the machine.

use prost::Message;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["cri.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Comments and positions are for people who read the file; the daemon carries names, numbers and types only.
    let mut embedded = descriptors.clone();
    for file in &mut embedded.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("cri.bin"), embedded.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        // Sorted maps encode in one order: equal requests are equal bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
