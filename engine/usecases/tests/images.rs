//! Who holds which images.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use orlop_model::container_state::Force;
use orlop_model::image_removal::{RemovalRule, Removed};
use orlop_model::{ErrorKind, Namespace};
use orlop_usecases::Engine;
use support::{DOCKER, container, image, pod, world};

#[tokio::test(start_paused = true)]
async fn a_container_of_one_facade_pins_its_image_to_all_others() {
    let world = world(1, 0);
    let engine = Engine::start(world.ports()).await.unwrap().0;
    let (own, other) =
        (engine.facade(support::namespace(), DOCKER), engine.facade(Namespace("other".to_owned()), DOCKER));
    let images = own.images().list().await.unwrap();
    assert_eq!((own.pinned(&images), other.pinned(&images)), (vec![false], vec![false]));
    let pod = own.run_sandbox(pod("a")).await.unwrap();
    let id = own.create_container(container(&pod, "c")).await.unwrap();
    assert_eq!((own.pinned(&images), other.pinned(&images)), (vec![false], vec![true]));
    let name = image().to_string();
    let refused = other.remove_image(&name, RemovalRule::Whole).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::WrongState);
    assert!(refused.message.contains(id.as_str()), "{refused}");
    own.start_container(&id).await.unwrap();
    let refused = own.remove_image(&name, RemovalRule::NamedByForce).await.unwrap_err();
    assert!(refused.message.contains("is being used by running container"), "{refused}");
    own.remove_container(&id, Force::Yes).await.unwrap();
    let removed = other.remove_image(&name, RemovalRule::Whole).await.unwrap();
    assert_eq!(removed.image, Some(image()));
    assert_eq!(own.remove_image(&name, RemovalRule::Named).await.unwrap(), Removed::default());
}
