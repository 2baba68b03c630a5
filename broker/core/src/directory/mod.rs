//! The directory's state machine.
