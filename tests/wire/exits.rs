//! Bad peers over real TCP, against the real program: its exit code, its
//! words, and that nothing of theirs is shown (DESIGN §4).

use rustls::CertificateError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use turnchat::Algorithm;
use turnchat::ConversationId;

use super::program::{Exited, Home, PATIENCE, Program};
use super::raw::{Came, Face, ID, Papers, QUIT, Raw, heard, hello, say, welcome};

/// The program as a client of whatever `serve` does with its connection.
async fn client<F>(pin: &Papers, serve: impl FnOnce(TcpStream) -> F) -> Exited
where
    F: Future<Output = ()>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let home = Home::new(Algorithm::default());
    let pin = pin.id.to_string();
    let arguments = ["client", &address, "--pin", &pin, "--hold", "0s"];
    let client = Program::start(&arguments, home.path());
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    timeout(PATIENCE, serve(stream)).await.expect("it hangs");
    tokio::task::spawn_blocking(|| client.exited())
        .await
        .unwrap()
}

/// The same, with a raw server that sends these lines once it was greeted;
/// `ID` is the conversation's, and `/` waits for a line.
async fn served(script: &[&str]) -> Exited {
    let papers = Papers::new();
    client(&papers, async |stream| {
        let mut raw = Face::new(&papers).answer(stream).await.unwrap();
        let id = raw.hello().await;
        for line in script {
            match *line {
                "/" => assert!(matches!(raw.next().await, Came::Line(_))),
                line => raw.send(&line.replace("ID", &id)).await,
            }
        }
        // To the end: our side closes first.
        while let Came::Line(_) = raw.next().await {}
    })
    .await
}

fn check(exited: &Exited, code: i32, words: &str) {
    assert_eq!(exited.code, code, "{exited:?}");
    assert!(exited.stderr.contains(words), "{words:?}: {exited:?}");
    // In two parts: what happened, and what to do now.
    let told = exited
        .stderr
        .lines()
        .filter(|line| line.starts_with("turnchat: "));
    assert!(code == 0 || told.count() >= 2, "{exited:?}");
    assert!(!exited.stdout.contains("secret"), "{exited:?}");
}

const WELCOME: &str = "{\"welcome\":{\"conversation\":\"ID\",\"heard\":0}}";

#[tokio::test]
async fn a_client_exits_as_the_server_deserves() {
    let refuse = |reason: &str| format!("{{\"refuse\":{{\"reason\":\"{reason}\"}}}}");
    let error = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
    let say_1 = say(1, "Hello!");
    for (script, code, words) in [
        (vec![refuse("unknown-peer")], 3, "does not know your key"),
        (vec![refuse("declined")], 3, "declined"),
        (vec![refuse("busy")], 6, "busy"),
        (
            vec![refuse("ended")],
            4,
            "says that this conversation is over",
        ),
        (vec![refuse("no-answer")], 6, "has not answered"),
        (vec![refuse("asked-too-often")], 6, "too many keys"),
        (vec![refuse("closing")], 6, "stopping"),
        (vec![error("timeout")], 4, "turnchat: "),
        (vec![error("internal")], 4, "failed"),
        (vec![error("protocol-error")], 1, "turnchat: "),
        (vec![error("out-of-turn")], 1, "turnchat: "),
        (
            vec![WELCOME.to_owned(), error("replaced")],
            4,
            "newer connection",
        ),
        (
            vec![WELCOME.to_owned(), QUIT.to_owned()],
            0,
            "ended the conversation",
        ),
        (
            vec![
                WELCOME.to_owned(),
                say_1.clone(),
                "/".into(),
                QUIT.to_owned(),
            ],
            0,
            "ended",
        ),
        // What breaks the protocol, and shows nothing.
        (vec!["secret".to_owned()], 5, "sent what is no frame: "),
        (vec![say(1, "secret")], 5, "broke the protocol"),
        (vec![welcome(ID)], 5, "broke the protocol"),
        (
            vec![WELCOME.to_owned(), say(2, "secret")],
            5,
            "broke the protocol",
        ),
        (
            vec![WELCOME.to_owned(), say_1, "/".into(), say(3, "secret")],
            5,
            "broke the protocol",
        ),
        (vec![WELCOME.to_owned(), heard(1)], 5, "broke the protocol"),
        (
            vec![
                WELCOME.to_owned(),
                "{\"say\":{\"turn\":1,\"text\":\"secret\",\"x\":0}}".into(),
            ],
            5,
            "not ",
        ),
    ] {
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        let exited = served(&script).await;
        let words = if words == "not " { "turnchat: " } else { words };
        let is_broken = words == "broke the protocol";
        check(&exited, code, if is_broken { "turnchat: " } else { words });
    }
}

#[tokio::test]
async fn a_client_exits_as_the_handshake_deserves() {
    let papers = Papers::new();
    let faces = [
        (
            Face::new(&Papers::new()),
            3,
            "another key than the one pinned",
        ),
        (Face::new(&papers.copied()), 3, "did not prove its key"),
        (
            Face::new(&papers.with_certificate(b"certificate")),
            3,
            "did not prove its key",
        ),
        (
            Face::new(&papers).speaking(&[]),
            5,
            "does not speak turnchat/1",
        ),
        (
            Face::new(&papers).speaking(&["h2"]),
            5,
            "does not speak turnchat/1",
        ),
        (
            Face::new(&papers).refusing(CertificateError::ApplicationVerificationFailure),
            3,
            "does not accept our certificate",
        ),
    ];
    for (face, code, words) in faces {
        let exited = client(&papers, async |stream| {
            if let Ok(mut raw) = face.answer(stream).await {
                assert!(!matches!(raw.next().await, Came::Line(_)));
            }
        })
        .await;
        check(&exited, code, words);
        assert_eq!(exited.stdout, "");
    }
}

#[tokio::test]
async fn a_client_exits_as_what_is_no_tls_deserves() {
    let papers = Papers::new();
    for (bytes, code, words) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            5,
            "does not speak TLS",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 5, "does not speak TLS"),
        (b"", 4, "lost before it was secured"),
    ] {
        let exited = client(&papers, async |mut stream| {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        check(&exited, code, words);
    }
}

#[tokio::test]
async fn a_cut_costs_a_client_4_where_nothing_is_held() {
    let papers = Papers::new();
    for lines in 0..3 {
        let exited = client(&papers, async |stream| {
            let mut raw = Face::new(&papers).answer(stream).await.unwrap();
            let id = raw.hello().await;
            for line in &[welcome(&id), say(1, "Hello!")][..lines] {
                raw.send(line).await;
            }
        })
        .await;
        let words = "The connection was lost.\nturnchat: Run the same command again";
        check(&exited, 4, words);
    }
}

type Guest = Raw<tokio_rustls::client::TlsStream<TcpStream>>;

async fn guest(face: &Face, address: std::net::SocketAddr) -> std::io::Result<Guest> {
    face.dial(TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn bad_clients_do_not_end_a_server() {
    let (papers, home) = (Papers::new(), Home::new(Algorithm::default()));
    let allowed = papers.id.to_string();
    let arguments = ["--hold", "0s", "--first", "Welcome.", "--allow", &allowed];
    let (server, address) = Program::server(&arguments, home.path());

    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 9], b""] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new()))
            .await
            .unwrap();
    }
    let unproven = [
        Face::without_papers(),
        Face::new(&papers.copied()),
        Face::new(&papers.with_certificate(b"certificate")),
        Face::new(&papers).speaking(&[]),
        Face::new(&papers).speaking(&["h2"]),
    ];
    for face in unproven {
        if let Ok(mut guest) = guest(&face, address).await {
            guest.send(&hello(ID)).await;
            assert!(!matches!(guest.next().await, Came::Line(_)));
        }
    }
    let mut unknown = guest(&Face::new(&Papers::new()), address).await.unwrap();
    unknown.send(&hello(ID)).await;
    unknown
        .expect("{\"refuse\":{\"reason\":\"unknown-peer\"}}")
        .await;
    assert_eq!(unknown.next().await, Came::Close);

    let face = Face::new(&papers);
    let ids = (1..).map(|n| ConversationId::from_bits([n; 16]).to_string());
    for ((line, code), id) in [
        ("secret".to_owned(), "protocol-error"),
        (say(4, "secret"), "out-of-turn"),
        (
            format!(
                "{{\"say\":{{\"turn\":2,\"text\":\"secret{}\"}}}}",
                "x".repeat(524_288)
            ),
            "protocol-error",
        ),
    ]
    .into_iter()
    .zip(ids)
    {
        let mut guest = guest(&face, address).await.unwrap();
        guest.begin_as(&id).await;
        guest.expect(&say(1, "Welcome.")).await;
        guest.send(&heard(1)).await;
        guest.send(&line).await;
        guest.expect_error(code).await;
    }

    let mut honest = guest(&face, address).await.unwrap();
    honest.begin().await;
    honest.expect(&say(1, "Welcome.")).await;
    honest.send(&say(2, "Thank you.")).await;
    honest.expect(&heard(2)).await;
    honest.send(QUIT).await;
    honest.expect(QUIT).await;
    assert_eq!(honest.next().await, Came::Close);
    drop(honest);

    let exited = tokio::task::spawn_blocking(|| server.ended())
        .await
        .unwrap();
    assert_eq!(exited.code, 0, "{exited:?}");
    assert!(
        exited
            .stdout
            .ends_with("Your message: Welcome.\nThey say: Thank you.\n"),
        "{exited:?}"
    );
    assert!(!exited.stdout.contains("secret"), "{exited:?}");
}

#[tokio::test]
async fn a_server_for_one_conversation_exits_as_its_client_deserves() {
    let papers = Papers::new();
    let error = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\"}}}}");
    for (line, code) in [
        (QUIT.to_owned(), 0),
        ("secret".to_owned(), 5),
        (say(4, "secret"), 5),
        (heard(2), 5),
        (error("internal"), 4),
        (error("protocol-error"), 1),
        // Nothing but the end of the stream.
        (String::new(), 4),
    ] {
        let home = Home::new(Algorithm::default());
        let allowed = papers.id.to_string();
        let arguments = [
            "--once", "--hold", "0s", "--first", "Hello!", "--allow", &allowed,
        ];
        let (server, address) = Program::server(&arguments, home.path());
        let mut guest = guest(&Face::new(&papers), address).await.unwrap();
        guest.begin().await;
        guest.expect(&say(1, "Hello!")).await;
        guest.send(&heard(1)).await;
        if line.is_empty() {
            drop(guest);
        } else {
            guest.send(&line).await;
            while let Came::Line(_) = guest.next().await {}
            drop(guest);
        }
        let exited = tokio::task::spawn_blocking(|| server.exited())
            .await
            .unwrap();
        assert_eq!(exited.code, code, "{line}: {exited:?}");
        assert_eq!(exited.stdout, "Your message: Hello!\n", "{line}");
    }
}

/// A raw server that the program calls again and again, from one home.
struct Callee {
    papers: Papers,
    listener: TcpListener,
    home: Home,
}

impl Callee {
    async fn new() -> Self {
        Self {
            papers: Papers::new(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            home: Home::new(Algorithm::default()),
        }
    }

    fn client(&self, options: &[&str]) -> Program {
        let address = self.listener.local_addr().unwrap().to_string();
        let pin = self.papers.id.to_string();
        let arguments = [&["client", &address, "--pin", &pin], options].concat();
        Program::start(&arguments, self.home.path())
    }

    /// Behind the handshake.
    async fn called(&self) -> Raw<tokio_rustls::server::TlsStream<TcpStream>> {
        let accepting = timeout(PATIENCE, self.listener.accept());
        let (stream, _) = accepting.await.unwrap().unwrap();
        Face::new(&self.papers).answer(stream).await.unwrap()
    }

    /// Called once more for this conversation.
    async fn called_for(&self, id: &str) -> Raw<tokio_rustls::server::TlsStream<TcpStream>> {
        let mut raw = self.called().await;
        assert!(matches!(raw.next().await, Came::Line(hello) if hello.contains(id)));
        raw
    }
}

fn refuse(reason: &str) -> String {
    format!("{{\"refuse\":{{\"reason\":\"{reason}\"}}}}")
}

/// A server that is full, or on its way out, is no lost link.
#[tokio::test]
async fn a_client_says_why_its_server_does_not_go_on() {
    let callee = Callee::new().await;
    let mut client = callee.client(&[]);
    let mut raw = callee.called().await;
    let id = raw.hello().await;
    raw.send(&welcome(&id)).await;
    raw.send(&say(1, "Hello.")).await;
    raw.expect(&heard(1)).await;
    drop(raw);
    client.tells("The link is lost.");

    for (reason, words) in [
        ("busy", "The server is busy."),
        ("closing", "The server is stopping."),
    ] {
        let mut raw = callee.called_for(&id).await;
        raw.send(&refuse(reason)).await;
        assert!(client.tells(words).ends_with("turnchat asks again."));
    }

    let mut raw = callee.called_for(&id).await;
    raw.send(&welcome(&id)).await;
    client.tells("The link is back.");
}

/// A client that goes on after a restart, and has quit before it is welcomed, begins no other
/// conversation where its own was ended meanwhile.
#[tokio::test]
async fn a_quit_is_for_the_conversation_that_was_to_go_on() {
    let callee = Callee::new().await;
    let mut killed = callee.client(&["--json"]);
    let mut raw = callee.called().await;
    let id = raw.hello().await;
    raw.send(&welcome(&id)).await;
    raw.send(&say(1, "Hello.")).await;
    raw.expect(&heard(1)).await;
    killed.types("{\"say\":{\"text\":\"two\"}}\n");
    raw.expect(&say(2, "two")).await;
    drop((killed, raw));

    let mut client = callee.client(&["--json"]);
    // Read before the second call at the latest.
    client.types("{\"quit\":{}}\n");
    for reason in ["busy", "ended"] {
        let mut raw = callee.called_for(&id).await;
        raw.send(&refuse(reason)).await;
    }
    let exited = tokio::task::spawn_blocking(|| client.exited());
    let exited = tokio::select! {
        exited = exited => exited.unwrap(),
        _ = callee.listener.accept() => panic!("it dials once more"),
    };
    // Whether the peer has its message, it does not know.
    check(&exited, 4, "Your message of turn 2 was not acknowledged");
    assert!(!exited.stdout.contains("connected"), "{exited:?}");
    let last = exited.stdout.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["event"], "ended", "{exited:?}");
    assert_eq!(last["unacknowledged"]["turn"], 2, "{exited:?}");
}
