//! Rate limits: token buckets per user, connection, channel and address.
