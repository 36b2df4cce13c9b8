//! The store keeps every contract of the images port, with a real registry and the kernel's overlayfs.

use crate::bench::{Bench, tree};
use orlop_contract::images::ImagesGround;
use orlop_model::ports::Images;
use orlop_testkit::image_builder::ImageBuilder;
use serde_json::json;

/// A bench whose registry has two images; absent only while it is opened again.
struct Ground(Option<Bench>);

impl Ground {
    fn new() -> Self {
        let bench = Bench::new();
        for name in ["one", "two"] {
            let built = ImageBuilder::new().layer(&tree(&[("name", name)])).setting("User", json!(name)).build();
            built.push(&bench.registry, name, &["1"]).unwrap();
        }
        Self(Some(bench))
    }

    fn bench(&self) -> &Bench {
        self.0.as_ref().unwrap()
    }
}

impl ImagesGround for Ground {
    fn images(&self) -> &dyn Images {
        &self.bench().store
    }

    fn references(&self) -> [String; 2] {
        ["one:1", "two:1"].map(|name| self.bench().at(name))
    }

    fn absent(&self) -> String {
        self.bench().at("absent:1")
    }

    fn restart(&mut self) {
        self.0 = self.0.take().map(Bench::reopen);
    }
}

macro_rules! ground {
    ($name:expr) => {{
        let _ = $name;
        Ground::new()
    }};
}

orlop_contract::images!([tokio::test], ground);
