//! examples/peer.py, which shares no code with us, over a relay that cuts: in both roles, with the
//! real binary on the other side. Each message comes exactly once, in order, on both sides.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use turnchat::internals::Frame;

use crate::relay::relay;
use crate::side::{Side, Who, identity, port, turnchat, words};
use crate::{PATIENCE, number};

/// The example has to have fewer lines, all of them counted, and none wider than this.
const LINES: usize = 250;
const COLUMNS: usize = 100;
/// About what a handshake carries: cuts come in it, and behind it.
const HANDSHAKE: u32 = 4_000;

fn utf8(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/peer.py")
}

/// What the foreign side told.
enum Line {
    /// Of stdout: the transcript.
    Transcript(String),
    /// Of stderr.
    Told(String),
    End,
}

/// The example in one role.
struct Foreign {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Line>,
    transcript: Vec<String>,
    told: Vec<String>,
}

impl Foreign {
    /// A server says on which port it listens, so here the address of one has none.
    fn start(role: &str, address: &str, pinned: &Path, home: &Path) -> Self {
        let mut command = Command::new("python3");
        command.arg(example()).args([role, address]);
        command.args([&pinned.join("cert.pem"), home]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let pass_on = |from: Box<dyn std::io::Read + Send>, of: fn(String) -> Line| {
            let tell: Sender<Line> = tell.clone();
            thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    let _ = tell.send(of(line));
                }
                let _ = tell.send(Line::End);
            });
        };
        pass_on(Box::new(child.stdout.take().unwrap()), Line::Transcript);
        pass_on(Box::new(child.stderr.take().unwrap()), Line::Told);
        let stdin = child.stdin.take().unwrap();
        Self {
            child,
            stdin,
            lines,
            transcript: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What it tells behind these words.
    fn told(&mut self, words: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE).unwrap() {
                Line::Told(line) => match line.strip_prefix(words) {
                    Some(rest) => return rest.to_owned(),
                    None => self.told.push(line),
                },
                Line::Transcript(line) => self.transcript.push(line),
                Line::End => panic!("it does not tell {words:?}: {:?}", self.told),
            }
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Waits for its end: the exit code.
    fn finish(&mut self) -> Option<i32> {
        let mut open = 2;
        while open > 0 {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(Line::Transcript(line)) => self.transcript.push(line),
                Ok(Line::Told(line)) => self.told.push(line),
                Ok(Line::End) => open -= 1,
                Err(_) => panic!("it hangs: {:?} {:?}", self.told, self.transcript),
            }
        }
        self.child.wait().unwrap().code()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cuts in the handshake and behind it, now and then at once. The first connection carries enough
/// for a conversation to begin: a client whose first dial fails gives up.
fn budgets(cuts: u64) -> Vec<usize> {
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let bytes = (1..cuts).map(|_| match rng.next_u32() % 8 {
        0 => rng.next_u32() % HANDSHAKE,
        _ => HANDSHAKE + 300 + rng.next_u32() % 3_000,
    });
    let bytes = std::iter::once(3 * HANDSHAKE).chain(bytes);
    bytes.map(|bytes| usize::try_from(bytes).unwrap()).collect()
}

/// What a side says: now and then more than a connection carries before it is cut.
fn text(who: Who, turn: u64) -> String {
    let long = if turn % 7 < 2 { 1_000 } else { 0 };
    format!("{} {}", words(who, turn), "x".repeat(long))
}

/// A conversation in which the foreign side is `who`, over so many cuts.
fn converse(who: Who, cuts: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let (_, pin) = (identity(&ours), identity(&theirs));
    let (tell, told) = channel();
    let start = |arguments: Vec<String>| {
        let home = ["--json", "--home", ours.to_str().unwrap()].map(str::to_owned);
        Side::start(
            who.other(),
            [arguments, home.to_vec()].concat(),
            tell.clone(),
        )
    };
    let owned = |arguments: &[&str]| arguments.iter().map(|it| (*it).to_owned()).collect();

    let (mut foreign, mut side, carried);
    match who {
        Who::Server => {
            foreign = Foreign::start("server", "127.0.0.1:0", &ours, &theirs);
            let address = foreign.told("peer.py: Listening on ");
            let port = address.rsplit(':').next().unwrap().parse().unwrap();
            let relayed = relay(port, budgets(cuts));
            carried = relayed.1;
            let address = format!("127.0.0.1:{}", relayed.0);
            side = start(owned(&["client", &address, "--pin", &pin]));
            foreign.say(&text(who, 1));
        }
        Who::Client => {
            side = start(owned(&[
                "server",
                "--once",
                "--listen",
                "127.0.0.1:0",
                "--allow",
                &pin,
            ]));
            let relayed = relay(port(&told), budgets(cuts));
            carried = relayed.1;
            let address = format!("127.0.0.1:{}", relayed.0);
            foreign = Foreign::start("client", &address, &ours, &theirs);
        }
    }

    // A few turns go over the first connection that is not cut; then the client ends it.
    let is_over = || carried.dials.load(Ordering::Relaxed) > budgets(cuts).len();
    let mut last = u64::MAX;
    let mut progress = Instant::now();
    while side.ended.is_none() {
        // A peer that never says its message again is dialled for ever, and tells of each dial.
        assert!(
            progress.elapsed() < PATIENCE,
            "no turn passes: {:?}",
            foreign.told
        );
        let (_, _, event) = told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = foreign.child.kill();
            foreign.finish();
            panic!(
                "it hangs: {:?} {:?}",
                foreign.told,
                foreign.transcript.last()
            );
        });
        let event: Value =
            event.unwrap_or_else(|| panic!("our side has stopped: {:?}", foreign.told));
        let turn = event["turn"].as_u64().unwrap_or(0);
        if event["event"] == "turn" {
            progress = Instant::now();
        }
        if is_over() {
            last = last.min(turn + 4);
        }
        match event["event"].as_str().unwrap() {
            "your-turn" if turn > last && who == Who::Server => {
                side.command(&json!({ "quit": {} }))
            }
            "your-turn" => {
                let say = json!({ "text": text(who.other(), turn), "turn": turn });
                side.command(&json!({ "say": say }));
                // Our message is on its way: this is the answer to it, read in its turn.
                match turn + 1 > last && who == Who::Client {
                    true => foreign.say("QUIT"),
                    false => foreign.say(&text(who, turn + 1)),
                }
            }
            "turn" if event["speaker"] == "peer" => {
                let before = side
                    .heard
                    .insert(turn, event["text"].as_str().unwrap().to_owned());
                assert_eq!(before, None, "twice: {event}");
            }
            "turn" => side.said = turn,
            "ended" => side.ended = Some(event),
            "error" => panic!("{event}: {:?}", foreign.told),
            _ => {}
        }
    }
    let dials = carried.dials.load(Ordering::Relaxed);
    check(&mut foreign, &side, dir);
    let lost = |line: &&String| line.contains("The link is lost");
    let in_it = u64::try_from(foreign.told.iter().filter(lost).count()).unwrap();
    let turns = side.said;
    eprintln!(
        "peer.py as {who:?}: {dials} connections, {in_it} cut in the conversation; {turns} turns"
    );
    assert!(in_it * 2 > cuts, "too many were cut before it");
}

/// Both have all that the other said, once and in order.
fn check(foreign: &mut Foreign, side: &Side, _homes: TempDir) {
    let ended = side.ended.as_ref().unwrap();
    assert!(ended.get("unacknowledged").is_none(), "{ended}");
    assert_eq!(foreign.finish(), Some(0), "{:?}", foreign.told);
    let last = side.said.max(side.heard.keys().last().copied().unwrap());
    assert_eq!(ended["turns"], last);
    let by = if side.who == Who::Client {
        "me"
    } else {
        "peer"
    };
    assert_eq!(ended["by"], by, "{ended}");
    let speaker = |turn: u64| {
        if turn % 2 == 1 {
            Who::Server
        } else {
            Who::Client
        }
    };
    let mut expected: Vec<_> = (1..=last)
        .map(|turn| match speaker(turn) == side.who {
            true => format!("They say: {}", text(side.who, turn)),
            false => format!("Your message: {}", text(side.who.other(), turn)),
        })
        .collect();
    if side.who == Who::Server {
        expected.push("Your message: QUIT".to_owned());
    }
    assert_eq!(foreign.transcript, expected);
    let heard: Vec<_> = side.heard.iter().collect();
    let said: Vec<_> = (1..=last)
        .filter(|turn| speaker(*turn) != side.who)
        .map(|turn| (turn, text(side.who.other(), turn)))
        .collect();
    assert_eq!(
        heard,
        said.iter()
            .map(|(turn, text)| (turn, text))
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_foreign_server_goes_on_over_all_cuts() {
    converse(Who::Server, number("TURNCHAT_PEER_CUTS", 30));
}

#[test]
fn the_foreign_client_goes_on_over_all_cuts() {
    converse(Who::Client, number("TURNCHAT_PEER_CUTS", 30));
}

/// Nobody else gets in, or gets anything.
#[test]
fn the_foreign_peer_talks_with_its_pin_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = |name: &str| dir.path().join(name);
    let alice = identity(&home("alice"));
    let bob = identity(&home("bob"));
    identity(&home("mallory"));
    let client = |who: &str, address: &str, pin: &str| {
        let arguments = ["client", address, "--pin", pin, "--no-journal", "--home"];
        let mut command = turnchat();
        command.args(arguments).arg(home(who)).stdin(Stdio::null());
        command.output().unwrap()
    };

    let mut server = Foreign::start("server", "127.0.0.1:0", &home("alice"), &home("bob"));
    let address = server.told("peer.py: Listening on ");
    server.say("Hello, alice");
    let refused = client("mallory", &address, &bob);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.stdout.is_empty());
    let heard = client("alice", &address, &bob);
    assert_eq!(heard.stdout, b"They say: Hello, alice\n");
    assert_eq!(server.finish(), Some(0), "{:?}", server.told);

    let (tell, told) = channel();
    let mut arguments = [
        "server",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--allow",
        &alice,
        "--home",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(utf8(&home("mallory")));
    let side = Side::start(Who::Server, arguments, tell);
    let address = format!("127.0.0.1:{}", port(&told));
    for (pinned, code, words) in [
        ("mallory", 5, "unknown-peer"),
        ("alice", 4, "Another key answers"),
    ] {
        let mut client = Foreign::start("client", &address, &home(pinned), &home("bob"));
        assert_eq!(client.finish(), Some(code));
        assert!(
            client.told.iter().any(|line| line.contains(words)),
            "{:?}",
            client.told
        );
        assert!(client.transcript.is_empty());
    }
    drop(side);
}

/// A certificate from `openssl req -x509` may sign others, and libraries take those.
#[test]
fn the_foreign_peer_takes_no_key_that_its_pin_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let home = |name: &str| dir.path().join(name);
    let file = |of: &str, name: &str| utf8(&home(of).join(name));
    let signed = ["alice", "mallory"].map(|name| {
        std::fs::create_dir(home(name)).unwrap();
        let options =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=turnchat";
        let mut openssl = Command::new("openssl");
        openssl.args(options.split(' '));
        openssl.args([
            "-keyout",
            &file(name, "key.pem"),
            "-out",
            &file(name, "cert.pem"),
        ]);
        if name == "mallory" {
            openssl.args([
                "-CA",
                &file("alice", "cert.pem"),
                "-CAkey",
                &file("alice", "key.pem"),
            ]);
        }
        openssl.output().unwrap().status.success()
    });
    assert_eq!(signed, [true; 2]);
    identity(&home("bob"));

    let mut server = Foreign::start("server", "127.0.0.1:0", &home("alice"), &home("bob"));
    let address = server.told("peer.py: Listening on ");
    server.say("Hello, alice");
    let bob = file("bob", "cert.pem");
    let client = |who: &str| {
        let mut command = turnchat();
        command.args(["client", &address, "--pin", &bob, "--no-journal"]);
        command.args(["--home", &utf8(&home(who))]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = client("mallory");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert_eq!(client("alice").stdout, b"They say: Hello, alice\n");

    let (tell, told) = channel();
    let arguments = ["server", "--json", "--listen", "127.0.0.1:0", "--home"];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    arguments.extend([utf8(&home("mallory")), "--allow".to_owned(), bob.clone()]);
    let side = Side::start(Who::Server, arguments, tell);
    let address = format!("127.0.0.1:{}", port(&told));
    let mut client = Foreign::start("client", &address, &home("alice"), &home("bob"));
    assert_eq!(client.finish(), Some(4), "{:?}", client.told);
    assert!(client.transcript.is_empty());
    drop(side);
}

/// By hand, over OpenSSL: each ping is answered, and a turn that is not ours is refused.
#[test]
fn the_foreign_server_answers_by_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let (home, bob) = (dir.path().join("alice"), dir.path().join("bob"));
    identity(&home);
    identity(&bob);
    let mut server = Foreign::start("server", "127.0.0.1:0", &home, &bob);
    let address = server.told("peer.py: Listening on ");
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-tls1_3",
            "-alpn",
            "turnchat/1",
            "-quiet",
            "-connect",
            &address,
        ])
        .arg("-cert")
        .arg(home.join("cert.pem"))
        .arg("-key")
        .arg(home.join("key.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let (tell, told) = channel();
    let stdout = BufReader::new(client.stdout.take().unwrap());
    thread::spawn(move || {
        stdout
            .lines()
            .map_while(Result::ok)
            .try_for_each(|it| tell.send(it))
    });
    let id = "MDEyMzQ1Njc4OWFiY2RlZg";
    let hello = format!(r#"{{"hello":{{"conversation":"{id}","heard":0}}}}"#);
    for (line, kind) in [
        (hello.as_str(), "welcome"),
        (r#"{"ping":{}}"#, "pong"),
        (r#"{"ping":{}}"#, "pong"),
        (r#"{"ping":{}}"#, "pong"),
        (r#"{"say":{"turn":2,"text":"Hi"}}"#, "error"),
    ] {
        writeln!(stdin, "{line}").unwrap();
        let answer = told.recv_timeout(PATIENCE).unwrap();
        let frame = Frame::from_line(answer.as_bytes()).unwrap();
        assert_eq!(frame.kind(), kind, "{line}: {answer}");
        assert_eq!(answer.contains("out-of-turn"), kind == "error", "{answer}");
    }
    drop(stdin);
    assert_eq!(server.finish(), Some(5), "{:?}", server.told);
    assert!(server.transcript.is_empty());
    let _ = client.kill();
    let _ = client.wait();
}

/// What a frame is, and what is none, by section 2 of docs/PROTOCOL.md.
#[test]
fn the_foreign_peer_takes_what_we_take_and_nothing_else() {
    let id = "MDEyMzQ1Njc4OWFiY2RlZg";
    let say = |text: &str| format!(r#"{{"say":{{"turn":1,"text":"{text}"}}}}"#);
    let mut lines: Vec<Vec<u8>> = [
        &format!(r#"{{"hello":{{"conversation":"{id}","heard":0}}}}"#),
        &format!(r#"{{"welcome":{{"heard":9007199254740991,"conversation":"{id}"}}}}"#),
        r#"{"wait":{"ahead":0}}"#,
        r#"{"refuse":{"reason":"ended"}}"#,
        r#"{"heard":{"turn":1}}"#,
        r#"{"quit":{}}"#,
        r#"{"ping":{}}"#,
        " {\t\"pong\" : {} }\r",
        r#"{"error":{"code":"timeout"}}"#,
        r#"{"error":{"code":"replaced","detail":"why"}}"#,
        &say("\\u0000\\ud83d\\ude00 é\\n"),
        &say(""),
        &say(&"é".repeat(32_768)),
        // And these are none.
        &say(&"é".repeat(32_769)),
        &say("\\ud800"),
        &say("\t"),
        &format!(
            r#"{{"hello":{{"conversation":"{}h","heard":0}}}}"#,
            &id[..21]
        ),
        &format!(r#"{{"hello":{{"conversation":"{id}A","heard":0}}}}"#),
        &format!(r#"{{"hello":{{"conversation":"{id}","heard":9007199254740992}}}}"#),
        &format!(r#"{{"hello":{{"conversation":"{id}"}}}}"#),
        &format!(r#"{{"hello":{{"conversation":"{id}","heard":0,"version":1}}}}"#),
        r#"{"heard":{"turn":-0}}"#,
        r#"{"heard":{"turn":1.0}}"#,
        r#"{"heard":{"turn":1e0}}"#,
        r#"{"heard":{"turn":01}}"#,
        r#"{"heard":{"turn":true}}"#,
        r#"{"heard":{"turn":null}}"#,
        r#"{"heard":{"turn":"1"}}"#,
        r#"{"heard":{"turn":NaN}}"#,
        r#"{"heard":{"turn":1,"turn":1}}"#,
        r#"{"heard":{}}"#,
        r#"{"heard":[1]}"#,
        r#"{"quit":{"a":1,"a":1}}"#,
        r#"{"quit":null}"#,
        r#"{"quit":{},"quit":{}}"#,
        r#"{"quit":{}} {}"#,
        r#"{"quit":{},"ping":{}}"#,
        r#"{"QUIT":{}}"#,
        r#"{"refuse":{"reason":"ended\n"}}"#,
        r#"{"refuse":{"reason":"tired"}}"#,
        r#"{"error":{"detail":"why"}}"#,
        r#"{"error":{"code":"timeout","detail":null}}"#,
        &format!(
            r#"{{"error":{{"code":"timeout","detail":"{}"}}}}"#,
            "x".repeat(257)
        ),
        "\u{feff}{\"quit\":{}}",
        "\u{a0}{\"quit\":{}}",
        "{\"quit\":{\u{c}}}",
        "{}",
        "[]",
        "null",
        "",
        "QUIT",
        &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec();
    lines.push(b"{\"say\":{\"turn\":1,\"text\":\"\xff\"}}".to_vec());

    let script = "import sys; sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True\n\
        import peer\n\
        for line in sys.stdin:\n\
        \x20   try: print(peer.parse(bytes.fromhex(line))[0])\n\
        \x20   except peer.Broken: print('none')\n";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(example().parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut told = String::new();
        stdout.read_to_string(&mut told).map(|_| told)
    });
    for line in &lines {
        let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(stdin, "{hex}").unwrap();
    }
    drop(stdin);
    let told = reading.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    let ours = lines.iter().map(|line| match Frame::from_line(line) {
        Ok(frame) => frame.kind().to_owned(),
        Err(_) => "none".to_owned(),
    });
    let theirs: Vec<_> = told.lines().collect();
    assert_eq!(theirs.len(), lines.len());
    for ((ours, theirs), line) in ours.zip(theirs).zip(&lines) {
        let line = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert_eq!(ours, theirs, "{line}");
    }
}

/// All of its lines count, blank ones and comments too.
#[test]
fn the_foreign_peer_is_short() {
    let source = std::fs::read_to_string(example()).unwrap();
    let lines = source.lines().count();
    assert!(lines < LINES, "examples/peer.py has {lines} lines");
    let wide = source.lines().find(|line| line.chars().count() > COLUMNS);
    assert_eq!(wide, None, "a line is too wide");
}
