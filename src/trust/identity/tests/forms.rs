//! Keys and certificates as other programs write them.

use super::*;
use crate::trust::Encoding;

/// A home with this key and a certificate for it, both as openssl writes them.
fn of_openssl(arguments: &[&str]) -> TempDir {
    let dir = tempdir().unwrap();
    openssl(&[arguments, &["-out", "plain"]].concat(), dir.path());
    certify(dir.path(), "plain");
    fs::copy(dir.path().join("plain"), dir.path().join(KEY_FILE)).unwrap();
    chmod(&dir.path().join(KEY_FILE), 0o600);
    dir
}

fn certify(dir: &Path, key: &str) {
    let subject = ["-subj", "/CN=x", "-out", CERTIFICATE_FILE];
    openssl(
        &[&["req", "-new", "-x509", "-key", key][..], &subject].concat(),
        dir,
    );
}

const EC_KEY: [&str; 5] = ["ecparam", "-name", "prime256v1", "-genkey", "-noout"];

#[test]
fn a_key_under_a_passphrase_is_named() {
    let older = ["ec", "-aes128", "-in", "plain", "-passout", "pass:x"];
    let newer = ["pkcs8", "-topk8", "-in", "plain", "-passout", "pass:x"];
    for form in [&older[..], &newer] {
        let dir = of_openssl(&EC_KEY);
        openssl(&[form, &["-out", KEY_FILE]].concat(), dir.path());
        for refused in [
            Identity::load_from(dir.path()).map(drop),
            Identity::renew(dir.path()).map(drop),
        ] {
            assert!(
                matches!(refused, Err(IdentityError::Encrypted { .. })),
                "{refused:?}"
            );
        }
    }
}

/// Both forms that have the public key: RFC 8410's, and one with a wrapper too many, as older
/// libraries wrote it.
#[test]
fn an_ed25519_key_with_its_public_half_is_loaded() {
    let dir = of_openssl(&["genpkey", "-algorithm", "ed25519"]);
    let expected = Identity::load_from(dir.path()).unwrap().unwrap().key_id();
    openssl(
        &["pkey", "-in", "plain", "-outform", "DER", "-out", "der"],
        dir.path(),
    );
    let public = [
        "pkey", "-in", "plain", "-pubout", "-outform", "DER", "-out", "spki",
    ];
    openssl(&public, dir.path());
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let (der, spki) = (read("der"), read("spki"));
    let (seed, public) = (&der[16..], &spki[12..]);
    assert_eq!((seed.len(), public.len()), (32, 32));
    for (length, label) in [
        (0x51, &b"\x81\x21\x00"[..]),
        (0x53, b"\xa1\x23\x03\x21\x00"),
    ] {
        let begin = b"\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let whole = [&[0x30, length], &begin[..], seed, label, public].concat();
        fs::write(dir.path().join("whole"), whole).unwrap();
        let wrap = ["base64", "-in", "whole", "-out", "base64"];
        openssl(&wrap, dir.path());
        let body = String::from_utf8(read("base64")).unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
        fs::write(dir.path().join(KEY_FILE), pem).unwrap();
        let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.key_id(), expected);
        assert_eq!(Identity::renew(dir.path()).unwrap().key_id(), expected);
    }
}

#[test]
fn a_curve_key_in_an_odd_form_is_named_and_renewed() {
    let compressed = |dir: &Path| {
        let form = ["ec", "-in", "plain", "-conv_form", "compressed"];
        openssl(&[&form[..], &["-out", KEY_FILE]].concat(), dir);
    };
    let explicit = [&EC_KEY[..], &["-param_enc", "explicit"]].concat();
    for (key, is_compressed) in [(&EC_KEY[..], true), (&explicit, false)] {
        for version in ["sec1", "pkcs8"] {
            let dir = of_openssl(key);
            let path = dir.path();
            if is_compressed {
                compressed(path);
            }
            certify(path, KEY_FILE);
            if version == "pkcs8" {
                let rewrite = ["pkcs8", "-topk8", "-nocrypt", "-in", KEY_FILE];
                openssl(&[&rewrite[..], &["-out", "other"]].concat(), path);
                fs::copy(path.join("other"), path.join(KEY_FILE)).unwrap();
            }
            let refused = Identity::load_from(path);
            assert!(
                matches!(refused, Err(IdentityError::OtherForm { .. })),
                "{refused:?}"
            );
            let renewed = Identity::renew(path).unwrap();
            let loaded = Identity::load_from(path).unwrap().unwrap();
            assert_eq!(loaded.key_id(), renewed.key_id());
        }
    }
    // Another key is another key, in whatever form.
    let (one, other) = (of_openssl(&EC_KEY), of_openssl(&explicit));
    let (certificate, key) = (
        other.path().join(CERTIFICATE_FILE),
        one.path().join(KEY_FILE),
    );
    let refused = Identity::load(&certificate, &key);
    assert!(
        matches!(refused, Err(IdentityError::Mismatch { .. })),
        "{refused:?}"
    );
}

#[test]
fn pem_is_read_as_editors_and_openssl_write_it() {
    let dir = of_openssl(&EC_KEY);
    let expected = Identity::load_from(dir.path()).unwrap().unwrap().key_id();
    let (certificate, key) = paths_in(dir.path());
    for path in [&certificate, &key] {
        let marked = [&b"\xef\xbb\xbf"[..], &fs::read(path).unwrap()].concat();
        fs::write(path, marked).unwrap();
    }
    assert_eq!(
        Identity::load_from(dir.path()).unwrap().unwrap().key_id(),
        expected
    );

    let trusted = [
        "x509",
        "-in",
        CERTIFICATE_FILE,
        "-trustout",
        "-addtrust",
        "serverAuth",
    ];
    openssl(&[&trusted[..], &["-out", "trusted"]].concat(), dir.path());
    let trusted = dir.path().join("trusted");
    let text = fs::read_to_string(&trusted).unwrap();
    assert!(text.starts_with("-----BEGIN TRUSTED CERTIFICATE"), "{text}");
    assert_eq!(key_of_certificate_file(&trusted).unwrap(), expected);
}

#[test]
fn what_is_not_pem_is_said_to_be_what_it_is() {
    for arguments in [&EC_KEY[..], &["genpkey", "-algorithm", "ed25519"]] {
        let dir = of_openssl(arguments);
        let (certificate, key) = paths_in(dir.path());
        let whole = fs::read_to_string(&certificate).unwrap();
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(whole.bytes().flat_map(|byte| [byte, 0]))
            .collect();
        fs::write(dir.path().join("wide"), wide).unwrap();
        let refused = key_of_certificate_file(&dir.path().join("wide"));
        let is_named = |refused: &IdentityError, expected| matches!(refused, IdentityError::NotPem { encoding, .. } if *encoding == expected);
        assert!(is_named(&refused.unwrap_err(), Encoding::Utf16));

        for (kind, file) in [("x509", &certificate), ("pkey", &key)] {
            let name = file.file_name().unwrap().to_str().unwrap();
            let rewrite = [kind, "-in", name, "-outform", "DER", "-out", "der"];
            openssl(&rewrite, dir.path());
            let before = fs::read(file).unwrap();
            fs::write(file, fs::read(dir.path().join("der")).unwrap()).unwrap();
            let refused = Identity::load_from(dir.path()).unwrap_err();
            assert!(is_named(&refused, Encoding::Der), "{refused:?}");
            fs::write(file, before).unwrap();
        }
    }
    let dir = of_openssl(&EC_KEY);
    let request = [
        "req",
        "-new",
        "-key",
        "plain",
        "-subj",
        "/CN=x",
        "-out",
        CERTIFICATE_FILE,
    ];
    openssl(&request, dir.path());
    let refused = Identity::load_from(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("`CERTIFICATE REQUEST`"), "{refused}");
}
