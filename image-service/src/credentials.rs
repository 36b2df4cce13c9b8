//! Who pulls, in the forms that this store needs without passing the secret on.

use orlop_model::image::Credentials;
use sha2::{Digest as _, Sha256};

/// What is left of credentials in keys of maps: the same for the same, and nothing to be learnt from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

/// Returns the fingerprint.
pub(crate) fn fingerprint(credentials: &Credentials) -> Fingerprint {
    let mut hash = Sha256::new();
    match credentials {
        Credentials::Anonymous => hash.update([0]),
        Credentials::Basic { username, password } => {
            hash.update([1]);
            hash.update(username.len().to_le_bytes());
            hash.update(username);
            hash.update(password);
        }
        Credentials::IdentityToken(token) => {
            hash.update([2]);
            hash.update(token);
        }
        Credentials::RegistryToken(token) => {
            hash.update([3]);
            hash.update(token);
        }
    }
    Fingerprint(hash.finalize().into())
}

/// Returns what must not be repeated, if there is anything.
pub(crate) fn secret(credentials: &Credentials) -> Option<&str> {
    let secret = match credentials {
        Credentials::Anonymous => return None,
        Credentials::Basic { password, .. } => password,
        Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => token,
    };
    (!secret.is_empty()).then_some(secret)
}

/// Returns what to call them in a sentence.
pub(crate) fn name(credentials: &Credentials) -> &'static str {
    match credentials {
        Credentials::Anonymous => "a caller without credentials",
        Credentials::Basic { .. } => "the name and password given",
        Credentials::IdentityToken(_) => "the identity token given",
        Credentials::RegistryToken(_) => "the registry token given",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_credentials_are_never_taken_for_each_other() {
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        let all = [
            Credentials::Anonymous,
            basic("a", "bc"),
            basic("ab", "c"),
            basic("", "abc"),
            Credentials::IdentityToken("abc".to_owned()),
            Credentials::RegistryToken("abc".to_owned()),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().map(fingerprint).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
