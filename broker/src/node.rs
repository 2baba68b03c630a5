//! Wires all services together and runs them until shutdown.
