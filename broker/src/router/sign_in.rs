//! Who a verified token lets in.

use confab_core::directory::{CLAIMED_DEPARTMENTS_MAX, CommandKind, Provision};
use confab_protocol::message::session::{UserKind, UserProfile};
use confab_protocol::{DepartmentId, ErrorCode, UserId, WireError};

use super::Router;
use super::admission::Needs;

/// What the router must know of a verified token to let its user in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// `sub`.
    pub user: UserId,
    /// `name`, if the token has one.
    pub name: Option<String>,
    /// `kind`; a client when the token has none.
    pub kind: UserKind,
    /// `departments`.
    pub departments: Vec<DepartmentId>,
    /// Whether `roles` holds `admin`; `None` when the token has no `roles`.
    pub admin: Option<bool>,
    /// `jti`, for revocation.
    pub token_id: Option<String>,
    /// `iat`, in Unix seconds, for revocation.
    pub issued_at: Option<u64>,
}

impl Router {
    /// Lets a user in: refuses revoked tokens and deactivated users, provisions
    /// a user that is not known yet, takes over what the token may say.
    ///
    /// # Errors
    /// `TokenRevoked`, `UserDeactivated`, or that the directory has no quorum.
    pub async fn sign_in(&self, sign_in: &SignIn) -> Result<UserProfile, WireError> {
        let directory = self.lookup().directory();
        if directory.is_revoked(
            &sign_in.user,
            sign_in.token_id.as_deref(),
            sign_in.issued_at,
        ) {
            return Err(WireError::new(
                ErrorCode::TokenRevoked,
                "the token was revoked: get a new one",
            ));
        }
        if sign_in.departments.len() > CLAIMED_DEPARTMENTS_MAX {
            return Err(WireError::new(
                ErrorCode::TokenInvalid,
                format!("the token names more than {CLAIMED_DEPARTMENTS_MAX} departments"),
            ));
        }
        let provision = Provision {
            user: sign_in.user.clone(),
            name: sign_in.name.clone().unwrap_or_default().into(),
            kind: sign_in.kind,
            departments: sign_in.departments.clone(),
            admin: sign_in.admin,
        };
        if directory.needs_provisioning(&provision) {
            self.change_directory(None, CommandKind::Provision(provision), Needs::Nothing)
                .await?;
        }
        let user = self
            .lookup()
            .directory()
            .user(&sign_in.user)
            .ok_or_else(|| WireError::new(ErrorCode::NotFound, "the user is gone"))?;
        if !user.active {
            return Err(WireError::new(
                ErrorCode::UserDeactivated,
                "the user is deactivated: ask an administrator",
            ));
        }
        Ok(user.to_profile(&sign_in.user))
    }
}
