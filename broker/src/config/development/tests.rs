#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{Overrides, load};

fn now() -> SystemTime {
    SystemTime::now()
}

fn contents(files: &Files) -> [Vec<u8>; 4] {
    [&files.ca, &files.cert, &files.key, &files.secret].map(|path| fs::read(path).unwrap())
}

/// Clients that trust the authority and hold tokens must not be cut off by a
/// restart.
#[test]
fn a_restart_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("not/yet/there");
    let files = prepare(&data_dir, now()).unwrap();
    let before = contents(&files);
    assert!(is_certificate_good(&files, now()));
    assert_eq!(prepare(&data_dir, now()).unwrap(), files);
    assert_eq!(contents(&files), before);
    let other = prepare(dir.path(), now()).unwrap();
    assert_ne!(
        contents(&other)[3],
        before[3],
        "each has a secret of its own"
    );
}

#[cfg(unix)]
#[test]
fn keys_and_secrets_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let files = prepare(dir.path(), now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let private = [
        files.key.clone(),
        files.secret.clone(),
        dir.path().join(CA_KEY),
    ];
    for path in &private {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    fs::set_permissions(&files.secret, fs::Permissions::from_mode(0o644)).unwrap();
    let _ = prepare(dir.path(), now()).unwrap();
    assert_eq!(mode(&files.secret), 0o600);
}

/// A certificate near its end is renewed by the same authority, so that no
/// client has to trust another one.
#[test]
fn renewal_keeps_the_authority_until_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let files = prepare(dir.path(), now()).unwrap();
    let before = contents(&files);
    let _ = prepare(dir.path(), now() + DAY * 300).unwrap();
    assert_eq!(contents(&files), before, "there is time");
    let soon = now() + DAY * 340;
    let _ = prepare(dir.path(), soon).unwrap();
    let renewed = contents(&files);
    assert_eq!(renewed[0], before[0]);
    assert_ne!(renewed[1], before[1]);
    assert!(is_certificate_good(&files, soon));
    let late = now() + DAY * (CA_DAYS - 100);
    let _ = prepare(dir.path(), late).unwrap();
    assert_ne!(
        contents(&files)[0],
        before[0],
        "an authority about to end is replaced"
    );
    assert!(is_certificate_good(&files, late));
}

#[test]
fn what_is_missing_or_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = prepare(dir.path(), now()).unwrap();
    let secret = fs::read(&files.secret).unwrap();
    let ca_key = dir.path().join(CA_KEY);
    for path in [&files.ca, &files.cert, &files.key, &ca_key] {
        for damage in [
            &b""[..],
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            fs::write(path, damage).unwrap();
            let _ = prepare(dir.path(), now()).unwrap();
            assert!(is_certificate_good(&files, now()), "{}", path.display());
        }
        fs::remove_file(path).unwrap();
        let _ = prepare(dir.path(), now()).unwrap();
        assert!(is_certificate_good(&files, now()), "{}", path.display());
    }
    assert_eq!(fs::read(&files.secret).unwrap(), secret, "tokens stay good");
    fs::write(&files.secret, "short").unwrap();
    let _ = prepare(dir.path(), now()).unwrap();
    assert!(crate::auth::read_secret_file(&files.secret).is_ok());
}

/// The certificate is for this machine only, and the key of another server
/// does not fit it.
#[test]
fn a_foreign_key_or_name_is_not_good() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let files = dirs
        .each_ref()
        .map(|dir| prepare(dir.path(), now()).unwrap());
    fs::copy(&files[1].key, &files[0].key).unwrap();
    assert!(!is_certificate_good(&files[0], now()));
    fs::copy(&files[0].ca, &files[1].ca).unwrap();
    assert!(!is_certificate_good(&files[1], now()));
    assert!(!is_certificate_good(&files[1], UNIX_EPOCH));
}

#[test]
fn a_development_server_uses_what_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let files = prepare(dir.path(), now()).unwrap();
    let overrides = Overrides {
        dev: true,
        data_dir: Some(dir.path().into()),
        ..Overrides::default()
    };
    let mut loaded = load(None, [], &overrides).unwrap();
    apply(&mut loaded, &files);
    assert_eq!(loaded.config.tls.cert, Some(files.cert.clone()));
    assert_eq!(loaded.source("tls", "key"), Source::Development);
    let verifier = crate::auth::Verifier::new(loaded.config.auth()).unwrap();
    let secret = crate::auth::read_secret_file(&files.secret).unwrap();
    let user = confab_protocol::UserId::new("u1").unwrap();
    let spec = crate::auth::ClaimsSpec::new(user.clone());
    let token = crate::auth::issue(&secret, &spec, 1_000);
    assert_eq!(verifier.verify(&token, 1_000).unwrap().user, user);
    assert!(loaded.config.quic().is_some());
}

#[test]
fn client_commands_find_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let error = find(dir.path()).unwrap_err();
    assert!(error.to_string().contains("confab serve --dev"), "{error}");
    let addresses = Addresses {
        quic: "127.0.0.1:4433".parse().unwrap(),
        http: None,
        ops: Some("127.0.0.1:9464".parse().unwrap()),
    };
    announce(dir.path(), &addresses).unwrap();
    let found = find(dir.path()).unwrap();
    assert_eq!(found.addresses, addresses);
    assert_eq!(found.files, Files::of(dir.path()));
    fs::write(dir.path().join(NOTE), "{").unwrap();
    assert!(matches!(find(dir.path()), Err(Error::BadNote(_))));
}
