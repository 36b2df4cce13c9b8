//! The store keeps every contract of the records port, on a real disk.
#![allow(clippy::unwrap_used, reason = "tests")]

use orlop_contract::records::RecordsGround;
use orlop_model::ports::Records;
use orlop_store::{Config, Store};
use tempfile::TempDir;

struct Ground {
    store: Store,
    folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: open(&folder), folder }
    }
}

fn open(folder: &TempDir) -> Store {
    let (boot_dir, node_dir) = (folder.path().join("boot"), folder.path().join("node"));
    Store::open(&Config { boot_dir, node_dir, boot_id: "one".to_owned() }).unwrap()
}

impl RecordsGround for Ground {
    fn records(&self) -> &dyn Records {
        &self.store
    }
    fn restart(&mut self) {
        self.store = open(&self.folder);
    }
}

macro_rules! ground {
    ($name:expr) => {{
        let _ = $name;
        Ground::new()
    }};
}

orlop_contract::records!([tokio::test], ground);
