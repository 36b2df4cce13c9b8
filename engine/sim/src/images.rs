//! Images in memory. A root file system is an empty folder's descriptor.

use crate::{Bug, Node, World};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::{FsUsage, HeldName, Image, ImageConfig};
use orlop_model::image_removal::{self, Fate, NamedBy, Removal, Removed};
use orlop_model::ports::{Answer, Images, PullListener, internal};
use orlop_model::pull::{Fresh, LayerProgress, LayerStage, PullProgress, PullRequest, Pulled};
use orlop_model::reference::{Reference, Version};
use orlop_model::sandbox::IdMapping;
use orlop_model::usage::LayerUsage;
use orlop_model::{ContainerId, ImageId, Namespace};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

impl Images for World {
    fn pull<'a>(&'a self, request: &'a PullRequest, listener: &'a dyn PullListener) -> Answer<'a, Result<Pulled>> {
        Box::pin(async move {
            self.effect("pull").await?;
            let message = || format!("pull {}: a simulation has no registry", request.reference);
            let mut node = self.node();
            let at = node.position(&request.reference);
            let at = at.ok_or_else(|| Failure::new(ErrorKind::NotFound, message()))?;
            let image = node.images[at].clone();
            for name in image.digests.iter().chain(image.tags.iter().filter(|tag| **tag == request.reference)) {
                node.give_name(&image.id, name, &request.owner);
            }
            drop(node);
            let digest = image.id.0.clone();
            let layer = LayerProgress { blob: digest.clone(), stage: LayerStage::Present };
            listener.hear(&PullProgress { layers: vec![layer] });
            Ok(Pulled { image: image.id, digest, fresh: Fresh::No })
        })
    }

    fn tag<'a>(&'a self, image: &'a str, name: &'a str, owner: &'a Namespace) -> Answer<'a, Result<ImageId>> {
        Box::pin(async move {
            self.effect("tag").await?;
            let bad = |why: String| Failure::new(ErrorKind::InvalidArgument, why);
            let reference = Reference::parse(name).map_err(|why| bad(why.to_string()))?;
            match reference.version() {
                Version::Tag(_) => {}
                Version::Digest(_) => return Err(bad("a tag can't be a digest".to_owned())),
            }
            let mut node = self.node();
            let missing = || Failure::new(ErrorKind::NotFound, format!("image {image} is not in the store"));
            let id = node.position(image).map(|at| node.images[at].id.clone()).ok_or_else(missing)?;
            node.give_name(&id, &reference.to_string(), owner);
            Ok(id)
        })
    }

    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Result<Option<Image>>> {
        let node = self.node();
        let found = node.position(reference).map(|at| node.images[at].clone());
        drop(node);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn list(&self) -> Answer<'_, Result<Vec<Image>>> {
        let images = self.node().images.clone();
        Box::pin(std::future::ready(Ok(images)))
    }

    fn remove<'a>(&'a self, removal: &'a Removal) -> Answer<'a, Result<Removed>> {
        Box::pin(async move {
            self.effect("remove image").await?;
            let mut node = self.node();
            let Some(at) = node.position(&removal.reference) else { return Ok(Removed::default()) };
            let image = &mut node.images[at];
            let named = Reference::parse(&removal.reference).ok().filter(|name| has(image, &name.to_string()));
            let decision = image_removal::decide(image, &named.map_or(NamedBy::Id, NamedBy::Name), removal)?;
            for name in &decision.untag {
                take_name(image, name);
            }
            let image = match decision.image {
                Fate::Stays => None,
                Fate::Goes => Some(node.images.remove(at).id),
            };
            Ok(Removed { untagged: decision.untag, image, layers: Vec::new() })
        })
    }

    fn usage(&self) -> Answer<'_, Result<FsUsage>> {
        let usage = FsUsage { mountpoint: "/".into(), bytes: 0, inodes: 0 };
        Box::pin(std::future::ready(Ok(usage)))
    }

    fn prepare<'a>(&'a self, container: &'a ContainerId, image: &'a ImageId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.begins().await;
            {
                let mut node = self.node();
                node.makes_of_container("the writable layer", container);
                node.make_layer(container, image)?;
            }
            self.effect("prepare").await?;
            self.answers(()).await
        })
    }

    fn rootfs<'a>(&'a self, container: &'a ContainerId, _ids: Option<IdMapping>) -> Answer<'a, Result<OwnedFd>> {
        Box::pin(async move {
            self.effect("rootfs").await?;
            self.layer_of(container)?;
            let root = std::fs::File::open("/").map_err(|wrong| internal(wrong.to_string()))?;
            Ok(root.into())
        })
    }

    fn config_of<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<ImageConfig>> {
        Box::pin(std::future::ready(self.layer_of(container)))
    }

    fn layer_usage<'a>(&'a self, containers: &'a [ContainerId]) -> Answer<'a, Result<Vec<Option<LayerUsage>>>> {
        let usage = LayerUsage { at: World::now(self), mountpoint: "/".into(), bytes: 0, inodes: 1 };
        let node = self.node();
        let all = containers.iter().map(|id| node.layers.contains_key(id).then(|| usage.clone())).collect();
        Box::pin(std::future::ready(Ok(all)))
    }

    fn drop_rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.effect("drop rootfs").await?;
            {
                let mut node = self.node();
                let kept = node.has(Bug::UndoDropped) && node.undoes_creation(container);
                if !kept {
                    node.layers.remove(container);
                }
            }
            self.answers(()).await
        })
    }

    fn leftovers(&self) -> Answer<'_, Result<Vec<ContainerId>>> {
        let layers = self.node().layers.keys().cloned().collect();
        Box::pin(std::future::ready(Ok(layers)))
    }
}

impl World {
    /// Returns the settings that a container was made with.
    fn layer_of(&self, container: &ContainerId) -> Result<ImageConfig> {
        let missing = || Failure::new(ErrorKind::NotFound, format!("container {container} has no writable layer"));
        self.node().layers.get(container).map(|(_, config)| config.clone()).ok_or_else(missing)
    }
}

impl Node {
    fn make_layer(&mut self, container: &ContainerId, image: &ImageId) -> Result<()> {
        if let Some((there, _)) = self.layers.get(container) {
            let message = format!("container {container} has a writable layer on image {there}, not on {image}");
            return if there == image { Ok(()) } else { Err(Failure::new(ErrorKind::AlreadyExists, message)) };
        }
        let missing = || Failure::new(ErrorKind::NotFound, format!("image {image} is not in the store"));
        let found = self.images.iter().find(|known| known.id == *image).ok_or_else(missing)?;
        self.layers.insert(container.clone(), (image.clone(), found.config.clone()));
        Ok(())
    }

    /// Gives an image a name that `owner` and its former holders hold.
    fn give_name(&mut self, id: &ImageId, name: &str, owner: &Namespace) {
        let mut holders = BTreeSet::from([owner.clone()]);
        for image in self.images.iter_mut().filter(|image| has(image, name)) {
            holders.extend(take_name(image, name));
        }
        let Some(image) = self.images.iter_mut().find(|image| image.id == *id) else { return };
        let names = if name.contains('@') { &mut image.digests } else { &mut image.tags };
        names.push(name.to_owned());
        names.sort();
        image.held.extend(holders.into_iter().map(|by| HeldName { name: name.to_owned(), by }));
        image.held.sort();
    }

    /// Finds an image by one of its names, or by a part of its id that no other has.
    fn position(&self, reference: &str) -> Option<usize> {
        let complete = Reference::parse(reference).map(|name| name.to_string()).unwrap_or_default();
        let named = |image: &Image| image.id.to_string() == reference || has(image, reference) || has(image, &complete);
        let begins = |image: &Image| image.id.to_string().trim_start_matches("sha256:").starts_with(reference);
        let mut beginning = (0..self.images.len()).filter(|at| begins(&self.images[*at]));
        self.images.iter().position(named).or_else(|| beginning.next().filter(|_| beginning.next().is_none()))
    }
}

fn has(image: &Image, name: &str) -> bool {
    image.tags.iter().chain(&image.digests).any(|there| there == name)
}

/// Takes a name from an image and returns who held it.
fn take_name(image: &mut Image, name: &str) -> Vec<Namespace> {
    image.tags.retain(|there| there != name);
    image.digests.retain(|there| there != name);
    let holders = image.held.iter().filter(|held| held.name == name).map(|held| held.by.clone()).collect();
    image.held.retain(|held| held.name != name);
    holders
}
