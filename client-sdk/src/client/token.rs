//! Where tokens come from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Not just now: ask again, with the backoff of connecting.
    #[error("there is no token just now")]
    Retry,
    /// There will be none: the client ends.
    #[error("there will be no token")]
    Stop,
}

/// A token that is to come.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Gets a token, for the first connection and whenever one is refused or about
/// to expire. Any `Fn() -> impl Future<Output = Result<String, TokenError>>` is one.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is valid from now on. Only one is asked for at a time; a
    /// provider that takes long is waited for.
    fn token(&self) -> TokenFuture<'_>;
}

impl<F, T> TokenProvider for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self())
    }
}

pub(crate) type SharedTokenProvider = Arc<dyn TokenProvider>;
