//! What is run, and where.

use crate::SpecError;
use orlop_model::container::Process;
use orlop_model::image::ImageConfig;

/// Returns program and arguments.
///
/// A command replaces the image's entrypoint and drops its cmd; arguments replace its cmd. That is Kubernetes' rule and,
/// seen from here, Docker's too.
pub(crate) fn command(process: &Process, image: &ImageConfig) -> Result<Vec<String>, SpecError> {
    let (first, rest) = match (process.command.as_slice(), process.args.as_slice()) {
        ([], []) => (&image.entrypoint[..], &image.cmd[..]),
        ([], args) => (&image.entrypoint[..], args),
        (command, args) => (command, args),
    };
    let words: Vec<String> = first.iter().chain(rest).cloned().collect();
    check(&words)?;
    Ok(words)
}

/// Refuses words that nothing can run.
pub(crate) fn check(words: &[String]) -> Result<(), SpecError> {
    match words.first() {
        None => return Err(SpecError::NoCommand),
        Some(program) if program.is_empty() => return Err(SpecError::invalid("command", "its first word is empty")),
        Some(_) => {}
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(SpecError::invalid("command", "a word holds a NUL byte"));
    }
    Ok(())
}

/// Returns the working folder, absolute: the container's, or its image's, or the root.
pub(crate) fn working_folder(process: &Process, image: &ImageConfig) -> Result<String, SpecError> {
    let nul = |text: &str| text.contains('\0');
    match (process.working_dir.as_str(), image.working_dir.as_str()) {
        ("", "") => Ok("/".to_owned()),
        ("", path) if nul(path) => Err(SpecError::image("working folder", "it holds a NUL byte")),
        // Image builders write relative ones, and mean from the root.
        ("", path) if !path.starts_with('/') => Ok(format!("/{path}")),
        ("", path) => Ok(path.to_owned()),
        (path, _) if !path.starts_with('/') || nul(path) => {
            let shown: String = path.chars().take(200).collect();
            Err(SpecError::invalid("working folder", format!("{shown:?} is not an absolute path")))
        }
        (path, _) => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_replaces_entrypoint_and_cmd_and_arguments_replace_cmd() {
        for (command_, args, entrypoint, cmd, expected) in [
            ("", "", "e", "c d", "e c d"),
            ("", "", "", "c d", "c d"),
            ("", "a", "e", "c d", "e a"),
            ("", "a", "", "c d", "a"),
            ("x y", "", "e", "c d", "x y"),
            ("x", "a", "e", "c d", "x a"),
        ] {
            let process = Process { command: words(command_), args: words(args), ..Process::default() };
            let image = ImageConfig { entrypoint: words(entrypoint), cmd: words(cmd), ..ImageConfig::default() };
            assert_eq!(command(&process, &image), Ok(words(expected)));
        }
    }

    #[test]
    fn nothing_to_run_is_refused() {
        assert_eq!(command(&Process::default(), &ImageConfig::default()), Err(SpecError::NoCommand));
        for bad in ["", "a\0b"] {
            let process = Process { command: vec![bad.to_owned()], ..Process::default() };
            assert!(command(&process, &ImageConfig::default()).is_err());
        }
    }

    #[test]
    fn working_folder_of_the_container_wins() {
        for (own, of_image, expected) in [
            ("", "", Some("/")),
            ("", "/a", Some("/a")),
            ("", "a", Some("/a")),
            ("/b", "/a", Some("/b")),
            ("b", "/a", None),
        ] {
            let process = Process { working_dir: own.to_owned(), ..Process::default() };
            let image = ImageConfig { working_dir: of_image.to_owned(), ..ImageConfig::default() };
            assert_eq!(working_folder(&process, &image).ok().as_deref(), expected);
        }
    }
}
