//! Presence and typing: never durable, owned by the node of the session.
