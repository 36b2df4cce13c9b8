//! One set of images behind both doors, and who may take what away.

use orlop_testkit::client::{image, v1};
use orlop_testkit::lab::Lab;

fn listed(lab: &Lab) -> Vec<(String, bool)> {
    let images = lab.node.client().list_images(v1::ListImagesRequest::default()).expect("the daemon answers").images;
    images.into_iter().map(|image| (image.id, image.pinned)).collect()
}

#[test]
fn what_docker_pulled_is_at_once_a_pods_image_and_is_not_collected() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let (name, client) = (lab.image(), lab.node.client());
    docker.ok(["pull", &name]);
    let id = docker.ok(["inspect", &name, "--format", "{{.Id}}"]);
    assert_eq!(listed(&lab), [(id.clone(), true)]);
    let remove = || client.remove_image(v1::RemoveImageRequest { image: Some(image(&name)) });
    let refused = remove().unwrap_err();
    assert!(refused.message().contains("held by docker"), "{refused}");
    // The kubelet's own pull of the same name changes nothing about that; nor does a container without a name of it.
    client.pull_image(v1::PullImageRequest { image: Some(image(&name)), ..Default::default() }).unwrap();
    assert_eq!(listed(&lab), [(id.clone(), true)]);
    docker.ok(["create", "--name", "holder", &name]);
    let in_use = docker.run(["rmi", &name]);
    assert!(in_use.code == 1 && in_use.stderr.contains("(must force)"), "{in_use:?}");
    docker.ok(["rm", "holder"]);
    assert!(docker.ok(["rmi", &name]).contains(&format!("Untagged: {name}")));
    assert_eq!(listed(&lab), []);
}

#[test]
fn what_the_kubelet_pulled_is_dockers_too_until_it_takes_it_away() {
    let lab = Lab::with_docker();
    let docker = lab.node.docker();
    let (name, client) = (lab.image(), lab.node.client());
    let pull = v1::PullImageRequest { image: Some(image(&name)), ..Default::default() };
    let id = client.pull_image(pull).unwrap().image_ref;
    assert_eq!(docker.ok(["images", "--no-trunc", "-q"]), id);
    assert_eq!(listed(&lab), [(id.clone(), false)]);
    docker.ok(["tag", &name, "mine:1"]);
    assert_eq!(listed(&lab), [(id.clone(), true)]);
    docker.ok(["rmi", "mine:1"]);
    assert_eq!(listed(&lab), [(id, false)]);
    client.remove_image(v1::RemoveImageRequest { image: Some(image(&name)) }).unwrap();
    assert_eq!(docker.ok(["images", "-q"]), "");
}
