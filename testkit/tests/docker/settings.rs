//! What a container is given: limits, mounts, names, environment, ports.

use orlop_testkit::lab::Lab;
use std::fs;

#[test]
fn a_container_has_what_it_was_given() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    let folder = lab.node.ground().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "content\n").unwrap();
    let bind = format!("{}:/data:ro", folder.display());
    let run = |args: &[&str], command: &[&str]| {
        docker.ok(["run", "--rm"]
            .iter()
            .chain(args)
            .chain([&image.as_str()])
            .chain(command)
            .copied()
            .collect::<Vec<_>>())
    };
    assert_eq!(run(&["-v", &bind], &["cat", "/data/file"]), "content");
    assert_eq!(run(&["-v", &bind], &["sh", "-c", "touch /data/x 2>/dev/null || echo refused"]), "refused");
    assert_eq!(run(&["-e", "A=b", "-w", "/www"], &["sh", "-c", "echo $A $PWD"]), "b /www");
    assert_eq!(run(&["--hostname", "box"], &["hostname"]), "box");
    assert_eq!(run(&["--read-only"], &["sh", "-c", "touch /x 2>/dev/null || echo refused"]), "refused");
    assert_eq!(run(&["--tmpfs", "/mem:size=1m"], &["sh", "-c", "echo x > /mem/x && cat /mem/x"]), "x");
    assert_eq!(run(&["-u", "1234:567"], &["id", "-u"]), "1234");
    assert_eq!(run(&["--add-host", "db:10.1.2.3"], &["sh", "-c", "grep -c '^10.1.2.3.*db' /etc/hosts"]), "1");
    assert_eq!(run(&["--network", "none"], &["sh", "-c", "ls /sys/class/net"]), "lo");
    assert_eq!(run(&["--entrypoint", "echo"], &["hi"]), "hi");
    assert_eq!(run(&["--init"], &["sh", "-c", "test $$ -ne 1 && echo child"]), "child");
    assert_eq!(run(&["--ulimit", "nofile=77:88"], &["sh", "-c", "ulimit -n"]), "77");
    assert_eq!(
        run(&["--mac-address", "02:42:ac:11:00:0a"], &["cat", "/sys/class/net/eth0/address"]),
        "02:42:ac:11:00:0a"
    );
    assert_eq!(run(&["--log-opt", "max-file=3", "--memory-reservation", "16m"], &["echo", "logged"]), "logged");
    assert_eq!(run(&["--device-cgroup-rule", "c 1:* rwm"], &["echo", "ruled"]), "ruled");
    assert_eq!(run(&["--memory", "32m", "--pids-limit", "50", "--cpus", "0.5"], &["echo", "limited"]), "limited");
}

#[test]
fn a_published_port_leads_inside() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok([
        "run", "-d", "--name", "web", "-p", "18080:80", "-p", "81", &image, "httpd", "-f", "-p", "80", "-h", "/www",
    ]);
    assert_eq!(docker.ok(["port", "web", "80"]), "0.0.0.0:18080");
    let chosen = docker.ok(["port", "web", "81"]);
    assert!(chosen.starts_with("0.0.0.0:"), "{chosen}");
    let address = docker.ok(["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]);
    let ground = lab.node.ground();
    let page = orlop_testkit::wait::wait_until(std::time::Duration::from_secs(10), "the page is served", || {
        ground.http_get(address.parse().ok()?, 80, "/index.html").ok().filter(|(status, _)| status.contains("200"))
    });
    assert_eq!(page.1, "a page\n");
    let taken = docker.run(["run", "-d", "-p", "18080:80", &image, "sleep", "10"]);
    assert_eq!(taken.code, 125, "{taken:?}");
    assert!(taken.stderr.contains("18080"), "{taken:?}");
}

#[test]
fn policies_restart_and_health_is_looked_at() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let image = lab.image();
    docker.ok(["pull", "-q", &image]);
    docker.ok(["run", "-d", "--name", "loop", "--restart", "always", &image, "false"]);
    let wait = |what: &str, done: &dyn Fn() -> Option<()>| {
        orlop_testkit::wait::wait_until(std::time::Duration::from_secs(20), what, done)
    };
    wait("it was restarted", &|| {
        let count: u32 = docker.ok(["inspect", "-f", "{{.RestartCount}}", "loop"]).parse().unwrap();
        (count >= 2).then_some(())
    });
    docker.ok(["stop", "loop"]);
    docker.ok([
        "run",
        "-d",
        "--name",
        "well",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
        &image,
        "sleep",
        "1000",
    ]);
    wait("it is healthy", &|| {
        (docker.ok(["inspect", "-f", "{{.State.Health.Status}}", "well"]) == "healthy").then_some(())
    });
    assert!(docker.ok(["ps", "--format", "{{.Status}}"]).contains("(healthy)"));
}
