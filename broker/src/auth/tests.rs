//! Every forged sort of token, and the rotation of keys.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ErrorCode, UserId, WireError};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret of the tests, long enough for HS256";
const RSA_PRIVATE: &[u8] = include_bytes!("testdata/rsa-private.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("testdata/rsa-public.pem");
const P256_PRIVATE: &[u8] = include_bytes!("testdata/p256-private.pem");
const ED_PRIVATE: &[u8] = include_bytes!("testdata/ed25519-private.pem");

fn testdata(name: &str) -> PathBuf {
    // Relative to the file, wherever the tests run.
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata");
    here.join(name)
}

fn secret_key(secret: &str, kid: Option<&str>) -> KeyConfig {
    KeyConfig {
        algorithm: Algorithm::HS256,
        kid: kid.map(Into::into),
        material: KeyMaterial::Secret(Secret::new(secret)),
    }
}

fn public_key(algorithm: Algorithm, file: &str, kid: Option<&str>) -> KeyConfig {
    KeyConfig {
        algorithm,
        kid: kid.map(Into::into),
        material: KeyMaterial::PublicKeyFile(testdata(file)),
    }
}

fn verifier(keys: Vec<KeyConfig>) -> Verifier {
    Verifier::new(Config {
        keys,
        ..Config::default()
    })
    .unwrap()
}

fn with_secret() -> Verifier {
    verifier(vec![secret_key(SECRET, None)])
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW + 60})
}

fn hs256(header: &Header, claims: &Value, secret: &[u8]) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn signed(claims: &Value) -> String {
    hs256(&Header::default(), claims, SECRET.as_bytes())
}

/// Signs whatever the two texts are: also what no library would write.
fn signed_raw(header: &str, payload: &str) -> String {
    let message = [header, payload]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Alg::HS256).unwrap();
    format!("{message}.{signature}")
}

fn with_kid(algorithm: Alg, kid: &str) -> Header {
    Header {
        kid: Some(kid.into()),
        ..Header::new(algorithm)
    }
}

#[track_caller]
fn refused(verifier: &Verifier, token: &str) -> InvalidToken {
    match verifier.verify(token, NOW) {
        Err(TokenError::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_token_says_all_it_says() {
    let spec = ClaimsSpec {
        name: Some(" Ann Smith ".into()),
        kind: Some(UserKind::Internal),
        departments: Some(vec!["sales".parse().unwrap()]),
        roles: vec!["editor".into(), "admin".into()],
        token_id: Some("t-1".into()),
        ..ClaimsSpec::new(UserId::new("ann").unwrap())
    };
    let token = issue(&Secret::new(SECRET), &spec, NOW);
    let claims = with_secret().verify(&token, NOW).unwrap();
    assert_eq!(
        claims,
        Claims {
            user: UserId::new("ann").unwrap(),
            expires_at_ms: (NOW + 3_600) * 1_000,
            issued_at_s: Some(NOW),
            token_id: Some("t-1".into()),
            name: Some("Ann Smith".into()),
            kind: Some(UserKind::Internal),
            departments: Some(vec!["sales".parse().unwrap()]),
            admin: Some(true),
        }
    );
}

#[test]
fn what_a_token_does_not_say_is_not_made_up() {
    let claims = with_secret().verify(&signed(&claims()), NOW).unwrap();
    assert_eq!((claims.name, claims.kind, claims.admin), (None, None, None));
    assert_eq!(claims.departments, None);
}

#[test]
fn each_algorithm_verifies_its_own_keys() {
    let cases = [
        (
            Alg::RS256,
            EncodingKey::from_rsa_pem(RSA_PRIVATE),
            Algorithm::RS256,
            "rsa-public.pem",
        ),
        (
            Alg::ES256,
            EncodingKey::from_ec_pem(P256_PRIVATE),
            Algorithm::ES256,
            "p256-public.pem",
        ),
        (
            Alg::EdDSA,
            EncodingKey::from_ed_pem(ED_PRIVATE),
            Algorithm::EdDSA,
            "ed25519-public.pem",
        ),
    ];
    for (alg, private, algorithm, file) in cases {
        let token = jsonwebtoken::encode(&Header::new(alg), &claims(), &private.unwrap()).unwrap();
        let own = verifier(vec![public_key(algorithm, file, None)]);
        assert!(own.verify(&token, NOW).is_ok(), "{alg:?}");
        assert_eq!(refused(&with_secret(), &token), InvalidToken::Algorithm);
        let tampered = token.replacen('.', ".AA", 1);
        assert_eq!(refused(&own, &tampered), InvalidToken::Signature, "{alg:?}");
    }
}

/// The oldest trick: a token that says it needs no signature.
#[test]
fn alg_none_is_refused_however_it_is_written() {
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": none, "typ": "JWT"}).to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(refused(&with_secret(), &token), InvalidToken::Algorithm);
        }
    }
}

/// The second oldest: HMAC with the public key, which everybody knows, as secret.
#[test]
fn a_public_key_is_no_secret() {
    let verifier = verifier(vec![public_key(
        Algorithm::RS256,
        "rsa-public.pem",
        Some("k"),
    )]);
    let text = std::str::from_utf8(RSA_PUBLIC).unwrap();
    for secret in [text, text.trim_end()] {
        for header in [Header::default(), with_kid(Alg::HS256, "k")] {
            let token = hs256(&header, &claims(), secret.as_bytes());
            assert_eq!(refused(&verifier, &token), InvalidToken::Algorithm);
        }
    }
}

/// A key has one algorithm, not a family of them.
#[test]
fn other_algorithms_of_the_same_key_are_refused() {
    for alg in [Alg::HS384, Alg::HS512] {
        let token = hs256(&Header::new(alg), &claims(), SECRET.as_bytes());
        assert_eq!(refused(&with_secret(), &token), InvalidToken::Algorithm);
    }
    let rsa = verifier(vec![public_key(Algorithm::RS256, "rsa-public.pem", None)]);
    let private = EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap();
    for alg in [Alg::PS256, Alg::RS512] {
        let token = jsonwebtoken::encode(&Header::new(alg), &claims(), &private).unwrap();
        assert_eq!(refused(&rsa, &token), InvalidToken::Algorithm);
    }
}

#[test]
fn a_wrong_key_or_a_changed_byte_is_refused() {
    let verifier = with_secret();
    let other = hs256(
        &Header::default(),
        &claims(),
        b"another secret of the same length here",
    );
    assert_eq!(refused(&verifier, &other), InvalidToken::Signature);
    let token = signed(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": NOW + 60}).to_string());
    let header = message.split_once('.').unwrap().0;
    let swapped = format!("{header}.{admin}.{signature}");
    assert_eq!(refused(&verifier, &swapped), InvalidToken::Signature);
    assert_eq!(
        refused(&verifier, &format!("{message}.")),
        InvalidToken::Signature
    );
    let cut = &token[..token.len() - 2];
    assert_eq!(refused(&verifier, cut), InvalidToken::Signature);
}

/// `kid` looks up and does nothing else, whatever it holds.
#[test]
fn kid_only_picks_among_known_keys() {
    let verifier = verifier(vec![
        secret_key(SECRET, Some("new")),
        secret_key("the older secret, which is still good", Some("old")),
    ]);
    let sign = |kid: &str| hs256(&with_kid(Alg::HS256, kid), &claims(), SECRET.as_bytes());
    assert!(verifier.verify(&sign("new"), NOW).is_ok());
    assert_eq!(refused(&verifier, &sign("old")), InvalidToken::Signature);
    for kid in [
        "",
        "../../dev/null",
        "/dev/null",
        "new'--",
        "new\0",
        "NEW",
        "http://evil/k",
    ] {
        assert_eq!(
            refused(&verifier, &sign(kid)),
            InvalidToken::UnknownKey,
            "{kid}"
        );
    }
    assert_eq!(
        refused(&verifier, &sign(&"k".repeat(300))),
        InvalidToken::Malformed
    );
    let number = signed_raw(r#"{"alg":"HS256","kid":7}"#, &claims().to_string());
    assert_eq!(refused(&verifier, &number), InvalidToken::Malformed);
    let none = hs256(&Header::default(), &claims(), SECRET.as_bytes());
    assert!(
        verifier.verify(&none, NOW).is_ok(),
        "without kid every key counts"
    );
}

/// Two secrets are live while a fleet changes over.
#[test]
fn keys_rotate_without_a_gap() {
    let old = "the older secret, which is still good";
    let both = verifier(vec![secret_key(SECRET, None), secret_key(old, None)]);
    let by_old = hs256(&Header::default(), &claims(), old.as_bytes());
    assert!(both.verify(&signed(&claims()), NOW).is_ok());
    assert!(both.verify(&by_old, NOW).is_ok());
    assert_eq!(refused(&with_secret(), &by_old), InvalidToken::Signature);
}

/// Keys that the token brings along, or points to, are not looked at.
#[test]
fn keys_in_the_header_are_ignored() {
    let attacker = "the attacker's own secret, long enough";
    let brought = json!({
        "alg": "HS256",
        "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(attacker)},
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/x.pem",
        "x5c": ["AAAA"],
    });
    let header: Header = serde_json::from_value(brought.clone()).unwrap();
    let forged = hs256(&header, &claims(), attacker.as_bytes());
    assert_eq!(refused(&with_secret(), &forged), InvalidToken::Signature);
    let honest = signed_raw(&brought.to_string(), &claims().to_string());
    assert!(with_secret().verify(&honest, NOW).is_ok());
    let odd = signed_raw(
        r#"{"alg":"HS256","jwk":7,"x5c":"?"}"#,
        &claims().to_string(),
    );
    assert!(
        with_secret().verify(&odd, NOW).is_ok(),
        "ignored even when they are nonsense"
    );
}

#[test]
fn critical_headers_are_refused() {
    for crit in [r#"["b64"]"#, "[]", "null", r#""exp""#] {
        let header = format!(r#"{{"alg":"HS256","b64":false,"crit":{crit}}}"#);
        let token = signed_raw(&header, &claims().to_string());
        assert_eq!(
            refused(&with_secret(), &token),
            InvalidToken::CriticalHeader
        );
    }
}

#[test]
fn time_is_kept_to_the_second_with_the_leeway() {
    let verifier = with_secret();
    let expiring = |exp: Value| signed(&json!({"sub": "ann", "exp": exp}));
    assert!(verifier.verify(&expiring(json!(NOW - 4)), NOW).is_ok());
    for exp in [
        json!(NOW - 5),
        json!(NOW - 3_600),
        json!(0),
        json!(-1),
        json!(-1e300),
    ] {
        assert_eq!(
            verifier.verify(&expiring(exp), NOW),
            Err(TokenError::Expired)
        );
    }
    let fraction = verifier
        .verify(&expiring(json!(NOW as f64 + 0.5)), NOW)
        .unwrap();
    assert_eq!(fraction.expires_at_ms, NOW * 1_000);
    let from = |nbf: u64| signed(&json!({"sub": "ann", "exp": NOW + 60, "nbf": nbf}));
    assert!(verifier.verify(&from(NOW + 5), NOW).is_ok());
    assert_eq!(
        refused(&verifier, &from(NOW + 6)),
        InvalidToken::NotYetValid
    );
    let issued = signed(&json!({"sub": "ann", "exp": NOW + 60, "iat": NOW + 3_600}));
    assert_eq!(refused(&verifier, &issued), InvalidToken::NotYetValid);
}

/// No `exp`, however large, may overflow what is computed from it.
#[test]
fn a_huge_exp_is_the_end_of_time() {
    for exp in [json!(u64::MAX), json!(1e300), json!(i64::MAX)] {
        let token = signed(&json!({"sub": "ann", "exp": exp}));
        let claims = with_secret().verify(&token, NOW).unwrap();
        assert_eq!(claims.expires_at_ms, 253_402_300_799_000);
        assert_eq!(
            with_secret().verify(&token, u64::MAX),
            Err(TokenError::Expired)
        );
    }
}

#[test]
fn missing_odd_and_doubled_claims_are_refused() {
    let exp = NOW + 60;
    let long_name = "n".repeat(201);
    let payloads = [
        json!({"sub": "ann"}).to_string(),
        json!({"exp": exp}).to_string(),
        json!({"sub": null, "exp": exp}).to_string(),
        json!({"sub": "ann", "exp": null}).to_string(),
        json!({"sub": 7, "exp": exp}).to_string(),
        json!({"sub": "ann", "exp": "soon"}).to_string(),
        json!({"sub": "ann", "exp": true}).to_string(),
        json!({"sub": "", "exp": exp}).to_string(),
        json!({"sub": "a b", "exp": exp}).to_string(),
        json!({"sub": "a~b", "exp": exp}).to_string(),
        json!({"sub": "\u{430}nn", "exp": exp}).to_string(),
        json!({"sub": "ann\0", "exp": exp}).to_string(),
        json!({"sub": "a".repeat(65), "exp": exp}).to_string(),
        json!({"sub": ["ann"], "exp": exp}).to_string(),
        json!({"sub": "ann", "exp": exp, "kind": "root"}).to_string(),
        json!({"sub": "ann", "exp": exp, "name": long_name}).to_string(),
        json!({"sub": "ann", "exp": exp, "name": "a\nb"}).to_string(),
        json!({"sub": "ann", "exp": exp, "roles": "admin"}).to_string(),
        json!({"sub": "ann", "exp": exp, "departments": ["a/b"]}).to_string(),
        json!({"sub": "ann", "exp": exp, "departments": vec!["d"; 101]}).to_string(),
        json!({"sub": "ann", "exp": exp, "jti": ""}).to_string(),
        json!({"sub": "ann", "exp": exp, "nbf": "never"}).to_string(),
        json!(["ann", exp]).to_string(),
        json!("ann").to_string(),
        format!(r#"{{"sub":"ann","sub":"root","exp":{exp}}}"#),
        format!(r#"{{"sub":"ann","exp":1,"exp":{exp}}}"#),
        r#"{"sub":"ann","exp":1e999}"#.to_owned(),
        "[".repeat(2_000),
        format!(r#"{{"sub":"ann","exp":{exp}}} and more"#),
        String::new(),
    ];
    for payload in payloads {
        let token = signed_raw(r#"{"alg":"HS256"}"#, &payload);
        let invalid = refused(&with_secret(), &token);
        assert!(
            matches!(invalid, InvalidToken::Claims(_)),
            "{payload}: {invalid:?}"
        );
    }
    let doubled = signed_raw(r#"{"alg":"none","alg":"HS256"}"#, &claims().to_string());
    assert_eq!(refused(&with_secret(), &doubled), InvalidToken::Malformed);
}

#[test]
fn garbage_is_refused_and_never_panics() {
    let verifier = with_secret();
    let good = signed(&claims());
    let long = format!("{good}{}", "A".repeat(9_000));
    assert_eq!(refused(&verifier, &long), InvalidToken::TooLarge);
    let bracket = URL_SAFE_NO_PAD.encode("[");
    let encrypted = format!("{good}.AAAA.AAAA");
    for garbage in [
        "", ".", "..", "...", "a", "a.b", "a.b.c", "é.é.é", "\0.\0.\0", "=.=.=", &bracket,
        &encrypted,
    ] {
        assert_eq!(
            refused(&verifier, garbage),
            InvalidToken::Malformed,
            "{garbage}"
        );
    }
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = b'~';
        let broken = String::from_utf8(bytes).unwrap();
        assert!(verifier.verify(&broken, NOW).is_err(), "{place}");
        assert!(verifier.verify(&good[..place], NOW).is_err(), "{place}");
    }
}

#[test]
fn audience_and_issuer_are_required_where_configured() {
    let verifier = Verifier::new(Config {
        keys: vec![secret_key(SECRET, None)],
        audience: vec!["confab".into(), "chat".into()],
        issuer: vec!["crm".into()],
        ..Config::default()
    })
    .unwrap();
    let token = |aud: Value, iss: Value| {
        signed(&json!({"sub": "ann", "exp": NOW + 60, "aud": aud, "iss": iss}))
    };
    assert!(
        verifier
            .verify(&token(json!("chat"), json!("crm")), NOW)
            .is_ok()
    );
    assert!(
        verifier
            .verify(&token(json!(["x", "confab"]), json!("crm")), NOW)
            .is_ok()
    );
    for aud in [json!(null), json!("other"), json!([]), json!(["Confab"])] {
        assert_eq!(
            refused(&verifier, &token(aud, json!("crm"))),
            InvalidToken::Audience
        );
    }
    for iss in [json!(null), json!("other")] {
        assert_eq!(
            refused(&verifier, &token(json!("chat"), iss)),
            InvalidToken::Issuer
        );
    }
}

/// What is told before the signature is verified must not help an attacker.
#[test]
fn refusals_have_codes_and_leak_nothing() {
    let wire = |token: &str| WireError::from(with_secret().verify(token, NOW).unwrap_err());
    let forged = hs256(
        &Header::default(),
        &claims(),
        b"another secret of the same length here",
    );
    let unknown = hs256(
        &with_kid(Alg::HS512, "x"),
        &claims(),
        b"whatever, it is not looked at...",
    );
    assert_eq!(wire(&forged).code(), ErrorCode::TokenInvalid);
    assert_eq!(wire(&forged), wire(&unknown));
    assert_eq!(wire(&forged), wire("garbage"));
    let expired = wire(&signed(&json!({"sub": "ann", "exp": 1})));
    assert_eq!(expired.code(), ErrorCode::TokenExpired);
    assert_eq!(format!("{:?}", Secret::new(SECRET)), "Secret(***)");
}

#[test]
fn weak_and_wrong_keys_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short");
    std::fs::write(&short, "too short  \n\n").unwrap();
    let error = |key: KeyConfig| {
        let config = Config {
            keys: vec![key],
            ..Config::default()
        };
        Verifier::new(config).err().unwrap()
    };
    let from_file = |algorithm, path: &Path| KeyConfig {
        algorithm,
        kid: None,
        material: KeyMaterial::SecretFile(path.into()),
    };
    let mut weak_place = String::new();
    if let KeyError::SecretTooShort { place, bytes: 9 } = error(from_file(Algorithm::HS256, &short))
    {
        weak_place = place;
    }
    assert_eq!(weak_place, short.display().to_string());
    assert!(matches!(
        error(secret_key("short", None)),
        KeyError::SecretTooShort { .. }
    ));
    let missing = from_file(Algorithm::HS256, &dir.path().join("missing"));
    assert!(matches!(error(missing), KeyError::Read { .. }));
    let public = |algorithm, file| error(public_key(algorithm, file, None));
    assert!(matches!(
        public(Algorithm::RS256, "rsa-weak-public.pem"),
        KeyError::NotAKey { .. }
    ));
    assert!(matches!(
        public(Algorithm::RS256, "p256-public.pem"),
        KeyError::NotAKey { .. }
    ));
    assert!(matches!(
        public(Algorithm::ES256, "p384-public.pem"),
        KeyError::NotAKey { .. }
    ));
    assert!(matches!(
        public(Algorithm::EdDSA, "rsa-public.pem"),
        KeyError::NotAKey { .. }
    ));
    assert!(matches!(
        public(Algorithm::RS256, "rsa-private.pem"),
        KeyError::PrivateKey(_)
    ));
    assert!(matches!(
        public(Algorithm::ES256, "README.md"),
        KeyError::NotAKey { .. }
    ));
    assert!(matches!(
        public(Algorithm::HS256, "rsa-public.pem"),
        KeyError::WrongMaterial { .. }
    ));
    assert!(matches!(
        Verifier::new(Config::default()).err(),
        Some(KeyError::NoKeys)
    ));
}

fn jwk(private: &EncodingKey, alg: Alg, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(private, alg).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn with_jwks(path: &Path) -> Config {
    Config {
        jwks_file: Some(path.into()),
        ..Config::default()
    }
}

#[test]
fn a_key_set_gives_its_signature_keys_only() {
    let rsa = EncodingKey::from_rsa_pem(RSA_PRIVATE).unwrap();
    let ec = EncodingKey::from_ec_pem(P256_PRIVATE).unwrap();
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE).unwrap();
    let mut for_encryption = jwk(&rsa, Alg::RS256, "enc");
    for_encryption["use"] = json!("enc");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let set = json!({"keys": [
        jwk(&rsa, Alg::RS256, "r"), jwk(&ec, Alg::ES256, "e"), jwk(&ed, Alg::EdDSA, "d"),
        for_encryption,
        {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "o"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k"},
        {"kty": "quantum"}, 7,
    ]});
    std::fs::write(&path, set.to_string()).unwrap();
    let verifier = Verifier::new(with_jwks(&path)).unwrap();
    let token = |alg, kid: &str, key: &EncodingKey| {
        jsonwebtoken::encode(&with_kid(alg, kid), &claims(), key).unwrap()
    };
    assert!(verifier.verify(&token(Alg::RS256, "r", &rsa), NOW).is_ok());
    assert!(verifier.verify(&token(Alg::ES256, "e", &ec), NOW).is_ok());
    assert!(verifier.verify(&token(Alg::EdDSA, "d", &ed), NOW).is_ok());
    assert_eq!(
        refused(&verifier, &token(Alg::RS256, "enc", &rsa)),
        InvalidToken::UnknownKey
    );
    let hmac = EncodingKey::from_secret(SECRET.as_bytes());
    assert_eq!(
        refused(&verifier, &token(Alg::HS256, "o", &hmac)),
        InvalidToken::UnknownKey
    );
    for broken in [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
    ] {
        std::fs::write(&path, broken).unwrap();
        assert!(Verifier::new(with_jwks(&path)).is_err(), "{broken}");
    }
}

/// A key is known as soon as it is published, an unusable file changes nothing,
/// and a key that was taken out is refused.
#[tokio::test(start_paused = true)]
async fn a_changed_key_set_is_taken_up() {
    let ec = EncodingKey::from_ec_pem(P256_PRIVATE).unwrap();
    let ed = EncodingKey::from_ed_pem(ED_PRIVATE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let publish = |keys: Value| std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    publish(json!([jwk(&ec, Alg::ES256, "one")]));
    let verifier = Verifier::new(with_jwks(&path)).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(verifier.clone().run(shutdown.clone()));

    let one = jsonwebtoken::encode(&with_kid(Alg::ES256, "one"), &claims(), &ec).unwrap();
    let two = jsonwebtoken::encode(&with_kid(Alg::EdDSA, "two"), &claims(), &ed).unwrap();
    let unknown = Err(TokenError::Invalid(InvalidToken::UnknownKey));
    assert_eq!(verifier.authenticate(&two, NOW).await, unknown);
    publish(json!([
        jwk(&ec, Alg::ES256, "one"),
        jwk(&ed, Alg::EdDSA, "two")
    ]));
    assert!(verifier.authenticate(&two, NOW).await.is_ok());
    assert!(verifier.verify(&one, NOW).is_ok());

    std::fs::write(&path, "half a fi").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert!(
        verifier.verify(&two, NOW).is_ok(),
        "the keys stay as they were"
    );
    publish(json!([jwk(&ed, Alg::EdDSA, "two")]));
    assert_eq!(
        verifier.authenticate("x.y.z", NOW).await,
        verifier.verify("x.y.z", NOW)
    );
    let mut waited = 0;
    while verifier.verify(&one, NOW).is_ok() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        waited += 1;
        assert!(waited < 30, "the retired key is still good");
    }
    shutdown.cancel();
    running.await.unwrap();
}
