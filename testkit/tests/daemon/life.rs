//! A pod's life, as a kubelet leads it.

use crate::{WAITS, containers, pods};
use orlop_testkit::client::{image, v1};
use orlop_testkit::lab::Lab;
use orlop_testkit::pod::{PROGRAM_LIMIT, container_config, container_status, pod_config};
use orlop_testkit::{Pod, wait_until};
use std::time::Duration;

#[test]
fn pod_runs_from_pull_to_removal() {
    let lab = Lab::start();
    let client = lab.node.client();
    let pulled = client.pull_image(v1::PullImageRequest { image: Some(image(&lab.image())), ..Default::default() });
    let image_ref = pulled.unwrap().image_ref;
    let pod = Pod::run(&lab.node, "whole-life");
    assert_eq!(pod.status().state(), v1::PodSandboxState::SandboxReady);
    let id = pod.launch("web", &lab.image(), &["sh", "-c", "echo starting; exec httpd -f -p 80 -h /www"]);

    let status = pod.container(&id);
    assert_eq!(status.state(), v1::ContainerState::ContainerRunning);
    assert_eq!(status.image_ref, image_ref, "the id that the pull returned");
    let (line, body) = wait_until(PROGRAM_LIMIT, "the server answers", || {
        lab.node.ground().http_get(pod.address(), 80, "/index.html").ok()
    });
    assert!(line.contains("200"), "{line}");
    assert_eq!(body, "a page\n");
    let (code, stdout, stderr) = pod.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (3, "out\n", "err\n"));
    assert_eq!(pod.log("web")[0].text, "starting");

    pod.stop_container(&id, 0).unwrap();
    assert_eq!(pod.ended(&id).exit_code, 137, "killed at once");
    pod.remove_container(&id).unwrap();
    assert_eq!(containers(&client), [""; 0]);
    pod.stop().unwrap();
    assert_eq!(pod.status().state(), v1::PodSandboxState::SandboxNotready);
    pod.remove().unwrap();
    assert_eq!(pods(&client), [""; 0]);
    let request = v1::RemoveImageRequest { image: Some(image(&lab.image())) };
    client.remove_image(request).unwrap();
    assert!(client.list_images(v1::ListImagesRequest::default()).unwrap().images.is_empty());
}

#[test]
fn two_pods_reach_each_other_over_the_bridge() {
    let lab = Lab::with_image();
    let server = Pod::run(&lab.node, "server");
    let client = Pod::run(&lab.node, "client");
    server.launch("web", &lab.image(), &["httpd", "-f", "-p", "8080", "-h", "/www"]);
    let waits = client.launch("waits", &lab.image(), WAITS);
    let url = format!("http://{}:8080/index.html", server.address());
    let page = wait_until(PROGRAM_LIMIT, "the page is there", || {
        client.exec(&waits, &["wget", "-q", "-O", "-", &url]).ok().filter(|(code, ..)| *code == 0)
    });
    assert_eq!(page.1, "a page\n");
    assert_ne!(server.address(), client.address());
}

#[test]
fn lines_of_both_streams_are_logged_as_the_kubelet_reads_them() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "logs");
    let id = pod.launch("both", &lab.image(), &["sh", "-c", "echo one; echo two >&2; printf tail"]);
    pod.ended(&id);
    let mut lines: Vec<_> = pod.log("both").into_iter().map(|line| (line.stream, line.tag, line.text)).collect();
    lines.sort();
    let expected = [("stderr", "F", "two"), ("stdout", "F", "one"), ("stdout", "P", "tail")];
    assert_eq!(lines, expected.map(|(stream, tag, text)| (stream.to_owned(), tag.to_owned(), text.to_owned())));
}

#[test]
fn ends_are_told_with_code_reason_and_times() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "ends");
    for (name, program, code, reason) in
        [("well", "exit 0", 0, "Completed"), ("badly", "exit 7", 7, "Error"), ("killed", "kill -9 $$", 137, "Error")]
    {
        // A shell that is pid 1 can't kill itself, so it lets a child do the work and repeats its code.
        let program = format!("(sh -c '{program}'); exit $?");
        let id = pod.launch(name, &lab.image(), &["sh", "-c", &program]);
        let status = pod.ended(&id);
        assert_eq!((status.exit_code, status.reason.as_str()), (code, reason), "{name}");
        assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at, "{status:?}");
    }
}

#[test]
fn stop_asks_first_and_kills_after_the_grace() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "stop");
    let polite = pod.launch("polite", &lab.image(), WAITS);
    let deaf = pod.launch("deaf", &lab.image(), &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
    for name in ["polite", "deaf"] {
        wait_until(PROGRAM_LIMIT, "the trap is set", || pod.log(name).first().cloned());
    }
    let begun = std::time::Instant::now();
    pod.stop_container(&polite, 30).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it ended by itself, in {:?}", begun.elapsed());
    assert_eq!(pod.ended(&polite).exit_code, 0);
    let begun = std::time::Instant::now();
    pod.stop_container(&deaf, 1).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was given its grace, {:?}", begun.elapsed());
    assert_eq!(pod.ended(&deaf).exit_code, 137);
}

#[test]
fn mounts_environment_and_user_are_as_asked() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "asked");
    let shared = lab.node.ground().join("tmp/shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("given"), "by the host").unwrap();
    let script =
        "cat /given/given; echo; echo $WORD; id -u; pwd; hostname; touch /given/no 2>/dev/null || echo readonly";
    let mut config = container_config("asked", &lab.image(), &["sh", "-c", script]);
    config.envs = vec![v1::KeyValue { key: "WORD".to_owned(), value: "as asked".to_owned() }];
    config.working_dir = "/tmp".to_owned();
    config.mounts = vec![v1::Mount {
        container_path: "/given".to_owned(),
        host_path: shared.display().to_string(),
        readonly: true,
        ..Default::default()
    }];
    let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    security.run_as_user = Some(v1::Int64Value { value: 1234 });
    let id = pod.create(config).unwrap();
    pod.start(&id).unwrap();
    assert_eq!(pod.ended(&id).exit_code, 0);
    let lines: Vec<String> = pod.log("asked").into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["by the host", "as asked", "1234", "/tmp", "asked", "readonly"]);
    std::fs::remove_dir_all(shared).unwrap();
}

#[test]
fn a_mount_whose_source_is_not_there_gets_a_folder_of_roots() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "made");
    let parent = lab.node.ground().join("tmp/parent");
    let source = parent.join("made");
    let mut config = container_config("made", &lab.image(), &["touch", "/made/file"]);
    config.mounts = vec![v1::Mount {
        container_path: "/made".to_owned(),
        host_path: source.display().to_string(),
        ..Default::default()
    }];
    let id = pod.create(config).unwrap();
    pod.start(&id).unwrap();
    assert_eq!(pod.ended(&id).exit_code, 0);
    let made = std::fs::metadata(&source).unwrap();
    assert_eq!((made.permissions().mode() & 0o7777, made.uid(), made.gid()), (0o755, 0, 0));
    assert!(source.join("file").exists());
    std::fs::remove_dir_all(parent).unwrap();
}

#[test]
fn exec_that_takes_too_long_is_ended_with_everything_it_started() {
    let lab = Lab::with_image();
    let pod = Pod::run(&lab.node, "exec");
    let id = pod.launch("waits", &lab.image(), WAITS);
    let request = v1::ExecSyncRequest {
        container_id: id.clone(),
        cmd: ["sh", "-c", "sleep 4321 & sleep 4321"].map(str::to_owned).to_vec(),
        timeout: 1,
    };
    let status = pod.client().exec_sync(request).unwrap_err();
    assert_eq!(status.code(), orlop_testkit::Code::DeadlineExceeded, "{status}");
    wait_until(Duration::from_secs(5), "the exec's processes are gone", || {
        let (_, processes, _) = pod.exec(&id, &["ps", "-o", "args"]).unwrap();
        (!processes.contains("4321")).then_some(())
    });
}

#[test]
fn node_says_that_it_is_ready_and_what_it_is() {
    let lab = Lab::start();
    let client = lab.node.client();
    let version = client.version(v1::VersionRequest::default()).unwrap();
    assert_eq!((version.version.as_str(), version.runtime_api_version.as_str()), ("0.1.0", "v1"));
    assert_eq!(version.runtime_name, "orlop");
    let status = client.status(v1::StatusRequest { verbose: true }).unwrap().status.unwrap();
    for name in ["RuntimeReady", "NetworkReady"] {
        let condition = status.conditions.iter().find(|condition| condition.r#type == name).expect(name);
        assert!(condition.status, "{condition:?}");
    }
    let config = client.runtime_config(v1::RuntimeConfigRequest::default()).unwrap();
    assert_eq!(config.linux.unwrap().cgroup_driver(), v1::CgroupDriver::Cgroupfs);
}

#[test]
fn what_is_not_built_says_so() {
    let lab = Lab::start();
    let request = v1::CheckpointContainerRequest { container_id: "0".repeat(64), ..Default::default() };
    let status = lab.node.client().checkpoint_container(request).unwrap_err();
    assert_eq!(status.code(), orlop_testkit::Code::Unimplemented, "{status}");
}

#[test]
fn lists_are_filtered() {
    let lab = Lab::with_image();
    let (one, two) = (Pod::run(&lab.node, "one"), Pod::run(&lab.node, "two"));
    let container = one.launch("c", &lab.image(), WAITS);
    two.launch("c", &lab.image(), &["true"]);
    let client = lab.node.client();
    let pods = |filter: v1::PodSandboxFilter| {
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        client.list_pod_sandbox(request).unwrap().items.into_iter().map(|pod| pod.id).collect::<Vec<_>>()
    };
    assert_eq!(pods(v1::PodSandboxFilter { id: one.id.clone(), ..Default::default() }), vec![one.id.clone()]);
    let labels = std::collections::HashMap::from([("app".to_owned(), "two".to_owned())]);
    assert_eq!(pods(v1::PodSandboxFilter { label_selector: labels, ..Default::default() }), vec![two.id.clone()]);
    assert_eq!(pods(v1::PodSandboxFilter { id: "f".repeat(64), ..Default::default() }), [""; 0]);
    let filter = v1::ContainerFilter { pod_sandbox_id: one.id.clone(), ..Default::default() };
    let list = client.list_containers(v1::ListContainersRequest { filter: Some(filter) }).unwrap().containers;
    assert_eq!(list.into_iter().map(|container| container.id).collect::<Vec<_>>(), [container]);
}

#[test]
fn pods_on_the_nodes_network_have_its_links_and_no_address_of_their_own() {
    let lab = Lab::with_image();
    let mut config = pod_config(&lab.node, "host-network");
    config.hostname = String::new();
    let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    security.namespace_options.as_mut().unwrap().network = v1::NamespaceMode::Node.into();
    let pod = Pod::run_with(&lab.node, config).unwrap();
    assert_eq!(pod.status().network.unwrap_or_default().ip, "");
    let mut config = container_config("looks", &lab.image(), &["sh", "-c", "readlink /proc/self/ns/net"]);
    let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    security.namespace_options.as_mut().unwrap().network = v1::NamespaceMode::Node.into();
    let id = pod.create(config).unwrap();
    pod.start(&id).unwrap();
    pod.ended(&id);
    assert_eq!(pod.log("looks")[0].text, format!("net:[{}]", lab.node.ground().netns_inode()));
    assert_eq!(container_status(pod.client(), &id).unwrap().exit_code, 0);
}
