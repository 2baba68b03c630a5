//! How settings are declared once and known everywhere: as fields, in files and
//! the environment, in explanations and in the reference.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::auth::Secret;
use crate::ops::telemetry::LogFormat;

use super::settings::{Config, KeyTable};

/// One setting, as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The section, e.g. `listen`.
    pub section: &'static str,
    /// The key in it, e.g. `quic`.
    pub key: &'static str,
    /// What it is, in what unit, by default what and at what cost.
    pub doc: &'static [&'static str],
    /// The least and the greatest number that works.
    pub range: Option<(u64, u64)>,
}

impl Setting {
    /// The full name, e.g. `listen.quic`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The environment variable, e.g. `CONFAB_LISTEN_QUIC`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("CONFAB_{}_{}", self.section, self.key).to_ascii_uppercase()
    }
}

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// `--dev` set it, as nobody else did.
    Development,
    /// The file, at a line.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Development => formatter.write_str("--dev"),
            Self::File { path, line } => write!(formatter, "{}, line {line}", path.display()),
            Self::Environment(name) => write!(formatter, "environment, {name}"),
            Self::Flag(name) => formatter.write_str(name),
        }
    }
}

/// A value as it was given.
pub(super) enum Given {
    /// In the file.
    Toml(toml::Value),
    /// In the environment or by a flag.
    Text(String),
}

impl Given {
    fn show(&self) -> String {
        match self {
            Self::Toml(toml::Value::String(text)) | Self::Text(text) => format!("{text:?}"),
            Self::Toml(toml::Value::Table(_)) => "a table".into(),
            Self::Toml(toml::Value::Array(_)) => "a list".into(),
            Self::Toml(toml::Value::Integer(number)) => number.to_string(),
            Self::Toml(toml::Value::Float(number)) => number.to_string(),
            Self::Toml(toml::Value::Boolean(value)) => value.to_string(),
            Self::Toml(toml::Value::Datetime(time)) => time.to_string(),
        }
    }
}

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// Reads it, or says what it must be.
    fn read(given: &Given) -> Result<Self, String>;

    /// The value for people; secrets are masked.
    fn show(&self) -> String;

    /// The value for ranges.
    fn number(&self) -> Option<u64> {
        None
    }

    /// Whether a wrong value may be shown.
    const IS_SECRET: bool = false;
}

/// A section of the configuration.
pub(super) trait Section {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static [&'static str];
    fn settings(&self) -> &'static [Setting];
    /// Sets a key; `None` when there is no such key, a sentence when the value
    /// does not work.
    fn set(&mut self, key: &str, given: &Given) -> Option<Result<(), String>>;
    fn show(&self, key: &str) -> Option<String>;
}

/// Replaces `field` by what was given, if that works.
pub(super) fn give<T: Value>(
    field: &mut T,
    given: &Given,
    range: Option<(u64, u64)>,
) -> Result<(), String> {
    let shown = if T::IS_SECRET {
        "***".into()
    } else {
        given.show()
    };
    let value = T::read(given).map_err(|must| format!("is {shown}, but must be {must}"))?;
    if let (Some((min, max)), Some(number)) = (range, value.number())
        && !(min..=max).contains(&number)
    {
        let (min, max) = (grouped(min), grouped(max));
        return Err(format!("is {shown}, but must be from {min} to {max}"));
    }
    *field = value;
    Ok(())
}

/// A number as people read it: `1,048,576`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first % 3 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Declares a section: a struct with its defaults, and the list of its settings.
/// The doc comments are what `confab check` and the reference show.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident in $section:literal {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $default:expr $(, from $min:literal to $max:expr)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                pub $key: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $name {
            fn name(&self) -> &'static str {
                $section
            }

            fn about(&self) -> &'static [&'static str] {
                &[$($about),+]
            }

            fn settings(&self) -> &'static [$crate::config::section::Setting] {
                &[$(
                    $crate::config::section::Setting {
                        section: $section,
                        key: stringify!($key),
                        doc: &[$($doc),+],
                        range: $crate::config::section::section!(@range $($min, $max)?),
                    },
                )+]
            }

            fn set(
                &mut self,
                key: &str,
                given: &$crate::config::section::Given,
            ) -> Option<Result<(), String>> {
                match key {
                    $(stringify!($key) => Some($crate::config::section::give(
                        &mut self.$key,
                        given,
                        $crate::config::section::section!(@range $($min, $max)?),
                    )),)+
                    _ => None,
                }
            }

            fn show(&self, key: &str) -> Option<String> {
                use $crate::config::section::Value;
                match key {
                    $(stringify!($key) => Some(self.$key.show()),)+
                    _ => None,
                }
            }
        }
    };
    (@range) => { None };
    (@range $min:literal, $max:expr) => { Some(($min, $max)) };
}
pub(super) use section;

/// Every setting with its description and default, commented out.
pub(super) fn reference(config: &Config) -> String {
    let mut text = String::from(
        "# Every setting of Confab with its default. An environment variable\n\
         # CONFAB_SECTION_KEY goes over this file, a flag over both. Paths are relative\n\
         # to the directory in which the server is started.\n",
    );
    for section in config.sections() {
        text.push('\n');
        comment(&mut text, section.about());
        text.push_str(&format!("[{}]\n", section.name()));
        for setting in section.settings() {
            text.push('\n');
            comment(&mut text, setting.doc);
            let value = section.show(setting.key).unwrap_or_default();
            let value = if value == UNSET { "\"\"".into() } else { value };
            text.push_str(&format!("# {} = {value}\n", setting.key));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        text.push_str(&format!("#{line}\n"));
    }
}

/// How a setting without a value is shown.
pub(super) const UNSET: &str = "(not set)";

impl Value for bool {
    fn read(given: &Given) -> Result<Self, String> {
        match given {
            Given::Toml(toml::Value::Boolean(value)) => Ok(*value),
            Given::Text(text) if matches!(text.as_str(), "true" | "1") => Ok(true),
            Given::Text(text) if matches!(text.as_str(), "false" | "0") => Ok(false),
            _ => Err("true or false".into()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    fn read(given: &Given) -> Result<Self, String> {
        let number = match given {
            Given::Toml(toml::Value::Integer(number)) => Self::try_from(*number).ok(),
            Given::Text(text) => text.replace('_', "").parse().ok(),
            Given::Toml(_) => None,
        };
        number.ok_or_else(|| "a whole number".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

/// Types that are read from one text.
fn text_of(given: &Given) -> Option<&str> {
    match given {
        Given::Toml(toml::Value::String(text)) | Given::Text(text) => Some(text),
        Given::Toml(_) => None,
    }
}

fn quoted(text: &str) -> String {
    // JSON's texts are TOML's too.
    serde_json::Value::from(text).to_string()
}

impl Value for String {
    fn read(given: &Given) -> Result<Self, String> {
        text_of(given)
            .map(Into::into)
            .ok_or_else(|| "a text".into())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for SocketAddr {
    fn read(given: &Given) -> Result<Self, String> {
        text_of(given)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                "an IP address with a port, e.g. \"0.0.0.0:4433\" or \"[::]:4433\"".into()
            })
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for PathBuf {
    fn read(given: &Given) -> Result<Self, String> {
        text_of(given)
            .filter(|text| !text.is_empty())
            .map(Into::into)
            .ok_or_else(|| "a path".into())
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for Secret {
    fn read(given: &Given) -> Result<Self, String> {
        text_of(given).map(Self::new).ok_or_else(|| "a text".into())
    }

    fn show(&self) -> String {
        "***".into()
    }

    const IS_SECRET: bool = true;
}

impl Value for LogFormat {
    fn read(given: &Given) -> Result<Self, String> {
        match text_of(given) {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err("\"text\" or \"json\"".into()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text => quoted("text"),
            Self::Json => quoted("json"),
        }
    }
}

/// An empty text unsets.
impl<T: Value> Value for Option<T> {
    fn read(given: &Given) -> Result<Self, String> {
        if text_of(given) == Some("") {
            return Ok(None);
        }
        T::read(given).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| UNSET.into(), Value::show)
    }

    fn number(&self) -> Option<u64> {
        self.as_ref().and_then(Value::number)
    }

    const IS_SECRET: bool = T::IS_SECRET;
}

/// In the environment, texts are separated by commas.
impl Value for Vec<String> {
    fn read(given: &Given) -> Result<Self, String> {
        let must = || String::from("a list of texts, in the environment separated by commas");
        match given {
            Given::Text(text) => {
                let parts = text.split(',').map(str::trim);
                Ok(parts
                    .filter(|part| !part.is_empty())
                    .map(Into::into)
                    .collect())
            }
            Given::Toml(toml::Value::String(text)) => Ok(vec![text.clone()]),
            Given::Toml(toml::Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(Into::into))
                .collect::<Option<_>>()
                .ok_or_else(must),
            Given::Toml(_) => Err(must()),
        }
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(|item| quoted(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for Vec<KeyTable> {
    fn read(given: &Given) -> Result<Self, String> {
        let Given::Toml(tables) = given else {
            return Err("[[auth.keys]] tables in the file".into());
        };
        tables.clone().try_into().map_err(|error| {
            format!(
                "[[auth.keys]] tables that this server can read: {}",
                error.message()
            )
        })
    }

    fn show(&self) -> String {
        let keys: Vec<String> = self.iter().map(show_key).collect();
        format!("[{}]", keys.join(", "))
    }

    // The tables may hold secrets.
    const IS_SECRET: bool = true;
}

fn show_key(key: &KeyTable) -> String {
    let path = |name: &str, path: &Path| format!(", {name} = {}", quoted(&path.to_string_lossy()));
    let mut text = format!("{{ algorithm = {}", quoted(key.algorithm.name()));
    if let Some(kid) = &key.kid {
        text.push_str(&format!(", kid = {}", quoted(kid)));
    }
    if key.secret.is_some() {
        text.push_str(", secret = ***");
    }
    if let Some(file) = &key.secret_file {
        text.push_str(&path("secret_file", file));
    }
    if let Some(file) = &key.file {
        text.push_str(&path("file", file));
    }
    text.push_str(" }");
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1_000, 12_345, 123_456, 1_048_576].map(grouped);
        assert_eq!(
            texts,
            ["0", "999", "1,000", "12,345", "123,456", "1,048,576"]
        );
    }
}
