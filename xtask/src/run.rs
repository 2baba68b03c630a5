//! `cargo xtask run`: a development broker, and what to type next.

use std::path::{Path, PathBuf};

use crate::process::{Failure, binary, cargo, program, root, target_dir};

/// What the command line says.
#[derive(Debug, Eq, PartialEq)]
struct Options {
    debug: bool,
    data_dir: PathBuf,
    rest: Vec<String>,
}

fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        debug: false,
        data_dir: target_dir().join("dev-data"),
        rest: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--debug" => options.debug = true,
            "--data-dir" => {
                let dir = arguments.next();
                let dir = dir.ok_or_else(|| Failure::new("--data-dir needs a directory"))?;
                options.data_dir = std::path::absolute(dir)?;
            }
            "--" => options.rest.extend(arguments.by_ref().cloned()),
            other => options.rest.push(other.to_owned()),
        }
    }
    Ok(options)
}

/// Builds the broker and goes on as it.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let options = parse(arguments)?;
    let mut build = vec!["build", "--package", "confab"];
    if !options.debug {
        eprintln!("building the broker; the first release build takes minutes (--debug is faster)");
        build.push("--release");
    }
    cargo(&build).run()?;
    let confab = binary(if options.debug { "debug" } else { "release" });
    print_next(&confab, &options.data_dir);
    program(confab.as_os_str())
        .args(["serve", "--dev", "--data-dir"])
        .args([&options.data_dir])
        .args(&options.rest)
        .become_it()
}

/// A path as one would type it in the repository's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn print_next(confab: &Path, data_dir: &Path) {
    let (confab, data_dir) = (shown(confab), shown(data_dir));
    println!(
        "
In other terminals, in this directory:

  {confab} chat --data-dir {data_dir} --user u1
  {confab} chat --data-dir {data_dir} --user u2

or without a screen:

  {confab} tail general-company --data-dir {data_dir} --user u2
  {confab} send general-company 'hello' --data-dir {data_dir} --user u1
  {confab} --help

What it keeps lies in {data_dir}; delete that directory to start anew.
Ctrl-C stops the broker.
"
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// What xtask does not know belongs to the broker.
    #[test]
    fn unknown_arguments_are_passed_on() {
        let options = parse(&words(
            "--debug --quic 127.0.0.1:0 --data-dir /tmp/x -- --debug",
        ));
        let options = options.unwrap();
        assert!(options.debug);
        assert_eq!(options.data_dir.to_str(), Some("/tmp/x"));
        assert_eq!(options.rest, words("--quic 127.0.0.1:0 --debug"));
        assert!(parse(&words("--data-dir")).is_err());
    }
}
