//! From `Hello` to `Welcome`.

use std::sync::Arc;

use confab_protocol::limits::{CHANNEL_WINDOW, POSITIONS_MAX, REQUEST_FRAME_BYTES_MAX};
use confab_protocol::message::session::{Hello, ServerLimits, UserKind, Welcome};
use confab_protocol::{ErrorCode, PROTOCOL_VERSIONS, WireError, limits};

use super::outbox::{OutboxReader, outbox};
use super::registry::TokenMark;
use super::request::{Requests, expiry_of};
use super::{Peer, Services, Session, SessionConfig, now_ms};
use crate::auth::Claims;
use crate::limits::ConnectionGuard;
use crate::router::{Actor, SignIn};

/// Name and version, as told to clients.
const SERVER: &str = concat!("confab/", env!("CARGO_PKG_VERSION"));

/// A session that was just opened.
pub struct Opened {
    /// Its reading half, to be driven with [`Session::run`].
    pub session: Session,
    /// What is to be written to the client, after `welcome`.
    pub outbox: OutboxReader,
    /// The answer to the client's `Hello`.
    pub welcome: Welcome,
}

impl Session {
    /// Lets a client in: agrees on a version, verifies its token, subscribes it
    /// to all of its user's channels and says how things stand. `guard` counts
    /// the connection, from here on as its user's.
    ///
    /// # Errors
    /// Why not; the connection is to be closed with it.
    pub async fn open(
        services: &Arc<Services>,
        peer: Peer,
        guard: &mut ConnectionGuard,
        hello: Hello,
    ) -> Result<Opened, WireError> {
        let version = negotiate(hello.version_min, hello.version_max)?;
        if hello.positions.len() > POSITIONS_MAX {
            return Err(WireError::new(
                ErrorCode::TooLarge,
                format!(
                    "{} positions, at most {POSITIONS_MAX} are allowed: send the most recent",
                    hello.positions.len()
                ),
            ));
        }
        if let Err(limited) = services.rates.login(peer.address) {
            services.metrics.rate_limited(limited.scope.name());
            return Err(limited.into());
        }
        let now_ms = now_ms();
        let claims = services
            .tokens
            .authenticate(&hello.token, now_ms / 1_000)
            .await
            .inspect_err(|error| services.metrics.auth_failed(error.name()))?;
        guard.authenticate(&claims.user)?;
        let (outbox, reader) = outbox(services.config.outbox, services.outboxes.clone());
        // In the registry before revocations are looked up: whatever is revoked
        // from here on ends this session, whatever was before refuses it.
        let registration =
            services
                .registry
                .register(&claims.user, TokenMark::from(&claims), outbox.clone())?;
        let user = services.router.sign_in(&SignIn::from(&claims)).await?;
        let actor = Actor {
            user: claims.user.clone(),
            device: hello.device,
        };
        // Live events gather from here on, so that none falls between them and
        // the heads that `Welcome` names.
        let attachment = services.fanout.attach(&actor.user, outbox.clone());
        let window = hello.channels_max.clamp(1, CHANNEL_WINDOW);
        let channels = services.router.channel_page(&actor, window).await;
        let totals = services.router.totals(&actor).await;
        let behind = services.router.behind(&actor, &hello.positions).await;
        let presence = services
            .presence
            .connect(&actor.user, &actor.device, outbox.clone());
        let session = registration.session();
        tracing::debug!(
            session,
            user = %actor.user,
            device = %actor.device,
            agent = %hello.agent.chars().take(100).collect::<String>().escape_debug(),
            "session opened"
        );
        let expiry = expiry_of(services, &claims, now_ms);
        let requests = Requests::new(
            Arc::clone(services),
            actor,
            user.name.clone(),
            outbox,
            attachment,
            registration,
            presence,
            expiry,
            peer.gateway,
        );
        Ok(Opened {
            session: Session::new(requests, peer.is_watched),
            outbox: reader,
            welcome: Welcome {
                version,
                session,
                server: SERVER.into(),
                server_time_ms: now_ms,
                token_expires_at_ms: claims.expires_at_ms,
                limits: server_limits(&services.config),
                user,
                channels,
                totals,
                behind,
            },
        })
    }
}

/// The newest version that both sides speak.
fn negotiate(version_min: u16, version_max: u16) -> Result<u16, WireError> {
    let version = version_max.min(*PROTOCOL_VERSIONS.end());
    if version < version_min || version < *PROTOCOL_VERSIONS.start() {
        return Err(WireError::new(
            ErrorCode::UnsupportedVersion,
            format!(
                "the client speaks versions {version_min} to {version_max}, this server {} to {}",
                PROTOCOL_VERSIONS.start(),
                PROTOCOL_VERSIONS.end()
            ),
        ));
    }
    Ok(version)
}

fn server_limits(config: &SessionConfig) -> ServerLimits {
    let millis =
        |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    // The constants are below 4 GiB.
    ServerLimits {
        frame_bytes_max: REQUEST_FRAME_BYTES_MAX as u32,
        content_chars_max: limits::CONTENT_CHARS_MAX as u32,
        messages_per_second: config.messages.per_second.get(),
        messages_burst: config.messages.burst.get(),
        heartbeat_interval_ms: millis(config.heartbeat_interval),
        typing_interval_ms: millis(config.typing_interval),
        typing_timeout_ms: millis(config.typing_timeout),
    }
}

impl From<&Claims> for TokenMark {
    fn from(claims: &Claims) -> Self {
        Self {
            token_id: claims.token_id.as_deref().map(Box::from),
            issued_at: claims.issued_at_s,
        }
    }
}

impl From<&Claims> for SignIn {
    fn from(claims: &Claims) -> Self {
        Self {
            user: claims.user.clone(),
            name: claims.name.clone(),
            // Who is not said to be of the company must not get into its channels.
            kind: claims.kind.unwrap_or(UserKind::Client),
            departments: claims.departments.clone().unwrap_or_default(),
            admin: claims.admin,
            token_id: claims.token_id.clone(),
            issued_at: claims.issued_at_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::negotiate;
    use confab_protocol::ErrorCode;

    /// A newer client goes on with the server's version, an older one is told.
    #[test]
    fn the_newest_common_version_is_taken() {
        let code = |min, max| negotiate(min, max).map_err(|error| error.code());
        assert_eq!(code(1, 1), Ok(1));
        assert_eq!(code(0, 9), Ok(1));
        for (min, max) in [(2, 9), (0, 0), (9, 1), (1, 0)] {
            assert_eq!(code(min, max), Err(ErrorCode::UnsupportedVersion));
        }
    }
}
