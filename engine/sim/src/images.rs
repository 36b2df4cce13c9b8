//! Images in memory. A root file system is an empty folder's descriptor.

use crate::{Bug, World};
use orlop_model::error::{ErrorKind, Failure, Result};
use orlop_model::image::{FsUsage, Image, ImageConfig, PullRequest, Removed};
use orlop_model::ports::{Answer, Images, internal};
use orlop_model::{ContainerId, ImageId};
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
        let found = self.node().images.iter().find(|image| names(image, reference)).cloned();
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
            let at = node.images.iter().position(|image| names(image, reference));
            let image = at.map(|at| node.images.remove(at).id);
            Ok(Removed { image, digests: Vec::new() })
        })
    }

    fn usage(&self) -> Answer<'_, Result<FsUsage>> {
        let usage = FsUsage { mountpoint: "/".into(), bytes: 0, inodes: 0 };
        Box::pin(std::future::ready(Ok(usage)))
    }

    fn prepare<'a>(&'a self, container: &'a ContainerId, _image: &'a ImageId) -> Answer<'a, Result<()>> {
        Box::pin(async move {
            self.begins().await;
            {
                let mut node = self.node();
                node.makes_of_container("the writable layer", container);
                node.layers.insert(container.clone());
            }
            self.effect("prepare").await?;
            self.answers(()).await
        })
    }

    fn rootfs<'a>(&'a self, container: &'a ContainerId) -> Answer<'a, Result<OwnedFd>> {
        Box::pin(async move {
            self.effect("rootfs").await?;
            if !self.node().layers.contains(container) {
                return Err(internal(format!("container {container} has no writable layer")));
            }
            let root = std::fs::File::open("/").map_err(|wrong| internal(wrong.to_string()))?;
            Ok(root.into())
        })
    }

    fn config_of<'a>(&'a self, _container: &'a ContainerId) -> Answer<'a, Result<ImageConfig>> {
        Box::pin(std::future::ready(Ok(ImageConfig::default())))
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
        let layers = self.node().layers.iter().cloned().collect();
        Box::pin(std::future::ready(Ok(layers)))
    }
}

fn names(image: &Image, reference: &str) -> bool {
    image.id.to_string() == reference || image.tags.iter().chain(&image.digests).any(|name| name == reference)
}
