//! `confab verify`: looks at a data directory, or mends one.

use std::collections::BTreeMap;

use confab_broker::storage::DataDirError;
use confab_broker::storage::log::LostEntries;
use confab_broker::storage::repair::{AcceptLoss, RepairError, RepairReport, repair};
use confab_broker::storage::verify::{GroupReport, Severity, VerifyOptions, VerifyReport, verify};
use serde::Serialize;

use crate::arguments::VerifyArguments;
use crate::failure::Failure;
use crate::output::Output;
use crate::sanitise::one_line;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    severity: &'static str,
    findings: Vec<Finding>,
    groups: BTreeMap<String, Group>,
}

#[derive(Serialize)]
struct Finding {
    severity: &'static str,
    path: String,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    first_index: Option<u64>,
    last_index: Option<u64>,
    purged_index: Option<u64>,
    applied_index: Option<u64>,
    checkpoint_indices: Vec<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Repaired {
    actions: Vec<String>,
    lost: Vec<String>,
    cut_off: Option<String>,
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "fine",
        Severity::Heals => "heals",
        Severity::Refused => "refused",
    }
}

impl From<&GroupReport> for Group {
    fn from(report: &GroupReport) -> Self {
        Self {
            first_index: report.first_index,
            last_index: report.last_index,
            purged_index: report.purged_index,
            applied_index: report.applied_index,
            checkpoint_indices: report.checkpoint_indices.clone(),
        }
    }
}

pub(crate) fn run(arguments: &VerifyArguments, json: bool) -> Result<(), Failure> {
    let path = &arguments.data_dir;
    // Opening would make what is not there, and an empty directory is fine.
    if !path.is_dir() {
        let sentence = format!(
            "{} is not a directory: give the data directory",
            path.display()
        );
        return Err(Failure::new("data_dir", sentence));
    }
    if arguments.repair {
        let accept = if arguments.accept_loss {
            AcceptLoss::Yes
        } else {
            AcceptLoss::No
        };
        let report = repair(path, accept).map_err(|error| repair_failure(&error))?;
        tell_repair(&report, json)?;
    }
    let report =
        verify(path, &VerifyOptions::default()).map_err(|error| data_dir_failure(&error))?;
    tell(&report, json)?;
    match report.severity() {
        Severity::Refused => Err(Failure::new(
            "damaged",
            if arguments.repair {
                "the directory is still damaged: restore it from a backup, or let the node join its cluster again with an empty one"
            } else {
                "a broker would not start on this directory: restore it from a backup, or see what `confab verify --repair` can do"
            },
        )),
        _ => Ok(()),
    }
}

fn data_dir_failure(error: &DataDirError) -> Failure {
    Failure::new("data_dir", error.to_string())
}

fn repair_failure(error: &RepairError) -> Failure {
    match error {
        RepairError::WouldLose(_) => Failure::new(
            "would_lose",
            format!("{error}. Look for a backup first; `--accept-loss` gives that up"),
        ),
        RepairError::State(_) => Failure::new("state", error.to_string()),
        RepairError::Log(_) => Failure::new("log", error.to_string()),
        RepairError::DataDir(error) => data_dir_failure(error),
    }
}

fn tell_repair(report: &RepairReport, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    let lost = lost_texts(&report.lost);
    let cut_off = report
        .cut_off
        .as_ref()
        .map(|path| path.display().to_string());
    if json {
        output.json(&Repaired {
            actions: report.actions.clone(),
            lost,
            cut_off,
        })?;
        return output.flush();
    }
    if report.actions.is_empty() {
        output.line("Nothing had to be repaired.")?;
    }
    for action in &report.actions {
        output.line(&format!("repaired  {}", one_line(action)))?;
    }
    for lost in &lost {
        output.line(&format!("lost      {}", one_line(lost)))?;
    }
    if !report.actions.is_empty() && lost.is_empty() {
        output.line("No entry is lost, as far as can be told.")?;
    }
    if let Some(path) = cut_off {
        output.line(&format!("What was cut off the log is kept in {path}."))?;
    }
    output.line("")?;
    output.flush()
}

/// What is gone in the end: a log that lost entries may lead on from state that
/// has them.
fn lost_texts(lost: &[LostEntries]) -> Vec<String> {
    let mut kept = BTreeMap::new();
    for one in lost {
        let (last_kept, last_seen) = kept.entry(one.group).or_insert((None, 0));
        *last_kept = one.last_kept.max(*last_kept);
        *last_seen = one.last_seen.max(*last_seen);
    }
    kept.into_iter()
        .filter(|(_, (last_kept, last_seen))| *last_kept < Some(*last_seen))
        .map(|(group, (last_kept, last_seen))| match last_kept {
            Some(last) => format!(
                "group {group} has its entries up to {last}, and had reached {last_seen} or more"
            ),
            None => format!(
                "group {group} has none of its entries, and had reached {last_seen} or more"
            ),
        })
        .collect()
}

fn tell(report: &VerifyReport, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(&Report {
            severity: word(report.severity()),
            findings: report
                .findings
                .iter()
                .map(|finding| Finding {
                    severity: word(finding.severity),
                    path: finding.path.display().to_string(),
                    text: finding.text.clone(),
                })
                .collect(),
            groups: report
                .groups
                .iter()
                .map(|(group, report)| (group.to_string(), report.into()))
                .collect(),
        })?;
        return output.flush();
    }
    for finding in &report.findings {
        let line = format!(
            "{:<8}  {}: {}",
            word(finding.severity),
            finding.path.display(),
            one_line(&finding.text)
        );
        output.line(&line)?;
    }
    for (group, report) in &report.groups {
        output.line(&format!("group {group}: {}", group_text(report)))?;
    }
    output.line(match report.severity() {
        Severity::Fine => "Everything is as it should be.",
        Severity::Heals => "The next start mends what was found; nothing is lost.",
        Severity::Refused => "Something is wrong.",
    })?;
    output.flush()
}

fn group_text(report: &GroupReport) -> String {
    let number = |index: Option<u64>| index.map_or("none".to_owned(), |index| index.to_string());
    let checkpoints: Vec<String> = report
        .checkpoint_indices
        .iter()
        .map(ToString::to_string)
        .collect();
    let checkpoints = match checkpoints.len() {
        0 => "none".to_owned(),
        _ => checkpoints.join(", "),
    };
    format!(
        "log {} to {}, purged to {}, applied to {}, checkpoints at {checkpoints}",
        number(report.first_index),
        number(report.last_index),
        number(report.purged_index),
        number(report.applied_index),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::lost_texts;
    use confab_broker::storage::GroupId;
    use confab_broker::storage::log::LostEntries;

    /// Who has just cut a log wants to know what is gone, not what was in danger.
    #[test]
    fn what_the_state_still_has_is_not_lost() {
        let lost = |group, last_kept, last_seen| LostEntries {
            group: GroupId::new(1, group),
            last_kept,
            last_seen,
        };
        let texts = lost_texts(&[
            lost(0, Some(33), 47),
            lost(1, Some(7), 12),
            lost(0, Some(47), 47),
            lost(2, None, 5),
        ]);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("up to 7") && texts[0].contains("reached 12"));
        assert!(texts[1].contains("none of its entries"));
    }
}
