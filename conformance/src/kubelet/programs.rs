//! The kubelet as it is released, and the small client of its server: built once from their module, kept in the cache.

use orlop_testkit::debian::cache;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Their module, with its versions and sums.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubelet");
/// The kubelet's own module.
const KUBERNETES: &str = "k8s.io/kubernetes";
/// What the linker is told: without a version it calls itself v0.0.0, and its feature gates look at it.
const VERSION: &str = "k8s.io/component-base/version";

/// Paths of the programs.
pub struct Programs {
    /// The kubelet.
    pub kubelet: PathBuf,
    /// The client.
    pub driver: PathBuf,
    /// The kubelet's version, as `v1.37.1`.
    pub version: String,
}

impl Programs {
    /// Returns them, built when the cache doesn't have them. The kubelet takes some minutes and 2 GB of memory.
    pub fn built() -> io::Result<Self> {
        let go_mod = fs::read_to_string(Path::new(MODULE).join("go.mod"))?;
        let version = pinned_version(&go_mod)?;
        let folder = cache().join(format!("kubelet-{version}-{}", go_version()?));
        let modules = [go_mod, fs::read_to_string(Path::new(MODULE).join("go.sum"))?];
        let kubelet = build(&folder, "kubelet", &modules, &format!("{KUBERNETES}/cmd/kubelet"), &stamp(&version))?;
        let mut sources = modules.to_vec();
        for entry in fs::read_dir(Path::new(MODULE).join("driver"))? {
            sources.push(fs::read_to_string(entry?.path())?);
        }
        // The order of a folder's entries is not defined.
        sources.sort();
        let driver = build(&folder, "driver", &sources, "./driver", "-s -w")?;
        Ok(Self { kubelet, driver, version })
    }
}

/// Builds a program unless one made from the same is there.
fn build(folder: &Path, name: &str, sources: &[String], package: &str, linker: &str) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    linker.hash(&mut hasher);
    let path = folder.join(format!("{name}-{:016x}", hasher.finish()));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(folder)?;
    eprintln!("building {name}; the first time this takes some minutes");
    // Built beside its place and moved there whole: two runs at once don't see half of it.
    let half = folder.join(format!("{name}.{}", std::process::id()));
    let mut command = Command::new("go");
    // Static: it runs in a network namespace and must not look for anything there.
    command.current_dir(MODULE).env("CGO_ENABLED", "0");
    command.args(["build", "-trimpath", "-ldflags", linker, "-o"]).arg(&half).arg(package);
    let status = command.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    fs::rename(&half, &path)?;
    Ok(path)
}

/// Returns what makes the kubelet know its version.
fn stamp(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("-s -w -X {VERSION}.gitVersion={version} -X {VERSION}.gitMajor={major} -X {VERSION}.gitMinor={minor}")
}

fn go_version() -> io::Result<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(MODULE).output();
    let output = output.map_err(|e| io::Error::other(format!("run go: {e}; the kubelet is written in Go")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn pinned_version(go_mod: &str) -> io::Result<String> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("require "));
    let version =
        lines.filter_map(|line| line.strip_prefix(KUBERNETES)?.strip_prefix(' ')?.split_whitespace().next()).next();
    version.map(str::to_owned).ok_or_else(|| io::Error::other(format!("kubelet/go.mod doesn't pin {KUBERNETES}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelet_is_told_its_version() {
        let go_mod = "require (\n\tk8s.io/client-go v0.37.1\n\tk8s.io/kubernetes v1.37.1\n)";
        let version = pinned_version(go_mod).unwrap();
        assert_eq!(version, "v1.37.1");
        assert!(stamp(&version).ends_with(
            ".gitVersion=v1.37.1 -X k8s.io/component-base/version.gitMajor=1 \
            -X k8s.io/component-base/version.gitMinor=37"
        ));
        assert!(pinned_version("require k8s.io/client-go v0.37.1").is_err());
    }
}
