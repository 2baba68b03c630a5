//! `confab directory import`: users, departments and projects from JSON lines.
//!
//! The file is read and checked as a whole before anything is sent; what is
//! wrong with it is told by line. Then it goes in steps, each done whole or not
//! at all. Every change is idempotent, so a file can be imported again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use confab_client::{Client, RequestError};
use confab_protocol::codec::encode;
use confab_protocol::limits::{NAME_BYTES_MAX, REQUEST_FRAME_BYTES_MAX, USERS_PER_REQUEST_MAX};
use confab_protocol::message::directory::DirectoryChange;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{DirectoryArguments, DirectoryCommand, ImportArguments};
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, run_client};
use crate::sanitise::one_line;

/// Longest line, in bytes: a project with all the users that it may have.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// Most changes in one file; they are held in memory.
const CHANGES_MAX: usize = 5_000_000;

/// Most wrong lines that are told.
const WRONG_LINES_MAX: usize = 20;

/// Bytes of one step, so that it fits into a request.
const STEP_BYTES_MAX: usize = REQUEST_FRAME_BYTES_MAX - 8 * 1_024;

/// How often a step is tried that the server could not do just then.
const TRIES_MAX: u32 = 8;

/// A change and where it stands in the file.
#[derive(Clone, Debug)]
struct Numbered {
    line: u64,
    change: DirectoryChange,
}

/// What was done, for `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    changes: u64,
    changed: u64,
    steps: u64,
    dry_run: bool,
    /// The directory's log index of the last step.
    directory_index: Option<u64>,
}

pub(crate) fn run(arguments: &DirectoryArguments, json: bool) -> Result<(), Failure> {
    let DirectoryCommand::Import(arguments) = &arguments.command;
    let changes = read(&arguments.file)?;
    if arguments.dry_run {
        return finish(
            &Imported {
                changes: changes.len() as u64,
                changed: 0,
                steps: 0,
                dry_run: true,
                directory_index: None,
            },
            json,
        );
    }
    run_client(async {
        let target = Target::find(&arguments.connection, true)?;
        let client = target.connect(&arguments.connection).await?;
        let imported = import(&client, arguments, &changes, json).await?;
        client.close().await;
        finish(&imported, json)
    })
}

fn finish(imported: &Imported, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(imported)?;
    } else if imported.dry_run {
        let count = imported.changes;
        output.line(&format!(
            "{count} changes; every line can be read. Nothing was sent."
        ))?;
    } else {
        let (count, changed) = (imported.changes, imported.changed);
        output.line(&format!(
            "{count} changes imported, {changed} of them changed something."
        ))?;
    }
    output.flush()
}

async fn import(
    client: &Client,
    arguments: &ImportArguments,
    changes: &[Numbered],
    json: bool,
) -> Result<Imported, Failure> {
    let mut imported = Imported {
        changes: 0,
        changed: 0,
        steps: 0,
        dry_run: false,
        directory_index: None,
    };
    let mut rest = changes;
    while !rest.is_empty() {
        let (step, later) = rest.split_at(step_length(rest, usize::from(arguments.batch)));
        let updated = send(client, step).await.map_err(|failure| {
            let done = imported.changes;
            failure.of(format!("{done} of {} changes are done", changes.len()))
        })?;
        imported.changes += step.len() as u64;
        imported.changed += u64::from(updated.changed);
        imported.steps += 1;
        imported.directory_index = Some(updated.directory_index);
        rest = later;
        if !json && !rest.is_empty() {
            tell(&format!(
                "{} of {} changes",
                imported.changes,
                changes.len()
            ));
        }
    }
    Ok(imported)
}

/// How many of the changes go in one step; at least one.
fn step_length(changes: &[Numbered], most: usize) -> usize {
    let mut bytes = 0;
    let fitting = changes.iter().take(most).take_while(|one| {
        bytes += encode(&one.change).len();
        bytes <= STEP_BYTES_MAX
    });
    fitting.count().max(1)
}

async fn send(
    client: &Client,
    step: &[Numbered],
) -> Result<confab_protocol::message::directory::DirectoryUpdated, Failure> {
    let mut tries = 0;
    loop {
        let changes = step.iter().map(|one| one.change.clone());
        match client.update_directory(changes).await {
            Ok(updated) => return Ok(updated),
            Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                let wait_ms = match &error {
                    RequestError::Refused(error) => error.retry_after_ms.map(u64::from),
                    _ => None,
                };
                tries += 1;
                let pause = Duration::from_millis(wait_ms.unwrap_or(250 << tries.min(5)));
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(refused(step, error)),
        }
    }
}

/// The server says which change of a step is at fault; a person wants the line.
fn refused(step: &[Numbered], error: RequestError) -> Failure {
    if let RequestError::Refused(wire) = &error
        && let Some((place, reason)) = wire
            .message
            .strip_prefix("change ")
            .and_then(|rest| rest.split_once(": "))
        && let Some(one) = place
            .parse::<usize>()
            .ok()
            .and_then(|place| step.get(place))
    {
        let sentence = format!("line {}: {reason}", one.line);
        return Failure::new(wire.code().name(), sentence);
    }
    let lines = match (step.first(), step.last()) {
        (Some(first), Some(last)) if first.line != last.line => {
            format!("lines {} to {}", first.line, last.line)
        }
        (Some(first), _) => format!("line {}", first.line),
        _ => "the file".to_owned(),
    };
    Failure::from(error).of(lines)
}

fn tell(line: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "{line}");
}

fn read(path: &Path) -> Result<Vec<Numbered>, Failure> {
    if path == Path::new("-") {
        return read_lines(io::stdin().lock());
    }
    let file = File::open(path).map_err(|error| {
        Failure::new("input", format!("cannot read {}: {error}", path.display()))
    })?;
    read_lines(BufReader::new(file))
}

fn read_lines(mut input: impl BufRead) -> Result<Vec<Numbered>, Failure> {
    let mut changes = Vec::new();
    let mut wrong = Vec::new();
    for line in 1.. {
        let mut bytes = Vec::new();
        let read = (&mut input)
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| {
                Failure::new("input", format!("line {line} cannot be read: {error}"))
            })?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        if bytes.len() as u64 > LINE_BYTES_MAX {
            wrong.push(format!("line {line}: it is longer than 256 KiB"));
            break;
        }
        match parse(text) {
            Ok(change) => changes.push(Numbered { line, change }),
            Err(reason) => wrong.push(format!("line {line}: {reason}")),
        }
        if changes.len() > CHANGES_MAX {
            let sentence = format!("the file has more than {CHANGES_MAX} changes: split it");
            return Err(Failure::new("input", sentence));
        }
        if wrong.len() >= WRONG_LINES_MAX {
            wrong.push("… and perhaps more".to_owned());
            break;
        }
    }
    if wrong.is_empty() {
        return Ok(changes);
    }
    let sentence = format!(
        "the file cannot be imported; nothing was sent:\n  {}",
        wrong.join("\n  ")
    );
    Err(Failure::new("input", sentence).listing(wrong))
}

/// Reads one change. Unknown fields are errors: a mistyped `"active"` must not
/// let somebody in.
fn parse(text: &str) -> Result<DirectoryChange, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| plain(&error))?;
    let Value::Object(given) = &value else {
        return Err("it is no JSON object".to_owned());
    };
    let change: DirectoryChange = serde_json::from_str(text).map_err(|error| plain(&error))?;
    let known = serde_json::to_value(&change).map_err(|error| plain(&error))?;
    if let Some(unknown) = given.keys().find(|key| known.get(key).is_none()) {
        return Err(format!(
            "`{}` is no field of this change",
            one_line(unknown)
        ));
    }
    check(&change)?;
    Ok(change)
}

/// What is wrong, without serde's line and column, which are of one line only.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    one_line(text)
}

/// What can be seen without knowing the directory.
fn check(change: &DirectoryChange) -> Result<(), String> {
    let name = |name: &str| {
        if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!("`name` must have 1 to {NAME_BYTES_MAX} bytes"));
        }
        if name.chars().any(char::is_control) {
            return Err("`name` must have no control characters".to_owned());
        }
        Ok(())
    };
    match change {
        DirectoryChange::PutUser { name: text, .. }
        | DirectoryChange::PutDepartment { name: text, .. } => name(text),
        DirectoryChange::PutProject {
            name: text,
            team,
            clients,
            ..
        } => {
            if team.len() > USERS_PER_REQUEST_MAX || clients.len() > USERS_PER_REQUEST_MAX {
                return Err(format!(
                    "`team` and `clients` may have {USERS_PER_REQUEST_MAX} users; add more with add_project_team, add_project_client"
                ));
            }
            name(text)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Numbered, parse, read_lines, refused, step_length};
    use confab_client::RequestError;
    use confab_protocol::{ErrorCode, WireError};

    /// The documentation's example must be what the command takes.
    #[test]
    fn the_documented_example_can_be_imported() {
        let example = include_str!("../../../../docs/examples/directory.jsonl");
        let changes = read_lines(example.as_bytes()).unwrap();
        assert_eq!(changes.len(), example.lines().count());
        let document = include_str!("../../../../docs/directory-import.md");
        let mut shown = 0;
        for line in document.lines().map(str::trim) {
            if line.starts_with("{\"change\"") {
                assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
                shown += 1;
            }
        }
        assert!(shown >= 14, "every kind of change has an example");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let text = "\n{\"change\":\"put_department\",\"id\":\"d\",\"name\":\"D\"}\nnonsense\n";
        let failure = read_lines(text.as_bytes()).unwrap_err();
        assert!(failure.sentence().contains("line 3: "), "{failure:?}");
        assert_eq!(failure.exit(), 1);
    }

    #[test]
    fn lines_that_would_mean_something_else_are_refused() {
        for (line, why) in [
            ("[1]", "no JSON object"),
            (r#"{"change":"fly"}"#, "unknown variant"),
            (
                r#"{"change":"put_user","id":"a b","name":"A","kind":"internal"}"#,
                "user id",
            ),
            (
                r#"{"change":"put_user","id":"a","name":"","kind":"internal"}"#,
                "`name`",
            ),
            (r#"{"change":"put_user","id":"a","name":"A"}"#, "kind"),
            (
                r#"{"change":"put_user","id":"a","name":"A","kind":"internal","actve":false}"#,
                "`actve` is no field",
            ),
        ] {
            let reason = parse(line).unwrap_err();
            assert!(reason.contains(why), "{line}: {reason}");
        }
    }

    /// Windows writes a mark at the start and two characters at line ends.
    #[test]
    fn foreign_line_ends_are_no_problem() {
        let text = "\u{feff}{\"change\":\"delete_department\",\"id\":\"d\"}\r\n\r\n";
        assert_eq!(read_lines(text.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn the_server_names_a_change_and_we_name_its_line() {
        let change = parse(r#"{"change":"close_project","id":"p"}"#).unwrap();
        let step: Vec<Numbered> = [10, 12, 15]
            .map(|line| Numbered {
                line,
                change: change.clone(),
            })
            .into();
        let wire = WireError::new(ErrorCode::NotFound, "change 1: project p does not exist");
        let failure = refused(&step, RequestError::Refused(wire));
        assert_eq!(failure.sentence(), "line 12: project p does not exist");
        assert_eq!(failure.code(), "not_found");
        let wire = WireError::new(ErrorCode::Forbidden, "only administrators may");
        let failure = refused(&step, RequestError::Refused(wire));
        assert_eq!(
            failure.sentence(),
            "lines 10 to 15: only administrators may"
        );
    }

    /// A step must fit into one request.
    #[test]
    fn large_changes_make_short_steps() {
        let users: Vec<String> = (0..500).map(|n| format!("\"user-{n:0>50}\"")).collect();
        let line = format!(
            r#"{{"change":"put_project","id":"p","name":"P","team":[{}],"clients":[]}}"#,
            users.join(",")
        );
        let change = parse(&line).unwrap();
        let step: Vec<Numbered> = (0..100)
            .map(|line| Numbered {
                line,
                change: change.clone(),
            })
            .collect();
        let length = step_length(&step, 1_000);
        assert!((1..5).contains(&length), "{length}");
        assert_eq!(step_length(&step[..1], 1_000), 1);
    }
}
