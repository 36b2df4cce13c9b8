//! Local sockets that keep message borders and carry descriptors: `AF_UNIX`, `SOCK_SEQPACKET`, `SCM_RIGHTS`.
//!
//! Every descriptor received is closed on exec. A message that does not fit, or whose descriptors do not, is an error and
//! never a shorter message; what came with it is closed.

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Descriptors in one message: the kernel's `SCM_MAX_FD`.
pub const DESCRIPTORS_MAX: usize = 253;

/// Connections that wait to be accepted; the daemon opens one, so that a few are plenty.
const BACKLOG: i32 = 16;

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// Length of the message in the buffer; 0 is the end of the connection.
    pub bytes: usize,
    /// Descriptors that came with it, in order.
    pub descriptors: Vec<OwnedFd>,
}

/// Who is at the other end, as it was when it connected or listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Whether calls on a socket wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// They wait.
    Yes,
    /// They fail with `WouldBlock`.
    No,
}

/// Listens at a path, which must not exist yet; the file has mode 0600. Accepting does not wait.
///
/// # Errors
/// `AddrInUse` when something is there; `InvalidInput` for a path without a folder or a name.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(Waits::No)?;
    // The mask of the process would widen the window in which others may connect; fchmod before bind sets the file's mode.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    with_address(path, |address| rustix::net::bind(&socket, address))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Takes the next connection; the new socket does not wait.
///
/// # Errors
/// `WouldBlock` when there is none.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// Connects to a path.
///
/// # Errors
/// `NotFound` when nothing is there, `ConnectionRefused` when nobody listens any more.
pub fn connect(path: &Path, waits: Waits) -> io::Result<OwnedFd> {
    let socket = socket(waits)?;
    with_address(path, |address| rustix::net::connect(&socket, address))?;
    Ok(socket)
}

/// Makes two sockets that are connected to each other.
///
/// # Errors
/// What socketpair(2) says.
pub fn pair(waits: Waits) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags(waits), None)?)
}

/// Says who is at the other end. `SO_PEERCRED`
///
/// # Errors
/// What getsockopt(2) says.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let found = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Peer { pid: found.pid.as_raw_nonzero().get().unsigned_abs(), uid: found.uid.as_raw(), gid: found.gid.as_raw() })
}

/// Sends one message with descriptors, whole or not at all.
///
/// # Errors
/// `WouldBlock` when the socket does not wait and is full; `BrokenPipe` when the peer is gone, never a signal;
/// `InvalidInput` for an empty message, which would look like the end, or too many descriptors.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "empty message or too many descriptors"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
        debug_assert!(fits, "the space holds DESCRIPTORS_MAX");
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one message with at most one descriptor, and returns its length. Allocates nothing.
///
/// # Errors
/// As [`recv`].
pub fn recv_one(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptor = None;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut found) = part {
            descriptor = found.next();
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message or its descriptors were cut off"));
    }
    Ok((message.bytes, descriptor))
}

/// Receives one message with descriptors into `buffer`.
///
/// # Errors
/// `WouldBlock` when the socket does not wait and there is none; `InvalidData` when the message is longer than `buffer` or
/// some of its descriptors could not be taken.
pub fn recv(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = part {
            descriptors.extend(found);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message or its descriptors were cut off"));
    }
    Ok(Received { bytes: message.bytes, descriptors })
}

fn flags(waits: Waits) -> SocketFlags {
    match waits {
        Waits::Yes => SocketFlags::CLOEXEC,
        Waits::No => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    }
}

fn socket(waits: Waits) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags(waits), None)?)
}

/// Calls `work` with an address for `path`. An address holds 107 bytes, a path more: it is named by its folder's descriptor.
fn with_address(path: &Path, work: impl FnOnce(&SocketAddrUnix) -> Result<(), rustix::io::Errno>) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path of a socket has a folder and a name");
    let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    work(&SocketAddrUnix::new(&short)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    /// Ends a socket for all who have it: what other tests start has our descriptors until it is another program.
    fn end(socket: OwnedFd) {
        rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
        drop(socket);
    }

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("orlop-sys-{}-{name}", std::process::id()));
            std::fs::create_dir_all(path.join("a".repeat(120))).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn message_keeps_its_border_and_its_descriptors() {
        let (left, right) = pair(Waits::Yes).unwrap();
        let passed = File::open("/proc/self/comm").unwrap();
        send(&left, b"first", &[passed.as_fd()]).unwrap();
        send(&left, b"second", &[]).unwrap();
        let mut buffer = [0; 64];
        let mut received = recv(&right, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.bytes], b"first");
        let mut content = String::new();
        File::from(received.descriptors.remove(0)).read_to_string(&mut content).unwrap();
        assert!(!content.is_empty());
        let received = recv(&right, &mut buffer).unwrap();
        assert_eq!((&buffer[..received.bytes], received.descriptors.len()), (&b"second"[..], 0));
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_allows_arrive() {
        let (left, right) = pair(Waits::Yes).unwrap();
        let passed = File::open("/dev/null").unwrap();
        send(&left, b"x", &[passed.as_fd(); DESCRIPTORS_MAX]).unwrap();
        assert_eq!(recv(&right, &mut [0; 8]).unwrap().descriptors.len(), DESCRIPTORS_MAX);
        assert!(send(&left, b"x", &[passed.as_fd(); DESCRIPTORS_MAX + 1]).is_err());
    }

    #[test]
    fn message_longer_than_the_buffer_is_an_error_and_the_next_one_is_whole() {
        let (left, right) = pair(Waits::Yes).unwrap();
        send(&left, b"much too long", &[]).unwrap();
        send(&left, b"short", &[]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(recv(&right, &mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(recv(&right, &mut buffer).unwrap().bytes, 5);
    }

    #[test]
    fn socket_that_does_not_wait_says_so_in_both_directions() {
        let (left, right) = pair(Waits::No).unwrap();
        assert_eq!(recv(&right, &mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let full = (0..100_000).find_map(|_| send(&left, &[0; 1024], &[]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn end_of_the_peer_is_an_empty_message_and_no_signal() {
        let (left, right) = pair(Waits::Yes).unwrap();
        end(left);
        assert_eq!(recv(&right, &mut [0; 8]).unwrap().bytes, 0);
        assert_eq!(send(&right, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(send(&right, b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn path_longer_than_an_address_works_and_only_its_owner_may_connect() {
        let folder = Folder::new("long");
        let path = folder.0.join("a".repeat(120)).join("shim.sock");
        assert_eq!(connect(&path, Waits::Yes).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = listen(&path).unwrap();
        assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _client = connect(&path, Waits::Yes).unwrap();
        let server = accept(&listener).unwrap();
        assert_eq!(peer(&server).unwrap().pid, std::process::id());
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        end(listener);
        assert_eq!(connect(&path, Waits::Yes).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
