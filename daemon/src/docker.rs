//! The Docker Engine API: its socket, and who may use it.

use crate::config::Config;
use crate::serve::{Error, listen};
use orlop_usecases::Engine;
use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// A socket on which the API is served.
#[derive(Debug)]
pub struct DockerApi {
    listener: UnixListener,
    path: PathBuf,
    settings: orlop_docker::Config,
    metrics: orlop_docker::DockerMetrics,
}

impl DockerApi {
    /// Listens, when the settings ask for it.
    pub fn open(config: &Config) -> Result<Option<Self>, Error> {
        let Some(path) = &config.docker_socket else { return Ok(None) };
        let group = config.docker_group.as_deref().map(group_id).transpose()?;
        let listener = listen(path)?;
        if let Some(group) = group {
            let tried = "give to its group";
            chown(path, None, Some(group)).map_err(|source| Error::File { tried, path: path.clone(), source })?;
        }
        let bridge = orlop_docker::Bridge {
            link: config.docker_bridge.clone(),
            network: config.docker_subnet.network,
            prefix: config.docker_subnet.prefix,
        };
        let settings =
            orlop_docker::Config { folder: config.root.join("docker"), version: env!("CARGO_PKG_VERSION"), bridge };
        Ok(Some(Self { listener, path: path.clone(), settings, metrics: orlop_docker::DockerMetrics::new() }))
    }

    /// Returns what it counts.
    pub fn metrics(&self) -> orlop_docker::DockerMetrics {
        self.metrics.clone()
    }

    /// Serves until told to end, and takes the socket away.
    pub async fn serve(self, engine: &Engine, end: impl Future<Output = ()>) {
        let facade = engine.facade(orlop_docker::namespace(), orlop_docker::policy());
        orlop_docker::serve(self.listener, facade, self.settings, self.metrics, end).await;
        drop(fs::remove_file(&self.path));
    }
}

/// Finds a group by name or number. group(5)
fn group_id(group: &str) -> Result<u32, Error> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let path = Path::new("/etc/group");
    let failed =
        |source| Error::File { tried: "find the group of the Docker socket in", path: path.to_owned(), source };
    let groups = fs::read_to_string(path).map_err(failed)?;
    let line = groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line.first() == Some(&group));
    let id = line.and_then(|line| line.get(2)?.parse().ok());
    id.ok_or_else(|| {
        failed(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no group {group}; make it, or give another one with --docker-group"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_name_or_number() {
        assert_eq!(group_id("root").unwrap(), 0);
        assert_eq!(group_id("4711").unwrap(), 4711);
        let refused = group_id("no such group").unwrap_err().to_string();
        assert!(refused.contains("--docker-group"), "{refused}");
    }
}
