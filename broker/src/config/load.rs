//! Reading the file, the environment and the flags, one over the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::DeTable;

use super::nearest::nearest;
use super::section::{Given, Setting, Source};
use super::settings::Config;
use super::{Error, Problem, check};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--dev`.
    pub dev: bool,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--quic`.
    pub quic: Option<SocketAddr>,
    /// `--http`.
    pub http: Option<SocketAddr>,
    /// `--peer`.
    pub peer: Option<SocketAddr>,
    /// `--ops`.
    pub ops: Option<SocketAddr>,
    /// `--set section.key=value`, any number of times.
    pub settings: Vec<String>,
}

/// The configuration, and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// What an operator should know but nothing is wrong with.
    pub notices: Vec<String>,
    pub(super) sources: BTreeMap<(&'static str, &'static str), Source>,
}

/// One setting's effective value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Explained {
    /// The full name, e.g. `listen.quic`.
    pub name: String,
    /// The environment variable that sets it.
    pub variable: String,
    /// The value as in the file; secrets are masked.
    pub value: String,
    /// Where it came from.
    pub source: String,
    /// What it is, in what unit, by default what and at what cost.
    pub doc: String,
}

/// Reads `file`, then `environment` over it, then `overrides` over both.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong, not only the first.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Loaded, Error> {
    let mut loader = Loader {
        loaded: Loaded {
            config: Config::default(),
            notices: Vec::new(),
            sources: BTreeMap::new(),
        },
        problems: Vec::new(),
    };
    if let Some(path) = file {
        loader.read_file(path)?;
    }
    loader.read_environment(environment);
    loader.read_overrides(overrides);
    let Loader {
        mut loaded,
        mut problems,
    } = loader;
    check::settle_development(&mut loaded, &mut problems);
    check::check(&loaded, &mut problems);
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(Error::Invalid(problems))
    }
}

impl Loaded {
    /// Where a value came from; `Default` for what is not a setting.
    #[must_use]
    pub fn source(&self, section: &str, key: &str) -> Source {
        let found = self
            .sources
            .iter()
            .find(|((s, k), _)| *s == section && *k == key);
        found.map_or(Source::Default, |(_, source)| source.clone())
    }

    /// Every setting with its effective value and where that came from.
    #[must_use]
    pub fn explain(&self) -> Vec<Explained> {
        let mut all = Vec::new();
        for section in self.config.sections() {
            for setting in section.settings() {
                let doc: Vec<&str> = setting.doc.iter().map(|line| line.trim()).collect();
                all.push(Explained {
                    name: setting.name(),
                    variable: setting.variable(),
                    value: section.show(setting.key).unwrap_or_default(),
                    source: self.source(setting.section, setting.key).to_string(),
                    doc: doc.join(" "),
                });
            }
        }
        all
    }

    /// [`Loaded::explain`] as lines for a terminal, what was set first in mind:
    /// `name = value  (source)`.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let all = self.explain();
        let width = all.iter().map(|one| one.name.len() + one.value.len()).max();
        let width = width.unwrap_or(0).min(60);
        let mut lines = String::new();
        for one in all {
            let setting = format!("{} = {}", one.name, one.value);
            lines.push_str(&format!("{setting:<width$}  ({})\n", one.source));
        }
        lines
    }
}

struct Loader {
    loaded: Loaded,
    problems: Vec<Problem>,
}

impl Loader {
    fn read_file(&mut self, path: &Path) -> Result<(), Error> {
        let text = read_text(path)?;
        let syntax = |error: toml::de::Error| Error::Syntax {
            path: path.into(),
            line: line_of(&text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        };
        // Once for the places, once for the values.
        let places = DeTable::parse(&text).map_err(syntax)?;
        let values: toml::Table = toml::from_str(&text).map_err(syntax)?;
        for (section, value) in places.get_ref().iter() {
            let section_name: &str = section.get_ref();
            let source = |start| Source::File {
                path: path.into(),
                line: line_of(&text, start),
            };
            let Some(table) = value.get_ref().as_table() else {
                self.unknown("", section_name, &source(section.span().start));
                continue;
            };
            if self.loaded.config.section_mut(section_name).is_none() {
                self.unknown_section(section_name, &source(section.span().start));
                continue;
            }
            for key in table.iter().map(|(key, _)| key) {
                let given = values
                    .get(section_name)
                    .and_then(|table| table.get(key.get_ref().as_ref()))
                    .cloned();
                if let Some(given) = given {
                    let source = source(key.span().start);
                    self.set(section_name, key.get_ref(), &Given::Toml(given), source);
                }
            }
        }
        Ok(())
    }

    /// Variables are named `CONFAB_SECTION_KEY`. Others that begin with
    /// `CONFAB_` belong to client commands, or to an orchestrator that names
    /// services after us.
    fn read_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut variables: Vec<_> = environment
            .into_iter()
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix("CONFAB_")?.to_ascii_lowercase();
                Some((name, rest, value))
            })
            .collect();
        variables.sort();
        for (name, rest, value) in variables {
            let Some((section, key)) = rest.split_once('_') else {
                continue;
            };
            if self.loaded.config.section_mut(section).is_none() {
                continue;
            }
            if is_service_link(&rest, &value) {
                let notice = format!("{name} is taken for a link to a service, not for a setting");
                self.loaded.notices.push(notice);
                continue;
            }
            self.set(
                section,
                key,
                &Given::Text(value),
                Source::Environment(name.clone()),
            );
        }
    }

    fn read_overrides(&mut self, overrides: &Overrides) {
        let mut flag = |flag, section, key, value: Option<String>| {
            if let Some(value) = value {
                self.set(section, key, &Given::Text(value), Source::Flag(flag));
            }
        };
        let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let data_dir = overrides.data_dir.as_ref();
        let data_dir = data_dir.map(|path| path.to_string_lossy().into_owned());
        flag(
            "--dev",
            "server",
            "dev",
            overrides.dev.then(|| "true".into()),
        );
        flag("--data-dir", "server", "data_dir", data_dir);
        flag("--quic", "listen", "quic", address(overrides.quic));
        flag("--http", "listen", "http", address(overrides.http));
        flag("--peer", "listen", "peer", address(overrides.peer));
        flag("--ops", "listen", "ops", address(overrides.ops));
        // A path need not be UTF-8.
        if let Some(path) = &overrides.data_dir {
            self.loaded.config.server.data_dir.clone_from(path);
        }
        for setting in &overrides.settings {
            let split = setting.split_once('=').and_then(|(name, value)| {
                let (section, key) = name.trim().split_once('.')?;
                Some((section, key, value.trim()))
            });
            match split {
                Some((section, key, value)) => {
                    self.set(
                        section,
                        key,
                        &Given::Text(value.into()),
                        Source::Flag("--set"),
                    );
                }
                None => self.problems.push(Problem {
                    key: setting.clone(),
                    sentence: format!("--set {setting} must be --set section.key=value"),
                }),
            }
        }
    }

    fn set(&mut self, section: &str, key: &str, given: &Given, source: Source) {
        let Some(found) = self.loaded.config.section_mut(section) else {
            return self.unknown_section(section, &source);
        };
        match found.set(key, given) {
            None => self.unknown(section, key, &source),
            Some(Err(sentence)) => self.problems.push(Problem {
                key: format!("{section}.{key}"),
                sentence: format!("{section}.{key} ({source}) {sentence}"),
            }),
            Some(Ok(())) => {
                let setting = found.settings().iter().find(|setting| setting.key == key);
                if let Some(Setting { section, key, .. }) = setting {
                    self.loaded.sources.insert((section, key), source);
                }
            }
        }
    }

    fn unknown_section(&mut self, section: &str, source: &Source) {
        let sections = self.loaded.config.sections();
        let hint = match nearest(section, sections.iter().map(|known| known.name())) {
            Some(near) => format!("did you mean [{near}]?"),
            None => {
                let names: Vec<_> = sections.iter().map(|known| known.name()).collect();
                format!("the sections are {}", names.join(", "))
            }
        };
        self.problems.push(Problem {
            key: section.into(),
            sentence: format!("[{section}] ({source}) is not a section; {hint}"),
        });
    }

    fn unknown(&mut self, section: &str, key: &str, source: &Source) {
        let name = [section, key].join(".");
        let name = name.trim_start_matches('.');
        let hint = match (section, key) {
            ("auth", "jwks_url") => {
                "this version reads no JWKS from a URL: fetch it into a file and set auth.jwks_file"
                    .into()
            }
            _ => self.hint(section, key),
        };
        self.problems.push(Problem {
            key: name.into(),
            sentence: format!("{name} ({source}) is not a setting; {hint}"),
        });
    }

    /// The nearest setting of the section, else of all.
    fn hint(&self, section: &str, key: &str) -> String {
        let sections = self.loaded.config.sections();
        let all = || sections.iter().flat_map(|known| known.settings());
        let own = all().filter(|setting| setting.section == section);
        let near =
            nearest(key, own.map(|setting| setting.key)).map(|near| [section, near].join("."));
        let elsewhere = || {
            let near = nearest(key, all().map(|setting| setting.key))?;
            Some(all().find(|setting| setting.key == near)?.name())
        };
        match near.or_else(elsewhere) {
            Some(near) => format!("did you mean {near}?"),
            None => "`confab check` lists all settings".into(),
        }
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read {
        path: path.into(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let mut limited = std::io::Read::take(file, FILE_BYTES_MAX + 1);
    std::io::Read::read_to_string(&mut limited, &mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

fn line_of(text: &str, start: usize) -> usize {
    let before = text.as_bytes().iter().take(start);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// Kubernetes sets `NAME_SERVICE_HOST`, `NAME_PORT=tcp://...` and more for each
/// service; one called `confab-server` would look like our settings.
fn is_service_link(rest: &str, value: &str) -> bool {
    rest.contains("_service_")
        || rest.contains("_port_")
        || ["tcp://", "udp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme))
}
