//! Images as this facade shows them.

use crate::served::{IMAGE, Served, image};
use orlop_cri::proto::*;
use orlop_model::image_removal::{Removal, RemovalRule};
use orlop_model::ports::Images;

#[tokio::test]
async fn an_image_has_one_id_on_every_side() {
    let mut served = Served::start().await;
    let spec = |image: &str| Some(ImageSpec { image: image.into(), ..Default::default() });
    let id = image().id.to_string();
    let pulled: PullImageResponse = served
        .call("ImageService", "PullImage", PullImageRequest { image: spec(IMAGE), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(pulled.image_ref, id);
    let mut answers = Vec::new();
    for name in [id.as_str(), IMAGE, &image().digests[0]] {
        let request = ImageStatusRequest { image: spec(name), verbose: true };
        let answer: ImageStatusResponse = served.call("ImageService", "ImageStatus", request).await.unwrap();
        assert!(answer.info["info"].contains("imageSpec"));
        answers.push(answer.image.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!((answers[0].id.as_str(), answers[0].uid), (id.as_str(), Some(Int64Value { value: 1003 })));
    let absent = ImageStatusRequest { image: spec("absent"), verbose: true };
    let answer: ImageStatusResponse = served.call("ImageService", "ImageStatus", absent).await.unwrap();
    assert_eq!(answer, ImageStatusResponse::default());
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert_eq!(listed.images, [answers.remove(0)]);
    let usage: ImageFsInfoResponse = served.call("ImageService", "ImageFsInfo", ImageFsInfoRequest {}).await.unwrap();
    assert_eq!(usage.image_filesystems[0].fs_id.as_ref().unwrap().mountpoint, "/");
    served.finish().await;
}

#[tokio::test]
async fn an_image_that_another_facades_users_hold_is_pinned_and_not_removed() {
    let mut served = Served::start().await;
    let docker = orlop_model::Namespace("docker".into());
    served.world.tag(IMAGE, "mine:1", &docker).await.unwrap();
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert!(listed.images[0].pinned && listed.images[0].repo_tags.contains(&"docker.io/library/mine:1".to_owned()));
    let spec = Some(ImageSpec { image: IMAGE.into(), ..Default::default() });
    let request = RemoveImageRequest { image: spec };
    let removed: Result<RemoveImageResponse, _> = served.call("ImageService", "RemoveImage", request.clone()).await;
    let refused = removed.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("held by docker as docker.io/library/mine:1"), "{refused}");
    let (reference, rule) = ("mine:1".to_owned(), RemovalRule::Named);
    served.world.remove(&Removal { reference, by: docker, rule, users: Vec::new() }).await.unwrap();
    let _: RemoveImageResponse = served.call("ImageService", "RemoveImage", request).await.unwrap();
    let listed: ListImagesResponse =
        served.call("ImageService", "ListImages", ListImagesRequest::default()).await.unwrap();
    assert_eq!(listed.images, []);
    served.finish().await;
}
