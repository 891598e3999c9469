//! Clients that dial through a SOCKS5 proxy: through one that is not ours, and past what is none.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use fast_socks5::ReplyError;
use fast_socks5::server::Socks5ServerProtocol;
use nix::sys::signal::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use crate::harness::{JSON_SERVER, Person, Program, Server, say};

/// A name that no resolver knows (RFC 6761, section 6.4).
const NOWHERE: &str = "alice.invalid";

/// What the proxy does with whoever it lets in.
#[derive(Clone, Copy)]
enum Answer {
    /// It connects them with this address, whatever they ask for.
    To(SocketAddr),
    Refuse(ReplyError),
}

/// A SOCKS5 proxy on loopback. Dropped, it cuts all and is gone.
struct Proxy {
    url: String,
    /// What was asked for, as it was written.
    asked: Receiver<String>,
    cut: broadcast::Sender<()>,
    _runtime: Runtime,
}

impl Proxy {
    fn to(server: &Server) -> Self {
        Self::start(Answer::To(server.address.parse().unwrap()), None)
    }

    fn start(answer: Answer, login: Option<[&'static str; 2]>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        let (cut, _) = broadcast::channel(1);
        let cuts = cut.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tell, mut cut) = (tell.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        // Whoever is cut or breaks the rules is only let go of.
                        _ = serve(stream, answer, login, tell) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self {
            url: format!("socks5h://{address}"),
            asked,
            cut,
            _runtime: runtime,
        }
    }

    /// The next request that came.
    #[track_caller]
    fn was_asked_for(&self, target: &str) {
        assert_eq!(self.asked.recv().unwrap(), target);
    }

    fn was_asked_no_more(&self) {
        assert!(self.asked.try_recv().is_err());
    }

    /// Cuts the connections that there are.
    fn cut(&self) {
        self.cut.send(()).unwrap();
    }
}

async fn serve(
    stream: TcpStream,
    answer: Answer,
    login: Option<[&'static str; 2]>,
    tell: Sender<String>,
) -> fast_socks5::Result<()> {
    let protocol = match login {
        Some(login) => {
            let is_right = move |user: String, password: String| [&*user, &*password] == login;
            let admitted = Socks5ServerProtocol::accept_password_auth(stream, is_right).await?;
            admitted.0
        }
        None => Socks5ServerProtocol::accept_no_auth(stream).await?,
    };
    let (protocol, _, target) = protocol.read_command().await?;
    let _ = tell.send(target.to_string());
    let mut out = match answer {
        Answer::To(address) => TcpStream::connect(address).await?,
        Answer::Refuse(error) => return Ok(protocol.reply_error(&error).await?),
    };
    let mut stream = protocol.reply_success(out.local_addr()?).await?;
    copy_bidirectional(&mut stream, &mut out).await?;
    Ok(())
}

/// The name of nobody, with the port of this server.
fn nowhere(server: &Server) -> String {
    let (_, port) = server.address.rsplit_once(':').unwrap();
    format!("{NOWHERE}:{port}")
}

/// A client that expects alice's key at this address.
fn calling(bob: &Person, address: &str, alice: &Person, proxy: &str, more: &[&str]) -> Program {
    let key = alice.key();
    let arguments = ["client", address, "--pin", &key, "--proxy", proxy];
    bob.start(&[&arguments[..], more].concat())
}

#[test]
fn a_conversation_goes_through_a_proxy_that_looks_the_name_up() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow", &bob.certificate(), "--first", "Hello", "--once"]);
    let proxy = Proxy::to(&server);
    let address = nowhere(&server);
    let client = calling(&bob, &address, &alice, &proxy.url, &["-v"]);
    client.write(b"Hi\nQUIT\n");
    server.program.say("Bye");
    let done = client.finish();
    done.exits(0);
    let (_, at) = proxy.url.split_once("://").unwrap();
    let dialling = format!("Dialling {address} through {at}.");
    assert!(done.stderr.contains(&dialling), "{done:#?}");
    assert!(
        done.stdout
            .starts_with("They say: Hello\nYour message: Hi\n"),
        "{done:#?}"
    );
    server.program.finish().exits(0);
    proxy.was_asked_for(&address);
    proxy.was_asked_no_more();
}

#[test]
fn a_peer_in_the_address_book_is_asked_for_where_the_book_has_it() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let proxy = Proxy::to(&server);
    for (at, asked) in [
        ("alice.onion", "alice.onion:8876"),
        ("192.0.2.7:1", "192.0.2.7:1"),
        ("[2001:db8::1]:2", "[2001:db8::1]:2"),
    ] {
        let key = alice.key();
        bob.run(&["peers", "add", "alice", &key, "--address", at])
            .succeeds();
        let mut client = bob.start(&["client", "alice", "--proxy", &proxy.url]);
        client.shows("They say: Hello");
        client.end_input();
        client.finish().exits(0);
        proxy.was_asked_for(asked);
    }
    proxy.was_asked_no_more();
}

#[test]
fn a_link_that_was_cut_is_made_anew_through_the_proxy() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let proxy = Proxy::to(&server);
    let address = nowhere(&server);
    let mut client = calling(&bob, &address, &alice, &proxy.url, &["--json"]);
    server.program.stdout.line_with("\"your-turn\"");
    proxy.was_asked_for(&address);
    for text in ["One", "Two"] {
        server.program.say(&say(text));
        client.stdout.line_with("\"your-turn\"");
        proxy.cut();
        client.stdout.line_with("\"event\":\"resumed\"");
        proxy.was_asked_for(&address);
        client.say(&say("Go on"));
        server.program.stdout.line_with("\"your-turn\"");
    }
    proxy.was_asked_no_more();
}

/// The server itself could be reached: nobody tries.
#[test]
fn nothing_is_dialled_past_a_proxy_that_is_gone() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let proxy = Proxy::to(&server);
    let url = proxy.url.clone();
    let arguments = ["--json", "--hold", "1s", "--no-journal"];
    let mut client = calling(&bob, &server.address, &alice, &url, &arguments);
    server.program.stdout.line_with("\"your-turn\"");
    server.program.say(&say("Hello"));
    client.stdout.line_with("\"your-turn\"");
    drop(proxy);
    let done = client.finish();
    done.fails(4, &["lost"]);
    assert!(!done.stdout.contains("\"event\":\"resumed\""), "{done:#?}");

    let first = calling(&bob, &server.address, &alice, &url, &[]);
    let (_, at) = url.split_once("://").unwrap();
    let words = [at, "cannot be reached", "Start the proxy", "9050"];
    first.without_input().finish().fails(4, &words);
    // And without a proxy in the arguments there is none.
    let mut direct = bob.turnchat(&["client", &server.address, "--pin", &alice.key(), "--json"]);
    for name in ["ALL_PROXY", "all_proxy", "SOCKS_PROXY", "HTTPS_PROXY"] {
        direct.env(name, &url);
    }
    Program::start(direct).stdout.line_with("\"connected\"");
}

#[test]
fn two_pair_through_a_proxy() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&["--pair", "bob", "--first", "Hello", "--once"]);
    let code = server.program.stderr.line_with("Pairing code: ");
    let code = code.trim_start_matches("Pairing code: ").to_owned();
    let proxy = Proxy::to(&server);
    let address = nowhere(&server);
    let pairing = [
        "client", &address, "--pair", "--as", "alice", "--proxy", &proxy.url,
    ];
    let client = bob.start(&pairing);
    client.write(format!("{code}\nHi\n").as_bytes());
    server.program.say("QUIT");
    let done = client.finish();
    done.exits(0);
    assert!(done.stderr.contains("is alice from now on"), "{done:#?}");
    // Once for the code, and once to talk.
    proxy.was_asked_for(&address);
    proxy.was_asked_for(&address);
    proxy.was_asked_no_more();

    // Once more is once too often, and what is advised takes the same way.
    let server = alice.serve(&["--allow", "bob"]);
    let proxy = Proxy::to(&server);
    let address = address.as_str();
    let pairing = [
        "client", address, "--pair", "--as", "alice", "--proxy", &proxy.url,
    ];
    let again = bob.start(&pairing);
    again.say(&code);
    let advised = format!("`turnchat client {address} --proxy {}`", proxy.url);
    again
        .finish()
        .fails(6, &["you know alice already", &advised]);
}

#[test]
fn what_a_proxy_refuses_is_told_with_what_to_do() {
    let (alice, bob) = (Person::new(), Person::new());
    for (error, words) in [
        (ReplyError::GeneralFailure, ["does not name", "log"]),
        (
            ReplyError::ConnectionNotAllowed,
            ["does not allow", "Ask whoever runs"],
        ),
        (
            ReplyError::NetworkUnreachable,
            ["cannot reach the network", "looked up there"],
        ),
        (
            ReplyError::HostUnreachable,
            ["cannot reach this host", "looked up there"],
        ),
        (
            ReplyError::ConnectionRefused,
            ["refused the connection", "Check the port"],
        ),
        (
            ReplyError::TtlExpired,
            ["no answer from this host", "Ask your peer"],
        ),
        (
            ReplyError::CommandNotSupported,
            ["does not support", "as a name"],
        ),
        (
            ReplyError::AddressTypeNotSupported,
            ["does not support", "as a name"],
        ),
    ] {
        let proxy = Proxy::start(Answer::Refuse(error), None);
        for more in [&[][..], &["--json"]] {
            let address = format!("{NOWHERE}:1");
            let client = calling(&bob, &address, &alice, &proxy.url, more);
            let told = client.without_input().finish().fails(4, &words);
            assert!(
                told.contains(&format!("Cannot reach {address} through")),
                "{told}"
            );
            proxy.was_asked_for(&address);
        }
        // Nor does a pairing go anywhere else.
        let pairing = [
            "client", NOWHERE, "--pair", "--as", "alice", "--proxy", &proxy.url,
        ];
        let pairing = bob.start(&pairing);
        pairing.say("acoustic-museum-tide");
        pairing.finish().fails(4, &words);
        proxy.was_asked_for(&format!("{NOWHERE}:8876"));
    }
}

#[test]
fn a_proxy_may_ask_for_a_login() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let to = Answer::To(server.address.parse().unwrap());
    let proxy = Proxy::start(to, Some(["bob", "p@ss:%"]));
    let with = |login: &str| proxy.url.replace("://", &format!("://{login}@"));
    let address = nowhere(&server);

    let client = calling(&bob, &address, &alice, &proxy.url, &[]).without_input();
    client.finish().fails(
        4,
        &["asks for a login", "socks5h://USER:PASS@", "read that"],
    );
    let client = calling(&bob, &address, &alice, &with("bob:wrong"), &[]).without_input();
    let told = client
        .finish()
        .fails(4, &["refuses the login", "Correct USER and PASS"]);
    assert!(!told.contains("wrong"), "{told}");
    proxy.was_asked_no_more();

    let right = with("bob:p%40ss%3A%25");
    let mut client = calling(&bob, &address, &alice, &right, &["-v"]);
    client.shows("They say: Hello");
    client.end_input();
    let done = client.finish();
    done.exits(0);
    assert!(!done.stderr.contains("p%40ss"), "{done:#?}");
    proxy.was_asked_for(&address);
}

/// Something that answers every connection with this, and closes it; or never closes it.
fn answering(bytes: &'static [u8], closes: bool) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("socks5h://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut greeting = [0; 3];
            // Whoever has been heard is answered.
            if stream.read_exact(&mut greeting).is_ok() {
                hears.lock().unwrap().extend(greeting);
                let _ = stream.write_all(bytes);
            }
            match closes {
                // What comes meanwhile is read: else the close would destroy the answer.
                true => {
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = io::copy(&mut stream, &mut io::sink());
                }
                false => open.push(stream),
            }
        }
    });
    (url, heard)
}

#[test]
fn what_is_no_proxy_is_told_so() {
    let (alice, bob) = (Person::new(), Person::new());
    for (bytes, words) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "does not speak SOCKS5",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak SOCKS5"),
        (
            b"\x05\x00\x05\x63\x00\x01\0\0\0\0\0\0",
            "does not speak SOCKS5",
        ),
        (b"\x05", "closed the connection"),
        // So does `ssh -D` where it cannot connect.
        (b"\x05\x00", "closed the connection without an answer."),
        (b"", "closed the connection without an answer."),
    ] {
        let (url, _) = answering(bytes, true);
        let client = calling(&bob, NOWHERE, &alice, &url, &[]);
        let words = [words, "that of a SOCKS5 proxy"];
        client.without_input().finish().fails(4, &words);
    }
    // Another server of turnchat is none either.
    let server = alice.serve(&["--allow-anyone"]);
    let url = format!("socks5h://{}", server.address);
    let client = calling(&bob, NOWHERE, &alice, &url, &[]);
    client.without_input().finish().fails(4, &["SOCKS5"]);
}

/// How long it may take is tested with time that is played; here it is only left.
#[test]
fn who_waits_for_a_proxy_can_leave_at_once() {
    let (alice, bob) = (Person::new(), Person::new());
    let (url, heard) = answering(b"\x05\x00\x05", false);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut client = calling(&bob, NOWHERE, &alice, &url, &[]);
        while heard.lock().unwrap().is_empty() {
            assert!(client.is_running());
            thread::yield_now();
        }
        heard.lock().unwrap().clear();
        client.send(signal);
        client.finish().exits(code);
    }
}

#[test]
fn what_cannot_be_a_proxy_is_misuse() {
    let bob = Person::without_identity();
    for (url, words) in [
        ("socks5://127.0.0.1:9050", "write socks5h://"),
        ("http://127.0.0.1:3128", "only SOCKS5"),
        ("127.0.0.1:9050", "written as socks5h://"),
        ("socks5h://127.0.0.1", "no valid port"),
        ("socks5h://bob@127.0.0.1:9050", "USER:PASS"),
        ("socks5h://[::1:9050", "no valid host"),
    ] {
        bob.run(&["client", "alice", "--proxy", url])
            .misuses(&["--proxy", words]);
    }
    bob.run(&["server", "--proxy", "socks5h://127.0.0.1:9050"])
        .misuses(&["--proxy"]);
    assert!(!bob.home().exists());
}

/// A zone is an interface of this machine.
#[test]
fn an_address_on_a_link_is_not_dialled_through_a_proxy() {
    let bob = Person::new();
    for address in ["fe80::1%eth0", "[fe80::1%eth0]:1", "fe80::1"] {
        for more in [&[][..], &["--pair", "--as", "alice"]] {
            let url = "socks5h://127.0.0.1:1";
            let arguments = [&["client", address, "--proxy", url], more].concat();
            bob.run(&arguments)
                .fails(2, &["one on a link", "`--proxy` out"]);
        }
    }
}
