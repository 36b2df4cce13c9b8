//! Tiny static programs for test images: compiled once per source, kept in the cache.

use crate::debian::cache;
use crate::scratch::Scratch;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// Returns the path of a static program made from one file of C.
///
/// # Errors
/// When the compiler is missing or refuses.
pub fn compiled(name: &str, source: &str) -> io::Result<PathBuf> {
    let folder = cache().join("programs");
    let path = folder.join(format!("{name}-{}", &hex::encode(Sha256::digest(source))[..16]));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&folder)?;
    let scratch = Scratch::new()?;
    let (code, program) = (scratch.path().join(format!("{name}.c")), scratch.path().join(name));
    fs::write(&code, source)?;
    let status = Command::new("cc").args(["-Os", "-s", "-static", "-Wall", "-o"]).arg(&program).arg(&code).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("cc can't compile {name}: {status}")));
    }
    // Copied beside its place under a name of its own, then moved there whole: another test may be making the same, and the
    // temporary folder may be another file system.
    let half = tempfile::Builder::new().prefix(name).tempfile_in(&folder)?.into_temp_path();
    fs::copy(&program, &half)?;
    half.persist(&path).map_err(|e| e.error)?;
    Ok(path)
}
