//! One block of 512 bytes that starts a member. Pure.

use super::Modified;

/// Everything in tar comes in blocks of this size.
pub(super) const BLOCK: usize = 512;

/// A header block, its numbers decoded.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) type_flag: u8,
    pub(super) mode: u32,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) modified: Modified,
    pub(super) device: (i64, i64),
}

impl Header {
    /// Decodes a block that isn't all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        check_sum(block)?;
        let magic = &block[257..265];
        let device =
            if magic[..5] == *b"ustar" { (number(&block[329..337])?, number(&block[337..345])?) } else { (0, 0) };
        let mut path = text(&block[0..100]).to_vec();
        if magic == b"ustar\x0000" {
            // The newest star keeps times in the last part of the prefix, and marks its blocks at the end.
            let end = if block[508..512] == *b"tar\0" { 476 } else { 500 };
            let prefix = text(&block[345..end]);
            if !prefix.is_empty() {
                path = [prefix, b"/", &path].concat();
            }
        }
        Ok(Self {
            path,
            link: text(&block[157..257]).to_vec(),
            type_flag: block[156],
            // Higher bits can hold the file's type; only permissions count.
            mode: u32::try_from(number(&block[100..108])? & 0o7777).unwrap_or_default(),
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            size: number(&block[124..136])?,
            modified: Modified { seconds: number(&block[136..148])?, nanoseconds: 0 },
            device,
        })
    }
}

/// The sum is over the block with its own field as spaces; old programs added signed bytes.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let stored = number(&block[148..156])?;
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if stored == unsigned || stored == signed { Ok(()) } else { Err("its checksum is wrong") }
}

/// A field's text ends at its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, or GNU's big-endian binary marked by the highest bit.
fn number(field: &[u8]) -> Result<i64, &'static str> {
    const BAD: &str = "a number in it is malformed";
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 { (byte & 0x3f) | if negative { 0xc0 } else { 0 } } else { *byte };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| BAD);
    }
    let digits = text(field).trim_ascii();
    let mut value = 0_i64;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return Err(BAD);
        }
        value = value.checked_mul(8).and_then(|value| value.checked_add(i64::from(digit - b'0'))).ok_or(BAD)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b" 644 \0\0\0", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"        ", Ok(0)),
            (b"77777777", Ok(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Ok(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (b"-1\0\0\0\0\0\0", Err("a number in it is malformed")),
            (b"12 34\0\0\0", Err("a number in it is malformed")),
            (b"8\0\0\0\0\0\0\0", Err("a number in it is malformed")),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
        assert!(number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
