//! Which servers are asked for a registry's images: `certs.d/<host>/hosts.toml`.
//!
//! The file has containerd's form, as far as it is supported here; a key that is not is refused by name, since a setting
//! that is silently left out can be a security setting. It is read at every pull, so a change needs no restart.

use crate::error::Error;
use orlop_model::reference::Reference;
use reqwest::Url;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Largest configuration or certificate file; a bundle with every public root has 250 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where Docker's registry really answers.
const DOCKER_SERVER: &str = "https://registry-1.docker.io";

/// One server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host, port and path before `/v2/`.
    pub(crate) url: Url,
    /// What it is to the registry.
    pub(crate) role: Role,
    /// May say what a tag points at.
    pub(crate) resolves: bool,
    /// May serve bytes that are asked for by digest.
    pub(crate) serves: bool,
    /// Certificates (PEM) trusted beside the system's.
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// What a server is to the registry that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Someone else's copy. Told which registry is meant (`?ns=`); never given the caller's credentials.
    Mirror,
    /// The registry itself.
    Registry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    capabilities: Option<Vec<Capability>>,
    #[serde(default)]
    ca: Paths,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Host>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    capabilities: Option<Vec<Capability>>,
    #[serde(default)]
    ca: Paths,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Capability {
    Pull,
    Resolve,
    /// Common in files shared with other programs. Nothing is ever pushed here, so it means nothing.
    Push,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Paths {
    #[default]
    None,
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// Returns the servers to ask for `reference`, in order, the registry itself last.
pub(crate) fn endpoints(certs_dir: Option<&Path>, reference: &Reference) -> Result<Vec<Endpoint>, Error> {
    let host = reference.host();
    let named = host.replace(':', "_") + "_";
    for folder in [host, if host.contains(':') { &named } else { host }, "_default"] {
        let Some(path) = certs_dir.map(|certs| certs.join(folder).join("hosts.toml")) else { break };
        if let Some(text) = read(&path)? {
            let text = String::from_utf8(text).map_err(|_| bad(&path, "it is not UTF-8 text"))?;
            return parse(&path, &text, host);
        }
    }
    Ok(vec![registry_itself(host)])
}

fn parse(path: &Path, text: &str, host: &str) -> Result<Vec<Endpoint>, Error> {
    let file: File = toml::from_str(text).map_err(|error| bad(path, &error.to_string().trim().replace('\n', " ")))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut hosts: Vec<_> = file.host.into_iter().collect();
    hosts.sort_by_key(|(url, _)| url.span().start);
    let mut endpoints = Vec::with_capacity(hosts.len() + 1);
    for (url, settings) in hosts {
        endpoints.push(Endpoint {
            url: server_url(path, url.get_ref())?,
            role: Role::Mirror,
            resolves: can(settings.capabilities.as_deref(), Capability::Resolve),
            serves: can(settings.capabilities.as_deref(), Capability::Pull),
            authorities: certificates(folder, settings.ca)?,
        });
    }
    let url = match &file.server {
        Some(url) => server_url(path, url)?,
        None => registry_itself(host).url,
    };
    endpoints.push(Endpoint {
        url,
        role: Role::Registry,
        resolves: can(file.capabilities.as_deref(), Capability::Resolve),
        serves: can(file.capabilities.as_deref(), Capability::Pull),
        authorities: certificates(folder, file.ca)?,
    });
    Ok(endpoints)
}

fn can(capabilities: Option<&[Capability]>, wanted: Capability) -> bool {
    capabilities.is_none_or(|list| list.contains(&wanted))
}

fn certificates(folder: &Path, paths: Paths) -> Result<Vec<Vec<u8>>, Error> {
    let paths = match paths {
        Paths::None => Vec::new(),
        Paths::One(path) => vec![path],
        Paths::Many(paths) => paths,
    };
    paths
        .iter()
        .map(|path| {
            let path = folder.join(path);
            read(&path)?.ok_or_else(|| bad(&path, "the certificate file that 'ca' names is not there"))
        })
        .collect()
}

/// Without a file: TLS, or plain HTTP where no wire is crossed.
fn registry_itself(host: &str) -> Endpoint {
    let https = if host == "docker.io" { DOCKER_SERVER.to_owned() } else { format!("https://{host}") };
    let mut url = Url::parse(&https).expect("the grammar of references admits only hosts and ports");
    if is_loopback(&url) {
        url = Url::parse(&format!("http://{host}")).expect("the same host with another scheme");
    }
    Endpoint { url, role: Role::Registry, resolves: true, serves: true, authorities: Vec::new() }
}

fn server_url(path: &Path, text: &str) -> Result<Url, Error> {
    let complete = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&complete).map_err(|error| bad(path, &format!("{text:?} is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(path, "a server's URL holds a name or password; credentials come with the pull"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(path, &format!("{text:?} has a query or fragment")));
    }
    may_be_used(&url).map_err(|why| bad(path, &format!("{text:?}: {why}")))?;
    Ok(url)
}

/// Says whether a URL may be asked at all: with TLS, or without on loopback.
pub(crate) fn may_be_used(url: &Url) -> Result<(), &'static str> {
    match (url.scheme(), url.host().is_some()) {
        ("https", true) => Ok(()),
        ("http", true) if is_loopback(url) => Ok(()),
        ("http", true) => Err("plain HTTP is only allowed on loopback addresses; use https"),
        _ => Err("only https URLs with a host are allowed"),
    }
}

/// Says whether a server may send its callers on to a URL that it names, for a blob or a token.
pub(crate) fn may_lead_to(from: &Url, to: &Url) -> Result<(), &'static str> {
    may_be_used(to)?;
    if reaches_this_node(to) && !is_loopback(from) {
        // Services of the node itself trust what comes from loopback.
        return Err("that is a loopback address of this node");
    }
    Ok(())
}

/// Returns whether a URL stays on this machine. The name `localhost` does, since the client resolves it itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match address(url) {
        Some(address) => address.is_loopback(),
        None => url.host_str() == Some("localhost"),
    }
}

/// The same with all that only may: the unspecified address connects to loopback, and resolvers know names for it.
fn reaches_this_node(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_end_matches('.');
    is_loopback(url) || address(url).is_some_and(|a| a.is_unspecified()) || name.rsplit('.').next() == Some("localhost")
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    host.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Reads a small file; `None` when it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(path, &error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| bad(path, &error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(bad(path, &format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

fn bad(path: &Path, why: &str) -> Error {
    Error::Hosts { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>, String> {
        let endpoints = parse(Path::new("/none/hosts.toml"), text, "reg.example").map_err(|error| error.to_string())?;
        Ok(endpoints
            .iter()
            .map(|e| {
                let mark = |flag, letter| if flag { letter } else { "-" };
                format!("{} {}{} {:?}", e.url, mark(e.resolves, "r"), mark(e.serves, "p"), e.role)
            })
            .collect())
    }

    #[test]
    fn hosts_are_asked_in_file_order_and_the_server_last() {
        let text = r#"
            server = "https://origin.example"
            [host."https://z.example"]
            capabilities = ["pull", "resolve", "push"]
            [host."http://127.0.0.1:5000/path"]
            capabilities = ["pull"]
            [host."a.example:444"]
        "#;
        assert_eq!(
            check(text).unwrap(),
            [
                "https://z.example/ rp Mirror",
                "http://127.0.0.1:5000/path -p Mirror",
                "https://a.example:444/ rp Mirror",
                "https://origin.example/ rp Registry",
            ]
        );
        assert_eq!(check("").unwrap(), ["https://reg.example/ rp Registry"]);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (text, word) in [
            ("skip_verify = true", "skip_verify"),
            ("[host.\"https://x\"]\nskip_verify = true", "skip_verify"),
            ("[host.\"https://x\"]\ncapabilities = [\"fly\"]", "fly"),
            ("[host.\"http://x.example\"]", "plain HTTP"),
            ("server = \"http://10.0.0.1\"", "plain HTTP"),
            ("server = \"ftp://x\"", "only https"),
            ("server = \"https://user:pw@x\"", "credentials come with the pull"),
            ("server = \"https://x/?a=b\"", "query"),
            ("server = \"https://\"", "not a URL"),
            ("server = 5", "string"),
            ("[host", "TOML"),
            ("ca = \"missing.pem\"", "missing.pem"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let error = check("server = \"https://user:pw@x\"").unwrap_err();
        assert!(!error.contains("pw"), "{error}");
    }

    #[test]
    fn only_loopback_is_spoken_to_in_the_clear() {
        for (reference, expected) in [
            ("127.0.0.1:5000/a", "http://127.0.0.1:5000/"),
            ("127.8.8.8/a", "http://127.8.8.8/"),
            ("[::1]:5000/a", "http://[::1]:5000/"),
            ("localhost:5000/a", "http://localhost:5000/"),
            ("128.0.0.1:5000/a", "https://128.0.0.1:5000/"),
            ("localhost.evil.example/a", "https://localhost.evil.example/"),
            ("127.0.0.1.evil.example/a", "https://127.0.0.1.evil.example/"),
            ("busybox", "https://registry-1.docker.io/"),
        ] {
            let endpoints = endpoints(None, &Reference::parse(reference).unwrap()).unwrap();
            assert_eq!(endpoints.len(), 1);
            assert_eq!(endpoints[0].url.as_str(), expected);
        }
    }

    #[test]
    fn nobody_elsewhere_can_send_a_caller_to_this_node() {
        let (near, far) = (Url::parse("http://127.0.0.1:5000/").unwrap(), Url::parse("https://reg.example/").unwrap());
        for (to, from_near, from_far) in [
            ("https://cdn.example/a", true, true),
            ("http://cdn.example/a", false, false),
            ("http://169.254.169.254/a", false, false),
            ("file:///etc/passwd", false, false),
            ("http://127.0.0.1:1/a", true, false),
            ("https://127.0.0.1/a", true, false),
            ("https://[::1]/a", true, false),
            ("https://[::ffff:127.0.0.1]/a", true, false),
            ("https://0.0.0.0/a", true, false),
            ("https://[::]/a", true, false),
            ("https://0x7f.1/a", true, false),
            ("https://localhost/a", true, false),
            ("https://LOCALHOST./a", true, false),
            ("https://a.localhost/a", true, false),
            ("https://localhost.example/a", true, true),
        ] {
            let to = Url::parse(to).unwrap();
            assert_eq!(
                (may_lead_to(&near, &to).is_ok(), may_lead_to(&far, &to).is_ok()),
                (from_near, from_far),
                "{to}"
            );
        }
    }

    #[test]
    fn folder_of_the_host_goes_before_the_default_one() {
        let certs = tempfile::tempdir().unwrap();
        let write = |folder: &str, server: &str| {
            let folder = certs.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("hosts.toml"), format!("server = \"{server}\"")).unwrap();
        };
        write("_default", "https://default.example");
        write("reg.example", "https://own.example");
        write("port.example_444_", "https://port.example");
        for (reference, expected) in [
            ("reg.example/a", "https://own.example/"),
            ("port.example:444/a", "https://port.example/"),
            ("other.example/a", "https://default.example/"),
        ] {
            let endpoints = endpoints(Some(certs.path()), &Reference::parse(reference).unwrap()).unwrap();
            assert_eq!(endpoints[0].url.as_str(), expected);
        }
    }
}
