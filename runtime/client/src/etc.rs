//! The files of `/etc` that a sandbox's containers share: `resolv.conf`, `hosts`, `hostname`. Pure.

use crate::config::HOSTS_MAX;
use orlop_model::sandbox::{Dns, HostEntry, SandboxSpec};
use orlop_model::sandbox_state::Attachment;

/// Names of the files in a sandbox's folder, and where each goes inside.
pub(crate) const RESOLV_CONF: &str = "resolv.conf";
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const HOSTNAME: &str = "hostname";

/// What every `hosts` begins with.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

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

/// Writes a `hosts`; see hosts(5). A kubelet mounts its own over it. The own name leads to the first attachment, or without
/// one to the loopback, so that a program always finds itself.
pub(crate) fn hosts(hostname: &str, spec: &SandboxSpec, attachments: &[Attachment]) -> String {
    let mut text = String::from(LOOPBACK);
    for HostEntry { address, name } in &spec.hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if hostname.is_empty() {
        return text;
    }
    let names = match spec.domainname.as_str() {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain} {hostname}"),
    };
    let own = attachments.first().and_then(|attachment| attachment.addresses.first());
    text.push_str(&match own {
        Some(address) => format!("{address}\t{names}\n"),
        None => format!("127.0.1.1\t{names}\n"),
    });
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

    fn spec(domainname: &str, hosts: &[&str]) -> SandboxSpec {
        let hosts = hosts.iter().map(|name| HostEntry { address: [10, 0, 0, 9].into(), name: (*name).to_owned() });
        let spec = SandboxSpec::new(Namespace("n".to_owned()), NaturalKey("k".to_owned()));
        SandboxSpec { domainname: domainname.to_owned(), hosts: hosts.collect(), ..spec }
    }

    #[test]
    fn own_name_is_in_hosts() {
        assert!(hosts("web", &spec("", &[]), &[]).ends_with("127.0.1.1\tweb\n"));
        assert!(!hosts("", &spec("", &[]), &[]).contains("127.0.1.1"));
    }

    #[test]
    fn own_name_leads_to_the_own_address_and_others_where_they_should() {
        let attachment = Attachment { addresses: vec![[172, 17, 0, 2].into()], ..Attachment::default() };
        let text = hosts("web", &spec("example.org", &["db"]), &[attachment]);
        assert_eq!(text, format!("{LOOPBACK}10.0.0.9\tdb\n172.17.0.2\tweb.example.org web\n"));
        let alone = hosts("web", &spec("", &["db"]), &[]);
        assert_eq!(alone, format!("{LOOPBACK}10.0.0.9\tdb\n127.0.1.1\tweb\n"));
    }

    #[test]
    fn a_line_break_in_a_name_is_refused() {
        assert!(check(&spec("", &["a\n10.0.0.1\tb"])).is_err());
    }
}
