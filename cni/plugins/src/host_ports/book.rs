//! Which pod has which ports of the node, on disk.
//!
//! One file per pod that has any, named by its id, a line for each port: `tcp 0.0.0.0 8080 10.88.0.2 80`. Written beside and
//! renamed, so that it is whole or not there. One process at a time uses the folder; it is read once.

use super::{Mapping, NodePort, Protocol};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Bytes read of one file: 65,535 ports of each protocol, 50 bytes a line.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// What files begin with that are not finished; no id does.
const UNFINISHED: char = '.';

/// Which pod has which ports.
#[derive(Debug)]
pub struct Book {
    folder: PathBuf,
    held: BTreeMap<String, Vec<Mapping>>,
    unreadable: Vec<String>,
}

// === impl Book ===

impl Book {
    /// Reads the folder, which is made when it is first needed.
    ///
    /// # Errors
    /// When it can't be read. A file in it that makes no sense is not fatal: see [`Book::unreadable`].
    pub fn open(folder: PathBuf) -> Result<Self> {
        let mut book = Self { held: BTreeMap::new(), unreadable: Vec::new(), folder };
        let entries = match fs::read_dir(&book.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(book),
            other => other.map_err(failed("list", &book.folder))?,
        };
        for entry in entries {
            let path = entry.map_err(failed("list", &book.folder))?.path();
            let Some(id) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if id.starts_with(UNFINISHED) {
                quiet_if_missing(fs::remove_file(&path)).map_err(failed("delete", &path))?;
                continue;
            }
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
            let mappings = match read {
                Ok(_) => text.lines().map(parse).collect(),
                // Bytes that are no text, as after a power cut.
                Err(error) if error.kind() == ErrorKind::InvalidData => None,
                Err(error) => return Err(failed("read", &path)(error)),
            };
            if mappings.is_none() {
                book.unreadable.push(id.clone());
            }
            book.held.insert(id, mappings.unwrap_or_default());
        }
        Ok(book)
    }

    /// Lists pods whose file made no sense. They count as pods without ports, which a detach then frees.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Lists every pod that has ports.
    #[must_use]
    pub fn held(&self) -> &BTreeMap<String, Vec<Mapping>> {
        &self.held
    }

    /// Returns a pod's ports.
    #[must_use]
    pub fn of(&self, id: &str) -> &[Mapping] {
        self.held.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Checks that no other pod has one of these ports.
    ///
    /// # Errors
    /// [`Error::PortHeld`] names the pod.
    pub fn check<'a>(&self, id: &str, wanted: impl IntoIterator<Item = &'a NodePort>) -> Result<()> {
        let mut by_number: HashMap<(Protocol, u16), Vec<&NodePort>> = HashMap::new();
        for port in wanted {
            by_number.entry((port.protocol, port.number)).or_default().push(port);
        }
        for (holder, mappings) in self.held.iter().filter(|(holder, _)| *holder != id) {
            for taken in mappings.iter().map(|mapping| &mapping.from) {
                let same = by_number.get(&(taken.protocol, taken.number)).into_iter().flatten();
                if let Some(port) = same.copied().find(|port| port.overlaps(taken)) {
                    return Err(Error::PortHeld { port: *port, holder: format!("sandbox {holder}") });
                }
            }
        }
        Ok(())
    }

    /// Writes down a pod's ports, in place of what it had. On disk before it returns.
    ///
    /// # Errors
    /// When the folder can't be used; then the pod has what it had.
    pub fn write(&mut self, id: &str, mappings: Vec<Mapping>) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(failed("make folder", &self.folder))?;
        let (path, beside) = (self.folder.join(id), self.folder.join(format!("{UNFINISHED}{id}")));
        let text: String = mappings.iter().map(line).collect();
        fs::write(&beside, text).map_err(failed("write", &beside))?;
        fs::rename(&beside, &path).map_err(failed("put into place", &path))?;
        self.held.insert(id.to_owned(), mappings);
        Ok(())
    }

    /// Erases a pod's ports. Quiet when it has none.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn erase(&mut self, id: &str) -> Result<()> {
        if self.held.contains_key(id) {
            let path = self.folder.join(id);
            quiet_if_missing(fs::remove_file(&path)).map_err(failed("delete", &path))?;
            self.held.remove(id);
            self.unreadable.retain(|bad| bad != id);
        }
        Ok(())
    }

    /// Deletes the folder unless a pod has ports. Quiet when it is not there.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub fn remove(&mut self) -> Result<()> {
        if !self.held.is_empty() {
            return Ok(());
        }
        quiet_if_missing(fs::remove_dir(&self.folder)).map_err(failed("delete", &self.folder))
    }
}

fn line(mapping: &Mapping) -> String {
    let Mapping { from: NodePort { protocol, address, number }, to, to_port } = mapping;
    let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    format!("{} {address} {number} {to} {to_port}\n", protocol.name())
}

fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split(' ');
    let name = words.next()?;
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)?;
    let address = words.next()?.parse::<Ipv4Addr>().ok()?;
    let from = NodePort {
        protocol,
        address: (!address.is_unspecified()).then_some(address),
        number: words.next()?.parse().ok()?,
    };
    let mapping = Mapping { from, to: words.next()?.parse().ok()?, to_port: words.next()?.parse().ok()? };
    words.next().is_none().then_some(mapping)
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { tried, path, source }
}

fn quiet_if_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn port(address: Option<[u8; 4]>, number: u16) -> NodePort {
        NodePort { protocol: Protocol::Tcp, address: address.map(Ipv4Addr::from), number }
    }

    fn mapping(from: NodePort) -> Mapping {
        Mapping { from, to: Ipv4Addr::new(10, 88, 0, 2), to_port: 80 }
    }

    #[test]
    fn book_is_the_same_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("ports");
        let mut book = Book::open(folder.clone()).unwrap();
        let own = vec![mapping(port(None, 8080)), mapping(port(Some([127, 0, 0, 1]), 81))];
        book.write("a", own.clone()).unwrap();
        let text = "tcp 0.0.0.0 8080 10.88.0.2 80\ntcp 127.0.0.1 81 10.88.0.2 80\n";
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), text);
        fs::write(folder.join(".b"), "tcp 0.0").unwrap();
        let mut again = Book::open(folder.clone()).unwrap();
        assert_eq!((again.of("a"), again.held().len()), (own.as_slice(), 1));
        again.remove().unwrap();
        again.erase("a").unwrap();
        again.erase("a").unwrap();
        again.remove().unwrap();
        again.remove().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn file_that_makes_no_sense_is_named_and_can_be_erased() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "tcp 0.0.0.0 8080 10.88.0.2\n").unwrap();
        fs::write(root.path().join("b"), [0xff, 0xfe]).unwrap();
        let mut book = Book::open(root.path().to_owned()).unwrap();
        let mut bad = book.unreadable().to_vec();
        bad.sort();
        assert_eq!((bad, book.of("a")), (vec!["a".to_owned(), "b".to_owned()], [].as_slice()));
        book.erase("a").unwrap();
        assert_eq!(book.unreadable(), ["b"]);
        assert!(!root.path().join("a").exists());
    }

    #[test]
    fn ports_of_others_are_refused_as_bind_would() {
        let root = tempfile::tempdir().unwrap();
        let mut book = Book::open(root.path().to_owned()).unwrap();
        book.write("a", vec![mapping(port(None, 80)), mapping(port(Some([10, 0, 0, 1]), 81))]).unwrap();
        let udp = |number| NodePort { protocol: Protocol::Udp, address: None, number };
        for (wanted, free) in [
            (port(None, 80), false),
            (port(Some([127, 0, 0, 1]), 80), false),
            (udp(80), true),
            (port(None, 81), false),
            (port(Some([10, 0, 0, 1]), 81), false),
            (port(Some([10, 0, 0, 2]), 81), true),
            (port(None, 82), true),
        ] {
            assert_eq!(book.check("b", [&wanted]).is_ok(), free, "{wanted}");
            book.check("a", [&wanted]).unwrap();
        }
        let error = book.check("b", [&port(None, 80)]).unwrap_err().to_string();
        assert!(error.starts_with("port 80/tcp of the node leads into sandbox a already"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(which in 0usize..3, address: u32, number in 1u16.., to: u32, to_port: u16) {
            let address = Some(Ipv4Addr::from_bits(address)).filter(|address| !address.is_unspecified());
            let from = NodePort { protocol: Protocol::ALL[which], address, number };
            let mapping = Mapping { from, to: Ipv4Addr::from_bits(to), to_port };
            prop_assert_eq!(parse(line(&mapping).trim_end()), Some(mapping));
        }
    }
}
