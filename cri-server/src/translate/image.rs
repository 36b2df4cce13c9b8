//! Images, as answers show them.

use super::{Refused, Result};
use crate::proto::{Image as Shown, ImageSpec, Int64Value};
use orlop_model::image::Image;

/// Longest reference: a name of 255 bytes, a tag of 128, a digest, and then some.
const REFERENCE_BYTES_MAX: usize = 1024;

/// Returns the reference that a request names.
pub(crate) fn reference<'a>(field: &str, spec: Option<&'a ImageSpec>) -> Result<&'a str> {
    let reference = spec.map_or("", |spec| spec.image.as_str());
    if reference.is_empty() {
        return Err(Refused::invalid(field, "is missing; give a name or an id"));
    }
    if reference.len() > REFERENCE_BYTES_MAX {
        let problem = format!("has {} bytes, at most {REFERENCE_BYTES_MAX} are allowed", reference.len());
        return Err(Refused::invalid(field, problem));
    }
    Ok(reference)
}

/// Returns an image as answers show it. A pinned one is left alone by the kubelet's garbage collection.
pub(crate) fn shown(image: &Image, pinned: bool) -> Shown {
    let (uid, username) = user(&image.config.user);
    Shown {
        id: image.id.to_string(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        size: image.bytes,
        uid,
        username,
        spec: None,
        pinned,
    }
}

/// Splits an image's user into a number or a name; the group is nobody's business here.
fn user(user: &str) -> (Option<Int64Value>, String) {
    let user = user.split(':').next().unwrap_or(user);
    match user.parse::<u32>() {
        Ok(uid) => (Some(Int64Value { value: uid.into() }), String::new()),
        Err(_) => (None, user.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    #[test]
    fn an_images_user_is_a_number_or_a_name() {
        for (text, uid, name) in [
            ("", None, ""),
            ("1002", Some(1002), ""),
            ("1003:1004", Some(1003), ""),
            ("www-data", None, "www-data"),
            ("www-data:1004", None, "www-data"),
            ("0", Some(0), ""),
        ] {
            assert_eq!(user(text), (uid.map(|value| Int64Value { value }), name.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_request_must_name_an_image() {
        check_refused(reference("image", None), InvalidArgument, &["image", "missing"]);
        check_refused(reference("image", Some(&ImageSpec::default())), InvalidArgument, &["missing"]);
        let long = ImageSpec { image: "x".repeat(2000), ..Default::default() };
        check_refused(reference("image", Some(&long)), InvalidArgument, &["2000 bytes"]);
    }
}
