//! The state machines of the core over the storage of this node.
