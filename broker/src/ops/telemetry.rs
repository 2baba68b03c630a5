//! Logs: one line an event on standard error, as text or JSON.
//!
//! The filter is `CONFAB_LOG`, else `RUST_LOG`, else the configured level, in
//! the syntax of tracing's `EnvFilter` (`info`, `confab_broker::session=debug`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// A level, or a filter for each module. Default `info,openraft=warn`.
    pub filter: String,
    /// How a line looks. Default text.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: "info,openraft=warn".into(),
            format: LogFormat::Text,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "{place} is {filter:?}, which is not a log filter: use error, warn, info, debug or trace, \
         or e.g. `info,confab_broker=debug`"
    )]
    Filter {
        /// The setting or environment variable.
        place: &'static str,
        /// What it holds.
        filter: String,
    },
    /// The process logs already.
    #[error("logging was already set up in this process")]
    AlreadySet,
}

/// The filter that counts, and where it comes from.
fn pick_filter<'a>(
    variable: impl Fn(&str) -> Option<String>,
    config: &'a LogConfig,
) -> (&'static str, std::borrow::Cow<'a, str>) {
    for place in ["CONFAB_LOG", "RUST_LOG"] {
        if let Some(filter) = variable(place).filter(|filter| !filter.trim().is_empty()) {
            return (place, filter.into());
        }
    }
    ("log.level", config.filter.as_str().into())
}

/// openraft says at `info` what only its authors want to know, dozens of lines at
/// each start. Who asks for them by name gets them.
fn without_chatter(filter: &str) -> &str {
    if filter.trim().eq_ignore_ascii_case("info") {
        "info,openraft=warn"
    } else {
        filter
    }
}

/// Checks a filter without setting anything up.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn check_filter(place: &'static str, filter: &str) -> Result<(), TelemetryError> {
    parse(place, filter).map(drop)
}

fn parse(place: &'static str, filter: &str) -> Result<EnvFilter, TelemetryError> {
    // EnvFilter takes any word for a module's name, so a mistyped level would
    // silence everything.
    let is_known = filter.split(',').map(str::trim).all(|directive| {
        directive.contains(['=', ':', '['])
            || !directive.is_empty()
                && directive
                    .parse::<tracing::level_filters::LevelFilter>()
                    .is_ok()
    });
    EnvFilter::builder()
        .parse(filter)
        .ok()
        .filter(|_| is_known)
        .ok_or_else(|| TelemetryError::Filter {
            place,
            filter: filter.to_owned(),
        })
}

/// Logs from now on, for the whole process.
///
/// # Errors
/// [`TelemetryError`]; nothing was set up then.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let (place, filter) = pick_filter(|name| std::env::var(name).ok(), config);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse(place, without_chatter(&filter))?)
        .with_writer(std::io::stderr);
    let set = match config.format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .try_init(),
        LogFormat::Json => builder
            .json()
            .fmt_fields(JsonFields::new())
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init(),
    };
    set.map_err(|_| TelemetryError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::{LogConfig, check_filter, pick_filter, without_chatter};

    #[test]
    fn the_environment_comes_before_the_file() {
        let config = LogConfig::default();
        let none = pick_filter(|_| None, &config);
        assert_eq!(none, ("log.level", "info,openraft=warn".into()));
        let rust = pick_filter(|name| (name == "RUST_LOG").then(|| "debug".into()), &config);
        assert_eq!(rust, ("RUST_LOG", "debug".into()));
        let both = pick_filter(|name| Some(name.to_lowercase()), &config);
        assert_eq!(both, ("CONFAB_LOG", "confab_log".into()));
        let empty = pick_filter(|_| Some(" ".into()), &config);
        assert_eq!(empty.0, "log.level");
    }

    /// The first line that an operator needs must not drown.
    #[test]
    fn plain_info_leaves_out_the_consensus_library() {
        assert_eq!(without_chatter("info"), "info,openraft=warn");
        for other in ["warn", "debug", "info,openraft=info"] {
            assert_eq!(without_chatter(other), other);
        }
        assert!(check_filter("log.level", without_chatter("INFO")).is_ok());
    }

    /// A mistyped level must not silence the log.
    #[test]
    fn a_filter_that_is_none_is_refused() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "warn,confab_broker::session=trace",
            "x[span]=info",
        ] {
            assert!(check_filter("log.level", good).is_ok(), "{good}");
        }
        for wrong in ["inof", "info,verbos", "a=b=c", "x=loud", ""] {
            assert!(check_filter("log.level", wrong).is_err(), "{wrong}");
        }
    }
}
