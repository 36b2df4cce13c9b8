//! Volumes: made, filled, shared, kept and removed.

use orlop_testkit::lab::Lab;

#[test]
fn a_volume_outlives_its_containers_and_the_daemon() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    let docker = lab.node.docker();
    docker.ok(["pull", "-q", &image]);
    assert_eq!(docker.ok(["volume", "create", "--label", "a=b", "mine"]), "mine");
    docker.ok(["run", "--rm", "-v", "mine:/data", &image, "sh", "-c", "echo kept > /data/file"]);
    docker.ok(["run", "-d", "--name", "holder", "-v", "mine:/data:ro", &image, "sleep", "1000"]);
    lab.node.kill();
    lab.node.start_again();

    let docker = lab.node.docker();
    assert_eq!(docker.ok(["volume", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "label=a=b"]), "mine local");
    assert_eq!(docker.ok(["exec", "holder", "cat", "/data/file"]), "kept");
    let refused = docker.run(["exec", "holder", "touch", "/data/x"]);
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");
    let mount = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}";
    assert_eq!(docker.ok(["inspect", "holder", "--format", mount]), "volume mine /data false");
    let in_use = docker.run(["volume", "rm", "mine"]);
    assert!(in_use.code == 1 && in_use.stderr.contains("volume is in use"), "{in_use:?}");
    // What another one has, its neighbour can have too.
    assert_eq!(docker.ok(["run", "--rm", "--volumes-from", "holder", &image, "cat", "/data/file"]), "kept");
    docker.ok(["rm", "-f", "-v", "holder"]);
    assert_eq!(docker.ok(["volume", "ls", "-q"]), "mine", "one with a name is not removed with its container");
    docker.ok(["volume", "prune", "-f"]);
    assert_eq!(docker.ok(["volume", "ls", "-q"]), "mine", "nor by a pruning of those without");
    docker.ok(["volume", "rm", "mine"]);
    assert_eq!(docker.ok(["volume", "ls", "-q"]), "");
}

#[test]
fn an_empty_volume_is_filled_by_the_image_and_goes_with_its_container_when_asked() {
    let lab = Lab::with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    // The image has a page there.
    let said = docker.ok([
        "run",
        "--name",
        "box",
        "-v",
        "/www",
        &image,
        "sh",
        "-c",
        "cat /www/index.html; echo own > /www/own",
    ]);
    assert_eq!(said, "a page");
    assert_eq!(docker.ok(["run", "--rm", "--volumes-from", "box", &image, "cat", "/www/own"]), "own");
    let volumes = || docker.ok(["volume", "ls", "-q"]);
    assert_eq!(volumes().len(), 64);
    assert_eq!(docker.ok(["run", "--rm", "-v", "/www", &image, "ls", "/www"]), "index.html");
    assert_eq!(volumes().len(), 64, "one of a container that removes itself goes with it");
    assert_eq!(
        docker.ok(["run", "--rm", "--mount", "type=volume,target=/www,volume-nocopy", &image, "ls", "/www"]),
        ""
    );
    docker.ok(["rm", "-v", "box"]);
    assert_eq!(volumes(), "");

    docker.ok(["run", "--name", "box", "-v", "/www", &image, "true"]);
    docker.ok(["rm", "box"]);
    assert_eq!(volumes().len(), 64);
    docker.ok(["volume", "prune", "-f"]);
    assert_eq!(volumes(), "");
}

#[test]
fn changes_of_a_container_are_its_own() {
    let lab = Lab::with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    let script = "echo x > /www/new; rm /www/index.html; mkdir /made";
    docker.ok(["run", "--name", "box", &image, "sh", "-c", script]);
    assert_eq!(docker.ok(["diff", "box"]), "A /made\nC /www\nD /www/index.html\nA /www/new");
    docker.ok(["create", "--name", "fresh", &image, "true"]);
    assert_eq!(docker.ok(["diff", "fresh"]), "");
}

#[test]
fn an_image_of_a_container_has_what_it_wrote_and_not_what_it_deleted() {
    let mut lab = Lab::with_docker();
    let image = lab.image();
    let docker = lab.node.docker();
    docker.ok(["pull", "-q", &image]);
    let script = "echo x > /www/new; rm /www/index.html; rm -r /tmp; mkdir -p /tmp/fresh; ln /www/new /www/same";
    docker.ok(["run", "--name", "box", "-e", "A=b", &image, "sh", "-c", script]);
    let id = docker.ok(["commit", "-m", "said", "-a", "me", "box", "mine:1"]);
    assert_eq!(
        docker.ok(["inspect", "mine:1", "--format", "{{.Id}} {{.Comment}} {{.Author}}"]),
        format!("{id} said me")
    );
    let unnamed = docker.ok(["commit", "box"]);
    docker.ok(["rm", "box"]);
    lab.node.kill();
    lab.node.start_again();
    let docker = lab.node.docker();
    let look = "echo $A; ls /www /tmp; cat /www/same; stat -c %h /www/new";
    for image in ["mine:1", &unnamed] {
        let said = docker.ok(["run", "--rm", image, "sh", "-c", look]);
        assert_eq!(said, "b\n/tmp:\nfresh\n\n/www:\nnew\nsame\nx\n2", "{image}");
    }
    docker.ok(["rmi", "mine:1"]);
    docker.ok(["rmi", "-f", &unnamed]);
    assert_eq!(docker.ok(["images", "-aq"]).lines().count(), 1);
}
