//! Credentials of a pull, and the one host they are meant for.

use super::base64;
use super::{Refused, Result};
use crate::proto::AuthConfig;
use orlop_model::image::Credentials;

/// The host that names without one mean, and the others by which its credentials go.
const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_HOST_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Checks credentials for a pull of `reference`. Those meant for another host are left out, never sent.
pub(crate) fn credentials(asked: Option<&AuthConfig>, reference: &str) -> Result<Credentials> {
    let Some(asked) = asked else { return Ok(Credentials::Anonymous) };
    if !asked.server_address.is_empty() && host_of_server(&asked.server_address) != host_of(reference) {
        return Ok(Credentials::Anonymous);
    }
    // Tokens first: logins that leave one behind put a placeholder beside it as name and password.
    if !asked.registry_token.is_empty() {
        return Ok(Credentials::RegistryToken(asked.registry_token.clone()));
    }
    if !asked.identity_token.is_empty() {
        return Ok(Credentials::IdentityToken(asked.identity_token.clone()));
    }
    if !asked.username.is_empty() {
        return Ok(Credentials::Basic { username: asked.username.clone(), password: asked.password.clone() });
    }
    if !asked.auth.is_empty() {
        return of_base64(&asked.auth);
    }
    Ok(Credentials::Anonymous)
}

fn of_base64(auth: &str) -> Result<Credentials> {
    // What was given is not repeated: it is a secret.
    let refused = || Refused::invalid("auth.auth", "is not \"username:password\" in base64");
    let decoded = String::from_utf8(base64::decode(auth).ok_or_else(refused)?).map_err(|_| refused())?;
    let (username, password) = decoded.split_once(':').ok_or_else(refused)?;
    // Some clients fill the end with NULs.
    Ok(Credentials::Basic { username: username.to_owned(), password: password.trim_matches('\0').to_owned() })
}

/// Returns the registry of a reference: what stands before the first slash, when it looks like a host.
fn host_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => default_host(host),
        Some(_) | None => DEFAULT_HOST,
    }
}

/// Returns the host of a server's address, which may be a URL.
fn host_of_server(address: &str) -> &str {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    default_host(host.split('/').next().unwrap_or(host))
}

fn default_host(host: &str) -> &str {
    if DEFAULT_HOST_ALIASES.contains(&host) { DEFAULT_HOST } else { host }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.into(), password: password.into() }
    }

    fn password(server_address: &str) -> AuthConfig {
        AuthConfig {
            username: "u".into(),
            password: "p".into(),
            server_address: server_address.into(),
            ..Default::default()
        }
    }

    fn auth(auth: &str) -> AuthConfig {
        AuthConfig { auth: auth.into(), ..Default::default() }
    }

    #[test]
    fn credentials_come_in_several_forms() {
        for (asked, expected) in [
            (None, Credentials::Anonymous),
            (Some(AuthConfig::default()), Credentials::Anonymous),
            (Some(password("")), basic("u", "p")),
            (Some(auth("dTpwOnE=")), basic("u", "p:q")),
            (Some(auth("dTpwAAA=")), basic("u", "p")),
        ] {
            assert_eq!(credentials(asked.as_ref(), "a.io/b"), Ok(expected));
        }
    }

    #[test]
    fn credentials_go_only_to_the_host_they_are_meant_for() {
        for (address, reference, given) in [
            ("a.io", "a.io/b:1", true),
            ("https://a.io/v2/", "a.io/b", true),
            ("https://index.docker.io/v1/", "busybox", true),
            ("docker.io", "index.docker.io/library/busybox", true),
            ("localhost:5000", "localhost:5000/x", true),
            ("localhost:5000", "localhost:5001/x", false),
            ("evil.io", "a.io/b", false),
            ("a.io", "library/busybox", false),
        ] {
            let expected = if given { basic("u", "p") } else { Credentials::Anonymous };
            assert_eq!(credentials(Some(&password(address)), reference), Ok(expected), "{address} {reference}");
        }
    }

    #[test]
    fn what_can_not_be_used_is_refused_without_repeating_it() {
        for bad in ["c2VjcmV0", "secret!", "/////w=="] {
            let refused = credentials(Some(&auth(bad)), "b");
            assert!(!refused.clone().unwrap_err().to_string().contains("secret"));
            check_refused(refused, InvalidArgument, &["auth.auth", "base64"]);
        }
    }

    #[test]
    fn token_goes_before_the_name_beside_it_and_only_to_its_host() {
        let identity = AuthConfig { identity_token: "i".into(), ..password("a.io") };
        let registry = AuthConfig { registry_token: "r".into(), ..identity.clone() };
        let placeholder = AuthConfig { identity_token: "i".into(), ..auth("MDAwOg==") };
        for (asked, reference, expected) in [
            (&identity, "a.io/b", Credentials::IdentityToken("i".into())),
            (&registry, "a.io/b", Credentials::RegistryToken("r".into())),
            (&placeholder, "a.io/b", Credentials::IdentityToken("i".into())),
            (&identity, "evil.io/b", Credentials::Anonymous),
            (&registry, "evil.io/b", Credentials::Anonymous),
        ] {
            assert_eq!(credentials(Some(asked), reference), Ok(expected));
        }
    }
}
