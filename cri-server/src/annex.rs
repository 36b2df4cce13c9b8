//! What the core keeps for us with every sandbox and container: the request that made it.
//!
//! Labels, annotations and whatever else a client wants back byte for byte live nowhere else. Requests are decoded once and
//! kept as long as their object: a kubelet lists every second.

use crate::proto::{CreateContainerRequest, RunPodSandboxRequest};
use orlop_model::record::{ContainerAsked, SandboxAsked};
use orlop_model::{ErrorKind, Failure};
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The annex of one object. A message of its own, so that the bytes say which of both they are and more can be added.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Annex {
    /// Of a sandbox.
    #[prost(message, optional, tag = "1")]
    pub sandbox: Option<RunPodSandboxRequest>,
    /// Of a container, without `sandbox_config`: its sandbox has that.
    #[prost(message, optional, tag = "2")]
    pub container: Option<CreateContainerRequest>,
}

/// Encodes the annex of a sandbox.
pub(crate) fn of_sandbox(request: RunPodSandboxRequest) -> Vec<u8> {
    Annex { sandbox: Some(request), container: None }.encode_to_vec()
}

/// Encodes the annex of a container.
pub(crate) fn of_container(mut request: CreateContainerRequest) -> Vec<u8> {
    request.sandbox_config = None;
    Annex { sandbox: None, container: Some(request) }.encode_to_vec()
}

/// Decoded annexes of every object that was asked about.
#[derive(Default)]
pub(crate) struct Annexes {
    sandboxes: Cache<SandboxAsked, RunPodSandboxRequest>,
    containers: Cache<ContainerAsked, CreateContainerRequest>,
}

impl Annexes {
    /// Returns the request that made a sandbox.
    pub(crate) fn sandbox(&self, asked: &Arc<SandboxAsked>) -> Result<Arc<RunPodSandboxRequest>, Failure> {
        self.sandboxes.get(asked, asked.id.as_str(), || {
            let annex = Annex::decode(asked.annex.as_slice()).ok().and_then(|annex| annex.sandbox);
            annex.ok_or_else(|| damaged(&format!("sandbox {}", asked.id)))
        })
    }

    /// Returns the request that made a container.
    pub(crate) fn container(&self, asked: &Arc<ContainerAsked>) -> Result<Arc<CreateContainerRequest>, Failure> {
        self.containers.get(asked, asked.id.as_str(), || {
            let annex = Annex::decode(asked.annex.as_slice()).ok().and_then(|annex| annex.container);
            annex.ok_or_else(|| damaged(&format!("container {}", asked.id)))
        })
    }

    /// Lets go of what was decoded for objects that are gone. To be called when some were removed: left to the next sweep, what
    /// many pods leave behind would lie between all that comes after it, and hold on to far more memory than it takes.
    pub(crate) fn forget_gone(&self) {
        self.sandboxes.forget_gone();
        self.containers.forget_gone();
    }
}

fn damaged(object: &str) -> Failure {
    Failure::new(ErrorKind::Corrupt, format!("the stored request of {object} can't be decoded; remove the object"))
}

// === Cache ===

/// Decoded forms by id, each valid as long as the record it was decoded from is alive.
struct Cache<A, D>(Mutex<Entries<A, D>>);

struct Entries<A, D> {
    by_id: HashMap<String, (Weak<A>, Arc<D>)>,
    /// Entries at which the dead ones are swept out even if nobody says that some are gone: twice what was left the last time,
    /// so that sweeping costs nothing.
    sweep_at: usize,
}

/// Fewest entries worth a sweep.
const SWEEP_AT_MIN: usize = 64;

impl<A, D> Default for Cache<A, D> {
    fn default() -> Self {
        Self(Mutex::new(Entries { by_id: HashMap::new(), sweep_at: SWEEP_AT_MIN }))
    }
}

impl<A, D> Cache<A, D> {
    fn get(&self, of: &Arc<A>, id: &str, decode: impl FnOnce() -> Result<D, Failure>) -> Result<Arc<D>, Failure> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, decoded)) = entries.by_id.get(id)
            && std::ptr::eq(from.as_ptr(), Arc::as_ptr(of))
        {
            return Ok(Arc::clone(decoded));
        }
        let decoded = Arc::new(decode()?);
        if entries.by_id.len() >= entries.sweep_at {
            entries.sweep();
        }
        entries.by_id.insert(id.to_owned(), (Arc::downgrade(of), Arc::clone(&decoded)));
        Ok(decoded)
    }

    fn forget_gone(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep();
    }
}

impl<A, D> Entries<A, D> {
    fn sweep(&mut self) {
        self.by_id.retain(|_, (from, _)| from.strong_count() > 0);
        self.sweep_at = SWEEP_AT_MIN.max(self.by_id.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_decoded_once_and_forgotten_with_its_object() {
        let cache: Cache<u32, u32> = Cache::default();
        let first = Arc::new(1);
        assert_eq!(*cache.get(&first, "a", || Ok(10)).unwrap(), 10);
        assert_eq!(*cache.get(&first, "a", || panic!("decoded twice")).unwrap(), 10);
        let changed = Arc::new(2);
        assert_eq!(*cache.get(&changed, "a", || Ok(20)).unwrap(), 20);

        for number in 0..1000 {
            cache.get(&Arc::new(number), &number.to_string(), || Ok(number)).unwrap();
        }
        let entries = cache.0.lock().unwrap();
        assert!(entries.by_id.len() <= SWEEP_AT_MIN + 1, "{}", entries.by_id.len());
    }

    #[test]
    fn what_is_gone_is_let_go_of_when_told() {
        let cache: Cache<u32, Arc<()>> = Cache::default();
        let (stays, goes) = (Arc::new(1), Arc::new(2));
        let kept = cache.get(&stays, "stays", || Ok(Arc::default())).unwrap();
        let left = Arc::downgrade(&cache.get(&goes, "goes", || Ok(Arc::default())).unwrap());
        cache.forget_gone();
        assert!(left.upgrade().is_some(), "its object is still there");
        drop(goes);
        cache.forget_gone();
        assert!(left.upgrade().is_none(), "its object is gone");
        assert!(Arc::ptr_eq(&kept, &cache.get(&stays, "stays", || panic!("decoded twice")).unwrap()));
    }

    #[test]
    fn a_damaged_annex_is_corrupt_and_names_its_object() {
        let cache: Cache<u32, u32> = Cache::default();
        let failure = cache.get(&Arc::new(1), "a", || Err(damaged("sandbox a"))).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Corrupt);
        assert!(failure.message.contains("sandbox a"));
    }

    #[test]
    fn a_container_keeps_its_request_without_the_sandbox_config() {
        let request = CreateContainerRequest {
            pod_sandbox_id: "s".into(),
            config: Some(crate::proto::ContainerConfig::default()),
            sandbox_config: Some(crate::proto::PodSandboxConfig::default()),
        };
        let annex = Annex::decode(of_container(request.clone()).as_slice()).unwrap();
        assert_eq!(annex.container, Some(CreateContainerRequest { sandbox_config: None, ..request }));
        assert_eq!(annex.sandbox, None);
    }
}
