//! Names of images: given by pulls and tags, taken by others of the same name and by removals.

use crate::error::Error;
use crate::index::Known;
use crate::record::{self, ImageRecord};
use crate::store::Shared;
use orlop_model::effect::ImageEffect as Part;
use orlop_model::image_removal::{self, Decision, Fate, Removal, Removed};
use orlop_model::reference::{Reference, Version};
use orlop_model::{Digest, ImageId, Namespace, Timestamp};
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

// === impl Shared ===

impl Shared {
    /// Keeps others from writing image records.
    pub(crate) fn records(&self) -> MutexGuard<'_, ()> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an image one more name.
    pub(crate) fn tag(&self, text: &str, name: &str, owner: &Namespace) -> Result<ImageId, Error> {
        let name = tag_name(name)?;
        let _one_at_a_time = self.records();
        let missing = || Error::Missing { what: format!("image {text} is not in the store; pull it first") };
        let known = self.index().find(text)?.cloned().ok_or_else(missing)?;
        self.around_blocking(Part::Commit, || {
            self.give_names(std::slice::from_ref(&name), owner, known.record.clone(), |record| known.renamed(record))
        })?;
        tracing::info!(image = %known.record.id, %name, by = owner.0, "image tagged");
        Ok(known.record.id.clone())
    }

    /// Writes an image's record with these names in it, held by `owner` and by those who held them with another image,
    /// which loses them. Callers hold [`Shared::records`].
    pub(crate) fn give_names(
        &self,
        names: &[Reference],
        owner: &Namespace,
        mut record: ImageRecord,
        known: impl FnOnce(ImageRecord) -> Known,
    ) -> Result<(), Error> {
        let before = self.index();
        let mut losers = Vec::new();
        for reference in names {
            let name = reference.to_string();
            let other = before.named(&name).filter(|other| other.record.id != record.id);
            let mut owners = BTreeSet::from([owner.clone()]);
            if let Some(other) = other {
                let mut poorer = other.record.clone();
                owners.extend(poorer.take_name(&name));
                losers.push(other.renamed(poorer));
            }
            match reference.version() {
                Version::Tag(_) => record.tags.insert(name.clone()),
                Version::Digest(_) => record.digests.insert(name.clone()),
            };
            record.owners.entry(name).or_default().extend(owners);
        }
        if before.get(&record.id).is_some_and(|there| there.record == record) {
            return Ok(());
        }
        record.generation = 1 + before.images().map(|known| known.record.generation).max().unwrap_or_default();
        record.named_at = Some(now());
        self.write_record(&record)?;
        let mut next = before.with(known(record));
        for loser in losers {
            // Second, so that the name is never lost: between the two, the later generation has it.
            self.write_record(&loser.record)?;
            next = next.with(loser);
        }
        self.publish(next);
        Ok(())
    }

    fn write_record(&self, record: &ImageRecord) -> Result<(), Error> {
        self.disk.write_flushed(&self.disk.image(&record.id), &record::encode(record))
    }

    /// Takes names from an image, and the image with them when that is decided; quiet when it is not there.
    pub(crate) fn remove(&self, removal: &Removal) -> Result<Removed, Error> {
        let _one_at_a_time = self.records();
        let before = self.index();
        let Some((known, named_by)) = before.find_by(&removal.reference)? else { return Ok(Removed::default()) };
        let decision = image_removal::decide(&known.image, &named_by, removal).map_err(Error::Held)?;
        let known = Arc::clone(known);
        self.around_blocking(Part::Unrecord, || match decision.image {
            Fate::Stays => self.take_names(&known, &decision),
            Fate::Goes => {
                self.disk.remove_flushed(&self.disk.image(&known.record.id))?;
                self.publish(before.without(&known.record.id));
                Ok(())
            }
        })?;
        let (image, asked) = (&known.record.id, &removal.reference);
        let mut removed = Removed { untagged: decision.untag, image: None, layers: Vec::new() };
        match decision.image {
            Fate::Stays => tracing::info!(%image, asked, by = removal.by.0, "name of an image removed"),
            Fate::Goes => {
                removed.layers = self.discard(&known.record)?;
                removed.image = Some(image.clone());
                tracing::info!(%image, asked, by = removal.by.0, "image removed");
            }
        }
        Ok(removed)
    }

    fn take_names(&self, known: &Known, decision: &Decision) -> Result<(), Error> {
        let mut record = known.record.clone();
        for name in &decision.untag {
            record.take_name(name);
        }
        record.named_at = Some(now());
        self.write_record(&record)?;
        self.publish(self.index().with(known.renamed(record)));
        Ok(())
    }

    /// Moves what only this image needed away. Returns the chain ids of layers that went, the top one first.
    fn discard(&self, record: &ImageRecord) -> Result<Vec<Digest>, Error> {
        let parts: Vec<_> = record.stack.iter().chain(&record.documents).chain([&record.id.0]).cloned().collect();
        self.around_blocking(Part::Discard, || {
            self.collect(&mut self.ledger(), &parts);
            Ok(())
        })?;
        let ledger = self.ledger();
        let chains = chain_ids(&record.layers);
        let gone = record.layers.iter().zip(chains).filter(|(layer, _)| !ledger.layers.contains_key(*layer));
        let mut gone: Vec<Digest> = gone.map(|(_, chain)| chain).collect();
        gone.reverse();
        Ok(gone)
    }
}

/// Parses what is to be a tag.
fn tag_name(text: &str) -> Result<Reference, Error> {
    let refused = |why| Error::Reference { text: text.chars().take(300).collect(), why };
    let name = Reference::parse(text).map_err(refused)?;
    match name.version() {
        Version::Tag(_) => Ok(name),
        Version::Digest(_) => Err(Error::TagIsDigest),
    }
}

/// Names each stack of layers, the lowest alone first. image-spec, config.md "Layer ChainID".
fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => diff_id.clone(),
            Some(below) => crate::remote::digest_of(format!("{below} {diff_id}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_image_spec() {
        let layer = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
        let chains = chain_ids(&[layer("a"), layer("b")]);
        let text = format!("{} {}", layer("a"), layer("b"));
        assert_eq!(chains, [layer("a"), crate::remote::digest_of(text.as_bytes())]);
    }

    #[test]
    fn tag_must_be_a_name_and_no_digest() {
        assert_eq!(tag_name("a").unwrap().to_string(), "docker.io/library/a:latest");
        let digest = format!("a@sha256:{}", "a".repeat(64));
        assert_eq!(tag_name(&digest).unwrap_err().to_string(), "refusing to create a tag with a digest reference");
        assert!(matches!(tag_name("A"), Err(Error::Reference { .. })));
    }
}
