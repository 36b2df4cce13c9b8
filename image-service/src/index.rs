//! All images, as they are looked up. Pure: a snapshot that never changes; a change makes the next one.

use crate::error::Error;
use crate::record::ImageRecord;
use orlop_model::image::{HeldName, Image};
use orlop_model::image_removal::NamedBy;
use orlop_model::reference::Reference;
use orlop_model::{Digest, ImageId, Namespace};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Fewest digits of an id that are looked up: fewer would sooner be a typing error than an intention.
const ID_DIGITS_MIN: usize = 4;

/// An image as answers show it, with its record.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) image: Image,
    pub(crate) record: ImageRecord,
}

/// The images of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    images: BTreeMap<ImageId, Arc<Known>>,
    names: HashMap<String, ImageId>,
}

// === impl Known ===

impl Known {
    /// Makes an image's answer of its record and what does not change about it.
    pub(crate) fn new(record: ImageRecord, image: Image) -> Self {
        let holders = |(name, owners): (&String, &BTreeSet<Namespace>)| {
            let held = |by: &Namespace| HeldName { name: name.clone(), by: by.clone() };
            owners.iter().map(held).collect::<Vec<_>>()
        };
        let image = Image {
            tags: record.tags.iter().cloned().collect(),
            digests: record.digests.iter().cloned().collect(),
            held: record.owners.iter().flat_map(holders).collect(),
            named_at: record.named_at,
            ..image
        };
        Self { image, record }
    }

    /// Returns the same image with the names of another record.
    pub(crate) fn renamed(&self, record: ImageRecord) -> Self {
        Self::new(record, self.image.clone())
    }
}

// === impl Index ===

impl Index {
    /// Returns the snapshot in which `known` is there, in place of an older version of itself.
    #[must_use]
    pub(crate) fn with(&self, known: Known) -> Self {
        let mut next = self.without(&known.record.id);
        for name in known.record.tags.iter().chain(&known.record.digests) {
            next.names.insert(name.clone(), known.record.id.clone());
        }
        next.images.insert(known.record.id.clone(), Arc::new(known));
        next
    }

    /// Returns the snapshot in which an image is gone.
    #[must_use]
    pub(crate) fn without(&self, id: &ImageId) -> Self {
        let mut next = self.clone();
        next.images.remove(id);
        next.names.retain(|_, named| named != id);
        next
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&Arc<Known>> {
        self.images.get(id)
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = &Arc<Known>> {
        self.images.values()
    }

    /// Returns the image that has a complete name now.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Known>> {
        self.names.get(name).and_then(|id| self.images.get(id))
    }

    /// Finds an image by what a person or the kubelet calls it: id, start of an id, tag, digest, short name. A name goes
    /// before the start of an id, a whole id before a name.
    pub(crate) fn find(&self, text: &str) -> Result<Option<&Arc<Known>>, Error> {
        Ok(self.find_by(text)?.map(|(known, _)| known))
    }

    /// The same, and says by what it was found.
    pub(crate) fn find_by(&self, text: &str) -> Result<Option<(&Arc<Known>, NamedBy)>, Error> {
        let by_digits = |digits| Ok(self.by_digits(text, digits)?.map(|known| (known, NamedBy::Id)));
        let marked = text.strip_prefix("sha256:");
        let digits = marked.unwrap_or(text);
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (marked.is_some() || digits.len() == 64) {
            return by_digits(digits);
        }
        let named = match Reference::parse(text) {
            Ok(reference) => self.named(&reference.to_string()).map(|known| (known, NamedBy::Name(reference))),
            Err(why) => {
                return Err(Error::Reference { text: text.chars().take(300).collect(), why });
            }
        };
        match named {
            Some(found) => Ok(Some(found)),
            None if is_hex => by_digits(digits),
            None => Ok(None),
        }
    }

    fn by_digits(&self, text: &str, digits: &str) -> Result<Option<&Arc<Known>>, Error> {
        if digits.len() < ID_DIGITS_MIN || digits.len() > 64 {
            return Ok(None);
        }
        let lowest = Digest::parse(&format!("sha256:{digits:0<64}")).expect("at most 64 hex digits, filled up to 64");
        let mut fitting =
            self.images.range(ImageId(lowest)..).take_while(|(id, _)| id.0.hex().starts_with(digits)).map(|(_, k)| k);
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous { text: text.to_owned() }),
            (found, _) => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Look;

    fn known(hex: &str, tags: &[&str], digests: &[&str]) -> Known {
        let id = ImageId(Digest::parse(&format!("sha256:{hex:0<64}")).unwrap());
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Known {
            image: Image { tags: text(tags), digests: text(digests), ..Image::new(id.clone()) },
            record: ImageRecord {
                id,
                generation: 1,
                tags: text(tags).into_iter().collect(),
                digests: text(digests).into_iter().collect(),
                owners: [].into(),
                named_at: None,
                documents: [].into(),
                layers: vec![],
                stack: vec![],
                root: Look { mode: 0o755, uid: 0, gid: 0 },
            },
        }
    }

    #[test]
    fn every_way_to_name_an_image_finds_it() {
        let digest = format!("sha256:{}", "d".repeat(64));
        let index = Index::default()
            .with(known("abcd1", &["docker.io/library/busybox:latest", "docker.io/library/busybox:1"], &[]))
            .with(known("abcd2", &["127.0.0.1:5000/a/b:c"], &[&format!("127.0.0.1:5000/a/b@{digest}")]))
            .with(known("abce", &["docker.io/library/abcd:latest", "docker.io/library/feed:latest"], &[]));
        let first = format!("{:0<64}", "abcd1");
        for (text, expected) in [
            ("busybox", Some("abcd1")),
            ("busybox:1", Some("abcd1")),
            ("docker.io/busybox", Some("abcd1")),
            ("docker.io/library/busybox:latest", Some("abcd1")),
            ("busybox:2", None),
            ("127.0.0.1:5000/a/b", None),
            ("127.0.0.1:5000/a/b:c", Some("abcd2")),
            (&format!("127.0.0.1:5000/a/b@{digest}"), Some("abcd2")),
            (&format!("127.0.0.1:5000/a/b:c@{digest}"), Some("abcd2")),
            (&format!("127.0.0.1:5000/other@{digest}"), None),
            (&first, Some("abcd1")),
            (&format!("sha256:{first}"), Some("abcd1")),
            (&"0".repeat(64), None),
            ("abcd1", Some("abcd1")),
            ("abcd100", Some("abcd1")),
            ("sha256:abcd2", Some("abcd2")),
            // A name goes before digits.
            ("abcd", Some("abce")),
            ("feed", Some("abce")),
            ("abc", None),
            ("sha256:abc", None),
        ] {
            let found = index.find(text).unwrap().map(|known| known.record.id.0.hex().trim_end_matches('0').to_owned());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(matches!(index.find("sha256:abcd"), Err(Error::Ambiguous { .. })));
        assert!(matches!(index.find(""), Err(Error::Reference { .. })));
        assert!(matches!(index.find("A b"), Err(Error::Reference { .. })));
    }

    #[test]
    fn removed_image_is_found_by_none_of_its_names() {
        let index =
            Index::default().with(known("abcd", &["docker.io/library/a:latest"], &[])).with(known("bcde", &[], &[]));
        let next = index.without(&index.find("a").unwrap().unwrap().record.id);
        assert!(next.find("a").unwrap().is_none() && next.find("abcd").unwrap().is_none());
        assert_eq!((next.images().count(), index.images().count()), (1, 2));
    }
}
