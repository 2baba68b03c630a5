//! Who connects: tokens, their keys, and what revokes them.
