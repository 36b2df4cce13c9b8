//! What will be bound: opened while paths of the node still mean what the planner meant, and with the rights of the node.
//!
//! A process that is born in a user namespace has neither. Another opens for it, beside it: a source may be on a file system
//! whose server is dead, and then nobody waits but the container that asked for it. Runs in the child, or in that other.

use crate::child::numbered;
use crate::mounts::{self, Bind};
use crate::prepare::{Prepared, Source, Step};
use crate::report::{Failure, PACKET_BYTES, Stage};
use orlop_sys::seqpacket;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Says that every source was sent.
const ALL: u32 = u32::MAX;

/// Bytes of a message that names a step; one that tells a failure has [`PACKET_BYTES`].
const NUMBER_BYTES: usize = size_of::<u32>();

type Failed = (Stage, Errno);

/// Opens all of them in the process that binds them.
pub(crate) fn open(plan: &mut Prepared<'_>) -> Result<(), Failed> {
    for (at, step) in numbered(&plan.steps) {
        if let Step::Bind(source, bind) = step {
            plan.sources[at as usize] = open_one(plan, at, source, bind)?;
        }
    }
    Ok(())
}

/// Opens all of them for another process, and sends each with the number of its step; or what failed, for that one to tell.
pub(crate) fn hand_over(plan: &Prepared<'_>, socket: &OwnedFd) {
    let work = || {
        for (at, step) in numbered(&plan.steps) {
            let Step::Bind(source, bind) = step else { continue };
            if let Some(mount) = open_one(plan, at, source, bind)? {
                send(socket, at, &[mount.as_fd()])?;
            }
        }
        send(socket, ALL, &[])
    };
    if let Err((stage, errno)) = work() {
        // Nobody to tell of a failure; who waits finds the end.
        let _ = seqpacket::send(socket, &Failure { stage, errno: errno.raw_os_error() }.encode(), &[]);
    }
}

/// Takes what the other process opened.
pub(crate) fn take(plan: &mut Prepared<'_>, socket: &OwnedFd) -> Result<(), Failed> {
    let failed = |errno| (Stage::Birth, errno);
    loop {
        let mut message = [0; PACKET_BYTES];
        let received = seqpacket::recv_one(socket, &mut message);
        let (bytes, mount) = received.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let [a, b, c, d, ..] = message;
        match bytes {
            NUMBER_BYTES => {}
            PACKET_BYTES => {
                let told = Failure::decode(message).ok_or(failed(Errno::BADMSG))?;
                return Err((told.stage, Errno::from_raw_os_error(told.errno)));
            }
            // It was killed.
            _ => return Err(failed(Errno::PIPE)),
        }
        match u32::from_ne_bytes([a, b, c, d]) {
            ALL => return Ok(()),
            at => *plan.sources.get_mut(at as usize).ok_or(failed(Errno::BADMSG))? = mount,
        }
    }
}

fn send(socket: &OwnedFd, number: u32, descriptors: &[BorrowedFd<'_>]) -> Result<(), Failed> {
    let sent = seqpacket::send(socket, &number.to_ne_bytes(), descriptors);
    sent.map_err(|error| (Stage::Birth, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

/// `None` is a descriptor that is mounted itself.
fn open_one(plan: &Prepared<'_>, at: u32, source: &Source<'_>, bind: &Bind) -> Result<Option<OwnedFd>, Failed> {
    let opened = match source {
        Source::Path(path) => mounts::open_source(path, bind.recursive).map(Some),
        Source::Descriptor(fd) => match mounts::copy(*fd, bind.recursive) {
            Ok(copy) => Ok(Some(copy)),
            // Before Linux 6.15 a detached mount can't be copied; it is mounted itself, which works once.
            Err(Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        },
    };
    let opened = opened.map_err(|errno| (Stage::Op(at), errno))?;
    if let (Some(mount), Some(users)) = (&opened, &plan.users) {
        mounts::map(mount.as_fd(), bind, users.namespace).map_err(|errno| (Stage::Map(at), errno))?;
    }
    Ok(opened)
}
