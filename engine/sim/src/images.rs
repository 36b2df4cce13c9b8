//! Images in memory. A root file system is an empty folder's descriptor.

use crate::{Bug, Node, World};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::{FsUsage, Image, ImageConfig, PullRequest, Removed};
use orlop_model::ports::{Answer, Images, internal};
use orlop_model::usage::LayerUsage;
use orlop_model::{ContainerId, Digest, ImageId};
use std::os::fd::OwnedFd;

impl Images for World {
    fn pull<'a>(&'a self, request: &'a PullRequest) -> Answer<'a, Result<ImageId>> {
        Box::pin(async move {
            self.effect("pull").await?;
            let found = self.find(&request.reference).await?;
            let message = || format!("pull {}: a simulation has no registry", request.reference);
            found.map(|image| image.id).ok_or_else(|| Failure::new(ErrorKind::NotFound, message()))
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

    fn remove<'a>(&'a self, reference: &'a str) -> Answer<'a, Result<Removed>> {
        Box::pin(async move {
            self.effect("remove image").await?;
            let mut node = self.node();
            let Some(at) = node.position(reference) else { return Ok(Removed::default()) };
            let image = node.images.remove(at);
            let digests = image.digests.iter().filter_map(|name| Digest::parse(name.rsplit('@').next()?).ok());
            Ok(Removed { image: Some(image.id), digests: digests.collect() })
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

    fn rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<OwnedFd>> {
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

    /// Finds an image by one of its names, or by a part of its id that no other has.
    fn position(&self, reference: &str) -> Option<usize> {
        let named = |image: &Image| {
            image.id.to_string() == reference || image.tags.iter().chain(&image.digests).any(|name| name == reference)
        };
        let begins = |image: &Image| image.id.to_string().trim_start_matches("sha256:").starts_with(reference);
        let mut beginning = (0..self.images.len()).filter(|at| begins(&self.images[*at]));
        self.images.iter().position(named).or_else(|| beginning.next().filter(|_| beginning.next().is_none()))
    }
}
