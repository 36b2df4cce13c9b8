//! What the kubelet says of all pods, asked again and again by one thread for all scenarios.

use super::config::READ_ONLY_PORT;
use super::state::{PodState, parse};
use orlop_testkit::Ground;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two questions: short beside what scenarios wait for, long beside what an answer costs.
const ASK_EVERY: Duration = Duration::from_millis(150);

/// One answer.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was asked for: what it tells is not older.
    pub asked: Instant,
    /// The pods by name.
    pub pods: BTreeMap<String, Arc<PodState>>,
}

/// The thread, and its latest answer.
pub struct View {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    latest: Mutex<Arc<Seen>>,
    ended: AtomicBool,
}

impl View {
    /// Begins to ask. While no kubelet answers the last answer stays.
    pub fn of(ground: Arc<Ground>) -> std::io::Result<Self> {
        let nothing = Seen { asked: Instant::now(), pods: BTreeMap::new() };
        let shared = Arc::new(Shared { latest: Mutex::new(Arc::new(nothing)), ended: AtomicBool::new(false) });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("view".to_owned()).spawn(move || own.look(&ground))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns the latest answer.
    pub fn latest(&self) -> Arc<Seen> {
        Arc::clone(&self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn look(&self, ground: &Ground) {
        while !self.ended.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let answer = ground.http_get(IpAddr::V4(Ipv4Addr::LOCALHOST), READ_ONLY_PORT, "/pods");
            if let Some(pods) = answer.ok().and_then(|(_, body)| parse(&body).ok()) {
                *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Seen { asked, pods });
            }
            // A pace, not a wait: scenarios wait for what is seen.
            std::thread::sleep(ASK_EVERY);
        }
    }
}
