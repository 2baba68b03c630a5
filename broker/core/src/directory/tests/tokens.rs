//! Tokens: what their claims make known, and how they are revoked.

use confab_protocol::ChannelId;
use confab_protocol::codec::Text;
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::session::UserKind;

use super::rules::staffed;
use super::{Directory, department, put_user, user};
use crate::directory::{CommandKind, Provision, RefusalReason, ReplyKind};

fn claims(name: &str, kind: UserKind, departments: &[&str], admin: Option<bool>) -> Provision {
    Provision {
        user: user(name),
        name: Text::from("As The Token Says"),
        kind,
        departments: departments.iter().map(|id| department(id)).collect(),
        admin,
    }
}

/// A new user comes with its token; what the CRM said is never overridden.
#[test]
fn a_token_gives_way_to_the_directory() {
    let mut directory = Directory::new();
    let new = claims("zoe", UserKind::Internal, &["sales"], Some(true));
    assert!(directory.view().needs_provisioning(&new));
    directory
        .run(None, CommandKind::Provision(new.clone()))
        .unwrap();
    assert!(!directory.view().needs_provisioning(&new));
    assert!(directory.view().is_admin(&user("zoe")));
    let sales = ChannelId::department(&department("sales"));
    assert_eq!(directory.members(&sales), ["zoe Member"]);
    assert_eq!(directory.members(&ChannelId::general()), ["zoe Member"]);

    let later = claims("zoe", UserKind::Client, &["other"], Some(false));
    assert!(directory.view().needs_provisioning(&later));
    directory.run(None, CommandKind::Provision(later)).unwrap();
    let known = directory.view().user(&user("zoe")).unwrap();
    assert_eq!((known.kind, known.admin), (UserKind::Internal, false));
    assert!(directory.view().department(&department("other")).is_none());

    let put = DirectoryChange::PutUser {
        id: user("zoe"),
        name: Text::from("Zoe"),
        kind: UserKind::Internal,
        active: true,
        admin: Some(false),
    };
    directory.change(vec![put]).unwrap();
    assert!(!directory.view().needs_provisioning(&new));
    directory.run(None, CommandKind::Provision(new)).unwrap();
    let known = directory.view().user(&user("zoe")).unwrap();
    assert_eq!((known.name.as_str(), known.admin), ("Zoe", false));

    let client = claims("cid", UserKind::Client, &["sales"], Some(true));
    directory.run(None, CommandKind::Provision(client)).unwrap();
    let known = directory.view().user(&user("cid")).unwrap();
    assert!(!known.admin);
    assert_eq!(directory.members(&sales), ["zoe Member"]);
}

/// A name that no directory would take locks nobody out.
#[test]
fn a_token_with_an_odd_name_still_signs_in() {
    let mut directory = Directory::new();
    for (claimed, expected) in [
        (String::new(), "zoe".to_owned()),
        ("a\nb\0".to_owned(), "ab".to_owned()),
        ("é".repeat(150), "é".repeat(100)),
    ] {
        let mut new = claims("zoe", UserKind::Internal, &[], None);
        new.name = Text::from(claimed);
        directory.run(None, CommandKind::Provision(new)).unwrap();
        let known = directory.view().user(&user("zoe")).unwrap();
        assert_eq!(known.name, Text::from(expected));
    }
    let put = put_user("zoe", UserKind::Internal, true);
    let DirectoryChange::PutUser {
        id,
        kind,
        active,
        admin,
        ..
    } = put
    else {
        panic!("put_user puts a user");
    };
    let name = Text::from("a\nb");
    let refusal = directory
        .change(vec![DirectoryChange::PutUser {
            id,
            name,
            kind,
            active,
            admin,
        }])
        .unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::BadName);
}

/// Revocations end sessions, hold until the token has expired, and are then
/// cleared away.
#[test]
fn revoked_tokens_stay_revoked_until_they_expire() {
    let mut directory = staffed();
    let token = |id: &str, expires_at| DirectoryChange::RevokeToken {
        token_id: Text::from(id),
        expires_at,
    };
    let revoked = directory.apply(None, CommandKind::Change(vec![token("t", 10)].into()));
    assert_eq!(revoked.effects.revoked_tokens, [Text::from("t")]);
    directory
        .change(vec![token("u", 1_000_000), token("t", 20)])
        .unwrap();
    let users = vec![DirectoryChange::RevokeUserTokens {
        user: user("ann"),
        issued_before: 50,
    }];
    let revoked = directory.apply(None, CommandKind::Change(users.into()));
    assert_eq!(revoked.effects.users, [user("ann")]);

    let view = directory.view();
    let is_revoked = |name: &str, id, issued_at| view.is_revoked(&user(name), id, issued_at);
    assert!(is_revoked("bob", Some("t"), Some(99)));
    assert!(is_revoked("bob", Some("u"), None));
    assert!(!is_revoked("bob", Some("v"), None));
    assert!(is_revoked("ann", None, Some(49)));
    assert!(is_revoked("ann", None, None));
    assert!(!is_revoked("ann", Some("v"), Some(50)));

    let earlier = DirectoryChange::RevokeUserTokens {
        user: user("ann"),
        issued_before: 40,
    };
    let reply = directory.change(vec![earlier]).unwrap();
    assert_eq!(reply.what, ReplyKind::Done { changed: 0 });
    assert_eq!(directory.view().issued_before(&user("ann")), Some(50));
    directory.index = 5_000; // seconds
    directory.change(vec![token("w", 1_000_000)]).unwrap();
    let view = directory.view();
    assert!(
        !view.is_revoked(&user("bob"), Some("t"), None),
        "expired long ago"
    );
    assert!(view.is_revoked(&user("bob"), Some("u"), None));
    let long = directory
        .change(vec![token(&"x".repeat(257), 1)])
        .unwrap_err();
    assert_eq!(long.reason, RefusalReason::BadTokenId);
}
