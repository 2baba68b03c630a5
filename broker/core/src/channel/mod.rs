//! The channels' state machine.
