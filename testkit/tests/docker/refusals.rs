//! What can't be is refused in the words users know, and leaves nothing behind.

use orlop_testkit::lab::Lab;

#[test]
fn bad_requests_are_refused_and_leave_nothing() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["run", "-d", "--name", "web", &image, "sleep", "1000"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["run", "-d", "--name", "web", &image, "true"],
            125,
            "The container name \"/web\" is already in use by container",
        ),
        (
            &["run", "--rm", "--mount", "type=bind,source=/no/such,target=/x", &image, "true"],
            125,
            "bind source path does not exist: /no/such",
        ),
        (&["run", "--rm", "-v", "a/b:/x", &image, "true"], 125, "includes invalid characters for a local volume name"),
        (&["run", "--rm", "--memory", "1k", &image, "true"], 125, "Minimum memory limit allowed is 6MB"),
        (&["run", "--rm", "--cap-add", "FLY", &image, "true"], 125, "unknown capability"),
        (&["run", "--rm", "--network", "nosuch", &image, "true"], 125, "network nosuch not found"),
        (&["rm", "web"], 1, "container is running"),
        (&["kill", "--signal", "NOSUCH", "web"], 1, "invalid signal: NOSUCH"),
        (&["unpause", "web"], 1, "is not paused"),
        (&["start", "nosuch"], 1, "No such container: nosuch"),
        (&["logs", "nosuch"], 1, "No such container: nosuch"),
        (&["rmi", &image], 1, "is using its referenced image"),
        (&["network", "create", "n"], 1, "is not built yet in orlop"),
        (&["volume", "create", "v"], 1, "volume name is too short"),
        (&["volume", "create", "-d", "nosuch", "vol"], 1, "plugin \"nosuch\" not found"),
        (&["volume", "rm", "nosuch"], 1, "no such volume"),
        (&["network", "inspect", "nosuch"], 1, "network nosuch not found"),
        (&["inspect", "nosuch"], 1, "No such object: nosuch"),
        (&["ps", "--filter", "nosuch=x"], 1, "invalid filter 'nosuch'"),
    ];
    for (args, code, says) in cases {
        let said = docker.run(*args);
        assert_eq!(said.code, *code, "docker {}: {said:?}", args.join(" "));
        assert!(said.stderr.contains(says), "docker {}: {said:?}", args.join(" "));
    }
    assert_eq!(docker.ok(["ps", "-a", "--format", "{{.Names}}"]), "web");
}
