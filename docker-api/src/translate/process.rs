//! The program of a container.

use super::{Result, terminal};
use crate::dto::config::Config;
use crate::dto::host_config::{HostConfig, Ulimit};
use crate::http::error::ApiError;
use orlop_model::container::{Process, Rlimit, Stdin, User};

/// Limits of processes by the names that clients use; getrlimit(2).
const ULIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Checks the program. `config` is complete: what the image says is in it.
pub(crate) fn process(config: &Config, host: &HostConfig, hostname: &str) -> Result<Process> {
    let command: Vec<String> = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect();
    if command.is_empty() {
        return Err(ApiError::bad("no command specified"));
    }
    let words = command.iter().chain([&config.working_dir, &config.user]);
    if words.chain(config.env.iter().flatten()).any(|word| word.contains('\0')) {
        return Err(ApiError::bad(
            "a NUL character in the command, the environment, the user or the working directory",
        ));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ApiError::bad(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    Ok(Process {
        command,
        args: Vec::new(),
        env: environment(config, hostname),
        working_dir: config.working_dir.clone(),
        user: user(config, host),
        terminal: config.tty,
        terminal_size: host.console_size.as_deref().map(terminal::of_list).transpose()?.unwrap_or_default(),
        stdin: match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Null,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        rlimits: host.ulimits.iter().flatten().map(rlimit).collect::<Result<_>>()?,
        init: host.init == Some(true),
    })
}

/// Returns the environment: what every program finds, then what was asked for.
fn environment(config: &Config, hostname: &str) -> Vec<(String, Vec<u8>)> {
    let asked: Vec<(String, Vec<u8>)> = config.env.iter().flatten().filter_map(|text| variable(text)).collect();
    let terminal = config.tty.then(|| ("TERM".to_owned(), b"xterm".to_vec()));
    let usual = [Some(("HOSTNAME".to_owned(), hostname.as_bytes().to_vec())), terminal];
    let usual = usual.into_iter().flatten().filter(|(name, _)| asked.iter().all(|(there, _)| there != name));
    usual.chain(asked.clone()).collect()
}

/// A name without a value asks that it be not set, which it is not unless the image sets it.
fn variable(text: &str) -> Option<(String, Vec<u8>)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.as_bytes().to_vec()))
}

fn user(config: &Config, host: &HostConfig) -> User {
    let mut user = User { user: config.user.clone(), ..User::default() };
    for group in host.group_add.iter().flatten() {
        match group.parse() {
            Ok(id) => user.supplemental_groups.push(id),
            Err(_) => user.supplemental_group_names.push(group.clone()),
        }
    }
    user
}

fn rlimit(asked: &Ulimit) -> Result<Rlimit> {
    let name = asked.name.to_ascii_lowercase();
    if !ULIMITS.contains(&name.as_str()) {
        return Err(ApiError::bad(format!("invalid ulimit type: {}", asked.name)));
    }
    let limit = |number: i64| match number {
        -1 => Ok(u64::MAX),
        number => {
            u64::try_from(number).map_err(|_| ApiError::bad(format!("invalid ulimit {name}: {number} is below -1")))
        }
    };
    let (soft, hard) = (limit(asked.soft)?, limit(asked.hard)?);
    if soft > hard {
        return Err(ApiError::bad(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(Rlimit { name: format!("RLIMIT_{}", name.to_ascii_uppercase()), soft, hard })
}

/// Returns the variables of an exec, beside those of its container.
pub(crate) fn exec_environment(asked: &[String], tty: bool) -> Vec<(String, Vec<u8>)> {
    let asked: Vec<(String, Vec<u8>)> = asked.iter().filter_map(|text| variable(text)).collect();
    let terminal =
        (tty && asked.iter().all(|(name, _)| name != "TERM")).then(|| ("TERM".to_owned(), b"xterm".to_vec()));
    terminal.into_iter().chain(asked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cmd: &[&str]) -> Config {
        Config { cmd: Some(cmd.iter().map(|word| (*word).to_owned()).collect()), ..Config::default() }
    }

    #[test]
    fn the_environment_has_what_programs_expect() {
        let mut config = config(&["sh"]);
        config.tty = true;
        config.env = Some(vec!["A=b=c".into(), "TERM=dumb".into(), "GONE".into()]);
        let process = process(&config, &HostConfig::default(), "box").unwrap();
        let env: Vec<(&str, &[u8])> =
            process.env.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        assert_eq!(env, [("HOSTNAME", &b"box"[..]), ("A", b"b=c"), ("TERM", b"dumb")]);
        assert!(process.terminal);
    }

    #[test]
    fn groups_are_ids_or_names() {
        let host = HostConfig { group_add: Some(vec!["5".into(), "audio".into()]), ..HostConfig::default() };
        let user = process(&config(&["sh"]), &host, "").unwrap().user;
        assert_eq!((user.supplemental_groups, user.supplemental_group_names), (vec![5], vec!["audio".to_owned()]));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let refused = |config: &Config, host: &HostConfig| process(config, host, "").unwrap_err().message().to_owned();
        let host = HostConfig::default();
        assert_eq!(refused(&Config::default(), &host), "no command specified");
        let mut relative = config(&["sh"]);
        relative.working_dir = "x".into();
        assert!(refused(&relative, &host).contains("needs to be an absolute path"));
        let ulimit = |name: &str, soft, hard| {
            let ulimits = Some(vec![Ulimit { name: name.into(), soft, hard }]);
            HostConfig { ulimits, ..HostConfig::default() }
        };
        assert_eq!(refused(&config(&["sh"]), &ulimit("nosuch", 1, 1)), "invalid ulimit type: nosuch");
        assert!(refused(&config(&["sh"]), &ulimit("nofile", 2, 1)).starts_with("ulimit soft limit"));
        let unlimited = process(&config(&["sh"]), &ulimit("nofile", -1, -1), "").unwrap().rlimits;
        assert_eq!(unlimited, [Rlimit { name: "RLIMIT_NOFILE".into(), soft: u64::MAX, hard: u64::MAX }]);
    }
}
