use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const PLAIN: &str = "socks5h://127.0.0.1:9050";
const WITH_LOGIN: &str = "socks5h://bob:secret@127.0.0.1:9050";

fn proxy(url: &str) -> Proxy {
    url.parse().unwrap()
}

#[test]
fn a_proxy_is_read_from_its_url() {
    for (url, host, port) in [
        (PLAIN, "127.0.0.1", 9050),
        ("socks5h://localhost:1080/", "localhost", 1080),
        ("socks5h://[::1]:1", "::1", 1),
        ("socks5h://[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        (WITH_LOGIN, "127.0.0.1", 9050),
    ] {
        let proxy = proxy(url);
        assert_eq!((&*proxy.host, proxy.port), (host, port), "{url}");
    }
    let login = proxy("socks5h://a%40b:p%3aq:r@h:1").login.unwrap();
    assert_eq!((&*login.user, &*login.password), ("a@b", "p:q:r"));
}

#[test]
fn what_is_no_proxy_is_told_what_is_wrong() {
    use MalformedProxy as Wrong;
    let long = "x".repeat(256);
    for (url, wrong) in [
        ("", Wrong::NoScheme),
        ("127.0.0.1:9050", Wrong::NoScheme),
        ("socks5://127.0.0.1:9050", Wrong::LocalNames),
        ("http://127.0.0.1:3128", Wrong::OtherScheme),
        ("socks4a://127.0.0.1:9050", Wrong::OtherScheme),
        ("SOCKS5H://127.0.0.1:9050", Wrong::OtherScheme),
        ("socks5h://", Wrong::NoHost),
        ("socks5h://:9050", Wrong::NoHost),
        ("socks5h://[::1:9050", Wrong::NoHost),
        ("socks5h://a b:9050", Wrong::NoHost),
        ("socks5h://a/b:9050", Wrong::NoHost),
        ("socks5h://a\u{1b}:9050", Wrong::NoHost),
        (&format!("socks5h://{long}:9050"), Wrong::NoHost),
        ("socks5h://127.0.0.1", Wrong::NoPort),
        ("socks5h://127.0.0.1:", Wrong::NoPort),
        ("socks5h://127.0.0.1:0", Wrong::NoPort),
        ("socks5h://127.0.0.1:+1", Wrong::NoPort),
        ("socks5h://127.0.0.1:65536", Wrong::NoPort),
        ("socks5h://127.0.0.1:9050/path", Wrong::NoPort),
        ("socks5h://[::1]9050", Wrong::NoPort),
        ("socks5h://::1:9050", Wrong::NoHost),
        ("socks5h://bob@127.0.0.1:9050", Wrong::Login),
        ("socks5h://bob:@127.0.0.1:9050", Wrong::Login),
        ("socks5h://:secret@127.0.0.1:9050", Wrong::Login),
        ("socks5h://bob:a%4@127.0.0.1:9050", Wrong::Login),
        ("socks5h://bob:a%+4@127.0.0.1:9050", Wrong::Login),
        ("socks5h://bob:a%é@127.0.0.1:9050", Wrong::Login),
        ("socks5h://bob:%ff@127.0.0.1:9050", Wrong::Login),
        (&format!("socks5h://bob:{long}@h:9050"), Wrong::Login),
    ] {
        assert_eq!(url.parse::<Proxy>(), Err(wrong), "{url}");
    }
}

#[test]
fn a_login_is_printed_nowhere() {
    let proxy = proxy(WITH_LOGIN);
    let told = format!("{proxy} {proxy:?} {}", proxy.url());
    assert!(!told.contains("bob") && !told.contains("secret"), "{told}");
    assert!(told.contains("socks5h://…:…@127.0.0.1:9050"), "{told}");
}

#[test]
fn addresses_are_told_from_names_and_zones_are_not_asked_for() {
    let ip = |text: &str| Ok(TargetAddr::Ip(text.parse().unwrap()));
    let name = |text: &'static str| Ok(TargetAddr::Domain(text.into(), 8876));
    for (host, asked) in [
        ("192.0.2.7", ip("192.0.2.7:8876")),
        ("2001:db8::1", ip("[2001:db8::1]:8876")),
        ("alice.example", name("alice.example")),
        // What is a number to some resolvers is the proxy's to judge.
        ("0x7f.1", name("0x7f.1")),
        ("fe80::1%eth0", Err(())),
        (&"x".repeat(256), Err(())),
    ] {
        let target = target(host, 8876).map_err(|_| ());
        assert_eq!(target, asked, "{host}");
    }
}

/// What comes of a proxy that says this, after a request of this length at most.
async fn told(url: &str, said: &[u8]) -> (Result<DuplexStream, ProxyFailure>, Vec<u8>) {
    let (ours, mut theirs) = duplex(64 * 1024);
    let proxy = proxy(url);
    let target = target("alice.example", 8876).unwrap();
    theirs.write_all(said).await.unwrap();
    // Nothing more comes, but what was asked can still be read.
    theirs.shutdown().await.unwrap();
    let by = Instant::now() + DIAL_TIME;
    let made = negotiate(ours, &proxy, target, by).await;
    let mut asked = vec![0; 1024];
    let length = match &made {
        Ok(_) => theirs.read(&mut asked).await.unwrap(),
        // Its end is closed.
        Err(_) => {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            asked = all;
            asked.len()
        }
    };
    asked.truncate(length);
    (made, asked)
}

/// The start of each answer to a request.
fn reply(code: u8) -> Vec<u8> {
    [&[5, 0, 5, code, 0, 1][..], &[0; 6]].concat()
}

#[tokio::test]
async fn a_name_is_asked_for_as_it_is_and_what_follows_is_the_targets() {
    let mut said = reply(0);
    said.extend_from_slice(b"behind");
    let (made, asked) = told(PLAIN, &said).await;
    let mut behind = Vec::new();
    made.unwrap().read_to_end(&mut behind).await.unwrap();
    assert_eq!(behind, b"behind");
    let name = b"alice.example";
    let request = [
        &[5, 1, 0, 5, 1, 0, 3, 13][..],
        name,
        &8876_u16.to_be_bytes(),
    ]
    .concat();
    assert_eq!(asked, request);
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    use ProxyFailure as Failure;
    for (code, expected) in [
        (1, Failure::Failed),
        (2, Failure::NotAllowed),
        (3, Failure::NetworkUnreachable),
        (4, Failure::HostUnreachable),
        (5, Failure::Refused),
        (6, Failure::Expired),
        (7, Failure::Unsupported),
        (8, Failure::Unsupported),
        (9, Failure::NotSocks5),
        (0xf0, Failure::NotSocks5),
        (0xff, Failure::NotSocks5),
    ] {
        let (made, _) = told(PLAIN, &reply(code)).await;
        assert_eq!(
            made.unwrap_err().to_string(),
            expected.to_string(),
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_login_is_asked_for_refused_or_not_needed() {
    use ProxyFailure as Failure;
    for (url, said, expected) in [
        (PLAIN, &[5, 0xff][..], Failure::NeedsLogin),
        (PLAIN, &[5, 2], Failure::NeedsLogin),
        (WITH_LOGIN, &[5, 0xff], Failure::WrongLogin),
        (WITH_LOGIN, &[5, 2, 1, 1], Failure::WrongLogin),
        (WITH_LOGIN, &[5, 2, 9, 0], Failure::NotSocks5),
        (PLAIN, &[5, 1], Failure::NotSocks5),
        (WITH_LOGIN, &[5, 0x80], Failure::NotSocks5),
    ] {
        let (made, _) = told(url, said).await;
        assert_eq!(
            made.unwrap_err().to_string(),
            expected.to_string(),
            "{said:?}"
        );
    }
    assert!(told(WITH_LOGIN, &reply(0)).await.0.is_ok());
    let accepted = [&[5, 2, 1, 0][..], &reply(0)[2..]].concat();
    let (made, asked) = told(WITH_LOGIN, &accepted).await;
    assert!(made.is_ok());
    let login = b"\x01\x03bob\x06secret";
    assert!(asked.windows(login.len()).any(|part| part == login));
}

#[tokio::test]
async fn garbage_is_an_error() {
    let end = |said: &[u8]| said.to_vec();
    for said in [
        end(b""),
        end(b"\x05"),
        end(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        end(b"\x04\x5a\0\0\0\0\0\0"),
        end(&[0xff; 4096]),
        end(&[0; 4096]),
        // No such kind of address; a reserved byte; a name that is no UTF-8, or never comes.
        end(&[5, 0, 5, 0, 0, 9, 0, 0]),
        end(&[5, 0, 5, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
        end(&[5, 0, 5, 0, 0, 3, 1, 0xff, 0, 0]),
        end(&[5, 0, 5, 0, 0, 3, 255, b'a']),
        end(&reply(0)[..7]),
    ] {
        let (made, _) = told(PLAIN, &said).await;
        let failure = made.unwrap_err();
        assert!(
            matches!(failure, ProxyFailure::NotSocks5 | ProxyFailure::Closed(_)),
            "{failure:?}"
        );
    }
    // The longest answer there is.
    let name = [&[5, 0, 5, 0, 0, 3, 255][..], &[b'a'; 255], &[0; 2]].concat();
    assert!(told(PLAIN, &name).await.0.is_ok());
}

proptest! {
    /// Behind any beginning of an answer.
    #[test]
    fn no_answer_panics(begun in 0..5_usize, rest in vec(any::<u8>(), 0..600)) {
        let begin = [&[][..], &[5, 0], &[5, 2, 1, 0], &[5, 0, 5, 0, 0], &[5, 0, 5, 0, 0, 3]][begun];
        let said = [begin, &rest].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        for url in [PLAIN, WITH_LOGIN] {
            let _ = runtime.block_on(told(url, &said));
        }
    }
}

/// Time is played: 60 s for a proxy that says nothing, and also for one that goes on saying little.
#[tokio::test(start_paused = true)]
async fn a_proxy_that_hangs_is_given_up() {
    for trickle in [0, 1] {
        let (ours, mut theirs) = duplex(1024);
        let target = target("alice.example", 8876).unwrap();
        let start = Instant::now();
        let talks = async {
            // A long name, a byte every 20 s.
            let answer = [&[5, 0, 5, 0, 0, 3, 255][..], &[b'a'; 255]].concat();
            for byte in answer.iter().take(trickle * answer.len()) {
                tokio::time::sleep(Duration::from_secs(20)).await;
                if theirs.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let proxy = proxy(PLAIN);
        let made = tokio::select! {
            made = negotiate(ours, &proxy, target, start + DIAL_TIME) => made,
            () = talks => unreachable!("it never ends"),
            () = tokio::time::sleep(2 * DIAL_TIME) => panic!("it is not given up"),
        };
        assert!(matches!(made, Err(ProxyFailure::Silent)), "{made:?}");
        assert_eq!(start.elapsed(), DIAL_TIME);
    }
}

/// The one error that a caller sees says which proxy, and nothing twice.
#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let error = proxy(WITH_LOGIN).error(ProxyFailure::Unreachable(refused));
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let inside = ProxyError::of(&error).unwrap();
    assert_eq!(inside.proxy(), "127.0.0.1:9050");
    assert!(matches!(inside.failure(), ProxyFailure::Unreachable(_)));
    let told = super::super::error::chain(inside);
    assert_eq!(
        told,
        "no connection through the proxy 127.0.0.1:9050: it cannot be reached: connection refused"
    );
    assert!(ProxyError::of(&io::Error::other("else")).is_none());
}
