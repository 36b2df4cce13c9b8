//! The environment of a container.

use crate::{Inputs, SpecError};
use orlop_plan::oci::EnvEntry;

/// What programs are looked up in when nobody says otherwise; that of every runtime.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a terminal is taken for when nobody says otherwise; that of every runtime.
const TERM_DEFAULT: &str = "xterm";

/// Names and values, each name once, in the order in which names first came.
#[derive(Default)]
struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

/// Returns the image's environment with the container's over it, and what every program expects to find.
pub(crate) fn environment(inputs: &Inputs<'_>, terminal: bool) -> Result<Vec<EnvEntry>, SpecError> {
    let mut all = Environment::default();
    if !inputs.sandbox.hostname.is_empty() {
        all.set(b"HOSTNAME", inputs.sandbox.hostname.as_bytes());
    }
    for entry in &inputs.image.env {
        if entry.contains('\0') {
            return Err(SpecError::image("environment", "an entry holds a NUL byte"));
        }
        // Without a value it would unset something, and there is nothing to unset.
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => all.set(name.as_bytes(), value.as_bytes()),
            Some(_) | None => {}
        }
    }
    for (name, value) in &inputs.container.process.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains(&0) {
            let shown: String = name.chars().take(100).collect();
            let why = format!("{shown:?} is empty, or it or its value holds '=' or NUL where it must not");
            return Err(SpecError::invalid("environment", why));
        }
        all.set(name.as_bytes(), value);
    }
    if terminal {
        all.set_if_missing(b"TERM", TERM_DEFAULT.as_bytes());
    }
    all.set_if_missing(b"PATH", PATH_DEFAULT.as_bytes());
    all.set_if_missing(b"HOME", inputs.user.home.as_bytes());
    Ok(all.0.into_iter().map(|(name, value)| EnvEntry([&name[..], b"=", &value[..]].concat())).collect())
}

impl Environment {
    fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn set_if_missing(&mut self, name: &[u8], value: &[u8]) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.set(name, value);
        }
    }
}
