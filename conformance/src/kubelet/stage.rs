//! What scenarios stand on: a ground with a registry, a runtime and a kubelet, and what brings the host back as it was.

use super::config::{NAME_SERVER, NODE_ADDRESS, READ_ONLY_PORT, configuration};
use super::driver::Call;
use super::image;
use super::process::Kubelet;
use super::programs::Programs;
use super::runtime::Runtime;
use super::undo::Undo;
use super::view::{Seen, View};
use crate::script::Verdict;
use crate::subject::Which;
use orlop_testkit::guard::{Leak, hierarchies};
use orlop_testkit::lab::Surroundings;
use orlop_testkit::{Client, Ground, Guard, wait_for};
use serde_json::Value;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The link that carries the node's address.
const LINK: &str = "node0";
/// How much of a page is told that says what went wrong.
const PAGE_CHARS_TOLD: usize = 300;
/// The longest until the kubelet has ended all pods, once their manifests are gone.
const EMPTY_LIMIT: Duration = Duration::from_secs(90);

/// Everything under test. Its parts are dropped in this order.
pub struct Stage {
    /// When its turn on this machine came.
    pub begun: Instant,
    view: View,
    kubelet: Mutex<Kubelet>,
    client: Client,
    runtime: Mutex<Runtime>,
    driver: PathBuf,
    image_host: String,
    ground: Arc<Ground>,
    link: Link,
    undo: Undo,
    guard: Guard,
}

// === impl Stage ===

impl Stage {
    /// Starts all of it.
    pub fn start(which: Which, programs: &Programs) -> io::Result<Self> {
        let images = image::all()?;
        let guard = Guard::new();
        let begun = Instant::now();
        let surroundings = Surroundings::with_images(&guard, &images)?;
        let (ground, image_host) = (Arc::clone(&surroundings.ground), host_of(&surroundings.reference));
        let undo = Undo::note(&ground)?;
        make_cgroups(&ground)?;
        let link = Link::add(&ground)?;
        let runtime = Runtime::start(which, surroundings)?;
        write_files(&ground, &configuration(&ground, &runtime.socket()))?;
        let mut kubelet = Kubelet::new(programs.kubelet.clone(), Arc::clone(&ground));
        kubelet.start().map_err(io::Error::other)?;
        Ok(Self {
            begun,
            view: View::of(Arc::clone(&ground))?,
            kubelet: Mutex::new(kubelet),
            client: runtime.client(),
            runtime: Mutex::new(runtime),
            driver: programs.driver.clone(),
            image_host,
            ground,
            link,
            undo,
            guard,
        })
    }

    /// Returns the ground.
    pub fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    /// Returns a client of the runtime.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the runtime, to kill it and to start it.
    pub fn runtime(&self) -> MutexGuard<'_, Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the kubelet, to end it and to start it.
    pub fn kubelet(&self) -> MutexGuard<'_, Kubelet> {
        self.kubelet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the kubelet said last of all pods.
    pub fn view(&self) -> Arc<Seen> {
        self.view.latest()
    }

    /// Returns the reference of the image of nearly all pods.
    pub fn image(&self) -> String {
        self.reference(image::MAIN)
    }

    /// Returns the reference of an image.
    pub fn reference(&self, (repository, tag): (&str, &str)) -> String {
        format!("{}/{repository}:{tag}", self.image_host)
    }

    /// Starts the client of the kubelet's server.
    pub fn call(&self, arguments: &[&str]) -> Verdict<Call> {
        Call::start(&self.driver, self.ground(), arguments)
    }

    /// Asks for a page of an address inside the ground's network.
    pub fn page(&self, address: &str, port: u16, path: &str) -> Verdict<String> {
        let ip: IpAddr = address.parse().map_err(|e| format!("address {address:?}: {e}"))?;
        let answer =
            self.ground().http_get(ip, port, path).map_err(|e| format!("http://{address}:{port}{path}: {e}"))?;
        let said = || answer.1.chars().take(PAGE_CHARS_TOLD).collect::<String>();
        match answer.0.contains("200") {
            true => Ok(answer.1),
            false => Err(format!("http://{address}:{port}{path}: {}: {}", answer.0, said())),
        }
    }

    /// Returns a JSON page of the kubelet.
    pub fn kubelet_page(&self, path: &str) -> Verdict<Value> {
        let page = self.page(&Ipv4Addr::LOCALHOST.to_string(), READ_ONLY_PORT, path)?;
        serde_json::from_str(&page).map_err(|e| format!("{path} is not JSON: {e}"))
    }

    /// Takes all manifests away, lets the kubelet end its pods, ends kubelet and runtime, and puts the host back.
    ///
    /// Returns what is not as it was.
    pub fn end(self) -> Vec<String> {
        for entry in fs::read_dir(self.ground().join("manifests")).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let empty = wait_for(EMPTY_LIMIT, || self.view().pods.is_empty().then_some(()));
        let Self { view, kubelet, client, runtime, ground, link, undo, guard, .. } = self;
        drop(view);
        drop(kubelet);
        drop(client);
        let runtime = runtime.into_inner().unwrap_or_else(PoisonError::into_inner);
        let peer = runtime.is_peer();
        let mut found = runtime.end();
        if empty.is_none() {
            found.push(format!("the kubelet still had pods {EMPTY_LIMIT:?} after their manifests were gone"));
        }
        drop(link);
        undo.put_back();
        found.extend(undo.differences());
        drop(undo);
        let leaks = if peer { guard.finish_except(&ground) } else { guard.finish() };
        found.extend(leaks.iter().map(Leak::to_string));
        found
    }
}

/// The link with the node's address, a bridge that leads nowhere: without another address than the loopback's a kubelet has none to give its pods.
struct Link(Arc<Ground>);

impl Link {
    fn add(ground: &Arc<Ground>) -> io::Result<Self> {
        let link = Self(Arc::clone(ground));
        let address = format!("{NODE_ADDRESS}/24");
        for arguments in [
            &["link", "add", LINK, "type", "bridge"][..],
            &["address", "add", &address, "dev", LINK],
            &["link", "set", LINK, "up"],
        ] {
            let status = ground.command("ip").args(arguments).status()?;
            if !status.success() {
                return Err(io::Error::other(format!("ip {arguments:?}: {status}")));
            }
        }
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.0.command("ip").args(["link", "delete", LINK]).status();
    }
}

/// Makes the cgroup below which the kubelet is to make its own: it makes none above. Hierarchies of v1 that say which
/// processors may be used say nothing in a new group, and no process could enter.
fn make_cgroups(ground: &Ground) -> io::Result<()> {
    for root in hierarchies() {
        let folder = root.join(ground.name());
        fs::create_dir_all(&folder)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(value), true) = (fs::read_to_string(root.join(file)), folder.join(file).exists()) {
                fs::write(folder.join(file), value.trim())?;
            }
        }
    }
    Ok(())
}

fn write_files(ground: &Ground, configuration: &Value) -> io::Result<()> {
    fs::create_dir_all(ground.join("manifests"))?;
    fs::write(ground.join("kubelet.json"), configuration.to_string())?;
    fs::write(ground.join("resolv.conf"), format!("nameserver {NAME_SERVER}\nsearch pods.test\n"))
}

fn host_of(reference: &str) -> String {
    reference.split('/').next().unwrap_or_default().to_owned()
}

/// Keeps logs of a run in a folder: of what went wrong they say more than a scenario can.
pub fn keep_logs(ground: &Ground, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in ["orlopd.log", "peer.log", super::process::LOG].into_iter().filter(|name| ground.join(name).exists()) {
        fs::copy(ground.join(name), folder.join(name))?;
    }
    Ok(())
}
