//! Containers from the pull of their image to their removal.

use orlop_testkit::lab::Lab;

#[test]
fn a_detached_container_is_listed_read_stopped_and_removed() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    let version = docker.ok(["version", "--format", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}"]);
    assert_eq!(version, "1.51 1.24");
    let pulled = docker.ok(["pull", &image]);
    assert!(pulled.contains("Pull complete") && pulled.contains("Status: Downloaded newer image for"), "{pulled}");
    assert!(docker.ok(["pull", &image]).contains("Status: Image is up to date for"));
    assert_eq!(docker.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]), image);

    let id = docker.ok([
        "run",
        "-d",
        "--name",
        "web",
        "-l",
        "a=b",
        &image,
        "sh",
        "-c",
        "echo out; echo err >&2; exec sleep 1000",
    ]);
    assert_eq!(id.len(), 64);
    assert_eq!(docker.ok(["ps", "--format", "{{.Names}} {{.State}} {{.Image}}"]), format!("web running {image}"));
    assert_eq!(
        docker.ok(["inspect", "web", "--format", "{{.Id}} {{.State.Running}} {{.Config.Hostname}}"]),
        format!("{id} true {}", &id[..12])
    );
    orlop_testkit::wait::wait_until(std::time::Duration::from_secs(10), "both lines are in the log", || {
        let said = docker.run(["logs", "web"]);
        (said.stdout == "out\n" && said.stderr == "err\n").then_some(())
    });
    assert_eq!(docker.ok(["stop", "-t", "0", "web"]), "web");
    assert_eq!(docker.ok(["ps", "-q"]), "");
    assert!(docker.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137)"));
    assert_eq!(docker.ok(["rm", "web"]), "web");
    assert_eq!(docker.ok(["ps", "-aq"]), "");
    let gone = docker.run(["rm", "web"]);
    assert_eq!((gone.code, gone.stderr.as_str()), (1, "Error response from daemon: No such container: web\n"));
}
