//! Sessions: one for each authenticated connection, the same for every gateway.
