//! How a demo tells its steps, and the word by which it checks them.

use crate::script::Verdict;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

/// Prints one line: how long it took, what it was, what came of it.
pub fn tell(what: &str, since: Instant, answer: &str) {
    println!("{:>7.1} ms  {what:<18} {answer}", since.elapsed().as_secs_f64() * 1e3);
}

/// Eight letters that nobody could have prepared.
pub fn made_up_word() -> Verdict<String> {
    let mut bytes = [0; 8];
    let source = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    source.map_err(|e| format!("read /dev/urandom: {e}"))?;
    Ok(bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect())
}
