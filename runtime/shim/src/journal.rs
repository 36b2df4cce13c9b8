//! One line to standard error: all the logging a shim needs.

/// Writes a line. A full disk or a closed descriptor must not end a shim, so that failures are passed over.
pub(crate) fn write(message: &str) {
    let line = format!("{} orlop-shim[{}]: {message}\n", crate::clock::Stamp::now(), std::process::id());
    let _ = rustix::io::write(std::io::stderr(), line.as_bytes());
}
