//! One layer on its way from a server to its folder: received, checked, inflated, checked again and applied in one go.

use crate::apply::{Applied, ApplyError, apply};
use crate::error::Error;
use crate::manifest::Blob;
use crate::progress::Gauge;
use crate::record::LayerRecord;
use crate::remote::{Need, Remote, digest_from};
use crate::session::{Fault, Session};
use crate::store::Shared;
use crate::tar::TarError;
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use orlop_model::pull::LayerStage;
use orlop_model::{Digest, Failure};
use reqwest::Response;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, mpsc::error::SendError};

/// Received pieces that wait to be unpacked. A piece has up to some hundred KiB, so a layer holds a few MiB at most.
const PIECES_MAX: usize = 16;

/// Bytes inflated at once.
const INFLATED_BYTES: usize = 128 << 10;

/// A layer may always have this size unpacked, however small it travels: a file of zeros is no attack.
const UNPACKED_BYTES_FREE: u64 = 2 << 30;

/// Beyond that, how many times its compressed size a layer may have. Program files reach 10, text 20.
const UNPACKED_RATIO_MAX: u64 = 100;

/// No layer is larger than this when unpacked.
const UNPACKED_BYTES_MAX: u64 = 1 << 40;

/// What goes from the network to the unpacking thread.
enum Piece {
    Data(Bytes),
    /// The server sent everything it had. Without this the download broke or was cancelled.
    End,
}

/// Why the stream of a layer ended badly.
#[derive(Debug, thiserror::Error)]
enum StreamFault {
    #[error("the download ended early")]
    Gone,
    #[error("more bytes came than the manifest says")]
    TooLong,
    #[error("it inflates to more than {0} bytes")]
    TooLarge(u64),
    #[error("it is compressed with zstd; only gzip and plain tar are supported")]
    Zstd,
}

/// Fetches a layer into the store, from whichever server has it whole.
pub(crate) async fn fetch(
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    blob: Blob,
    diff_id: Digest,
    gauge: Arc<Gauge>,
) -> Result<(), Failure> {
    let permit = Arc::clone(&shared.layer_places).acquire_owned().await;
    let permit = Arc::new(permit.expect("the semaphore is never closed"));
    let mut tries = remote.tries(Need::Bytes);
    while let Some(session) = tries.next().await {
        match fetch_from(&shared, &remote, session, &blob, &diff_id, &permit, &gauge).await {
            Ok(()) => {
                gauge.set(LayerStage::Complete);
                return Ok(());
            }
            Err(fault) => tries.failed(fault),
        }
    }
    Err(tries.into_error(&format!("blob {}", blob.digest)).into())
}

async fn fetch_from(
    shared: &Arc<Shared>,
    remote: &Remote,
    session: &Session,
    blob: &Blob,
    diff_id: &Digest,
    permit: &Arc<OwnedSemaphorePermit>,
    gauge: &Gauge,
) -> Result<(), Fault> {
    gauge.set(LayerStage::Downloading { bytes: 0, total: blob.size });
    let answer = remote.open_blob(session, &blob.digest).await?;
    if let Some(length) = answer.content_length()
        && length != blob.size
    {
        let why = format!("{} has {length} bytes of it, the manifest says {}", session.host(), blob.size);
        return Err(Error::corrupt(&blob.digest, why).into());
    }
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let unpacking = {
        let (shared, blob, diff_id, permit) = (Arc::clone(shared), blob.clone(), diff_id.clone(), Arc::clone(permit));
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            unpack(&shared, receiver, &blob, &diff_id)
        })
    };
    let mut bytes = 0;
    let received = receive(answer, sender, |count| {
        shared.metrics.bytes.inc_by(count);
        bytes += count;
        gauge.set(LayerStage::Downloading { bytes, total: blob.size });
    });
    let received = received.await;
    gauge.set(LayerStage::Extracting { total: blob.size });
    let unpacked = unpacking.await.map_err(|error| Error::io("unpack a layer")(io::Error::other(error)))?;
    match received {
        Err(error) => Err(session.unreachable(error, &format!("blob {}", blob.digest))),
        Ok(()) => Ok(unpacked?),
    }
}

/// Passes the bytes on. When the other side gives up, it knows why, so that is no failure here.
async fn receive(
    mut answer: Response,
    sender: Sender<Piece>,
    mut received: impl FnMut(u64),
) -> Result<(), reqwest::Error> {
    while let Some(bytes) = answer.chunk().await? {
        received(bytes.len() as u64);
        if let Err(SendError(_)) = sender.send(Piece::Data(bytes)).await {
            return Ok(());
        }
    }
    // As above.
    let _ = sender.send(Piece::End).await;
    Ok(())
}

// === unpacking, on a thread of its own ===

fn unpack(shared: &Arc<Shared>, pieces: Receiver<Piece>, blob: &Blob, diff_id: &Digest) -> Result<(), Error> {
    let ingest = shared.ingest()?;
    let fs = ingest.path().join("fs");
    DirBuilder::new().mode(0o755).create(&fs).map_err(Error::io(format!("make folder {fs:?}")))?;
    let root = File::open(&fs).map_err(Error::io(format!("open {fs:?}")))?;
    let incoming = Incoming::new(pieces, blob.size);
    let mut stream = Inflated::new(incoming, unpacked_bytes_max(blob.size)).map_err(|error| of_stream(blob, &error))?;
    let applied = apply(&mut stream, root.as_fd()).map_err(|error| of_apply(blob, error))?;
    stream.finish(blob, diff_id)?;
    let record = record_of(diff_id, &applied);
    let path = ingest.path().join("layer");
    fs::write(&path, crate::record::encode(&record)).map_err(Error::io(format!("write {path:?}")))?;
    shared.keep_layer(ingest, record)
}

/// Returns the record of a layer that was unpacked.
pub(crate) fn record_of(diff_id: &Digest, applied: &Applied) -> LayerRecord {
    LayerRecord {
        diff_id: diff_id.clone(),
        bytes: applied.bytes,
        inodes: applied.inodes,
        implicit: applied.implicit.iter().map(hex::encode).collect(),
        describes_root: applied.describes_root,
    }
}

/// Returns how large a layer may become that travels in `size` bytes.
fn unpacked_bytes_max(size: u64) -> u64 {
    UNPACKED_BYTES_FREE.max(size.saturating_mul(UNPACKED_RATIO_MAX)).min(UNPACKED_BYTES_MAX)
}

/// The bytes as they travel, counted and hashed as they are taken from the channel.
struct Incoming {
    pieces: Receiver<Piece>,
    current: Bytes,
    hash: Sha256,
    count: u64,
    count_max: u64,
    ended: bool,
}

// === impl Incoming ===

impl Incoming {
    fn new(pieces: Receiver<Piece>, count_max: u64) -> Self {
        Self { pieces, current: Bytes::new(), hash: Sha256::new(), count: 0, count_max, ended: false }
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => {
                    self.count += bytes.len() as u64;
                    if self.count > self.count_max {
                        return Err(io::Error::other(StreamFault::TooLong));
                    }
                    self.hash.update(&bytes);
                    self.current = bytes;
                }
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::other(StreamFault::Gone)),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// The bytes of the archive, hashed and bounded.
struct Inflated {
    input: BufReader<Hashed>,
}

struct Hashed {
    decoder: Decoder,
    hash: Sha256,
    count: u64,
    count_max: u64,
}

enum Decoder {
    Plain(Incoming),
    Gzip(Box<MultiGzDecoder<Incoming>>),
}

// === impl Inflated ===

impl Inflated {
    /// Looks at the first bytes for what they are: media types are often wrong, and the diff id decides in the end.
    fn new(mut incoming: Incoming, count_max: u64) -> io::Result<Self> {
        let start = incoming.fill_buf()?;
        let decoder = if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(io::Error::other(StreamFault::Zstd));
        } else if start.starts_with(&[0x1f]) {
            // No archive starts so: its first bytes are a name.
            Decoder::Gzip(Box::new(MultiGzDecoder::new(incoming)))
        } else {
            Decoder::Plain(incoming)
        };
        let hashed = Hashed { decoder, hash: Sha256::new(), count: 0, count_max };
        Ok(Self { input: BufReader::with_capacity(INFLATED_BYTES, hashed) })
    }

    /// Reads what follows the archive, and compares both digests.
    fn finish(mut self, blob: &Blob, diff_id: &Digest) -> Result<(), Error> {
        let rest = io::copy(&mut self.input, &mut io::sink());
        rest.map_err(|error| of_stream(blob, &error))?;
        let Hashed { decoder, hash, .. } = self.input.into_inner();
        let mut incoming = match decoder {
            Decoder::Plain(incoming) => incoming,
            Decoder::Gzip(gzip) => gzip.into_inner(),
        };
        io::copy(&mut incoming, &mut io::sink()).map_err(|error| of_stream(blob, &error))?;
        if incoming.count != blob.size {
            let why = format!("it ends after {} bytes, the manifest says {}", incoming.count, blob.size);
            return Err(Error::corrupt(&blob.digest, why));
        }
        let found = digest_from(&incoming.hash.finalize());
        if found != blob.digest {
            return Err(Error::corrupt(&blob.digest, format!("the bytes that came have digest {found}")));
        }
        let found = digest_from(&hash.finalize());
        if found != *diff_id {
            let why = format!("unpacked it has digest {found}, the config says {diff_id}");
            return Err(Error::corrupt(&blob.digest, why));
        }
        Ok(())
    }
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Plain(incoming) => incoming.read(buffer)?,
            Decoder::Gzip(gzip) => gzip.read(buffer)?,
        };
        self.hash.update(&buffer[..count]);
        self.count += count as u64;
        if self.count > self.count_max {
            return Err(io::Error::other(StreamFault::TooLarge(self.count_max)));
        }
        Ok(count)
    }
}

// === errors ===

/// Says what a failed read of the stream means.
fn of_stream(blob: &Blob, error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<StreamFault>()) {
        Some(StreamFault::Gone) => Error::Cancelled { what: format!("blob {}", blob.digest) },
        Some(fault @ StreamFault::TooLong) => Error::corrupt(&blob.digest, fault.to_string()),
        Some(fault @ StreamFault::TooLarge(_)) => Error::too_large(&blob.digest, fault.to_string()),
        Some(fault @ StreamFault::Zstd) => Error::unsupported(&blob.digest, fault.to_string()),
        None => Error::corrupt(&blob.digest, format!("it can't be inflated: {error}")),
    }
}

fn of_apply(blob: &Blob, error: ApplyError) -> Error {
    match error {
        ApplyError::Tar(TarError::Read(error)) => of_stream(blob, &error),
        ApplyError::Tar(TarError::Unsupported { .. }) | ApplyError::Unsupported { .. } => {
            Error::unsupported(&blob.digest, error.to_string())
        }
        ApplyError::Tar(TarError::Truncated(_) | TarError::Malformed { .. }) | ApplyError::Refused { .. } => {
            Error::corrupt(&blob.digest, error.to_string())
        }
        ApplyError::TooMuch(why) => Error::too_large(&blob.digest, why),
        ApplyError::Write { path, doing, source } => {
            Error::Io { doing: format!("unpack blob {}: entry {path}: {doing}", blob.digest), source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::digest_of;
    use orlop_model::ErrorKind;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Sends `sent` for a blob that should be `told`, and inflates it; `count_max` bounds the result.
    fn check(told: &[u8], sent: &[u8], diff: &[u8], count_max: u64) -> Result<(), Error> {
        let blob = Blob { digest: digest_of(told), size: told.len() as u64 };
        let (sender, receiver) = mpsc::channel(1000);
        for piece in sent.chunks(7000) {
            sender.try_send(Piece::Data(Bytes::copy_from_slice(piece))).map_err(|_| "full").unwrap();
        }
        sender.try_send(Piece::End).map_err(|_| "full").unwrap();
        let stream = Inflated::new(Incoming::new(receiver, blob.size), count_max);
        stream.map_err(|error| of_stream(&blob, &error))?.finish(&blob, &digest_of(diff))
    }

    #[test]
    fn stream_is_checked_on_both_sides() {
        let plain = b"some text ".repeat(5000);
        let packed = gzip(&plain);
        let members = [gzip(&plain[..100]), gzip(&plain[100..])].concat();
        let max = plain.len() as u64;
        check(&packed, &packed, &plain, max).unwrap();
        check(&members, &members, &plain, max).unwrap();
        check(&plain, &plain, &plain, max).unwrap();
        check(b"", b"", b"", 0).unwrap();
        let corrupt = |result: Result<(), Error>, word: &str| {
            let error = result.unwrap_err();
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(word), "{error}");
        };
        corrupt(check(&packed, &packed, b"other", max), "the config says");
        corrupt(check(&packed, &packed[..packed.len() - 1], &plain, max), "can't be inflated");
        corrupt(check(&plain, &plain[1..], &plain, max), "it ends after");
        corrupt(check(&packed, &[&packed[..], b"x"].concat(), &plain, max), "more bytes came");
        corrupt(check(&[&packed[..], b"x"].concat(), &[&packed[..], b"x"].concat(), &plain, max), "can't be inflated");
        let mut other = plain.clone();
        other[9] = b'X';
        corrupt(check(&plain, &other, &plain, max), "have digest");
    }

    #[test]
    fn bomb_is_stopped_by_its_bound() {
        // In many members, which a reader takes for one stream.
        let zeros = vec![0; 1 << 20];
        let bomb = gzip(&zeros).repeat(50);
        let error = check(&bomb, &bomb, &zeros.repeat(50), 10 << 20).unwrap_err();
        assert!(error.kind() == ErrorKind::Exhausted && error.to_string().contains("inflates to more than"), "{error}");
        check(&bomb, &bomb, &zeros.repeat(50), 50 << 20).unwrap();
    }

    #[test]
    fn bound_leaves_room_for_real_layers_and_for_nothing_else() {
        assert_eq!(unpacked_bytes_max(0), 2 << 30);
        assert_eq!(unpacked_bytes_max(1 << 30), 100 << 30);
        assert_eq!(unpacked_bytes_max(u64::MAX), 1 << 40);
    }

    #[test]
    fn zstd_is_named() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 0];
        let error = check(&frame, &frame, b"", 100).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("zstd"), "{error}");
    }
}
