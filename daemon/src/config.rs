//! Settings: flags over a TOML file over defaults. The only place that reads either.
//!
//! Two daemons on one host need nothing but another `root`: every name on the host is derived from it.

use crate::endpoint::{MetricsListen, Reach};
use clap::{Parser, ValueEnum};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the state is, unless told otherwise.
const ROOT_DEFAULT: &str = "/var/lib/orlop";
/// Where the run state is, for the default root.
const RUN_DEFAULT: &str = "/run/orlop";
/// Where registries' settings are; the place and format other runtimes use.
const CERTS_DIR_DEFAULT: &str = "/etc/orlop/certs.d";

/// Where clients come for streams: any port, since they are told it each time, and two daemons then need no setting.
const STREAM_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What flags don't say.
const AFTER_HELP: &str = "\
Two daemons on one host need nothing but another --root: every name on the host is derived from it.

Environment: ORLOPD_LOG says what is logged, such as debug or orlop_usecases=debug [default: info];
ORLOPD_FAILPOINTS lets the daemon die, wait or fail around effects, for tests (effect:before|after[@time]=kill|stop|fail|hold:ms)
Exit status: 0 told to end; 1 a part can't start or can't go on; 2 flags not understood; 78 settings can't be used";

/// What the command line may say. Each flag has a key of the same name in the file.
#[derive(Debug, Default, Parser)]
#[command(name = "orlopd", version, about = "Kubernetes node runtime", long_about = None, after_help = AFTER_HELP)]
pub struct Flags {
    /// TOML file with the same settings; flags win
    #[arg(long, value_name = "FILE", env = "ORLOPD_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of images, writable layers and lasting records [default: /var/lib/orlop]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Folder of sockets and state that ends with the boot [default: /run/orlop, or <root>/run for another root]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Socket of the CRI server [default: <run>/orlopd.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Loopback address where clients come for exec, attach and port-forward, with a URL they were given over the CRI; port 0
    /// takes one that is free [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT")]
    stream_listen: Option<SocketAddr>,
    /// Bridge of the pod network [default: orlop0, or orlop<hash of root>]
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
    /// Addresses of the pod network [default: 10.88.0.0/16, or another /16 by the hash of root]
    #[arg(long, value_name = "CIDR")]
    subnet: Option<Subnet>,
    /// Whether nf_tables translates pods' addresses: masquerade and host ports; off where the network knows the way to pods
    /// [default: on]
    #[arg(long, value_name = "ON|OFF")]
    nat: Option<Nat>,
    /// nf_tables table of the pod network [default: orlop, or orlop_<hash of root>]
    #[arg(long, value_name = "NAME")]
    nft_table: Option<String>,
    /// Bridge of Docker's network [default: orlop-docker0, or orlop<hash of root>d]
    #[arg(long, value_name = "NAME")]
    docker_bridge: Option<String>,
    /// Addresses of Docker's network [default: 10.217.0.0/16, or another /16 by the hash of root]
    #[arg(long, value_name = "CIDR")]
    docker_subnet: Option<Subnet>,
    /// nf_tables table of Docker's network [default: orlop_docker, or orlop_<hash of root>_docker]
    #[arg(long, value_name = "NAME")]
    docker_nft_table: Option<String>,
    /// Cgroup that holds everything of this daemon, below the root of every hierarchy [default: /orlop, or /orlop-<hash of root>]
    #[arg(long, value_name = "PATH")]
    cgroup_root: Option<String>,
    /// Folder of reserved addresses, in the format of the host-local plugin [default: <root>/ipam]
    #[arg(long, value_name = "DIR")]
    ipam_dir: Option<PathBuf>,
    /// The orlop-shim program [default: beside orlopd]
    #[arg(long, value_name = "FILE")]
    shim: Option<PathBuf>,
    /// Folder of <registry host>/hosts.toml files [default: /etc/orlop/certs.d]
    #[arg(long, value_name = "DIR")]
    certs_dir: Option<PathBuf>,
    /// Prometheus metrics over HTTP, /metrics on a unix socket or a loopback address such as 127.0.0.1:9620 [default: none]
    #[arg(long, value_name = "PATH|ADDRESS:PORT")]
    metrics_listen: Option<MetricsListen>,
    /// Lets --metrics-listen be an address that other hosts reach; whoever does can read the metrics
    #[arg(long)]
    metrics_allow_network: bool,
    /// Socket of the Docker Engine API: whoever may use it is root [default: none]
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Group, by name or number, whose members may use the Docker socket [default: that of root]
    #[arg(long, value_name = "GROUP")]
    docker_group: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Lists the effects that each operation consists of, as JSON, and exits: what a crash may fall between
    #[arg(long)]
    pub effects: bool,
}

/// What the file may say. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    root: Option<PathBuf>,
    run: Option<PathBuf>,
    socket: Option<PathBuf>,
    stream_listen: Option<SocketAddr>,
    bridge: Option<String>,
    subnet: Option<Subnet>,
    nat: Option<Nat>,
    nft_table: Option<String>,
    docker_bridge: Option<String>,
    docker_subnet: Option<Subnet>,
    docker_nft_table: Option<String>,
    cgroup_root: Option<String>,
    ipam_dir: Option<PathBuf>,
    shim: Option<PathBuf>,
    certs_dir: Option<PathBuf>,
    metrics_listen: Option<MetricsListen>,
    metrics_allow_network: Option<bool>,
    docker_socket: Option<PathBuf>,
    docker_group: Option<String>,
    log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether pods' addresses are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nat {
    /// Masquerade and host ports.
    On,
    /// Neither.
    Off,
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Subnet {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Length of the prefix, bits.
    pub prefix: u8,
}

/// All settings, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of images, writable layers and lasting records.
    pub root: PathBuf,
    /// Folder of sockets and state that ends with the boot.
    pub run: PathBuf,
    /// Socket of the CRI server.
    pub socket: PathBuf,
    /// Where clients come for streams.
    pub stream_listen: SocketAddr,
    /// Bridge of the pod network.
    pub bridge: String,
    /// Addresses of the pod network.
    pub subnet: Subnet,
    /// Whether pods' addresses are translated.
    pub nat: Nat,
    /// nf_tables table of the pod network.
    pub nft_table: String,
    /// Bridge of Docker's network.
    pub docker_bridge: String,
    /// Addresses of Docker's network.
    pub docker_subnet: Subnet,
    /// nf_tables table of Docker's network.
    pub docker_nft_table: String,
    /// Cgroup that holds everything of this daemon.
    pub cgroup_root: String,
    /// Folder of reserved addresses.
    pub ipam_dir: PathBuf,
    /// The orlop-shim program.
    pub shim: PathBuf,
    /// Folder of registries' settings.
    pub certs_dir: PathBuf,
    /// Where metrics are served; `None` is nowhere.
    pub metrics_listen: Option<MetricsListen>,
    /// Who may reach them.
    pub metrics_reach: Reach,
    /// Socket of the Docker Engine API; `None` is nowhere.
    pub docker_socket: Option<PathBuf>,
    /// Group whose members may use it; `None` is that of root.
    pub docker_group: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Reads what tests want done around effects.
pub fn failpoints() -> Result<crate::failpoints::Rules, Wrong> {
    let text = std::env::var(crate::failpoints::VARIABLE).unwrap_or_default();
    crate::failpoints::Rules::parse(&text).map_err(Wrong::Failpoints)
}

/// Why settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The failpoints can't be understood.
    #[error("read ORLOPD_FAILPOINTS: {0}")]
    Failpoints(String),
    /// The file can't be read.
    #[error("read the settings in {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: std::io::Error,
    },
    /// The file says something we don't know.
    #[error("understand the settings in {}: {source}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What was wrong, with line and column.
        source: toml::de::Error,
    },
    /// A setting has a value it can't have.
    #[error("{setting} is {value:?}: {why}")]
    Value {
        /// Which.
        setting: &'static str,
        /// What it was given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Our own path is not known, and the shim's was not given.
    #[error("find orlop-shim beside orlopd: {0}; give it with --shim")]
    Shim(std::io::Error),
}

/// Reads the file the flags name, and puts everything together.
pub fn load(flags: &Flags) -> Result<Config, Wrong> {
    let file = match &flags.config {
        None => File::default(),
        Some(path) => {
            let unreadable = |source| Wrong::Unreadable { path: path.clone(), source };
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            toml::from_str(&text).map_err(|source| Wrong::Malformed { path: path.clone(), source })?
        }
    };
    let shim = match flags.shim.clone().or_else(|| file.shim.clone()) {
        Some(shim) => shim,
        None => std::env::current_exe().map_err(Wrong::Shim)?.with_file_name("orlop-shim"),
    };
    complete(flags, file, shim)
}

// === impl load ===

fn complete(flags: &Flags, file: File, shim: PathBuf) -> Result<Config, Wrong> {
    let root = flags.root.clone().or(file.root).unwrap_or_else(|| ROOT_DEFAULT.into());
    let names = Names::of(&root);
    let run = flags.run.clone().or(file.run).unwrap_or_else(|| names.run.clone());
    let config = Config {
        socket: flags.socket.clone().or(file.socket).unwrap_or_else(|| run.join("orlopd.sock")),
        stream_listen: flags.stream_listen.or(file.stream_listen).unwrap_or(STREAM_LISTEN_DEFAULT),
        bridge: flags.bridge.clone().or(file.bridge).unwrap_or(names.bridge),
        subnet: flags.subnet.or(file.subnet).unwrap_or(names.subnet),
        nat: flags.nat.or(file.nat).unwrap_or(Nat::On),
        nft_table: flags.nft_table.clone().or(file.nft_table).unwrap_or(names.nft_table),
        docker_bridge: flags.docker_bridge.clone().or(file.docker_bridge).unwrap_or(names.docker_bridge),
        docker_subnet: flags.docker_subnet.or(file.docker_subnet).unwrap_or(names.docker_subnet),
        docker_nft_table: flags.docker_nft_table.clone().or(file.docker_nft_table).unwrap_or(names.docker_nft_table),
        cgroup_root: flags.cgroup_root.clone().or(file.cgroup_root).unwrap_or(names.cgroup_root),
        ipam_dir: flags.ipam_dir.clone().or(file.ipam_dir).unwrap_or_else(|| root.join("ipam")),
        shim,
        certs_dir: flags.certs_dir.clone().or(file.certs_dir).unwrap_or_else(|| CERTS_DIR_DEFAULT.into()),
        metrics_listen: flags.metrics_listen.clone().or(file.metrics_listen),
        metrics_reach: match flags.metrics_allow_network || file.metrics_allow_network.unwrap_or(false) {
            true => Reach::Network,
            false => Reach::Host,
        },
        docker_socket: flags.docker_socket.clone().or(file.docker_socket),
        docker_group: flags.docker_group.clone().or(file.docker_group),
        log_format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
        root,
        run,
    };
    check(&config)?;
    Ok(config)
}

/// Names on the host that no two daemons may share, derived from the root folder.
struct Names {
    run: PathBuf,
    bridge: String,
    subnet: Subnet,
    nft_table: String,
    docker_bridge: String,
    docker_subnet: Subnet,
    docker_nft_table: String,
    cgroup_root: String,
}

impl Names {
    fn of(root: &Path) -> Self {
        if root == Path::new(ROOT_DEFAULT) {
            return Self {
                run: RUN_DEFAULT.into(),
                bridge: "orlop0".to_owned(),
                subnet: Subnet { network: Ipv4Addr::new(10, 88, 0, 0), prefix: 16 },
                nft_table: "orlop".to_owned(),
                docker_bridge: "orlop-docker0".to_owned(),
                docker_subnet: Subnet { network: Ipv4Addr::new(10, 217, 0, 0), prefix: 16 },
                docker_nft_table: "orlop_docker".to_owned(),
                cgroup_root: "/orlop".to_owned(),
            };
        }
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let tag = hex::encode(&hash[..4]);
        // 10.89 to 10.216: clear of the default root's, of Docker's and of the usual service networks.
        let second = |n: u8| 89 + n % 128;
        let subnet = |n| Subnet { network: Ipv4Addr::new(10, second(n), 0, 0), prefix: 16 };
        Self {
            run: root.join("run"),
            bridge: format!("orlop{tag}"),
            subnet: subnet(hash[4]),
            nft_table: format!("orlop_{tag}"),
            docker_bridge: format!("orlop{tag}d"),
            // Half of the range away: never the pods'.
            docker_subnet: subnet(hash[4].wrapping_add(64)),
            docker_nft_table: format!("orlop_{tag}_docker"),
            cgroup_root: format!("/orlop-{tag}"),
        }
    }
}

/// Longest name of a network link; linux/if.h IFNAMSIZ less the end mark.
const LINK_NAME_BYTES_MAX: usize = 15;
/// Longest path of a unix socket; unix(7), less the end mark.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What is wrong with a longer one.
const SOCKET_LONG: &str = "a unix socket's path has at most 107 bytes";

/// What is wrong with an address for streams that is not the host's own.
const STREAMS_FAR: &str = "streams are not encrypted and need no login but the URL; take a loopback address";

fn check(config: &Config) -> Result<(), Wrong> {
    let paths = [
        ("root", &config.root),
        ("run", &config.run),
        ("socket", &config.socket),
        ("ipam_dir", &config.ipam_dir),
        ("shim", &config.shim),
        ("certs_dir", &config.certs_dir),
    ];
    for (setting, path) in paths {
        refuse(setting, path.display(), "it must be an absolute path", !path.is_absolute())?;
    }
    let socket_long = config.socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX;
    refuse("socket", config.socket.display(), SOCKET_LONG, socket_long)?;
    let streams_far = !config.stream_listen.ip().to_canonical().is_loopback();
    refuse("stream_listen", config.stream_listen, STREAMS_FAR, streams_far)?;
    if let Some(listen) = &config.metrics_listen {
        check_metrics(config, listen)?;
    }
    if let Some(path) = &config.docker_socket {
        check_docker(config, path)?;
    }
    for (setting, bridge) in [("bridge", &config.bridge), ("docker_bridge", &config.docker_bridge)] {
        let bad = bridge.is_empty()
            || bridge.len() > LINK_NAME_BYTES_MAX
            || bridge.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        refuse(setting, bridge, "a link's name has 1 to 15 bytes, without '/', ':' or spaces", bad)?;
    }
    let same = config.bridge == config.docker_bridge;
    refuse("docker_bridge", &config.docker_bridge, "it is the bridge of the pod network", same)?;
    let same = config.subnet.overlaps(&config.docker_subnet);
    refuse("docker_subnet", config.docker_subnet, "it has addresses of the pod network", same)?;
    let same = config.nft_table == config.docker_nft_table;
    refuse("docker_nft_table", &config.docker_nft_table, "it is the table of the pod network", same)?;
    let cgroup_bad = !config.cgroup_root.starts_with('/')
        || config.cgroup_root.len() < 2
        || config.cgroup_root.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == "..");
    refuse(
        "cgroup_root",
        &config.cgroup_root,
        "it must be an absolute path below '/', without '.' and '..'",
        cgroup_bad,
    )?;
    for (setting, table) in [("nft_table", &config.nft_table), ("docker_nft_table", &config.docker_nft_table)] {
        let bad = table.is_empty()
            || !table.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            || table.starts_with(|c: char| c.is_ascii_digit());
        refuse(setting, table, "a table's name has letters, digits and '_'", bad)?;
    }
    Ok(())
}

fn check_metrics(config: &Config, listen: &MetricsListen) -> Result<(), Wrong> {
    if let MetricsListen::Unix(path) = listen {
        let why = "that is the socket of the CRI server; metrics need one of their own";
        refuse("metrics_listen", listen, why, *path == config.socket)?;
        refuse("metrics_listen", listen, SOCKET_LONG, path.as_os_str().len() > SOCKET_PATH_BYTES_MAX)?;
    }
    let why =
        "others than this host could read the metrics there; take a loopback address, or say --metrics-allow-network";
    refuse("metrics_listen", listen, why, !listen.is_local() && config.metrics_reach == Reach::Host)
}

fn check_docker(config: &Config, path: &Path) -> Result<(), Wrong> {
    refuse("docker_socket", path.display(), "it must be an absolute path", !path.is_absolute())?;
    refuse("docker_socket", path.display(), SOCKET_LONG, path.as_os_str().len() > SOCKET_PATH_BYTES_MAX)?;
    let metrics = matches!(&config.metrics_listen, Some(MetricsListen::Unix(taken)) if taken == path);
    let why = "that is another socket of this daemon; the Docker API needs one of its own";
    refuse("docker_socket", path.display(), why, metrics || *path == config.socket)
}

fn refuse(setting: &'static str, value: impl ToString, why: &'static str, bad: bool) -> Result<(), Wrong> {
    if bad { Err(Wrong::Value { setting, value: value.to_string(), why }) } else { Ok(()) }
}

impl Subnet {
    /// Returns whether two networks have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let shift = 32 - u32::from(self.prefix.min(other.prefix));
        let cut = |address: Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or(0);
        cut(self.network) == cut(other.network)
    }
}

impl std::str::FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not an IPv4 network such as 10.88.0.0/16");
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let network: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        // A bridge needs a gateway and at least one pod.
        if !(8..=29).contains(&prefix) {
            return Err(format!("{text:?}: the prefix of a pod network has 8 to 29 bits"));
        }
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        if u32::from(network) & host_bits != 0 {
            return Err(format!("{text:?} has bits set behind its prefix"));
        }
        Ok(Self { network, prefix })
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(flags: Flags, file: &str) -> Result<Config, String> {
        let file = toml::from_str(file).map_err(|wrong| wrong.to_string())?;
        complete(&flags, file, "/shim".into()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn another_root_shares_no_name_with_the_default_one() {
        let one = with(Flags::default(), "").unwrap();
        let two = with(Flags { root: Some("/srv/two".into()), ..Flags::default() }, "").unwrap();
        assert_ne!(one.bridge, two.bridge);
        assert_ne!(one.subnet, two.subnet);
        assert_ne!(one.nft_table, two.nft_table);
        let subnets = [one.subnet, two.subnet, one.docker_subnet, two.docker_subnet];
        for (at, subnet) in subnets.iter().enumerate() {
            assert!(!subnets[..at].iter().any(|other| subnet.overlaps(other)), "{subnets:?}");
        }
        let of_docker = |config: &Config| (config.docker_bridge.clone(), config.docker_nft_table.clone());
        assert_ne!(of_docker(&one), of_docker(&two));
        assert_ne!(one.cgroup_root, two.cgroup_root);
        assert_ne!(one.ipam_dir, two.ipam_dir);
        assert_ne!(one.run, two.run);
        assert_eq!(two.socket, Path::new("/srv/two/run/orlopd.sock"));
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let flags = Flags { bridge: Some("br-flag".into()), ..Flags::default() };
        let config = with(flags, "bridge = 'br-file'\nsubnet = '10.9.0.0/24'").unwrap();
        assert_eq!(config.bridge, "br-flag");
        assert_eq!(config.subnet.to_string(), "10.9.0.0/24");
        assert_eq!(config.nft_table, "orlop");
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        for (file, expected) in [
            ("bridg = 'x'", "bridg"),
            ("bridge = 'much-too-long-a-name'", "bridge"),
            ("subnet = '10.0.0.1/16'", "behind its prefix"),
            ("subnet = '10.0.0.0/31'", "8 to 29"),
            ("subnet = 'ten'", "10.88.0.0/16"),
            ("root = 'relative'", "root"),
            ("certs_dir = 'certs.d'", "certs_dir"),
            ("cgroup_root = '/a/../b'", "cgroup_root"),
            ("cgroup_root = '/'", "cgroup_root"),
            ("nft_table = 'a b'", "nft_table"),
            ("nat = 'maybe'", "maybe"),
            ("docker_bridge = 'orlop0'", "bridge of the pod network"),
            ("docker_subnet = '10.88.3.0/24'", "addresses of the pod network"),
            ("docker_nft_table = 'orlop'", "table of the pod network"),
            ("docker_nft_table = '0'", "docker_nft_table"),
            ("log_format = 'xml'", "xml"),
            ("stream_listen = '0.0.0.0:0'", "loopback"),
            ("stream_listen = 'localhost'", "stream_listen"),
            ("metrics_listen = 'metrics.sock'", "127.0.0.1:9620"),
            ("metrics_listen = '9620'", "address and port"),
            ("metrics_listen = '0.0.0.0:9620'", "--metrics-allow-network"),
            ("metrics_listen = '[::]:9620'", "--metrics-allow-network"),
            ("metrics_listen = '/run/orlop/orlopd.sock'", "one of their own"),
            ("docker_socket = 'docker.sock'", "docker_socket"),
            ("docker_socket = '/run/orlop/orlopd.sock'", "one of its own"),
        ] {
            let wrong = with(Flags::default(), file).unwrap_err();
            assert!(wrong.contains(expected), "{file}: {wrong}");
        }
    }

    #[test]
    fn the_docker_api_is_served_nowhere_unless_asked() {
        assert_eq!(with(Flags::default(), "").unwrap().docker_socket, None);
        let config = with(Flags::default(), "docker_socket = '/run/docker.sock'\ndocker_group = 'docker'").unwrap();
        assert_eq!(config.docker_socket.as_deref(), Some(Path::new("/run/docker.sock")));
    }

    #[test]
    fn metrics_are_served_nowhere_unless_asked_and_beyond_the_host_only_when_allowed() {
        assert_eq!(with(Flags::default(), "").unwrap().metrics_listen, None);
        for local in ["/run/metrics.sock", "127.0.0.1:9620", "127.9.9.9:1", "[::1]:9620", "[::ffff:127.0.0.1]:9620"] {
            let config = with(Flags::default(), &format!("metrics_listen = '{local}'")).unwrap();
            assert_eq!(config.metrics_listen.unwrap().to_string(), local);
        }
        let file = "metrics_listen = '192.0.2.1:9620'\nmetrics_allow_network = true";
        assert_eq!(with(Flags::default(), file).unwrap().metrics_reach, Reach::Network);
    }
}
