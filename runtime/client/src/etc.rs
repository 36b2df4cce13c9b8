//! The files of `/etc` that a sandbox's containers share: `resolv.conf`, `hosts`, `hostname`. Pure.

use crate::config::HOSTS_MAX;
use orlop_model::sandbox::{Dns, HostEntry, SandboxSpec};

/// Names of the files in a sandbox's folder, and where each goes inside.
pub(crate) const RESOLV_CONF: &str = "resolv.conf";
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const HOSTNAME: &str = "hostname";

/// What is refused: a line break in a field would add lines of somebody's choosing.
pub(crate) fn check(spec: &SandboxSpec) -> Result<(), String> {
    let dns = spec.dns.iter().flat_map(|dns| dns.servers.iter().chain(&dns.searches).chain(&dns.options));
    let word =
        |name: &String| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    if let Some(text) = dns.chain([&spec.hostname]).find(|text| text.contains(['\n', '\r', '\0'])) {
        return Err(format!("{text:?} holds a line break; DNS settings and host names are single words"));
    }
    if let Some(entry) = spec.hosts.iter().find(|entry| !word(&entry.name)) {
        return Err(format!("{:?} can't be a name in /etc/hosts; give a single word", entry.name));
    }
    if spec.hosts.len() > HOSTS_MAX {
        return Err(format!("{} lines of /etc/hosts are given, at most {HOSTS_MAX} fit", spec.hosts.len()));
    }
    if !spec.domainname.is_empty() && spec.hostname.is_empty() {
        return Err("a domain name needs a host name of the sandbox's own beside it".to_owned());
    }
    Ok(())
}

/// Writes a `resolv.conf`; see resolv.conf(5).
pub(crate) fn resolv_conf(dns: &Dns) -> String {
    let mut text = String::new();
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (word, values) in [("search", &dns.searches), ("options", &dns.options)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    text
}

/// Writes a `hosts`; see hosts(5). A kubelet mounts its own over it.
pub(crate) fn hosts(hostname: &str, more: &[HostEntry]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    if !hostname.is_empty() {
        text.push_str(&format!("127.0.1.1\t{hostname}\n"));
    }
    for entry in more {
        text.push_str(&format!("{}\t{}\n", entry.address, entry.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_model::{Namespace, NaturalKey};

    #[test]
    fn each_server_has_a_line_and_the_rest_one_line_each() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        let dns = Dns { servers: words("10.0.0.1 fd00::1"), searches: words("a.b c"), options: words("ndots:5") };
        assert_eq!(resolv_conf(&dns), "nameserver 10.0.0.1\nnameserver fd00::1\nsearch a.b c\noptions ndots:5\n");
        assert_eq!(resolv_conf(&Dns::default()), "");
    }

    #[test]
    fn own_name_is_in_hosts() {
        assert!(hosts("web", &[]).ends_with("127.0.1.1\tweb\n"));
        assert!(!hosts("", &[]).contains("127.0.1.1"));
    }

    #[test]
    fn names_given_are_in_hosts_and_must_be_words() {
        let entry = |name: &str| HostEntry { address: [10, 0, 0, 9].into(), name: name.to_owned() };
        assert!(hosts("web", &[entry("db")]).ends_with("\tweb\n10.0.0.9\tdb\n"));
        let spec = |hosts| SandboxSpec { hosts, ..SandboxSpec::new(Namespace("x".into()), NaturalKey("x".into())) };
        assert_eq!(check(&spec(vec![entry("db.local")])), Ok(()));
        for bad in ["", "a b", "a\n127.0.0.1 b", "#"] {
            assert!(check(&spec(vec![entry(bad)])).is_err(), "{bad:?}");
        }
        let too_many = vec![entry("db"); HOSTS_MAX + 1];
        assert!(check(&spec(too_many)).is_err());
        let nis = SandboxSpec { domainname: "nis".into(), ..spec(Vec::new()) };
        assert!(check(&nis).unwrap_err().contains("host name"));
    }
}
