//! Records that can't be read, or say nothing that can: the others are not touched, and the log says whose they are.

use super::look::{pid, state};
use orlop_testkit::lab::Lab;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns both slots of what was asked of a container.
fn slots(root: &Path, id: &str) -> Vec<PathBuf> {
    let paths = [0, 1].map(|slot| root.join(format!("records/container-asked/{id}.{slot}")));
    let there: Vec<PathBuf> = paths.into_iter().filter(|path| path.exists()).collect();
    assert!(!there.is_empty(), "{id} has no record");
    there
}

/// Turns a bit of a record.
fn damage(record: &Path) {
    let mut bytes = fs::read(record).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(record, bytes).unwrap();
}

/// Makes a record whole that has an annex which is none. docs/on-disk.md "Records".
fn blank_annex(record: &Path) {
    let text = fs::read_to_string(record).unwrap();
    let (head, body) = text.split_once('\n').unwrap();
    let (mut head, mut body): (Value, Value) =
        (serde_json::from_str(head).unwrap(), serde_json::from_str(body).unwrap());
    body["annex"] = json!(b"no annex".to_vec());
    let body = body.to_string();
    let mut sum = Sha256::new();
    sum.update(head["generation"].as_u64().unwrap().to_le_bytes());
    sum.update(head["boot_id"].as_str().unwrap());
    sum.update(&body);
    head["sum"] = hex::encode(sum.finalize()).into();
    fs::write(record, format!("{head}\n{body}")).unwrap();
}

#[test]
fn what_can_not_be_read_is_named_and_costs_nobody_else_anything() {
    let mut lab = Lab::with_docker();
    let (docker, image) = (lab.node.docker(), lab.image());
    docker.ok(["pull", "-q", &image]);
    let run = |name: &str| docker.ok(["run", "-d", "--restart", "always", "--name", name, &image, "sleep", "1000"]);
    let (damaged, unread, well) = (run("damaged"), run("unread"), run("well"));
    let (unread_pid, well_pid) = (pid(&docker, "unread"), pid(&docker, "well"));
    lab.node.kill();
    let root = lab.node.ground().join("root");
    slots(&root, &damaged).iter().for_each(|record| self::damage(record));
    slots(&root, &unread).iter().for_each(|record| blank_annex(record));
    // One of two slots is what a torn write leaves.
    damage(slots(&root, &well).first().unwrap());
    lab.node.start_again();

    let docker = lab.node.docker();
    let listed = docker.ok(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Names}}"]);
    let mut listed: Vec<&str> = listed.lines().map(str::trim_end).collect();
    let mut expected = [format!("{unread} running"), format!("{well} running well")];
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!((pid(&docker, &unread), pid(&docker, "well")), (unread_pid, well_pid));
    assert_eq!(state(&docker, "well", "{{.HostConfig.RestartPolicy.Name}}"), "always");
    let log = fs::read_to_string(lab.node.ground().join("orlopd.log")).unwrap();
    for (id, words) in [(&damaged, "was set aside"), (&unread, "the annex of a container can't be read")] {
        let named =
            log.lines().any(|line| line.contains("ERROR") && line.contains(words) && line.contains(id.as_str()));
        assert!(named, "no error names {id}: {words}");
    }
    let aside = fs::read_dir(root.join("records/set-aside")).unwrap();
    let aside: Vec<String> = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(aside.iter().any(|name| name.contains(&damaged)), "{aside:?}");
    // Both can be had anew, and what can't be read be removed.
    docker.ok(["rm", "-f", &unread]);
    for name in ["damaged", "unread"] {
        docker.ok(["run", "--rm", "--name", name, &image, "true"]);
    }
}
