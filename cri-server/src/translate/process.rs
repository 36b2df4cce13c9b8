//! The program of a container, its environment and its terminal.

use super::path::{absolute, without_nul};
use super::{Refused, Result, quoted};
use crate::proto::{ContainerConfig, KeyValue};
use orlop_model::container::{Process, Stdin, User};
use orlop_model::streams::TerminalSize;

/// Checks the program. Whether there is one at all is known only with the image.
pub(crate) fn process(config: &ContainerConfig, user: User) -> Result<Process> {
    let words =
        config.command.iter().map(|word| ("command", word)).chain(config.args.iter().map(|word| ("args", word)));
    for (field, word) in words {
        without_nul(field, word)?;
    }
    if !config.working_dir.is_empty() {
        // Not checked for "..": it is entered inside the container, and can't lead out of it.
        if !config.working_dir.starts_with('/') {
            let problem = format!("{} is not an absolute path", quoted(&config.working_dir));
            return Err(Refused::invalid("working_dir", problem));
        }
        without_nul("working_dir", &config.working_dir)?;
    }
    Ok(Process {
        command: config.command.clone(),
        args: config.args.clone(),
        env: config.envs.iter().enumerate().map(env).collect::<Result<_>>()?,
        working_dir: config.working_dir.clone(),
        user,
        terminal: config.tty,
        // The client sets it when it has attached.
        terminal_size: TerminalSize::default(),
        stdin: match (config.stdin, config.stdin_once) {
            (false, _) => Stdin::Null,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        rlimits: Vec::new(),
        init: false,
    })
}

fn env((i, variable): (usize, &KeyValue)) -> Result<(String, Vec<u8>)> {
    let field = |name: &str| format!("envs[{i}].{name}");
    if variable.key.is_empty() || variable.key.contains('=') {
        let problem = format!("{} is not the name of a variable", quoted(&variable.key));
        return Err(Refused::invalid(field("key"), problem));
    }
    without_nul(field("key"), &variable.key)?;
    if variable.value.contains(&0) {
        // Not repeated in the message: values may be secret.
        return Err(Refused::invalid(field("value"), "holds a NUL character"));
    }
    Ok((variable.key.clone(), variable.value.clone()))
}

/// Checks lists of paths that are hidden or made read-only.
pub(crate) fn hidden_paths(field: &str, paths: &[String]) -> Result<Vec<String>> {
    for (i, path) in paths.iter().enumerate() {
        absolute(format!("linux.security_context.{field}[{i}]"), path)?;
    }
    Ok(paths.to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_refused;
    use super::*;
    use orlop_model::ErrorKind::InvalidArgument;

    fn of(change: impl FnOnce(&mut ContainerConfig)) -> Result<Process> {
        let mut config = ContainerConfig::default();
        change(&mut config);
        process(&config, User::default())
    }

    fn variable(key: &str, value: &[u8]) -> Vec<KeyValue> {
        vec![KeyValue { key: key.into(), value: value.into() }]
    }

    #[test]
    fn values_of_the_environment_are_bytes() {
        let process = of(|c| c.envs = variable("K", &[0xff, b'=', b'\n'])).unwrap();
        assert_eq!(process.env, [("K".to_owned(), vec![0xff, b'=', b'\n'])]);
    }

    #[test]
    fn standard_input_closes_once_only_when_it_is_open() {
        for (stdin, stdin_once, expected) in [
            (false, false, Stdin::Null),
            (false, true, Stdin::Null),
            (true, false, Stdin::Open),
            (true, true, Stdin::Once),
        ] {
            assert_eq!(of(|c| (c.stdin, c.stdin_once) = (stdin, stdin_once)).unwrap().stdin, expected);
        }
    }

    #[test]
    fn bad_programs_are_refused() {
        check_refused(of(|c| c.command = vec!["a\0".into()]), InvalidArgument, &["command", "NUL"]);
        check_refused(of(|c| c.args = vec!["a\0".into()]), InvalidArgument, &["args", "NUL"]);
        check_refused(of(|c| c.working_dir = "a".into()), InvalidArgument, &["working_dir", "absolute"]);
        check_refused(of(|c| c.envs = variable("", b"x")), InvalidArgument, &["envs[0].key"]);
        check_refused(of(|c| c.envs = variable("A=B", b"x")), InvalidArgument, &["envs[0].key"]);
        check_refused(of(|c| c.envs = variable("A", b"x\0")), InvalidArgument, &["envs[0].value"]);
        check_refused(hidden_paths("masked_paths", &["x".into()]), InvalidArgument, &["masked_paths[0]", "absolute"]);
    }
}
