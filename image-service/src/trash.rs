//! Frees what was moved to the trash, in the background and at a bounded rate.

use crate::disk::Disk;
use crate::record::{self, LayerRecord};
use orlop_sys::remove_tree::remove_tree;
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Entries removed between two pauses.
const ENTRIES_AT_ONCE: u32 = 256;

/// The pause: together at most some 25,000 entries a second, so that pods keep the disk's journal to themselves.
const PAUSE: Duration = Duration::from_millis(10);

/// The trash and the thread that empties it, which ends with it. What is left then is found at the next start.
pub(crate) struct Trash {
    disk: Arc<Disk>,
    held: Arc<Held>,
    sender: Mutex<Option<Sender<Item>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What lies in the trash.
#[derive(Default)]
struct Held {
    bytes: AtomicU64,
    inodes: AtomicU64,
    stop: AtomicBool,
}

struct Item {
    name: String,
    bytes: u64,
    inodes: u64,
}

// === impl Trash ===

impl Trash {
    /// Starts the thread and gives it what earlier runs left.
    pub(crate) fn open(disk: Arc<Disk>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let held = Arc::new(Held::default());
        let thread = {
            let (disk, held) = (Arc::clone(&disk), Arc::clone(&held));
            std::thread::Builder::new().name("orlop-trash".to_owned()).spawn(move || empty(&disk, &held, &receiver))?
        };
        let trash = Self { disk, held, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) };
        for entry in std::fs::read_dir(trash.disk.folder("trash"))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                trash.hand_over(name);
            }
        }
        Ok(trash)
    }

    /// Moves something here; quiet when it is not there.
    pub(crate) fn throw(&self, path: &Path) -> Result<(), crate::Error> {
        if let Some(name) = self.disk.discard(path)? {
            self.hand_over(name);
        }
        Ok(())
    }

    fn hand_over(&self, name: String) {
        let (bytes, inodes) = known_size(&self.disk.folder("trash").join(&name));
        self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held.inodes.fetch_add(inodes, Ordering::Relaxed);
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            // Fails only when the thread is gone, and then the next start finds the thing.
            let _ = sender.send(Item { name, bytes, inodes });
        }
    }

    /// Returns bytes and inodes of layers that are not freed yet.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.held.bytes.load(Ordering::Relaxed), self.held.inodes.load(Ordering::Relaxed))
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.held.stop.store(true, Ordering::Relaxed);
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that frees removed layers panicked");
        }
    }
}

/// A layer's record says what it takes. Other things are not images and were not counted before either.
fn known_size(path: &Path) -> (u64, u64) {
    let record = std::fs::read(path.join("layer")).ok();
    let record = record.and_then(|bytes| record::decode::<LayerRecord>(&bytes).ok());
    record.map_or((0, 0), |record| (record.bytes, record.inodes))
}

fn empty(disk: &Disk, held: &Held, receiver: &Receiver<Item>) {
    while let Ok(item) = receiver.recv() {
        match free(disk, held, &item.name) {
            Ok(()) => {
                held.bytes.fetch_sub(item.bytes, Ordering::Relaxed);
                held.inodes.fetch_sub(item.inodes, Ordering::Relaxed);
            }
            Err(error) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => return,
            Err(error) => {
                tracing::warn!(name = item.name, %error, "could not free something removed; next start tries again")
            }
        }
    }
}

fn free(disk: &Disk, held: &Held, name: &str) -> std::io::Result<()> {
    let folder = File::open(disk.folder("trash"))?;
    let name = CString::new(name)?;
    let mut count = 0;
    let mut paced = || {
        if held.stop.load(Ordering::Relaxed) {
            return Err(Errno::CANCELED);
        }
        count += 1;
        if count % ENTRIES_AT_ONCE == 0 {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    };
    remove_tree(folder.as_fd(), &name, folder.as_fd(), &mut paced).map_err(Into::into)
}
