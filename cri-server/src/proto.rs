//! Messages and services of `proto/cri.proto`, and its descriptor.

#![allow(
    missing_docs,
    deprecated,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated at build time; the proto file is where the words are"
)]

tonic::include_proto!("runtime.v1");

/// The compiled `proto/cri.proto`: a `google.protobuf.FileDescriptorSet` without comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("cri");
