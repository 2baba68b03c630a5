//! Version floors: what `deny.toml` bans by version, checked without the tool.
//!
//! Understood are entries of `[bans] deny` of one line whose crate is written
//! `"name:<version"`, with the crates that may use it nevertheless.

use crate::process::Failure;

/// Versions below `below` are banned, but for those that only `wrappers` use.
#[derive(Debug)]
struct Floor<'a> {
    name: &'a str,
    below: Version<'a>,
    wrappers: Vec<&'a str>,
}

/// A package of `Cargo.lock`.
#[derive(Debug, Default)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    dependencies: Vec<&'a str>,
}

pub(super) fn check(lock: &str, deny: &str) -> Result<Vec<String>, Failure> {
    let floors = floors(deny);
    if floors.is_empty() {
        return Err(Failure::new("deny.toml has no version floors"));
    }
    let packages = packages(lock);
    let mut wrong = Vec::new();
    for floor in &floors {
        for package in packages.iter().filter(|package| package.name == floor.name) {
            let Some(version) = Version::parse(package.version) else {
                continue;
            };
            if version < floor.below && !is_wrapped(package, floor, &packages) {
                let (name, found) = (package.name, package.version);
                wrong.push(format!("{name} {found} is below its floor, see deny.toml"));
            }
        }
    }
    Ok(wrong)
}

/// Whether only crates that may do so depend on the package.
fn is_wrapped(package: &Package<'_>, floor: &Floor<'_>, packages: &[Package<'_>]) -> bool {
    // A dependency is written with its version when several are in use.
    let full = format!("{} {}", package.name, package.version);
    let mut users = packages.iter().filter(|user| {
        user.dependencies
            .iter()
            .any(|used| *used == package.name || *used == full)
    });
    !floor.wrappers.is_empty() && users.all(|user| floor.wrappers.contains(&user.name))
}

fn floors(deny: &str) -> Vec<Floor<'_>> {
    let entries = deny.lines().filter_map(|line| {
        let line = line.trim();
        let (name, rest) = line.strip_prefix("{ crate = \"")?.split_once(":<")?;
        let (version, rest) = rest.split_once('"')?;
        let wrappers = rest
            .split_once("wrappers = [")
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or("", |(list, _)| list);
        Some(Floor {
            name,
            below: Version::parse(version)?,
            wrappers: quoted(wrappers),
        })
    });
    entries.collect()
}

fn packages(lock: &str) -> Vec<Package<'_>> {
    let mut packages: Vec<Package<'_>> = Vec::new();
    for line in lock.lines() {
        if line == "[[package]]" {
            packages.push(Package::default());
            continue;
        }
        let Some(package) = packages.last_mut() else {
            continue;
        };
        if let Some(name) = line.strip_prefix("name = ") {
            package.name = name.trim_matches('"');
        } else if let Some(version) = line.strip_prefix("version = ") {
            package.version = version.trim_matches('"');
        } else if let Some(item) = line.strip_prefix(" \"") {
            package.dependencies.push(item.trim_end_matches("\","));
        }
    }
    packages
}

/// The texts in quotes of a list on one line.
fn quoted(list: &str) -> Vec<&str> {
    list.split('"').skip(1).step_by(2).collect()
}

/// A version in the order of semantic versioning, build metadata apart.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Version<'a> {
    numbers: [u64; 3],
    pre: Vec<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, pre.split('.').collect()),
            None => (text, Vec::new()),
        };
        let mut numbers = [0; 3];
        for (place, part) in core.split('.').enumerate() {
            *numbers.get_mut(place)? = part.parse().ok()?;
        }
        Some(Self { numbers, pre })
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // A pre-release comes before its release; numbers in it before words.
        let rank = |part: &str| part.parse::<u64>().map_or((1, 0), |number| (0, number));
        let parts = |version: &Self| -> Vec<((u8, u64), String)> {
            let parts = version.pre.iter();
            parts.map(|part| (rank(part), (*part).to_owned())).collect()
        };
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| self.pre.is_empty().cmp(&other.pre.is_empty()))
            .then_with(|| parts(self).cmp(&parts(other)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Version, check};

    #[test]
    fn versions_have_an_order() {
        let order = [
            "0.9.25",
            "0.10.0-alpha.4",
            "0.10.0-alpha.37",
            "0.10.0-beta.1",
            "0.10.0",
            "1.2",
        ];
        for pair in order.windows(2) {
            assert!(Version::parse(pair[0]).unwrap() < Version::parse(pair[1]).unwrap());
        }
    }

    /// An old version is found, unless only those use it that may.
    #[test]
    fn what_is_below_a_floor_is_found() {
        let deny = "{ crate = \"a:<2.0.0\", reason = \"x\" },\n\
                    { crate = \"b:<2.0.0\", wrappers = [\"a\", \"c\"], reason = \"x\" },\n";
        let lock = "[[package]]\nname = \"a\"\nversion = \"2.0.0\"\ndependencies = [\n \"b 1.0.0\",\n]\n\
                    [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n\
                    [[package]]\nname = \"b\"\nversion = \"2.1.0\"\n";
        assert!(check(lock, deny).unwrap().is_empty());
        let used = format!(
            "{lock}[[package]]\nname = \"d\"\nversion = \"1.0.0\"\ndependencies = [\n \"b 1.0.0\",\n]\n"
        );
        assert_eq!(check(&used, deny).unwrap().len(), 1);
        let old = lock.replace("\"2.0.0\"", "\"1.9.9\"");
        assert_eq!(check(&old, deny).unwrap().len(), 1);
        assert!(check(lock, "").is_err());
    }
}
