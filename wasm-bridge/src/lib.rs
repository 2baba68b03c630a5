//! The browser's side of the bridge.
//!
//! Holds the client's session core, built for wasm32 without its native shell,
//! so that the browser speaks, resends and resumes exactly as a native service
//! does. Not here yet: the WebSocket that drives it, the npm package, the
//! React kit and the web app.

pub use confab_client::core;
pub use confab_protocol as protocol;
