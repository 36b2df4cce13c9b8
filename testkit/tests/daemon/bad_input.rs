//! Bad input: the right code, a sentence that helps, and nothing left behind.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::{image, v1};
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{container_config, pod_config};
use orlop_testkit::{Code, Pod};

/// Either says that the request is wrong as it stands: the thing it names may be missing on the node or in the image.
const WRONG: &[Code] = &[Code::InvalidArgument, Code::NotFound];

/// A change that makes a usual config wrong.
type Spoil<T> = fn(&mut T);
/// What is wrong, the change, the codes that fit, and words of the sentence.
type Bad<T> = (&'static str, Spoil<T>, &'static [Code], &'static [&'static str]);

fn metadata(config: &mut v1::PodSandboxConfig) -> &mut v1::PodSandboxMetadata {
    config.metadata.as_mut().unwrap()
}

fn pod_security(config: &mut v1::PodSandboxConfig) -> &mut v1::LinuxSandboxSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

fn security(config: &mut v1::ContainerConfig) -> &mut v1::LinuxContainerSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

fn mount(config: &mut v1::ContainerConfig, from: &str, to: &str) {
    config.mounts.push(v1::Mount { host_path: from.to_owned(), container_path: to.to_owned(), ..Default::default() });
}

fn port(config: &mut v1::PodSandboxConfig, container_port: i32, host_port: i32) {
    config.port_mappings.push(v1::PortMapping { container_port, host_port, ..Default::default() });
}

/// What makes a pod wrong.
const BAD_PODS: &[Bad<v1::PodSandboxConfig>] = &[
    ("no metadata", |config| config.metadata = None, WRONG, &["metadata"]),
    ("no name", |config| metadata(config).name.clear(), WRONG, &["name"]),
    ("no uid", |config| metadata(config).uid.clear(), WRONG, &["uid"]),
    ("no namespace", |config| metadata(config).namespace.clear(), WRONG, &["namespace"]),
    ("a hostname with a slash", |config| config.hostname = "a/b".to_owned(), WRONG, &["hostname"]),
    ("a hostname that is too long", |config| config.hostname = "h".repeat(65), WRONG, &["hostname"]),
    ("a relative log folder", |config| config.log_directory = "logs".to_owned(), WRONG, &["log_directory"]),
    ("a port that is none", |config| port(config, 70_000, 0), WRONG, &["70000"]),
    ("a negative port", |config| port(config, -1, 8080), WRONG, &["-1"]),
    (
        "a port's address that is none",
        |config| {
            port(config, 80, 8080);
            config.port_mappings[0].host_ip = "not-an-address".to_owned();
        },
        WRONG,
        &["not-an-address"],
    ),
    (
        "a sysctl of the whole node",
        |config| {
            config.linux.as_mut().unwrap().sysctls.insert("kernel.panic".to_owned(), "1".to_owned());
        },
        WRONG,
        &["kernel.panic"],
    ),
    (
        "a sysctl that climbs",
        |config| {
            config.linux.as_mut().unwrap().sysctls.insert("net./../kernel.panic".to_owned(), "1".to_owned());
        },
        WRONG,
        &["net./../kernel.panic"],
    ),
    (
        "a group without a user",
        |config| pod_security(config).run_as_group = Some(v1::Int64Value { value: 1 }),
        WRONG,
        &["run_as_user"],
    ),
    (
        "a cgroup parent that climbs",
        |config| config.linux.as_mut().unwrap().cgroup_parent = "/../../etc".to_owned(),
        WRONG,
        &["cgroup"],
    ),
];

/// What makes a container wrong.
const BAD_CONTAINERS: &[Bad<v1::ContainerConfig>] = &[
    ("no metadata", |config| config.metadata = None, WRONG, &["metadata"]),
    ("no name", |config| config.metadata.as_mut().unwrap().name.clear(), WRONG, &["name"]),
    ("no image", |config| config.image = None, WRONG, &["image"]),
    ("an empty image", |config| config.image = Some(image("")), WRONG, &["image"]),
    ("a malformed image", |config| config.image = Some(image("UPPER case!")), WRONG, &["UPPER case!"]),
    (
        "an image that isn't here",
        |config| config.image = Some(image("localhost/nobody:1")),
        &[Code::NotFound],
        &["nobody"],
    ),
    ("a mount from nowhere", |config| mount(config, "/etc/passwd/below", "/mnt"), WRONG, &["/etc/passwd/below"]),
    ("a mount to a relative path", |config| mount(config, "/tmp", "mnt"), WRONG, &["mnt"]),
    ("a mount to nothing", |config| mount(config, "/tmp", ""), WRONG, &["container_path"]),
    ("a mount from a relative path", |config| mount(config, "tmp", "/mnt"), WRONG, &["tmp"]),
    (
        "a user that isn't in the image",
        |config| security(config).run_as_username = "stranger".to_owned(),
        WRONG,
        &["stranger"],
    ),
    (
        "a group without a user",
        |config| security(config).run_as_group = Some(v1::Int64Value { value: 1 }),
        WRONG,
        &["run_as_user"],
    ),
    (
        "a user and a user name",
        |config| {
            security(config).run_as_user = Some(v1::Int64Value { value: 1 });
            security(config).run_as_username = "root".to_owned();
        },
        WRONG,
        &["run_as_user"],
    ),
    ("a negative user", |config| security(config).run_as_user = Some(v1::Int64Value { value: -1 }), WRONG, &["-1"]),
    ("a relative working folder", |config| config.working_dir = "tmp".to_owned(), WRONG, &["working_dir"]),
    ("a log that climbs out", |config| config.log_path = "../../escaped.log".to_owned(), WRONG, &["log_path"]),
    (
        "a seccomp profile that isn't there",
        |config| {
            security(config).seccomp = Some(v1::SecurityProfile {
                profile_type: v1::security_profile::ProfileType::Localhost.into(),
                localhost_ref: "/not/there/profile.json".to_owned(),
            });
        },
        WRONG,
        &["/not/there/profile.json"],
    ),
    (
        "a device that isn't there",
        |config| {
            config.devices.push(v1::Device {
                host_path: "/dev/not-there".to_owned(),
                container_path: "/dev/x".to_owned(),
                permissions: "rwm".to_owned(),
            });
        },
        WRONG,
        &["/dev/not-there"],
    ),
    (
        "a variable without a name",
        |config| config.envs.push(v1::KeyValue { key: String::new(), value: "x".to_owned() }),
        WRONG,
        &["env"],
    ),
];

#[test]
fn bad_pods_are_refused_and_leave_nothing() {
    let lab = Lab::start();
    let before = lab.guard.now();
    for (what, spoil, codes, words) in BAD_PODS {
        let mut config = pod_config(&lab.node, "bad");
        spoil(&mut config);
        assert_refused(what, Pod::run_with(&lab.node, config), codes, words);
    }
    let client = lab.node.client();
    let config = Some(pod_config(&lab.node, "bad"));
    let handler = v1::RunPodSandboxRequest { config, runtime_handler: "unheard-of".to_owned() };
    assert_refused("an unknown handler", client.run_pod_sandbox(handler), WRONG, &["unheard-of"]);
    let nothing = v1::RunPodSandboxRequest::default();
    assert_refused("no config", client.run_pod_sandbox(nothing), WRONG, &["config"]);
    assert_eq!(crate::pods(&client), [""; 0]);
    assert_eq!(lab.guard.differences(&before), []);
}

#[test]
fn bad_containers_are_refused_at_create_and_leave_nothing() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "hosts-bad-ones");
    let before = lab.guard.now();
    for (what, spoil, codes, words) in BAD_CONTAINERS {
        let mut config = container_config("bad", &lab.image(), WAITS);
        spoil(&mut config);
        assert_refused(what, pod.create(config), codes, words);
    }
    let commandless = container_config("bad", &lab.image_without_command(), &[]);
    assert_refused("no command at all", pod.create(commandless), WRONG, &["command"]);
    assert_eq!(crate::containers(pod.client()), [""; 0]);
    assert_eq!(lab.guard.differences(&before), []);
}

#[test]
fn programs_that_cannot_run_end_as_the_kubelet_expects() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "cannot-run");
    let before = lab.guard.now();
    for (name, command, folder, code, word) in [
        ("not-found", "/not/there", "/", 127, "/not/there"),
        ("not-in-path", "no-such-program", "/", 127, "no-such-program"),
        ("not-executable", "/etc/passwd", "/", 126, "/etc/passwd"),
        ("a-folder", "/etc", "/", 126, "/etc"),
        ("folder-is-a-file", "sh", "/etc/passwd", 0, "/etc/passwd"),
    ] {
        let mut config = container_config(name, &lab.image(), &[command]);
        config.working_dir = folder.to_owned();
        let id = pod.create(config).unwrap_or_else(|status| panic!("{name}: refused at create: {status}"));
        let status = pod.start(&id).expect_err(name);
        assert!(status.message().contains(word), "{name}: {word:?} is missing in {:?}", status.message());
        let end = pod.container(&id);
        assert_eq!(end.state(), v1::ContainerState::ContainerExited, "{name}");
        assert_eq!(end.reason, "StartError", "{name}: {end:?}");
        // Which code a folder that is none has is not fixed, only that it isn't success.
        assert!(if code == 0 { end.exit_code != 0 } else { end.exit_code == code }, "{name}: {end:?}");
        assert!(end.message.contains(word), "{name}: {word:?} is missing in {:?}", end.message);
        pod.remove_container(&id).unwrap();
    }
    assert_eq!(lab.guard.differences(&before), []);
}

#[test]
fn ids_that_could_be_paths_reach_nothing() {
    let lab = Lab::start();
    let client = lab.node.client();
    let before = lab.guard.now();
    for id in ["a/b", "../../../etc/passwd", "/", ".", "..", "", "a\0b", "ü"] {
        let codes = &[Code::InvalidArgument, Code::NotFound];
        let own = || id.to_owned();
        let status = v1::PodSandboxStatusRequest { pod_sandbox_id: own(), verbose: true };
        assert_refused(id, client.pod_sandbox_status(status), codes, &[]);
        let status = v1::ContainerStatusRequest { container_id: own(), verbose: true };
        assert_refused(id, client.container_status(status), codes, &[]);
        assert_refused(id, client.start_container(v1::StartContainerRequest { container_id: own() }), codes, &[]);
        let exec = v1::ExecSyncRequest { container_id: own(), cmd: vec!["true".to_owned()], timeout: 1 };
        assert_refused(id, client.exec_sync(exec), codes, &[]);
        let create = v1::CreateContainerRequest {
            pod_sandbox_id: own(),
            config: Some(container_config("c", "x", WAITS)),
            sandbox_config: Some(pod_config(&lab.node, "p")),
        };
        assert_refused(id, client.create_container(create), codes, &[]);
        // These succeed for what isn't there; a malformed id may be refused, and must not do anything.
        let quiet = [
            client.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: own() }).map(|_| ()),
            client.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: own() }).map(|_| ()),
            client.stop_container(v1::StopContainerRequest { container_id: own(), timeout: 0 }).map(|_| ()),
            client.remove_container(v1::RemoveContainerRequest { container_id: own() }).map(|_| ()),
        ];
        for status in quiet.into_iter().filter_map(Result::err) {
            assert_eq!(status.code(), Code::InvalidArgument, "{id:?}: {status}");
        }
    }
    assert_eq!(lab.guard.differences(&before), []);
}

#[test]
fn bad_references_are_refused_and_absent_images_named() {
    let lab = Lab::start();
    let client = lab.node.client();
    let absent = lab.reference("nobody/made/this", "1");
    for (what, reference, codes, word) in [
        ("empty", "", WRONG, "image"),
        ("blank", "a b", WRONG, "a b"),
        ("capitals", "UPPER/Case", WRONG, "UPPER/Case"),
        ("a digest cut short", "busybox@sha256:0a0b", WRONG, "sha256:0a0b"),
        ("a path", "../../etc/passwd", WRONG, "../../etc/passwd"),
        ("not at the registry", absent.as_str(), &[Code::NotFound][..], "nobody/made/this"),
    ] {
        let request = v1::PullImageRequest { image: Some(image(reference)), ..Default::default() };
        assert_refused(what, client.pull_image(request), codes, &[word]);
    }
    // Nobody listens there: the kubelet knows this failure by its first word.
    let request = v1::PullImageRequest { image: Some(image("127.0.0.1:1/a/b:1")), ..Default::default() };
    let status = client.pull_image(request).unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
    assert!(status.message().starts_with("RegistryUnavailable"), "{status}");
    assert!(client.list_images(v1::ListImagesRequest::default()).unwrap().images.is_empty());
}

#[test]
fn damaged_and_hostile_layers_are_refused_and_leave_nothing() {
    let lab = Lab::start();
    let client = lab.node.client();
    let before = lab.guard.now();
    let outside = lab.node.ground().join("escaped");
    for (what, reference) in lab.bad_images() {
        let request = v1::PullImageRequest { image: Some(image(&reference)), ..Default::default() };
        let answer = client.pull_image(request);
        assert_refused(what, answer, &[Code::DataLoss, Code::InvalidArgument], &[]);
        assert!(!outside.exists(), "{what} wrote outside its tree");
    }
    assert!(client.list_images(v1::ListImagesRequest::default()).unwrap().images.is_empty());
    assert_eq!(lab.guard.differences(&before), []);
}
