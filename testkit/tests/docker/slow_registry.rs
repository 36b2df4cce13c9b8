//! A registry that begins to send a layer and never ends.

use orlop_testkit::Ground;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Length of the layer that is promised.
const LAYER_BYTES: usize = 64 << 20;
/// What is sent of it: enough to be told as progress.
const SENT_BYTES: usize = 4 << 20;

/// The registry; its threads end with the test program.
pub struct SlowRegistry {
    address: SocketAddr,
    was_left: Arc<AtomicBool>,
}

impl SlowRegistry {
    /// Starts it on the loopback of a ground.
    pub fn start(ground: &Ground) -> Self {
        let listener = ground.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let was_left = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&was_left);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let left = Arc::clone(&left);
                std::thread::spawn(move || serve(stream, &left));
            }
        });
        Self { address, was_left }
    }

    /// Returns where it is.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Says whether who took the layer has gone.
    pub fn was_left(&self) -> bool {
        self.was_left.load(Ordering::SeqCst)
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn config() -> String {
    let diff_ids = [digest(b"a layer")];
    json!({ "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } })
        .to_string()
}

fn manifest() -> String {
    let config = config();
    let of_config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config.as_bytes()), "size": config.len(),
    });
    let of_layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(b"layer"), "size": LAYER_BYTES,
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    json!({ "schemaVersion": 2, "mediaType": media_type, "config": of_config, "layers": [of_layer] }).to_string()
}

/// Answers one connection to its end.
fn serve(mut stream: TcpStream, left: &AtomicBool) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(first)) = lines.next() {
        // The rest of the head.
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let (method, path) = first.split_once(' ').unwrap_or_default();
        let path = path.split(' ').next().unwrap_or_default();
        let (media_type, body) = if path.contains("/manifests/") {
            ("application/vnd.oci.image.manifest.v1+json", manifest())
        } else if path.ends_with(&digest(config().as_bytes())) {
            ("application/vnd.oci.image.config.v1+json", config())
        } else if path.ends_with(&digest(b"layer")) {
            return send_part(&mut stream, left);
        } else {
            ("application/json", "{}".to_owned())
        };
        let marks = format!("Content-Type: {media_type}\r\nDocker-Content-Digest: {}", digest(body.as_bytes()));
        let head = format!("HTTP/1.1 200 OK\r\n{marks}\r\nContent-Length: {}\r\n\r\n", body.len());
        let body = if method == "HEAD" { "" } else { body.as_str() };
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// Sends the beginning of the layer, and waits until nobody wants the rest.
fn send_part(stream: &mut TcpStream, left: &AtomicBool) {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {LAYER_BYTES}\r\n\r\n");
    // A gzip stream of stored blocks, so that it can be taken for a layer for as long as it goes on.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&stored(SENT_BYTES)));
    if sent.is_ok() {
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read > 0) {}
    }
    left.store(true, Ordering::SeqCst);
}

/// The beginning of a gzip file in which nothing is packed; RFC 1951 3.2.4, RFC 1952.
fn stored(bytes: usize) -> Vec<u8> {
    const BLOCK: u16 = 0x8000;
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    while file.len() < bytes {
        file.push(0);
        file.extend(BLOCK.to_le_bytes());
        file.extend((!BLOCK).to_le_bytes());
        file.extend(std::iter::repeat_n(0, BLOCK.into()));
    }
    file
}
