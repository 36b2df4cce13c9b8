//! Which names of an image a removal takes, and whether the image goes with them. Pure.
//!
//! Two rules: the CRI's takes an image with all its names, unless someone else holds it; Docker's takes one name, and the
//! image when nothing else is left of it. The words of Docker's refusals are those its users and their scripts know.

use crate::error::{ErrorKind, Failure, Result};
use crate::id::{ContainerId, Digest, ImageId, Namespace};
use crate::image::Image;
use crate::reference::{Reference, Version};
use std::collections::BTreeSet;

/// Digits of an id that messages show.
const SHOWN_DIGITS: usize = 12;

/// A removal as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// A name or an id, as the caller wrote it.
    pub reference: String,
    /// Who asks.
    pub by: Namespace,
    /// What goes.
    pub rule: RemovalRule,
    /// Containers of the node, of whichever images.
    pub users: Vec<ImageUser>,
}

/// What a removal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalRule {
    /// The image with all its names, unless others hold it.
    Whole,
    /// The name, and the image with its last name; unless that would take what is in use.
    Named,
    /// The same, but only a running container can keep the image.
    NamedByForce,
}

/// A container, and the image it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUser {
    /// The image.
    pub image: ImageId,
    /// The container.
    pub container: ContainerId,
    /// Whose it is.
    pub namespace: Namespace,
    /// Whether a process of it runs.
    pub running: bool,
}

/// How a removal names its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// By its id or the start of that.
    Id,
    /// By this complete name.
    Name(Reference),
}

/// What a removal comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Names that go, in the order in which that is told.
    pub untag: Vec<String>,
    /// What becomes of the image.
    pub image: Fate,
}

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, under the names that are left or under none.
    Stays,
    /// It goes.
    Goes,
}

/// Decides what a removal takes.
///
/// # Errors
/// `WrongState` when something holds the image.
pub fn decide(image: &Image, named_by: &NamedBy, removal: &Removal) -> Result<Decision> {
    let case = Case { image, names: names(image), removal };
    match (removal.rule, named_by) {
        (RemovalRule::Whole, _) => case.whole(),
        (RemovalRule::Named | RemovalRule::NamedByForce, NamedBy::Id) => case.by_id(),
        (RemovalRule::Named | RemovalRule::NamedByForce, NamedBy::Name(name)) => case.by_name(name),
    }
}

/// An image, all its names, and what is to become of it.
struct Case<'a> {
    image: &'a Image,
    names: Vec<Reference>,
    removal: &'a Removal,
}

// === impl Case ===

impl Case<'_> {
    fn whole(&self) -> Result<Decision> {
        let others = self.image.held.iter().find(|held| held.by != self.removal.by);
        if let Some(held) = others {
            let (by, name) = (&held.by.0, &held.name);
            return Err(refusal(format!("image {} is held by {by} as {name}; remove it there first", self.image.id)));
        }
        let users = self.removal.users.iter().filter(|user| user.image == self.image.id);
        if let Some(user) = users.clone().find(|user| user.namespace != self.removal.by) {
            let (by, id) = (&user.namespace.0, &user.container);
            let message = format!(
                "image {} is held by {by}: its container {id} was made from it; remove that first",
                self.image.id
            );
            return Err(refusal(message));
        }
        Ok(self.all())
    }

    fn by_name(&self, name: &Reference) -> Result<Decision> {
        if let Some(user) = self.users().next().filter(|_| !self.by_force() && self.is_one_name()) {
            return Err(refusal(format!(
                "conflict: unable to remove repository reference {:?} (must force) - container {} is using its referenced image {}",
                self.removal.reference,
                short(user.container.as_str()),
                short(self.image.id.0.hex())
            )));
        }
        let mut untag = vec![name.clone()];
        let left = |untag: &[Reference]| self.names.iter().filter(|name| !untag.contains(name)).cloned().collect();
        let mut rest: Vec<Reference> = left(&untag);
        // Digests of a repository say where its tags came from: they go with its last tag.
        let is_tagged = |other: &Reference| is_tag(other) && other.name() == name.name();
        if is_tag(name) && !rest.iter().any(is_tagged) {
            untag.extend(rest.into_iter().filter(|other| other.name() == name.name()));
            rest = left(&untag);
        }
        // A running container keeps the image, which is then without a name; without force nothing uses it here.
        let kept = !rest.is_empty() || self.users().any(|user| user.running || !self.by_force());
        let image = if kept { Fate::Stays } else { Fate::Goes };
        Ok(Decision { untag: untag.iter().map(ToString::to_string).collect(), image })
    }

    fn by_id(&self) -> Result<Decision> {
        if let Some(user) = self.users().find(|user| user.running) {
            let why = format!("image is being used by running container {}", short(user.container.as_str()));
            return Err(self.conflict("cannot be forced", &why));
        }
        if self.by_force() {
            return Ok(self.all());
        }
        if !self.is_one_name() {
            return Err(self.conflict("must be forced", "image is referenced in multiple repositories"));
        }
        if let Some(user) = self.users().next() {
            let why = format!("image is being used by stopped container {}", short(user.container.as_str()));
            return Err(self.conflict("must be forced", &why));
        }
        Ok(self.all())
    }

    fn all(&self) -> Decision {
        Decision { untag: self.names.iter().map(ToString::to_string).collect(), image: Fate::Goes }
    }

    fn by_force(&self) -> bool {
        match self.removal.rule {
            RemovalRule::NamedByForce => true,
            RemovalRule::Whole | RemovalRule::Named => false,
        }
    }

    fn users(&self) -> impl Iterator<Item = &ImageUser> {
        self.removal.users.iter().filter(|user| user.image == self.image.id)
    }

    /// At most one tag, and digests only of its repository: to a person that is one name.
    fn is_one_name(&self) -> bool {
        let tags = self.names.iter().filter(|name| is_tag(name)).count();
        let repositories: BTreeSet<String> = self.names.iter().map(Reference::name).collect();
        self.names.len() <= 1 || (tags <= 1 && repositories.len() == 1)
    }

    fn conflict(&self, force: &str, why: &str) -> Failure {
        refusal(format!("conflict: unable to delete {} ({force}) - {why}", short(self.image.id.0.hex())))
    }
}

/// All names of an image, tags first.
fn names(image: &Image) -> Vec<Reference> {
    image.tags.iter().chain(&image.digests).filter_map(|name| Reference::parse(name).ok()).collect()
}

fn is_tag(name: &Reference) -> bool {
    match name.version() {
        Version::Tag(_) => true,
        Version::Digest(_) => false,
    }
}

fn short(hex: &str) -> &str {
    hex.get(..SHOWN_DIGITS).unwrap_or(hex)
}

fn refusal(message: String) -> Failure {
    Failure::new(ErrorKind::WrongState, message)
}

/// What a removal took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that went, complete, in the order in which they did.
    pub untagged: Vec<String>,
    /// The image, when it went; `None` with no name in `untagged` says that there was nothing.
    pub image: Option<ImageId>,
    /// Chain ids of the layers that went with it, the top one first.
    pub layers: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::HeldName;

    fn digest(digit: char) -> Digest {
        Digest::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    fn image(tags: &[&str], digests: &[&str]) -> Image {
        let complete = |name: &&str| Reference::parse(name).unwrap().to_string();
        let at = |name: &&str| Reference::parse(&format!("{name}@{}", digest('d'))).unwrap().to_string();
        let mut image = Image::new(ImageId(digest('a')));
        image.tags = tags.iter().map(complete).collect();
        image.digests = digests.iter().map(at).collect();
        image
    }

    fn user(namespace: &str, running: bool) -> ImageUser {
        ImageUser {
            image: ImageId(digest('a')),
            container: ContainerId::parse(&"c".repeat(64)).unwrap(),
            namespace: Namespace(namespace.to_owned()),
            running,
        }
    }

    fn ask(
        image: &Image,
        reference: &str,
        rule: RemovalRule,
        users: &[ImageUser],
    ) -> Result<(Vec<String>, Fate), String> {
        let named_by = Reference::parse(reference).map_or(NamedBy::Id, NamedBy::Name);
        let by = Namespace("own".to_owned());
        let removal = Removal { reference: reference.to_owned(), by, rule, users: users.to_vec() };
        let decision = decide(image, &named_by, &removal).map_err(|failure| failure.message)?;
        let familiar = |name: &String| Reference::parse(name).unwrap().familiar_name();
        Ok((decision.untag.iter().map(familiar).collect(), decision.image))
    }

    fn id() -> String {
        "a".repeat(64)
    }

    #[test]
    fn last_tag_of_a_repository_takes_its_digest_and_the_last_name_the_image() {
        use {Fate::*, RemovalRule::*};
        for (image, reference, expected) in [
            (image(&["x:1"], &["x"]), "x:1", (vec!["x", "x"], Goes)),
            (image(&["x:1", "x:2"], &["x"]), "x:1", (vec!["x"], Stays)),
            (image(&["x:1", "y:1"], &["x"]), "x:1", (vec!["x", "x"], Stays)),
            (image(&["x:1", "y:1"], &["x"]), "y:1", (vec!["y"], Stays)),
            (image(&["x:1"], &["x", "y"]), "x:1", (vec!["x", "x"], Stays)),
            (image(&["x:1"], &[]), "x:1", (vec!["x"], Goes)),
            (image(&["x:1"], &["x"]), &format!("x@{}", digest('d')), (vec!["x"], Stays)),
            (image(&["x:1"], &["x"]), &id(), (vec!["x", "x"], Goes)),
            (image(&[], &[]), &id(), (vec![], Goes)),
        ] {
            let (names, fate) = ask(&image, reference, Named, &[]).unwrap();
            assert_eq!((names.iter().map(String::as_str).collect(), fate), expected, "{image:?} {reference}");
        }
    }

    #[test]
    fn what_is_in_use_is_refused_in_dockers_words() {
        use RemovalRule::{Named, NamedByForce};
        let (running, stopped) = (user("own", true), user("own", false));
        let (one, two) = (image(&["x:1"], &["x"]), image(&["x:1", "y:1"], &["x"]));
        let short = ("aaaaaaaaaaaa", "cccccccccccc");
        let delete = format!("conflict: unable to delete {}", short.0);
        let by_running = format!("{delete} (cannot be forced) - image is being used by running container {}", short.1);
        for (image, reference, rule, user, expected) in [
            (
                &one,
                "x:1",
                Named,
                Some(&stopped),
                format!(
                    "conflict: unable to remove repository reference \"x:1\" (must force) - container {} is using its referenced image {}",
                    short.1, short.0
                ),
            ),
            (&one, &id(), Named, Some(&running), by_running.clone()),
            (&one, &id(), NamedByForce, Some(&running), by_running),
            (
                &one,
                &id(),
                Named,
                Some(&stopped),
                format!("{delete} (must be forced) - image is being used by stopped container {}", short.1),
            ),
            (
                &two,
                &id(),
                Named,
                None,
                format!("{delete} (must be forced) - image is referenced in multiple repositories"),
            ),
        ] {
            let users: Vec<_> = user.into_iter().cloned().collect();
            assert_eq!(ask(image, reference, rule, &users), Err(expected));
        }
    }

    #[test]
    fn force_takes_the_name_and_leaves_the_image_to_what_runs() {
        use {Fate::*, RemovalRule::*};
        let one = image(&["x:1"], &["x"]);
        let fate = |image, reference: &str, rule, user| ask(image, reference, rule, &[user]).unwrap().1;
        assert_eq!(fate(&one, "x:1", NamedByForce, user("own", true)), Stays);
        assert_eq!(fate(&one, "x:1", NamedByForce, user("own", false)), Goes);
        assert_eq!(fate(&one, &id(), NamedByForce, user("own", false)), Goes);
        // Another name is left, so nothing is taken from who uses it.
        assert_eq!(fate(&image(&["x:1", "y:1"], &["x"]), "x:1", Named, user("own", true)), Stays);
    }

    #[test]
    fn whole_removal_is_refused_naming_who_else_holds_the_image() {
        let mut image = image(&["x:1", "y:1"], &["x"]);
        let held = |by: &str| HeldName { name: "docker.io/library/x:1".to_owned(), by: Namespace(by.to_owned()) };
        image.held = vec![held("own")];
        let whole = |image: &Image, users: &[ImageUser]| ask(image, "y:1", RemovalRule::Whole, users);
        assert_eq!(
            whole(&image, &[user("own", true)]).unwrap(),
            (vec!["x".into(), "y".into(), "x".into()], Fate::Goes)
        );
        let by_container = whole(&image, &[user("docker", false)]).unwrap_err();
        assert!(by_container.contains("held by docker: its container cccc"), "{by_container}");
        image.held.push(held("docker"));
        let by_name = whole(&image, &[]).unwrap_err();
        assert!(by_name.contains("is held by docker as docker.io/library/x:1"), "{by_name}");
    }
}
