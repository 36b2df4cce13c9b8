//! orlopd is killed under thirty Docker containers and ten pods, and four of the former die while no daemon runs.

use super::look::{LIMIT, becomes, end, pid};
use orlop_testkit::client::v1;
use orlop_testkit::docker::said;
use orlop_testkit::guard::Process;
use orlop_testkit::lab::Lab;
use orlop_testkit::{Node, Pod, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// Docker containers that go on writing through it all; with the four that die they are thirty.
const STAY: usize = 26;
/// Pods that go on writing.
const PODS: usize = 10;
/// Those that die: started again whenever they end, and removed when they end.
const ALWAYS: [&str; 2] = ["always-0", "always-1"];
const GOES: [&str; 2] = ["goes-0", "goes-1"];
/// What a container returns that is asked to end.
const CODE: &str = "7";
/// One that is waited for.
const WAITED_FOR: &str = "stays-3";
/// Lines that everyone has written before the daemon dies, and again while none runs, and again after.
const SOME_LINES: u64 = 5;

/// Counts in lines, and after each line says so in a file that no daemon and no shim knows of.
fn counting(name: &str) -> String {
    format!("trap 'exit {CODE}' TERM; i=0; while :; do i=$((i+1)); echo $i; echo $i >> /counts/{name}; sleep 0.1; done")
}

/// What all of them stand on.
struct Scene {
    lab: Lab,
    image: String,
    counts: PathBuf,
    pods: Vec<(Pod, String)>,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::alone_with_docker();
        let (image, counts) = (lab.image(), lab.node.ground().join("counts"));
        fs::create_dir(&counts).unwrap();
        lab.node.docker().ok(["pull", "-q", &image]);
        let mut scene = Self { lab, image, counts, pods: Vec::new() };
        scene.pods = (0..PODS).map(|n| scene.pod(&format!("pod-{n}"))).collect();
        for name in stay() {
            scene.run(&name, rule(&name));
        }
        ALWAYS.iter().for_each(|name| scene.run(name, &["--restart", "always"]));
        GOES.iter().for_each(|name| scene.run(name, &["--rm"]));
        scene
    }

    fn run(&self, name: &str, rule: &[&str]) {
        let bind = format!("{}:/counts", self.counts.display());
        let program = counting(name);
        let first = ["run", "-d", "--name", name, "-v", &bind];
        let last = [self.image.as_str(), "sh", "-c", &program];
        self.lab.node.docker().ok([&first, rule, &last].concat());
    }

    fn pod(&self, name: &str) -> (Pod, String) {
        let pod = Pod::run(&self.lab.node, name);
        let mut config = orlop_testkit::pod::container_config(name, &self.image, &["sh", "-c", &counting(name)]);
        config.mounts.push(v1::Mount {
            container_path: "/counts".to_owned(),
            host_path: self.counts.display().to_string(),
            ..Default::default()
        });
        let id = pod.create(config).unwrap();
        pod.start(&id).unwrap();
        (pod, id)
    }

    /// Returns how many lines a container has certainly written, in its last run.
    fn count(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.counts.join(name)).unwrap_or_default();
        // The last one may be just being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().last().map_or(0, |line| line.parse().unwrap())
    }

    /// Waits until each has written some more.
    fn all_write(&self, names: &[String]) {
        let before: BTreeMap<&String, u64> = names.iter().map(|name| (name, self.count(name))).collect();
        wait_until(LIMIT, "everyone has written some more", || {
            before.iter().all(|(name, count)| self.count(name) >= count + SOME_LINES).then_some(())
        });
    }

    /// Returns what Docker and the CRI say of those that stay: the first process, and what would change with a new one.
    fn shown(&self) -> BTreeMap<String, String> {
        let names: Vec<String> = stay().collect();
        let format = "{{.Name}} {{.State.Pid}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}";
        let inspect = ["inspect", "--format", format].into_iter().chain(names.iter().map(String::as_str));
        let said = self.lab.node.docker().ok(inspect.collect::<Vec<_>>());
        let docker = said.lines().map(|line| line.strip_prefix('/').unwrap().split_once(' ').unwrap());
        let docker = docker.map(|(name, rest)| (name.to_owned(), rest.to_owned()));
        let client = self.lab.node.client();
        let pods = self.pods.iter().map(|(pod, id)| {
            let request = v1::ContainerStatusRequest { container_id: id.clone(), verbose: true };
            let answer = client.container_status(request).unwrap();
            let (status, info) = (answer.status.unwrap(), info(&answer.info));
            let shown = format!("{} {:?} {} {:?}", info["pid"], status.state(), status.started_at, pod_state(pod));
            (status.metadata.unwrap().name, shown)
        });
        docker.chain(pods).collect()
    }
}

fn stay() -> impl Iterator<Item = String> {
    (0..STAY).map(|n| format!("stays-{n}"))
}

/// Policies also apply to who outlived the daemon.
fn rule(name: &str) -> &'static [&'static str] {
    match name {
        "stays-0" => &["--restart", "always"],
        "stays-1" => &["--rm"],
        _ => &[],
    }
}

fn info(info: &std::collections::HashMap<String, String>) -> serde_json::Value {
    serde_json::from_str(&info["info"]).unwrap()
}

fn pod_state(pod: &Pod) -> (v1::PodSandboxState, String) {
    let status = pod.status();
    (status.state(), status.network.unwrap().ip)
}

/// Returns where the numbers of each run end; within a run they must follow each other.
#[track_caller]
fn runs(log: &str) -> Vec<u64> {
    let mut runs: Vec<u64> = Vec::new();
    for line in log.lines() {
        let number = line.parse().unwrap_or_else(|_| panic!("{line:?} is no number"));
        match runs.last_mut() {
            Some(last) if number == *last + 1 => *last = number,
            _ if number == 1 => runs.push(1),
            last => panic!("{number} follows {last:?}"),
        }
    }
    runs
}

/// Returns who runs by those first processes, and since when.
fn processes(shown: &BTreeMap<String, String>) -> BTreeMap<u32, u64> {
    let pids = shown.values().map(|text| text.split(' ').next().unwrap().parse().unwrap());
    pids.map(|pid| (pid, Process::read(pid).unwrap_or_else(|| panic!("process {pid} is gone")).started)).collect()
}

/// What lists say the moment the daemon is back: all of them, the restarted ones too, and nobody else.
fn lists_are_right(scene: &Scene) {
    let said = scene.lab.node.docker().ok(["ps", "--format", "{{.Names}} {{.State}}"]);
    let listed: BTreeMap<&str, &str> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let names: Vec<String> = stay().chain(ALWAYS.map(str::to_owned)).collect();
    assert_eq!(listed.len(), names.len(), "{said}");
    for name in &names {
        let state = listed.get(name.as_str()).copied();
        let restarted = state == Some("restarting") && ALWAYS.contains(&name.as_str());
        assert!(state == Some("running") || restarted, "{name} is {state:?}: {said}");
    }
    let client = scene.lab.node.client();
    let containers = client.list_containers(v1::ListContainersRequest::default()).unwrap().containers;
    let mut ids: Vec<_> = containers.iter().map(|container| (container.id.clone(), container.state())).collect();
    let running = v1::ContainerState::ContainerRunning;
    let mut expected: Vec<_> = scene.pods.iter().map(|(_, id)| (id.clone(), running)).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let sandboxes = client.list_pod_sandbox(v1::ListPodSandboxRequest::default()).unwrap().items;
    assert_eq!(sandboxes.len(), PODS);
    assert!(sandboxes.iter().all(|pod| pod.state() == v1::PodSandboxState::SandboxReady), "{sandboxes:?}");
}

/// Every line is there that a container has written so far, once.
fn logs_are_whole(scene: &Scene) {
    let docker = scene.lab.node.docker();
    for name in stay() {
        let written = scene.count(&name);
        wait_until(
            LIMIT,
            &format!("the log of {name} has all lines"),
            || match runs(&docker.ok(["logs", &name]))[..] {
                [last] => (last >= written).then_some(()),
                ref other => panic!("the log of {name} has runs to {other:?}"),
            },
        );
    }
    for (pod, _) in &scene.pods {
        let name = pod.config.metadata.clone().unwrap().name;
        let written = scene.count(&name);
        let text = || pod.log(&name).into_iter().map(|line| line.text + "\n").collect::<String>();
        wait_until(LIMIT, &format!("the log of {name} has all lines"), || match runs(&text())[..] {
            [last] => (last >= written).then_some(()),
            ref other => panic!("the log of {name} has runs to {other:?}"),
        });
    }
}

/// Returns a client that waits for the end of a container.
fn wait_for_end(node: &Node) -> Child {
    node.docker().command(["wait", WAITED_FOR]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn thirty_containers_and_ten_pods_outlive_the_daemon_and_who_dies_meanwhile_is_dealt_with() {
    let mut scene = Scene::new();
    let staying: Vec<String> = stay().chain((0..PODS).map(|n| format!("pod-{n}"))).collect();
    let dying = ALWAYS.iter().chain(&GOES);
    let everyone: Vec<String> = staying.iter().cloned().chain(dying.clone().map(ToString::to_string)).collect();
    let cut_off = wait_for_end(&scene.lab.node);
    scene.all_write(&everyone);
    let before = scene.shown();
    let ran = processes(&before);
    let doomed: Vec<i32> = dying.map(|name| pid(&scene.lab.node.docker(), name)).collect();

    scene.lab.node.kill();
    let cut_off = said(&cut_off.wait_with_output().unwrap());
    assert!(cut_off.code != 0 && cut_off.stdout.is_empty(), "{cut_off:?}");
    doomed.into_iter().for_each(end);
    let died = ALWAYS.map(|name| scene.count(name));
    scene.all_write(&staying);
    scene.lab.node.start_again();

    lists_are_right(&scene);
    let client = &scene.lab.node;
    scene.pods.iter_mut().for_each(|(pod, _)| pod.reconnect(client));
    assert_eq!(scene.shown(), before);
    assert_eq!(processes(&scene.shown()), ran);
    let docker = scene.lab.node.docker();
    ALWAYS.iter().for_each(|name| becomes(&docker, name, "{{.State.Running}} {{.RestartCount}}", "true 1"));
    wait_until(LIMIT, "those that were to go are gone", || {
        docker.ok(["ps", "-aq", "--filter", "name=goes-"]).is_empty().then_some(())
    });
    let gone = docker.run(["inspect", GOES[0]]);
    assert!(gone.code == 1 && gone.stderr.contains("No such object"), "{gone:?}");
    scene.all_write(&everyone[..everyone.len() - GOES.len()]);
    logs_are_whole(&scene);
    for (name, died) in ALWAYS.iter().zip(died) {
        let runs = runs(&docker.ok(["logs", name]));
        // Its last line may have come just before its end.
        assert!(runs.len() == 2 && (died..=died + 1).contains(&runs[0]), "{name} died at {died}, its log: {runs:?}");
    }

    for (name, restarts) in [(ALWAYS[0], 2), (ALWAYS[1], 2), ("stays-0", 1)] {
        end(pid(&docker, name));
        becomes(&docker, name, "{{.State.Running}} {{.RestartCount}}", &format!("true {restarts}"));
    }
    end(pid(&docker, "stays-1"));
    wait_until(LIMIT, "the other one that is removed at its end is gone", || {
        docker.ok(["ps", "-aq", "--filter", "name=^stays-1$"]).is_empty().then_some(())
    });
    let anew = wait_for_end(&scene.lab.node);
    docker.ok(["kill", "-s", "TERM", WAITED_FOR]);
    assert_eq!(said(&anew.wait_with_output().unwrap()).stdout, format!("{CODE}\n"));
}
