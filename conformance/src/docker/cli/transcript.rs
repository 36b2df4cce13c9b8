//! A scene of the script, as it lies on disk: commands, and below each what it printed. Pure.
//!
//! ```text
//! # A remark. Blank lines and remarks stay as they are.
//! ! sh words that prepare something: they must succeed, and what they print doesn't matter
//! $ docker run --rm busybox sh -c 'echo out; echo err >&2; exit 3'
//! 1| out
//! 2| err
//! [3]
//! $ 24x80 docker run --rm -it busybox sh      in a terminal of 24 rows and 80 columns
//! ? / #                                        wait until the terminal shows this
//! < exit 4                                     type a line
//! ^ ^P^Q                                       press keys
//! = 30x100                                     give the terminal another size
//! 1| / # exit 4
//! [4]
//! ```
//!
//! `1~` and `2~` are a last line that no newline ends. Everything a terminal shows is its `1|`.

use std::fmt;
use std::fmt::Write;

/// A scene: lines in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// Its lines.
    pub items: Vec<Item>,
}

/// One line of a scene, or a step with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A remark or a blank line.
    Remark(String),
    /// Words for the shell that prepare something.
    Prepare(String),
    /// A command that is compared.
    Step(Step),
}

/// A command and what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The words for the shell.
    pub command: String,
    /// The terminal it runs in, if any.
    pub terminal: Option<Size>,
    /// What a person does there.
    pub moves: Vec<Move>,
    /// What it prints, and how it ends.
    pub seen: Seen,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// What a person does at a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Waits until this is shown.
    Await(String),
    /// Types a line and presses return.
    Type(String),
    /// Presses keys; `^P` is control and P.
    Press(String),
    /// Gives the terminal another size.
    Resize(Size),
}

/// What a command printed, through the rules, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Standard output; what a terminal showed.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; negative: the signal that ended it.
    pub code: i32,
}

// === impl Scene ===

impl Scene {
    /// Reads a scene; says which line is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scene = Self::default();
        for (number, line) in text.split_terminator('\n').enumerate() {
            scene.take(line).map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
        }
        Ok(scene)
    }

    /// Returns the steps.
    #[cfg(test)]
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            Item::Remark(_) | Item::Prepare(_) => None,
        })
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" | "#" => self.items.push(Item::Remark(line.to_owned())),
            "!" => self.items.push(Item::Prepare(rest.to_owned())),
            "$" => self.items.push(Item::Step(Step::new(rest))),
            _ => self.last_step()?.take(mark, rest)?,
        }
        Ok(())
    }

    fn last_step(&mut self) -> Result<&mut Step, String> {
        match self.items.last_mut() {
            Some(Item::Step(step)) => Ok(step),
            Some(Item::Remark(_) | Item::Prepare(_)) | None => Err("belongs to no command".to_owned()),
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.iter().try_for_each(|item| match item {
            Item::Remark(line) => writeln!(f, "{line}"),
            Item::Prepare(words) => writeln!(f, "! {words}"),
            Item::Step(step) => write!(f, "{step}"),
        })
    }
}

// === impl Step ===

impl Step {
    fn new(line: &str) -> Self {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (terminal, command) = match first.parse() {
            Ok(size) => (Some(size), rest),
            Err(NotASize) => (None, line),
        };
        Self { command: command.to_owned(), terminal, moves: Vec::new(), seen: Seen::default() }
    }

    fn take(&mut self, mark: &str, rest: &str) -> Result<(), String> {
        match mark {
            "?" => self.moves.push(Move::Await(rest.to_owned())),
            "<" => self.moves.push(Move::Type(rest.to_owned())),
            "^" => self.moves.push(Move::Press(rest.to_owned())),
            "=" => self.moves.push(Move::Resize(rest.parse().map_err(|NotASize| "is no size".to_owned())?)),
            "1|" => self.seen.stdout.extend([rest, "\n"]),
            "2|" => self.seen.stderr.extend([rest, "\n"]),
            "1~" => self.seen.stdout.push_str(rest),
            "2~" => self.seen.stderr.push_str(rest),
            _ => self.seen.code = exit_code(mark).ok_or("begins with no known mark")?,
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.terminal {
            Some(Size { rows, columns }) => writeln!(f, "$ {rows}x{columns} {}", self.command)?,
            None => writeln!(f, "$ {}", self.command)?,
        }
        for made in &self.moves {
            match made {
                Move::Await(text) => writeln!(f, "? {text}")?,
                Move::Type(line) => writeln!(f, "< {line}")?,
                Move::Press(keys) => writeln!(f, "^ {keys}")?,
                Move::Resize(Size { rows, columns }) => writeln!(f, "= {rows}x{columns}")?,
            }
        }
        write!(f, "{}", self.seen)
    }
}

// === impl Seen ===

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, text) in [(1, &self.stdout), (2, &self.stderr)] {
            for line in text.split_inclusive('\n') {
                match line.strip_suffix('\n') {
                    Some("") => writeln!(f, "{number}|")?,
                    Some(line) => writeln!(f, "{number}| {line}")?,
                    None => writeln!(f, "{number}~ {line}")?,
                }
            }
        }
        if self.code == 0 { Ok(()) } else { writeln!(f, "[{}]", self.code) }
    }
}

impl Seen {
    /// Returns the first line in which another is different, for a reader: expected and found.
    pub fn difference(&self, found: &Self) -> Option<(String, String)> {
        let (expected, found) = (self.to_string(), found.to_string());
        let mut pairs = (expected.lines(), found.lines());
        loop {
            match (pairs.0.next(), pairs.1.next()) {
                (None, None) => return None,
                (expected, found) if expected == found => (),
                (expected, found) => {
                    let shown = |line: Option<&str>| line.unwrap_or("(nothing more)").to_owned();
                    return Some((shown(expected), shown(found)));
                }
            }
        }
    }
}

/// A word that is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASize;

impl std::str::FromStr for Size {
    type Err = NotASize;

    fn from_str(word: &str) -> Result<Self, NotASize> {
        let (rows, columns) = word.split_once('x').ok_or(NotASize)?;
        let number = |digits: &str| digits.parse().map_err(|_| NotASize);
        Ok(Self { rows: number(rows)?, columns: number(columns)? })
    }
}

fn exit_code(mark: &str) -> Option<i32> {
    mark.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Returns the keys that are written as `^P^Q`: bytes as a terminal sends them.
pub fn keys(written: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut characters = written.bytes();
    while let Some(byte) = characters.next() {
        match (byte, byte == b'^') {
            (_, true) => bytes.extend(characters.next().map(|key| key & 0x1f)),
            (byte, false) => bytes.push(byte),
        }
    }
    bytes
}

/// Returns what a terminal showed as text: a carriage return before a newline goes without saying, other control characters
/// are written as `^[`.
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let mut shown = String::new();
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(control @ 0..0x20) if character != '\n' => {
                let _ = write!(shown, "^{}", char::from(control + 0x40));
            }
            Ok(_) | Err(_) => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A scene\n\n! true\n$ docker ps\n1| a\n1|\n1~ b\n2| c\n[125]\n$ 24x80 docker run -it busybox\n\
        ? / #\n< exit\n^ ^P^Q\n= 30x100\n1| / # exit\n";

    #[test]
    fn scene_that_is_read_and_written_is_the_same() {
        let scene = Scene::parse(TEXT).unwrap();
        assert_eq!(scene.to_string(), TEXT);
        let steps: Vec<&Step> = scene.steps().collect();
        assert_eq!(steps[0].seen, Seen { stdout: "a\n\nb".to_owned(), stderr: "c\n".to_owned(), code: 125 });
        assert_eq!((steps[1].terminal, steps[1].moves.len()), (Some(Size { rows: 24, columns: 80 }), 4));
    }

    #[test]
    fn line_that_belongs_nowhere_is_named() {
        for (text, why) in [("1| a\n", "line 1: belongs to no command"), ("$ x\n5| a\n", "line 2: begins with no")] {
            assert!(Scene::parse(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn keys_and_what_a_terminal_shows_are_written_alike() {
        assert_eq!(keys("a^P^Q"), [b'a', 16, 17]);
        assert_eq!(shown(b"a\r\nb\x1b[6n\rc"), "a\nb^[[6n^Mc");
    }

    #[test]
    fn first_difference_is_told() {
        let seen = |stdout: &str| Seen { stdout: stdout.to_owned(), ..Seen::default() };
        assert_eq!(seen("a\n").difference(&seen("a\n")), None);
        let both = ("(nothing more)".to_owned(), "1| b".to_owned());
        assert_eq!(seen("a\n").difference(&seen("a\nb\n")), Some(both));
    }
}
