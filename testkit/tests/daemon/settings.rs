//! Settings: two daemons side by side, and starts that are refused.

use orlop_testkit::client::v1;
use orlop_testkit::{Guard, Node, Pod};
use std::fs;

#[test]
fn two_daemons_run_side_by_side_in_one_network_namespace() {
    let guard = Guard::new();
    let ground = guard.ground();
    let beside = guard.ground_beside(&ground);
    let one = Node::start_on(ground, &[]);
    let two = Node::start_on(beside, &[]);
    let (first, second) = (Pod::run(&one, "same-name"), Pod::run(&two, "same-name"));
    assert_ne!(first.id, second.id);
    assert_ne!(first.address(), second.address());
    for (node, pod) in [(&one, &first), (&two, &second)] {
        assert_eq!(crate::pods(&node.client()), vec![pod.id.clone()], "each sees only its own");
    }
    second.stop().unwrap();
    second.remove().unwrap();
    assert_eq!(first.status().state(), v1::PodSandboxState::SandboxReady);
}

#[test]
fn start_that_would_share_a_name_with_a_live_daemon_is_refused_and_names_it() {
    let guard = Guard::new();
    let ground = guard.ground();
    let beside = guard.ground_beside(&ground);
    let folder = |name: &str| ground.join(name).display().to_string();
    let own = [
        ("--bridge", "orl-one".to_owned()),
        ("--subnet", "10.77.0.0/16".to_owned()),
        ("--nft-table", "orl_one".to_owned()),
        ("--docker-bridge", "orl-one-d".to_owned()),
        ("--docker-subnet", "10.78.0.0/16".to_owned()),
        ("--docker-nft-table", "orl_one_d".to_owned()),
        ("--cgroup-root", ground.cgroup()),
        ("--ipam-dir", folder("ipam")),
    ];
    let settings: Vec<(&str, &str)> = own.iter().map(|(flag, value)| (*flag, value.as_str())).collect();
    let one = Node::start_on(ground.clone(), &settings);
    let shares = own.iter().cloned().chain([("--root", folder("root")), ("--run", folder("run"))]);
    // A part of another's subnet is shared as well.
    let parts = [("--subnet", "10.77.3.0/24"), ("--docker-subnet", "10.77.3.0/24"), ("--subnet", "10.78.0.0/17")];
    for (flag, value) in shares.chain(parts.map(|(flag, value)| (flag, value.to_owned()))) {
        let mut two = Node::prepare(beside.clone(), &[(flag, &value)]);
        let (status, said) = two.start_refused();
        assert!(!status.success(), "{flag}: {status}");
        let setting = flag.trim_start_matches('-').replace('-', "_");
        let named = said.contains(&setting) || said.contains(&setting.replace('_', " ")) || said.contains(flag);
        assert!(named, "{flag} isn't named in: {said}");
        assert!(said.contains(&one.pid().to_string()), "{flag}: who has it is missing in: {said}");
    }
    one.client().version(v1::VersionRequest::default()).unwrap();
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let guard = Guard::new();
    let ground = guard.ground();
    for (flag, value, word) in [
        ("--bridge", "a-name-that-is-much-too-long", "bridge"),
        ("--subnet", "10.0.0.1/16", "10.0.0.1/16"),
        ("--subnet", "not-a-subnet", "not-a-subnet"),
        ("--cgroup-root", "relative", "cgroup"),
        ("--cgroup-root", "/a/../b", "cgroup"),
        ("--nft-table", "no spaces", "table"),
        ("--root", "relative", "root"),
        ("--log-format", "poem", "poem"),
        ("--no-such-flag", "x", "no-such-flag"),
    ] {
        let (status, said) = Node::prepare(ground.clone(), &[(flag, value)]).start_refused();
        assert!(!status.success(), "{flag} {value}: {status}");
        assert!(said.contains(word), "{flag} {value}: {word:?} is missing in: {said}");
    }
}

#[test]
fn unknown_and_malformed_keys_of_the_file_are_refused_by_name() {
    let guard = Guard::new();
    let ground = guard.ground();
    let file = ground.join("orlopd.toml");
    let path = file.display().to_string();
    for (text, word) in [
        ("brigde = 'orl0'", "brigde"),
        ("bridge = 7", "bridge"),
        ("subnet = '10.0.0.1/8'", "10.0.0.1/8"),
        ("[network]\nbridge = 'orl0'", "network"),
        ("bridge = ", "orlopd.toml"),
    ] {
        fs::write(&file, text).unwrap();
        let (status, said) = Node::prepare(ground.clone(), &[("--config", &path)]).start_refused();
        assert!(!status.success(), "{text}: {status}");
        assert!(said.contains(word), "{text}: {word:?} is missing in: {said}");
    }
    let (status, said) = Node::prepare(ground.clone(), &[("--config", "/not/there.toml")]).start_refused();
    assert!(!status.success() && said.contains("/not/there.toml"), "{said}");
}

#[test]
fn file_and_flags_together_make_the_settings() {
    let guard = Guard::new();
    let ground = guard.ground();
    let file = ground.join("orlopd.toml");
    fs::write(&file, "bridge = 'orl-file'\nsubnet = '10.66.0.0/24'\nlog_format = 'json'\n").unwrap();
    let path = file.display().to_string();
    let node = Node::start_on(ground.clone(), &[("--config", path.as_str()), ("--bridge", "orl-flag")]);
    let pod = Pod::run(&node, "from-file");
    assert!(pod.address().to_string().starts_with("10.66.0."), "{}", pod.address());
    let links = ground.command("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert!(links.contains("orl-flag") && !links.contains("orl-file"), "{links}");
    assert!(node.log_tail().lines().any(|line| line.starts_with('{')), "{}", node.log_tail());
}
