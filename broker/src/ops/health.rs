//! Whether this node can serve, and if not, why.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// Longest reason, in bytes; longer ones are cut.
const REASON_BYTES_MAX: usize = 500;

/// What all components say. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    components: Arc<RwLock<BTreeMap<&'static str, Option<String>>>>,
}

/// One component's own line. Dropping it leaves the line as it is.
#[derive(Clone)]
pub struct Component {
    health: Health,
    name: &'static str,
}

/// All lines at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// Each component, with the reason why it is not ready.
    pub components: Vec<(&'static str, Option<String>)>,
}

impl Readiness {
    /// Whether every component is ready, and there is one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.components.is_empty() && self.reasons().next().is_none()
    }

    /// What is not ready, and why.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.components
            .iter()
            .filter_map(|(name, reason)| Some((*name, reason.as_deref()?)))
    }
}

impl Health {
    /// Health without components: not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, which is not ready until it says so.
    #[must_use]
    pub fn component(&self, name: &'static str) -> Component {
        let component = Component {
            health: self.clone(),
            name,
        };
        component.not_ready("starting");
        component
    }

    /// What all components say now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let components = self.components.read();
        Readiness {
            components: components
                .iter()
                .map(|(name, reason)| (*name, reason.clone()))
                .collect(),
        }
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        let changed = {
            let mut components = self.components.write();
            let before = components.insert(name, reason.clone());
            before.as_ref() != Some(&reason)
        };
        match reason {
            _ if !changed => {}
            None => tracing::info!(component = name, "ready"),
            Some(reason) => tracing::info!(component = name, reason, "not ready"),
        }
    }
}

impl Component {
    /// The component can serve.
    pub fn ready(&self) {
        self.health.set(self.name, None);
    }

    /// The component cannot serve; the reason says what it waits for.
    pub fn not_ready(&self, reason: impl Into<String>) {
        let mut reason = reason.into();
        if reason.len() > REASON_BYTES_MAX {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        }
        self.health.set(self.name, Some(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    /// A node that has not started must get no traffic.
    #[test]
    fn ready_only_when_every_component_is() {
        let health = Health::new();
        assert!(!health.readiness().is_ready());
        let storage = health.component("storage");
        let raft = health.component("raft");
        storage.ready();
        assert!(!health.readiness().is_ready());
        raft.ready();
        assert!(health.readiness().is_ready());
        raft.not_ready("é".repeat(400));
        let readiness = health.readiness();
        let reasons: Vec<_> = readiness.reasons().collect();
        assert_eq!(reasons, [("raft", "é".repeat(250).as_str())]);
        assert!(!readiness.is_ready());
    }
}
