//! A token server on loopback, for the real registry: what it signs, docker-registry checks.

use orlop_testkit::registry::{Options, PASSWORD, Registry, TokenAuth, USERNAME, make_certificate};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The identity token that it knows.
pub const IDENTITY: &str = "identity/token+with=signs&more";
/// What the registry calls itself.
pub const SERVICE: &str = "registry of a test";
const ISSUER: &str = "token server of a test";

/// A server that gives tokens: to anyone for `public/…`, for all else to those who prove who they are. Its thread ends when
/// it is dropped.
pub struct TokenServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
    folder: tempfile::TempDir,
}

struct Shared {
    key: EcdsaKeyPair,
    certificate: String,
    stop: AtomicBool,
    /// How long its tokens are good.
    life_s: AtomicI64,
    /// The fields of its answer, by what they are called.
    answer_as: Mutex<&'static str>,
    /// Requests, whole.
    seen: Mutex<Vec<String>>,
    issued: Mutex<Vec<String>>,
}

impl TokenServer {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("orlop-tokens-").tempdir().unwrap();
        let certificate = std::fs::read_to_string(made_certificate(folder.path())).unwrap();
        let shared = Arc::new(Shared {
            key: read_key(&folder.path().join("key.pem")),
            certificate: certificate.lines().filter(|line| !line.starts_with('-')).collect(),
            stop: AtomicBool::new(false),
            life_s: AtomicI64::new(300),
            answer_as: Mutex::new("token"),
            seen: Mutex::default(),
            issued: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let here = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if here.stop.load(Ordering::Relaxed) {
                    break;
                }
                here.answer(stream.unwrap());
            }
        });
        Self { address, shared, thread: Some(thread), folder }
    }

    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Starts a registry that takes its tokens and holds what an open one holds.
    pub fn registry(&self, open: &Registry) -> Registry {
        let token = Some(TokenAuth {
            realm: self.realm(),
            service: SERVICE.to_owned(),
            issuer: ISSUER.to_owned(),
            certificate: self.folder.path().join("certificate.pem"),
        });
        let storage = Some(open.storage().to_owned());
        Registry::with(Options { token, storage, ..Options::default() }).unwrap()
    }

    /// Sets for how long its further tokens are good; the registry adds a minute.
    pub fn live_for(&self, seconds: i64) {
        self.shared.life_s.store(seconds, Ordering::Relaxed);
    }

    /// Sets what it calls the token in its answers.
    pub fn answer_as(&self, field: &'static str) {
        *self.shared.answer_as.lock().unwrap() = field;
    }

    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Counts its requests that hold a text.
    pub fn asked(&self, part: &str) -> usize {
        self.seen().iter().filter(|request| request.contains(part)).count()
    }

    pub fn issued(&self) -> Vec<String> {
        self.shared.issued.lock().unwrap().clone()
    }

    /// Makes a token as someone else would bring it.
    pub fn sign(&self, repository: &str) -> String {
        self.shared.sign(Some(repository))
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) {
        let request = read_request(&mut stream);
        self.seen.lock().unwrap().push(request.clone());
        let (status, body) = match self.decide(&request) {
            Ok(token) => {
                let field = *self.answer_as.lock().unwrap();
                (200, format!("{{\"{field}\":\"{token}\",\"expires_in\":1,\"other\":[]}}"))
            }
            Err(why) => (401, format!("{{\"details\":\"{why}\"}}")),
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    }

    fn decide(&self, request: &str) -> Result<String, &'static str> {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let post = head.starts_with("POST");
        let fields = if post { body } else { target.split_once('?').map_or("", |(_, query)| query) };
        let field = |name: &str| {
            let mut pairs = fields.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        if field("service") != SERVICE {
            return Err("unknown service");
        }
        let scope = field("scope");
        let repository = scope.strip_prefix("repository:").and_then(|rest| rest.strip_suffix(":pull"));
        let repository = repository.ok_or("unknown scope")?;
        let known = if post {
            if field("grant_type") != "refresh_token" || field("refresh_token") != IDENTITY {
                return Err("unknown identity token");
            }
            true
        } else {
            let basic = format!("Basic {}", base64(format!("{USERNAME}:{PASSWORD}").as_bytes(), true));
            let told = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("authorization").then_some(value)
            });
            if told.is_some_and(|told| told != basic) {
                return Err("incorrect username or password");
            }
            told.is_some()
        };
        // As the big registries do: nobody is refused a token, it is just good for nothing.
        let token = self.sign((known || repository.starts_with("public/")).then_some(repository));
        self.issued.lock().unwrap().push(token.clone());
        Ok(token)
    }

    fn sign(&self, repository: Option<&str>) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let until = now + self.life_s.load(Ordering::Relaxed);
        let header = format!(r#"{{"typ":"JWT","alg":"ES256","x5c":["{}"]}}"#, self.certificate);
        let access = repository
            .map_or_else(String::new, |name| format!(r#"{{"type":"repository","name":"{name}","actions":["pull"]}}"#));
        // A number of its own, so that no two tokens are the same.
        let number = self.issued.lock().unwrap().len();
        let claims = format!(
            r#"{{"iss":"{ISSUER}","sub":"","aud":"{SERVICE}","exp":{until},"nbf":{},"iat":{now},"jti":"{number}","access":[{access}]}}"#,
            now - 1000,
        );
        let signed = format!("{}.{}", base64(header.as_bytes(), false), base64(claims.as_bytes(), false));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(signature.as_ref(), false))
    }
}

fn made_certificate(folder: &Path) -> PathBuf {
    let certificate = folder.join("certificate.pem");
    make_certificate(&certificate, &folder.join("key.pem")).unwrap();
    certificate
}

fn read_key(pem: &Path) -> EcdsaKeyPair {
    let mut command = Command::new("openssl");
    let output = command.args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"]).arg(pem).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &output.stdout, &SystemRandom::new()).unwrap()
}

/// Reads a head, and a body as long as it says.
fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    bytes.extend(body);
    String::from_utf8(bytes).unwrap()
}

/// Undoes the form encoding of a value.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Encodes bytes, padded with the usual signs or, for tokens, without padding and with those of URLs.
fn base64(bytes: &[u8], padded: bool) -> String {
    let signs = if padded { "+/" } else { "-_" };
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(signs.chars()).collect();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(alphabet[group >> (18 - 6 * at) & 63]);
        }
        if padded {
            write!(text, "{}", "=".repeat(3 - chunk.len())).unwrap();
        }
    }
    text
}
