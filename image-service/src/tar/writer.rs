//! Writes tar archives: one header block for each member, and a PAX header before it where that is not enough. Pure.
//! POSIX.1-2001 pax.

use super::header::BLOCK;
use super::{Entry, Kind};

/// Bytes of a name that fit a header.
const NAME_BYTES: usize = 100;

/// What ends an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Returns what stands before a member's data.
pub(crate) fn head(entry: &Entry) -> Vec<u8> {
    let records = records(entry);
    let mut head = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let of_records = Fields { size: records.len() as u64, mode: 0o644, ..Fields::default() };
        head.extend(block(b"PaxHeaders/entry", b"", b'x', &of_records));
        head.extend_from_slice(&records);
        head.resize(head.len().next_multiple_of(BLOCK), 0);
    }
    let fields = Fields {
        mode: entry.mode,
        uid: u64::from(entry.uid),
        gid: u64::from(entry.gid),
        size: entry.size,
        seconds: u64::try_from(entry.modified.seconds).unwrap_or_default(),
        device: entry.device,
    };
    head.extend(block(&entry.path, &entry.link, type_flag(entry.kind), &fields));
    head
}

/// Returns how many zeros follow a member's data.
pub(crate) fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("less than a block")
}

#[derive(Default)]
struct Fields {
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    seconds: u64,
    device: (u32, u32),
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Writes what does not fit a header, or what it has no place for.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    for (key, name) in [("path", &entry.path), ("linkpath", &entry.link)] {
        if name.len() > NAME_BYTES || !name.is_ascii() {
            record(&mut records, key.as_bytes(), name);
        }
    }
    for (key, number, digits) in [("size", entry.size, 11), ("uid", entry.uid.into(), 7), ("gid", entry.gid.into(), 7)]
    {
        if number >> (3 * digits) != 0 {
            record(&mut records, key.as_bytes(), number.to_string().as_bytes());
        }
    }
    let seconds = entry.modified.seconds;
    if u64::try_from(seconds).map_or(true, |seconds| seconds >> 33 != 0) {
        record(&mut records, b"mtime", seconds.to_string().as_bytes());
    }
    for (name, value) in &entry.attributes {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Writes one record: its own length in digits, a space, key, `=`, value and a line's end.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    // The digits count themselves.
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn block(path: &[u8], link: &[u8], type_flag: u8, fields: &Fields) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    text(&mut block[..100], path);
    octal(&mut block[100..108], fields.mode.into());
    octal(&mut block[108..116], fields.uid);
    octal(&mut block[116..124], fields.gid);
    octal(&mut block[124..136], fields.size);
    octal(&mut block[136..148], fields.seconds);
    block[156] = type_flag;
    text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], fields.device.0.into());
    octal(&mut block[337..345], fields.device.1.into());
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block
}

fn text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Writes digits and a zero byte; what does not fit stands in a record, and is 0 here.
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let number = if number >> (3 * digits) == 0 { number } else { 0 };
    field[..digits].copy_from_slice(format!("{number:0digits$o}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Archive, Modified};
    use proptest::prelude::*;

    fn check(entry: &Entry) {
        let data = vec![b'x'; usize::try_from(entry.size).unwrap()];
        let bytes = [head(entry), data, vec![0; padding(entry.size)], END.to_vec()].concat();
        let mut input = &bytes[..];
        let mut archive = Archive::new(&mut input);
        assert_eq!(archive.next().unwrap().as_ref(), Some(entry));
        assert_eq!(archive.next().unwrap(), None);
        if entry.path.contains(&b'\n') {
            // Theirs takes the end of a line for the end of a record.
            return;
        }
        let theirs = ::tar::Archive::new(&bytes[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path_bytes().to_vec())
            .collect::<Vec<_>>();
        assert_eq!(theirs, std::slice::from_ref(&entry.path));
    }

    #[test]
    fn what_does_not_fit_a_header_comes_back_all_the_same() {
        let plain = Entry {
            path: b"a".to_vec(),
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 7,
            gid: 8,
            modified: Modified { seconds: 1_700_000_000, nanoseconds: 0 },
            size: 600,
            device: (0, 0),
            attributes: Vec::new(),
        };
        check(&plain);
        check(&Entry { path: vec![b'p'; 3000], uid: u32::MAX - 1, gid: 1 << 21, ..plain.clone() });
        check(&Entry { path: "ü\n".into(), modified: Modified { seconds: -5, nanoseconds: 0 }, ..plain.clone() });
        let attributes = vec![(b"security.capability".to_vec(), vec![0, 1, b'\n', 2])];
        check(&Entry { attributes, modified: Modified { seconds: 1 << 40, nanoseconds: 0 }, ..plain.clone() });
        let link = Entry { size: 0, kind: Kind::Symlink, link: vec![b'l'; 101], ..plain.clone() };
        check(&link);
        check(&Entry { size: 0, kind: Kind::CharDevice, device: (1, 3), ..plain });
    }

    proptest! {
        #[test]
        fn every_name_comes_back(path in proptest::collection::vec(1_u8..=255, 1..300), size in 0_u64..2000) {
            let modified = Modified::default();
            let (kind, mode, uid, gid, device) = (Kind::File, 0o644, 0, 0, (0, 0));
            let (link, attributes) = (Vec::new(), Vec::new());
            check(&Entry { path, link, kind, mode, uid, gid, modified, size, device, attributes });
        }
    }
}
