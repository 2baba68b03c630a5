//! Gateways: the doors of the broker. Each speaks one transport and nothing else.
