//! The test tools written in Go: built once from the pinned module, kept in the cache.

use orlop_testkit::debian::cache;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The module that pins the tools, and their sums.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools");
/// The tools' own module.
const CRI_TOOLS: &str = "sigs.k8s.io/cri-tools";

/// Returns the path of crictl.
pub fn crictl() -> io::Result<PathBuf> {
    tool("crictl", |version, to| {
        let stamp = format!("-s -w -X {CRI_TOOLS}/pkg/version.Version={version}");
        go(&["build", "-trimpath", "-ldflags", &stamp, "-o"], to, "crictl")
    })
}

/// Returns the path of critest, which is a test binary.
pub fn critest() -> io::Result<PathBuf> {
    tool("critest", |_, to| go(&["test", "-c", "-trimpath", "-o"], to, "critest"))
}

fn tool(name: &str, build: impl FnOnce(&str, &Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let version = pinned_version(&fs::read_to_string(Path::new(MODULE).join("go.mod"))?)?;
    let folder = cache().join(format!("cri-tools-{version}-{}-{:016x}", go_version()?, sums()?));
    let path = folder.join(name);
    if !path.exists() {
        fs::create_dir_all(&folder)?;
        eprintln!("building {name} {version}");
        // Built beside its place and moved there whole: two runs at once don't see half of it.
        let half = folder.join(format!("{name}.{}", std::process::id()));
        build(&version, &half)?;
        fs::rename(&half, &path)?;
    }
    Ok(path)
}

fn go(arguments: &[&str], to: &Path, package: &str) -> io::Result<()> {
    let mut command = Command::new("go");
    // Static: the tools run in network namespaces and must not look for anything there.
    command.current_dir(MODULE).env("CGO_ENABLED", "0");
    command.args(arguments).arg(to).arg(format!("{CRI_TOOLS}/cmd/{package}"));
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}

fn go_version() -> io::Result<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(MODULE).output();
    let output =
        output.map_err(|e| io::Error::other(format!("run go: {e}; the suites by others are written in Go")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Part of the key: what else the tools are built from.
fn sums() -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(Path::new(MODULE).join("go.sum"))?.hash(&mut hasher);
    Ok(hasher.finish())
}

fn pinned_version(go_mod: &str) -> io::Result<String> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("require "));
    let version = lines.filter_map(|line| line.strip_prefix(CRI_TOOLS)?.split_whitespace().next()).next();
    version.map(str::to_owned).ok_or_else(|| io::Error::other(format!("tools/go.mod doesn't pin {CRI_TOOLS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_module() {
        for (text, expected) in [
            ("require (\n\tsigs.k8s.io/cri-tools v1.36.0 // indirect\n)", Some("v1.36.0")),
            ("require sigs.k8s.io/cri-tools v1.2.3", Some("v1.2.3")),
            ("require example.org/x v1", None),
        ] {
            assert_eq!(pinned_version(text).ok().as_deref(), expected);
        }
    }
}
