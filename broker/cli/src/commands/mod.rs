//! One module for each command that is not the terminal client.

pub(crate) mod channels;
pub(crate) mod check;
pub(crate) mod directory;
pub(crate) mod history;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod version;
