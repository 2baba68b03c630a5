//! `confab check`, and what it shares with `confab serve`: reading the
//! configuration.

use std::path::PathBuf;

use confab_broker::config::{self, Loaded, Overrides, Source};

use crate::arguments::{CheckArguments, ServerArguments};
use crate::failure::Failure;
use crate::output::Output;

/// Reads the configuration: file, environment over it, flags over both.
pub(crate) fn load(arguments: &ServerArguments) -> Result<Loaded, Failure> {
    let overrides = Overrides {
        dev: arguments.dev,
        data_dir: arguments.data_dir.clone(),
        quic: arguments.quic,
        http: arguments.http,
        peer: arguments.peer,
        ops: arguments.ops,
        settings: arguments.settings.clone(),
    };
    let from_environment = || {
        std::env::var_os("CONFAB_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let file = arguments.config.clone().or_else(from_environment);
    // A variable that is no text sets nothing that we know.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(file.as_deref(), environment, &overrides).map_err(failure)
}

/// A configuration that cannot be used, as a failure.
pub(crate) fn failure(error: config::Error) -> Failure {
    let problems = match &error {
        config::Error::Invalid(problems) => problems.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    Failure::new("configuration", error.to_string()).listing(problems)
}

pub(crate) fn run(arguments: &CheckArguments, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if arguments.reference {
        output.text(&config::reference())?;
        return output.flush();
    }
    let loaded = load(&arguments.server)?;
    if json {
        output.json(&loaded.explain())?;
    } else {
        explain(&loaded, &mut output)?;
    }
    output.flush()?;
    loaded.require_serving().map_err(failure)?;
    if !json {
        output.line("This configuration can be used.")?;
    }
    output.flush()
}

/// What was set comes first, for that is what one looks for.
fn explain(loaded: &Loaded, output: &mut Output) -> Result<(), Failure> {
    let is_default = |name: &str| {
        let (section, key) = name.split_once('.').unwrap_or((name, ""));
        loaded.source(section, key) == Source::Default
    };
    let (default, set): (Vec<_>, Vec<_>) = loaded
        .explain()
        .into_iter()
        .partition(|one| is_default(&one.name));
    let width = |one: &config::Explained| one.name.len() + one.value.len() + 3;
    let widest = set.iter().chain(&default).map(width).max();
    let widest = widest.unwrap_or(0).min(60);
    for (heading, settings) in [("Set:", &set), ("By default:", &default)] {
        if settings.is_empty() {
            continue;
        }
        output.line(heading)?;
        for one in settings {
            let setting = format!("{} = {}", one.name, one.value);
            output.line(&format!("  {setting:widest$}  ({})", one.source))?;
        }
        output.line("")?;
    }
    for notice in &loaded.notices {
        output.line(&format!("Note: {notice}"))?;
    }
    Ok(())
}
