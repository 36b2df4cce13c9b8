//! Pods with users of their own: where the node says that it can have them, and where it does not.

use crate::{WAITS, assert_refused};
use orlop_testkit::client::v1;
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{PROGRAM_LIMIT, container_config, pod_config};
use orlop_testkit::{Code, Pod, wait_until};
use std::os::unix::fs::MetadataExt;

/// First id of the node that pods here have, and how many: what a kubelet gives its second pod.
const FIRST: u32 = 131_072;
const COUNT: u32 = 65_536;

fn users(mode: v1::NamespaceMode) -> v1::NamespaceOption {
    let mapping = vec![v1::IdMapping { host_id: FIRST, container_id: 0, length: COUNT }];
    let userns = v1::UserNamespace { mode: mode as i32, uids: mapping.clone(), gids: mapping };
    v1::NamespaceOption { userns_options: Some(userns), ..Default::default() }
}

fn pod_with(lab: &Lab, name: &str, options: v1::NamespaceOption) -> v1::PodSandboxConfig {
    let mut config = pod_config(&lab.node, name);
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options = Some(options);
    config
}

fn container_with(lab: &Lab, name: &str, command: &[&str]) -> v1::ContainerConfig {
    let mut config = container_config(name, &lab.image(), command);
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options = Some(users(v1::NamespaceMode::Pod));
    config
}

fn node_can(lab: &Lab) -> bool {
    let status = lab.node.client().status(v1::StatusRequest::default()).unwrap();
    let default = status.runtime_handlers.iter().find(|handler| handler.name.is_empty()).unwrap();
    default.features.unwrap().user_namespaces
}

#[test]
fn pod_with_users_of_its_own_lives_as_others_do_or_is_refused() {
    let mut lab = Lab::with_image();
    let asked = pod_with(&lab, "users", users(v1::NamespaceMode::Pod));
    if !node_can(&lab) {
        let refused = lab
            .node
            .client()
            .run_pod_sandbox(v1::RunPodSandboxRequest { config: Some(asked), runtime_handler: String::new() });
        assert_refused("users of its own", refused, &[Code::Unimplemented], &["user namespaces", "this node"]);
        return;
    }
    let volume = lab.node.ground().join("tmp/volume");
    std::fs::create_dir(&volume).unwrap();
    let mut pod = Pod::run_with(&lab.node, asked).unwrap();
    let script = "cat /proc/self/uid_map; echo hers > /made; echo volume > /data/file; stat -c %u / /bin /made; \
                  exec httpd -f -p 80 -h /www";
    let mut config = container_with(&lab, "web", &["sh", "-c", script]);
    let mapping = vec![v1::IdMapping { host_id: FIRST, container_id: 0, length: COUNT }];
    config.mounts = vec![v1::Mount {
        container_path: "/data".to_owned(),
        host_path: volume.display().to_string(),
        uid_mappings: mapping.clone(),
        gid_mappings: mapping,
        ..Default::default()
    }];
    let id = pod.create(config).unwrap();
    pod.start(&id).unwrap();
    let page = || lab.node.ground().http_get(pod.address(), 80, "/index.html").ok();
    assert_eq!(wait_until(PROGRAM_LIMIT, "the server answers", page).1, "a page\n");
    // Its server answers without the shim, which may still be about to write.
    let written = || Some(pod.log("web")).filter(|lines| lines.len() == 4);
    let lines: Vec<String> =
        wait_until(PROGRAM_LIMIT, "all is logged", written).into_iter().map(|line| line.text).collect();
    let map: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(map, ["0", &FIRST.to_string(), &COUNT.to_string()]);
    assert_eq!(lines[1..], ["0", "0", "0"]);
    let stored = std::fs::metadata(volume.join("file")).unwrap();
    assert_eq!((stored.uid(), stored.gid()), (0, 0), "the volume holds the ids of inside");

    // A daemon that comes back finds it, and makes more of it.
    lab.node.kill();
    lab.node.start_again();
    pod.reconnect(&lab.node);
    let (code, stdout, _) = pod.exec(&id, &["sh", "-c", "id -u; cat /made"]).unwrap();
    assert_eq!((code, stdout.as_str()), (0, "0\nhers\n"));
    let more = container_with(&lab, "more", WAITS);
    let more = pod.create(more).unwrap();
    pod.start(&more).unwrap();
    pod.stop_container(&id, 0).unwrap();
    pod.stop().unwrap();
    pod.remove().unwrap();
    std::fs::remove_dir_all(volume).unwrap();
}

#[test]
fn users_that_can_not_be_are_refused_by_name() {
    let lab = Lab::with_image();
    let client = lab.node.client();
    let run = |options| {
        let config = Some(pod_with(&lab, "refused", options));
        client.run_pod_sandbox(v1::RunPodSandboxRequest { config, runtime_handler: String::new() })
    };
    let invalid = &[Code::InvalidArgument];
    for mode in [v1::NamespaceMode::Container, v1::NamespaceMode::Target] {
        assert_refused("a mode", run(users(mode)), invalid, &["userns_options", mode.as_str_name()]);
    }
    let on_the_nodes = v1::NamespaceOption { network: v1::NamespaceMode::Node as i32, ..users(v1::NamespaceMode::Pod) };
    assert_refused("the node's network", run(on_the_nodes), invalid, &["userns_options", "network NODE"]);

    let plain = Pod::run(&lab.node, "plain");
    let refused = plain.create(container_with(&lab, "one", WAITS));
    assert_refused("a container with other users than its pod", refused, invalid, &["userns_options", "differs"]);
}
