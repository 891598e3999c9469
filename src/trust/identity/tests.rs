mod forms;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::{TempDir, tempdir};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn openssl(arguments: &[&str], dir: &Path) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{complained}");
    said
}

/// A home with an identity of the given kind.
fn home(algorithm: Algorithm) -> (TempDir, Identity) {
    let dir = tempdir().unwrap();
    let identity = Identity::create(dir.path(), algorithm).unwrap();
    (dir, identity)
}

#[test]
fn what_is_created_is_loaded() {
    for algorithm in Algorithm::ALL {
        let (dir, created) = home(algorithm);
        let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.key_id(), created.key_id());
        assert_eq!(loaded.certified().cert, created.certified().cert);
        let certificate = dir.path().join(CERTIFICATE_FILE);
        assert_eq!(
            key_of_certificate_file(&certificate).unwrap(),
            created.key_id()
        );
    }
}

#[test]
fn a_home_without_an_identity_is_no_error() {
    let dir = tempdir().unwrap();
    assert!(Identity::load_from(dir.path()).unwrap().is_none());
    assert!(
        Identity::load_from(&dir.path().join("absent"))
            .unwrap()
            .is_none()
    );
}

#[test]
fn half_an_identity_is_an_error_and_not_a_reason_to_make_one() {
    for lost in [CERTIFICATE_FILE, KEY_FILE] {
        let (dir, _) = home(Algorithm::default());
        fs::remove_file(dir.path().join(lost)).unwrap();
        for tried in [
            Identity::load_from(dir.path()).map(|_| ()),
            Identity::create(dir.path(), Algorithm::default()).map(|_| ()),
        ] {
            match tried {
                Err(IdentityError::CertificateMissing { .. }) => {
                    assert_eq!(lost, CERTIFICATE_FILE);
                }
                Err(IdentityError::KeyMissing { .. }) => assert_eq!(lost, KEY_FILE),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_key_is_its_owners_alone() {
    let dir = tempdir().unwrap();
    let home = dir.path().join("above/home");
    Identity::create(&home, Algorithm::default()).unwrap();
    assert_eq!(mode(&home), 0o700);
    assert_eq!(mode(&home.join(KEY_FILE)), 0o600);
}

#[test]
fn nothing_that_exists_is_overwritten_and_nothing_is_left_beside_it() {
    let both = [CERTIFICATE_FILE, KEY_FILE];
    for there in [&both[..1], &both[1..], &both] {
        let dir = tempdir().unwrap();
        for file in there {
            fs::write(dir.path().join(file), "mine").unwrap();
        }
        let refused = Identity::create(dir.path(), Algorithm::default());
        match (refused, there) {
            (Err(IdentityError::Exists { path }), [_, _]) => {
                assert_eq!(path, dir.path().join(KEY_FILE));
            }
            (Err(IdentityError::KeyMissing { .. }), [CERTIFICATE_FILE])
            | (Err(IdentityError::CertificateMissing { .. }), [KEY_FILE]) => {}
            other => panic!("{other:?}"),
        }
        for file in there {
            let path = dir.path().join(file);
            assert_eq!(fs::read_to_string(path).unwrap(), "mine");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), there.len());
    }
}

#[test]
fn of_two_that_create_at_once_one_is_refused_and_the_home_is_whole() {
    let dir = tempdir().unwrap();
    let made: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Identity::create(dir.path(), Algorithm::default())))
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    let winners: Vec<_> = made.iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
    assert_eq!(loaded.key_id(), winners[0].key_id());
}

#[test]
fn a_renewed_certificate_is_another_one_for_the_same_key() {
    for algorithm in Algorithm::ALL {
        let (dir, created) = home(algorithm);
        let key_before = fs::read(dir.path().join(KEY_FILE)).unwrap();
        Identity::renew(dir.path()).unwrap();
        let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.key_id(), created.key_id());
        assert_ne!(loaded.certified().cert, created.certified().cert);
        assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), key_before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_newer_certificate_is_taken_over_for_the_same_key_alone() {
    let (dir, created) = home(Algorithm::default());
    let clone = created.clone();
    let newer = Identity::renew(dir.path()).unwrap();
    assert!(created.take_certificate(&newer));
    assert_eq!(clone.certified().cert, newer.certified().cert);
    let other = Identity::generate(Algorithm::default()).unwrap();
    assert!(!created.take_certificate(&other));
    assert_eq!(clone.certified().cert, newer.certified().cert);
}

#[test]
fn a_lost_certificate_is_made_again_by_renewing() {
    let (dir, created) = home(Algorithm::default());
    fs::remove_file(dir.path().join(CERTIFICATE_FILE)).unwrap();
    assert_eq!(
        Identity::renew(dir.path()).unwrap().key_id(),
        created.key_id()
    );
    assert!(Identity::load_from(dir.path()).unwrap().is_some());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (dir, _) = home(Algorithm::default());
    let path = dir.path().join(KEY_FILE);
    for loose in [0o640, 0o604, 0o620, 0o601] {
        chmod(&path, loose);
        for refused in [
            Identity::load_from(dir.path()).err(),
            Identity::renew(dir.path()).err(),
        ] {
            match refused {
                Some(IdentityError::LooseKey { path: named, mode }) => {
                    assert_eq!((named, mode), (path.clone(), loose));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    chmod(&path, 0o400);
    assert!(Identity::load_from(dir.path()).is_ok());
}

#[test]
fn a_certificate_for_another_key_is_a_mismatch() {
    let ((alice, _), (bob, _)) = (home(Algorithm::default()), home(Algorithm::default()));
    let refused = Identity::load(
        &alice.path().join(CERTIFICATE_FILE),
        &bob.path().join(KEY_FILE),
    );
    assert!(matches!(refused, Err(IdentityError::Mismatch { .. })));
}

#[test]
fn a_file_without_what_is_looked_for_is_an_error() {
    let (dir, _) = home(Algorithm::default());
    let (certificate, key) = paths_in(dir.path());
    chmod(&certificate, 0o600);
    assert!(matches!(
        Identity::load(&key, &key),
        Err(IdentityError::NoCertificate { .. })
    ));
    assert!(matches!(
        Identity::load(&certificate, &certificate),
        Err(IdentityError::NoKey { .. })
    ));
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    assert!(matches!(
        key_of_certificate_file(&empty),
        Err(IdentityError::NoCertificate { .. })
    ));
}

#[test]
fn of_a_chain_the_first_certificate_is_taken() {
    let ((alice, identity), (bob, _)) = (home(Algorithm::default()), home(Algorithm::default()));
    let path = alice.path().join(CERTIFICATE_FILE);
    let mut chain = fs::read(&path).unwrap();
    chain.extend(fs::read(bob.path().join(CERTIFICATE_FILE)).unwrap());
    fs::write(&path, chain).unwrap();
    assert_eq!(key_of_certificate_file(&path).unwrap(), identity.key_id());
    assert!(Identity::load_from(alice.path()).is_ok());
}

#[test]
fn damaged_and_endless_files_are_errors() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file.pem");
    for damaged in [
        "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        fs::write(&path, damaged).unwrap();
        let refused = key_of_certificate_file(&path);
        assert!(
            matches!(refused, Err(IdentityError::Malformed { .. })),
            "{refused:?}"
        );
    }
    assert!(matches!(
        key_of_certificate_file(Path::new("/dev/zero")),
        Err(IdentityError::Unusable(Unusable::NotAFile { .. }))
    ));
}

#[test]
fn a_damaged_key_is_refused_without_being_quoted() {
    let (dir, _) = home(Algorithm::default());
    let path = dir.path().join(KEY_FILE);
    for damaged in [
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END secret-----\n",
        "-----BEGIN PRIVATE KEY-----\nsecret%\n-----END PRIVATE KEY-----\n",
    ] {
        fs::write(&path, damaged).unwrap();
        let refused = Identity::load_from(dir.path()).unwrap_err();
        let said = format!("{refused} {refused:?}");
        assert!(
            !said.contains("secret") && !said.contains("c2Vjc"),
            "{said}"
        );
    }
}

/// A key's file that has lost its line feeds, say, where a certificate's is expected.
#[test]
fn nor_is_a_key_quoted_that_is_taken_for_a_certificate() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("key.pem");
    for damaged in [
        "-----BEGIN PRIVATE KEY-----c2VjcmV0-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----c2VjcmV0-----END PRIVATE KEY-----\n-----BEGIN x-----\n",
        "-----BEGIN PRIVATE KEY\nc2VjcmV0-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEYc2VjcmV0c2VjcmV0-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN c2VjcmV0c2VjcmV0-----\nAAAA\n-----END c2VjcmV0c2VjcmV0-----\n",
        "-----BEGIN CERTIFICATE-----\nc2VjcmV0%\n-----END CERTIFICATE-----\n",
    ] {
        fs::write(&path, damaged).unwrap();
        let refused = key_of_certificate_file(&path).unwrap_err();
        let said = format!("{refused} {refused:?}");
        assert!(!said.contains("c2Vjc"), "{damaged:?}: {said}");
    }
    let digits = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo";
    let label = digits.to_uppercase();
    let damaged = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    fs::write(&path, damaged).unwrap();
    let refused = key_of_certificate_file(&path).unwrap_err();
    assert!(!refused.to_string().contains(&label), "{refused}");
}

#[test]
fn keys_that_openssl_writes_are_loaded() {
    let dir = tempdir().unwrap();
    for (kind, options) in [
        (
            "ecdsa-p256",
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        ),
        ("ed25519", &["-algorithm", "ED25519"]),
    ] {
        let genpkey = [&["genpkey", "-out", "key.pem"][..], options].concat();
        openssl(&genpkey, dir.path());
        let certify = [
            "req", "-x509", "-new", "-key", "key.pem", "-out", "cert.pem", "-subj",
        ];
        openssl(&[&certify[..], &["/CN=bob"]].concat(), dir.path());
        chmod(&dir.path().join(KEY_FILE), 0o600);
        let pkcs8 = Identity::load_from(dir.path()).unwrap().unwrap();
        if kind == "ecdsa-p256" {
            openssl(&["ec", "-in", "key.pem", "-out", "sec1.pem"], dir.path());
            let path = dir.path().join("sec1.pem");
            chmod(&path, 0o600);
            assert!(
                fs::read_to_string(&path)
                    .unwrap()
                    .contains("BEGIN EC PRIVATE KEY")
            );
            let sec1 = Identity::load(&dir.path().join(CERTIFICATE_FILE), &path).unwrap();
            assert_eq!(sec1.key_id(), pkcs8.key_id());
            fs::rename(&path, dir.path().join(KEY_FILE)).unwrap();
        }
        assert_eq!(
            Identity::renew(dir.path()).unwrap().key_id(),
            pkcs8.key_id()
        );
    }
}

#[test]
fn an_ed25519_key_in_the_second_version_of_pkcs8_is_loaded() {
    let dir = tempdir().unwrap();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (certificate, key) = paths_in(dir.path());
    fs::write(&certificate, self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    chmod(&key, 0o600);
    Identity::load(&certificate, &key).unwrap();
}

#[test]
fn other_kinds_of_keys_are_refused() {
    let dir = tempdir().unwrap();
    for options in [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ] {
        openssl(
            &[&["genpkey", "-out", "key.pem"][..], options].concat(),
            dir.path(),
        );
        let certify = [
            "req", "-x509", "-new", "-key", "key.pem", "-out", "cert.pem", "-subj",
        ];
        openssl(&[&certify[..], &["/CN=bob"]].concat(), dir.path());
        chmod(&dir.path().join(KEY_FILE), 0o600);
        for refused in [
            Identity::load_from(dir.path()).err(),
            Identity::renew(dir.path()).err(),
        ] {
            assert!(
                matches!(refused, Some(IdentityError::UnsupportedKey { .. })),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn openssl_reads_the_keys_and_hashes_them_to_the_same_identity() {
    for algorithm in Algorithm::ALL {
        let (dir, identity) = home(algorithm);
        openssl(&["pkey", "-in", KEY_FILE, "-noout", "-check"], dir.path());
        let public = [
            "pkey", "-in", KEY_FILE, "-pubout", "-outform", "DER", "-out", "spki",
        ];
        openssl(&public, dir.path());
        let spki = fs::read(dir.path().join("spki")).unwrap();
        assert_eq!(KeyId::of_spki(&spki), identity.key_id());
    }
}

#[test]
fn certificates_have_the_promised_shape_and_say_nothing_of_their_owner() {
    for algorithm in Algorithm::ALL {
        let (dir, _) = home(algorithm);
        let text = openssl(
            &[
                "x509",
                "-in",
                CERTIFICATE_FILE,
                "-noout",
                "-text",
                "-nameopt",
                "rfc2253",
                "-nameopt",
                "rfc2253",
            ],
            dir.path(),
        );
        for expected in [
            "Version: 3",
            "Subject: CN=turnchat",
            "Issuer: CN=turnchat",
            "Not Before: Jan  1 00:00:00 1975 GMT",
            "Not After : Dec 31 23:59:59 9999 GMT",
            "Digital Signature\n",
            "TLS Web Server Authentication, TLS Web Client Authentication\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for absent in ["Alternative Name", "CA:TRUE", "Certificate Sign"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        // As a peer on OpenSSL sees it that trusts this certificate alone.
        for purpose in ["sslserver", "sslclient"] {
            let verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile"];
            let files = [CERTIFICATE_FILE, CERTIFICATE_FILE];
            openssl(&[&verify[..], &files].concat(), dir.path());
        }
    }
}

#[test]
fn keys_are_written_as_the_first_version_of_pkcs8() {
    for algorithm in Algorithm::ALL {
        let (dir, _) = home(algorithm);
        let parsed = openssl(&["asn1parse", "-in", KEY_FILE], dir.path());
        let version = parsed.lines().nth(1).unwrap();
        assert!(
            version.contains("INTEGER") && version.ends_with(":00"),
            "{parsed}"
        );
    }
}

#[test]
fn debug_shows_the_public_key_alone() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let shown = format!("{identity:?}");
    assert_eq!(shown, format!("Identity(KeyId({}))", identity.key_id()));
}

#[test]
fn those_who_make_one_at_once_have_the_same() {
    for _ in 0..10 {
        let dir = tempdir().unwrap();
        let home = dir.path().join("home");
        let made = std::thread::scope(|scope| {
            let make = || Identity::load_or_create(&home, Algorithm::default()).unwrap();
            let both = [scope.spawn(make), scope.spawn(make)];
            both.map(|one| one.join().unwrap().key_id())
        });
        assert_eq!(made[0], made[1]);
    }
}

/// The certificate that is renewed is that of the key that is being made.
#[test]
fn a_key_is_not_lost_to_whoever_renews_its_certificate_meanwhile() {
    for _ in 0..10 {
        let dir = tempdir().unwrap();
        let home = dir.path();
        std::thread::scope(|scope| {
            scope.spawn(|| while Identity::renew(home).is_err() {});
            Identity::create(home, Algorithm::default()).unwrap();
        });
        assert!(Identity::load_from(home).unwrap().is_some());
    }
}

#[test]
fn a_maker_that_does_not_end_is_told_of() {
    let (dir, _) = home(Algorithm::default());
    let held = File::open(dir.path()).unwrap();
    held.lock().unwrap();
    let refused = lock(dir.path(), Duration::ZERO);
    assert!(
        matches!(refused, Err(IdentityError::Busy { .. })),
        "{refused:?}"
    );
    // Who only reads does not wait.
    assert!(Identity::load_from(dir.path()).unwrap().is_some());
}

#[test]
fn a_certificate_that_is_a_link_is_not_written_through() {
    let (dir, _) = home(Algorithm::default());
    let (certificate, _) = paths_in(dir.path());
    let other = dir.path().join("other");
    fs::rename(&certificate, &other).unwrap();
    std::os::unix::fs::symlink(&other, &certificate).unwrap();
    let before = fs::read(&other).unwrap();
    // Reading it is harmless.
    assert!(Identity::load_from(dir.path()).unwrap().is_some());
    let refused = Identity::renew(dir.path());
    assert!(
        matches!(refused, Err(IdentityError::Unusable(Unusable::Link { .. }))),
        "{refused:?}"
    );
    assert_eq!(fs::read(&other).unwrap(), before);
}
