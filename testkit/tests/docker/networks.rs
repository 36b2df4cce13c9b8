//! Docker's networks: bridge, host and none, ports of the node, names.

use orlop_testkit::lab::Lab;
use orlop_testkit::wait::wait_until;
use std::time::Duration;

/// What a container says that ends by itself.
fn said(lab: &Lab, args: &[&str]) -> String {
    let docker = lab.node.docker();
    let id = docker.ok([&["run", "-d"], args].concat());
    docker.ok(["wait", &id]);
    docker.ok(["logs", &id])
}

#[test]
fn container_finds_itself_by_its_name_on_a_network_of_its_own() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", &image]);
    let hosts = said(
        &lab,
        &[
            "--name",
            "web",
            "--hostname",
            "web",
            "--domainname",
            "example.org",
            "--add-host",
            "db:10.0.0.9",
            &image,
            "cat",
            "/etc/hosts",
        ],
    );
    let own = hosts.lines().last().unwrap();
    assert!(own.starts_with("10.") && own.ends_with("\tweb.example.org web"), "{hosts}");
    assert!(hosts.contains("10.0.0.9\tdb\n"), "{hosts}");
    assert!(said(&lab, &[&image, "cat", "/proc/net/dev"]).contains("eth0"));
    let none = said(&lab, &["--network", "none", &image, "cat", "/proc/net/dev"]);
    assert!(none.contains("lo:") && !none.contains("eth0"), "{none}");
}

#[test]
fn port_of_the_node_leads_to_a_container_and_to_no_second_one() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", &image]);
    docker.ok(["run", "-d", "--name", "one", "-p", "80", "-p", "127.0.0.1:18080:81", &image, "sleep", "1000"]);
    let any = docker.ok(["port", "one", "80"]);
    let number: u16 = any.lines().next().unwrap().strip_prefix("0.0.0.0:").unwrap().parse().unwrap();
    assert!(number > 1024, "{any}");
    assert_eq!(docker.ok(["port", "one", "81"]), "127.0.0.1:18080");
    let taken = docker.run(["run", "-d", "--name", "two", "-p", "127.0.0.1:18080:80", &image, "sleep", "1000"]);
    assert!(
        taken.code == 125 && taken.stderr.contains("Bind for 127.0.0.1:18080 failed: port is already allocated"),
        "{taken:?}"
    );
    docker.ok(["rm", "-f", "one"]);
    docker.ok(["start", "two"]);
    wait_until(Duration::from_secs(10), "the port leads to the second one", || {
        (docker.ok(["port", "two", "80"]) == "127.0.0.1:18080").then_some(())
    });
    docker.ok(["rm", "-f", "two"]);
}
