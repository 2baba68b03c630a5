//! Gateways: the doors through which clients come in. Each turns its
//! transport's bytes into frames or requests for a session; none has a right
//! that another has not.

pub mod http;
pub mod quic;
