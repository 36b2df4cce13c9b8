//! A log file read forwards line by line, and looked at from its end.

use super::line::{End, HEAD_BYTES_MAX, Line, Stream};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const BLOCK_BYTES: usize = 64 << 10;
/// Longest line that is kept together: the shim's lines have at most some 16 kB.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Which streams are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Streams {
    /// Says whether a stream is wanted.
    pub(crate) fn wants(self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}

/// A log file and how far it has been read.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    at: u64,
    /// Where reading ends; `None` at the end of the file.
    end: Option<u64>,
    /// Bytes read beyond the last line break.
    rest: Vec<u8>,
}

impl LogFile {
    /// Reads from `at`, which is where a line begins.
    pub(crate) fn new(file: File, at: u64) -> Self {
        Self { file, at, end: None, rest: Vec::new() }
    }

    /// Reads no further than this byte.
    pub(crate) fn end_at(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// Hands the next whole lines to `each`; returns whether there were any bytes.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Line<'_>)) -> io::Result<bool> {
        let held = self.rest.len();
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
        self.rest.resize(held + usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES), 0);
        let read = self.file.read_at(&mut self.rest[held..], self.at);
        let read = match read {
            Ok(read) => read,
            Err(wrong) => {
                self.rest.truncate(held);
                return Err(wrong);
            }
        };
        self.rest.truncate(held + read);
        self.at += read as u64;
        let Some(last) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            if self.rest.len() > LINE_BYTES_MAX {
                self.rest.clear();
            }
            return Ok(read > 0);
        };
        let left = self.rest.split_off(last + 1);
        let whole = std::mem::replace(&mut self.rest, left);
        whole[..last].split(|byte| *byte == b'\n').filter_map(Line::parse).for_each(&mut each);
        Ok(read > 0)
    }
}

/// Returns where the last `count` lines of the streams begin; 0 when there are fewer.
pub(crate) fn start_of_last(file: &File, count: u64, streams: Streams) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    if count == 0 {
        return Ok(end);
    }
    let mut found = 0;
    // The beginning of the line that the block behind begins with the rest of.
    let mut carried: Vec<u8> = Vec::new();
    let mut newest = true;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or(BLOCK_BYTES)];
        file.read_exact_at(&mut block, begin)?;
        block.extend_from_slice(&carried);
        let mut line_end = block.len();
        while line_end > 0 {
            let before = &block[..line_end - 1];
            let break_at = before.iter().rposition(|byte| *byte == b'\n');
            let Some(break_at) = break_at.or((begin == 0).then_some(usize::MAX)) else { break };
            let from = break_at.wrapping_add(1);
            let head = &block[from..line_end.min(from + HEAD_BYTES_MAX)];
            let head = head.strip_suffix(b"\n").unwrap_or(head);
            if let Some(line) = Line::parse(head).filter(|line| streams.wants(line.stream)) {
                // Parts of a line are counted with its last one; what no line break ended counts when nothing is behind it.
                let counts = line.end == End::Break || newest;
                newest = false;
                if counts && found == count {
                    return Ok(begin + line_end as u64);
                }
                found += u64::from(counts);
            }
            line_end = from;
        }
        carried = block[..line_end].iter().take(HEAD_BYTES_MAX.max(line_end.min(LINE_BYTES_MAX))).copied().collect();
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const BOTH: Streams = Streams { stdout: true, stderr: true };

    fn log(lines: &[(&str, &str, &str)]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for (stream, tag, content) in lines {
            writeln!(file, "1970-01-01T00:00:01.000000000Z {stream} {tag} {content}").unwrap();
        }
        file
    }

    fn read_from(file: File, at: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let mut log = LogFile::new(file, at);
        while log.read(|line| lines.push(String::from_utf8_lossy(line.content).into_owned())).unwrap() {}
        lines
    }

    #[track_caller]
    fn last(lines: &[(&str, &str, &str)], count: u64, streams: Streams, expected: &[&str]) {
        let file = log(lines);
        let at = start_of_last(&file, count, streams).unwrap();
        assert_eq!(read_from(file, at), expected);
    }

    #[test]
    fn last_lines_are_found_from_the_end() {
        let lines = [
            ("stdout", "F", "a"),
            ("stderr", "F", "b"),
            ("stdout", "P", "c1"),
            ("stdout", "F", "c2"),
            ("stderr", "F", "d"),
        ];
        last(&lines, 0, BOTH, &[]);
        last(&lines, 1, BOTH, &["d"]);
        last(&lines, 2, BOTH, &["c1", "c2", "d"]);
        last(&lines, 3, BOTH, &["b", "c1", "c2", "d"]);
        last(&lines, 9, BOTH, &["a", "b", "c1", "c2", "d"]);
        last(&lines, 1, Streams { stdout: true, stderr: false }, &["b", "c1", "c2", "d"]);
        last(&[], 3, BOTH, &[]);
    }

    #[test]
    fn a_line_without_an_end_is_one_when_it_is_the_last() {
        let lines = [("stdout", "F", "a"), ("stdout", "P", "prompt")];
        last(&lines, 1, BOTH, &["prompt"]);
        last(&lines, 2, BOTH, &["a", "prompt"]);
    }

    #[test]
    fn lines_across_blocks_are_whole() {
        let long = "x".repeat(BLOCK_BYTES / 3);
        let all: Vec<(&str, &str, &str)> = (0..10).map(|_| ("stdout", "F", long.as_str())).collect();
        for count in 1..=10u64 {
            let file = log(&all);
            let at = start_of_last(&file, count, BOTH).unwrap();
            let lines = read_from(file, at);
            assert_eq!(lines.len() as u64, count);
            assert!(lines.iter().all(|line| *line == long));
        }
    }
}
