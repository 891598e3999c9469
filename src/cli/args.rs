//! The command line. Stable: scripts are written against it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::display::LogFormat;
use super::listen_at::ListenAt;
use super::speaker::Speaker;
use super::store_at::StoreAt;
use crate::cli::book::{Address, Petname};
use crate::link::socks::Proxy;
use crate::protocol::Text;
use crate::trust::{Algorithm, KeyId};

/// A private conversation between two people, one turn at a time
///
/// Both sides prove who they are with self-signed certificates, over TLS 1.3.
/// The server speaks first; then each in turn, until one says QUIT.
#[derive(Debug, Parser)]
#[command(
    version,
    // A terminal that is narrower wraps sooner.
    max_term_width = 80,
    disable_help_flag = true,
    after_help = "\
Example, in two terminals:
  turnchat gen-cert --out certs/alice
  turnchat gen-cert --out certs/bob
  turnchat server --home certs/alice --allow certs/bob/cert.pem
  turnchat client localhost --home certs/bob --pin certs/alice/cert.pem

Exit codes: 0 over, 1 our failure, 2 usage, 3 trust, 4 link, 5 protocol,
6 not now, 129 hang-up, 130 Ctrl-C, 143 SIGTERM"
)]
pub struct Arguments {
    /// What everything needs.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that stand before or after the subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct CommonArgs {
    /// Where your certificate, key and address book are [default: $TURNCHAT_HOME, else turnchat in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print details too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors, questions and results
    #[arg(long, global = true)]
    pub quiet: bool,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Print this help
    #[arg(short, long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(
    missing_docs,
    reason = "with a text for each, the help would be a table of words that say it"
)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and its certificate; print the fingerprint
    GenCert(GenCertArgs),
    /// Wait for a peer, and speak first
    Server(ServerArgs),
    /// Call a peer, and listen first
    Client(ClientArgs),
    /// Print the fingerprint of your key, or of a certificate
    Fingerprint(FingerprintArgs),
    /// List and change the address book
    #[command(subcommand)]
    Peers(PeersCommand),
    /// List and give up the conversations that can go on later
    #[command(subcommand)]
    Conversations(ConversationsCommand),
    /// Print a script that completes commands in your shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}

impl Command {
    /// How somebody talks with it.
    pub fn talk(&self) -> Option<&TalkArgs> {
        match self {
            Self::Server(command) => Some(&command.talk),
            Self::Client(command) => Some(&command.talk),
            Self::GenCert(_)
            | Self::Fingerprint(_)
            | Self::Peers(_)
            | Self::Conversations(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }

    /// Whether it has a program talk in each of many conversations.
    pub fn holds_many(&self) -> bool {
        matches!(self, Self::Server(command) if command.talk.exec.is_some() && !command.once)
    }
}

/// `turnchat gen-cert`
#[derive(Debug, Args)]
#[command(after_help = "\
Writes cert.pem and key.pem, and overwrites neither. Hand out cert.pem or the
fingerprint; keep key.pem.

Example:
  turnchat gen-cert --out certs/alice")]
pub struct GenCertArgs {
    /// The directory to write to, made if need be [default: the home]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The kind of key: ecdsa-p256 or ed25519
    #[arg(long, value_name = "ALGORITHM", default_value_t, value_parser = Algorithm::from_str)]
    pub algorithm: Algorithm,
    /// Make a new certificate for the key that is there: the fingerprint stays
    #[arg(long, conflicts_with = "algorithm")]
    pub renew: bool,
}

/// `turnchat server`
#[derive(Debug, Args)]
#[command(after_help = "\
Who is let in: the peers in the address book, or those given with --allow. In a
terminal, without --allow, --json and --exec, you are asked about a key that you
don't know.

What is piped is said one line a turn; the end of the input stops the server
after the conversation, with --json also before the first one.

With --exec a program talks, one for each conversation, and the server serves
until it is stopped.

Examples:
  turnchat server --pair bob
  turnchat server --allow certs/bob/cert.pem
  turnchat server --allow-anyone --first Speak! --exec cat")]
pub struct ServerArgs {
    /// The port to listen at, on all addresses of this machine, or on the first free one of a
    /// host: 9000, localhost:9000, [fe80::1%eth0]:9000; port 0 takes any free one
    #[arg(long, value_name = "[HOST:]PORT", default_value = "[::]:8876", value_parser = ListenAt::from_str)]
    pub listen: ListenAt,
    /// Let in exactly this peer, by fingerprint, certificate or name in the address book; may be repeated [default: everyone in the address book]
    #[arg(long, value_name = "KEY|CERT.pem|PEER", value_parser = KeyArg::from_str)]
    pub allow: Vec<KeyArg>,
    /// Let in everyone who proves a key: for public bots
    #[arg(long, conflicts_with = "allow")]
    pub allow_anyone: bool,
    /// Pair with somebody new by a code of three words, and store the key under this name [default: nobody pairs]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["allow", "allow_anyone"], value_parser = Petname::from_str)]
    pub pair: Option<Petname>,
    /// How many admitted peers may wait while a conversation is on
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub queue: usize,
    /// Hold one conversation, and exit with its exit code
    #[arg(long)]
    pub once: bool,
    /// Say this in turn 1 of every conversation [default: you are asked]
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub first: Option<Text>,
    /// Say what is in this file in turn 1, but for one newline at its end [default: you are asked]
    #[arg(long, value_name = "FILE", conflicts_with = "first")]
    pub first_file: Option<PathBuf>,
    /// How many conversations, each with a program of its own, are held at once [default: 64]
    #[arg(long, value_name = "N", requires = "exec", conflicts_with = "once", value_parser = conversations)]
    pub conversations: Option<usize>,
    /// Keep the open conversations there: file:DIR, or etcd://HOST:PORT,…/PREFIX, where servers with your key on other machines go on with them [default: the journal in the home]
    #[arg(long, value_name = "URL", conflicts_with = "no_journal", value_parser = StoreAt::from_str)]
    pub store: Option<StoreAt>,
    /// Reach etcd over TLS; its certificates are signed by one of these [default: without TLS]
    #[arg(long, value_name = "FILE", requires = "store")]
    pub store_ca: Option<PathBuf>,
    /// Your certificate for etcd, not for your peers [default: none]
    #[arg(long, value_name = "FILE", requires_all = ["store_ca", "store_key"])]
    pub store_cert: Option<PathBuf>,
    /// Its private key [default: none]
    #[arg(long, value_name = "FILE", requires = "store_cert")]
    pub store_key: Option<PathBuf>,
    /// How both sides talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `turnchat client`
#[derive(Debug, Args)]
#[command(after_help = "\
Whom you expect: the peer of that name in the address book, or the one who has
that address there, or a key given with --pin. Any other key ends the handshake
before anything of yours is shown.

Examples:
  turnchat client localhost --pin certs/alice/cert.pem
  turnchat client 192.0.2.7 --pair --as alice
  turnchat client 192.0.2.7 --accept-new --as alice
  turnchat client alice
  turnchat client alice --proxy socks5h://127.0.0.1:9050")]
pub struct ClientArgs {
    /// A name in the address book, or a host; IPv6 with a port in brackets
    #[arg(value_name = "PEER|HOST[:PORT]")]
    pub peer: String,
    /// Accept exactly this key, given as fingerprint or certificate; may be repeated [default: the keys in the address book]
    #[arg(long, value_name = "KEY|CERT.pem", value_parser = pin)]
    pub pin: Vec<KeyArg>,
    /// Store the key of a host that has none in the address book yet, and trust it from now on
    #[arg(long, group = "stores", conflicts_with = "pin")]
    pub accept_new: bool,
    /// Pair by the code of three words that a server with --pair shows; you are asked for it
    #[arg(long, group = "stores", conflicts_with_all = ["pin", "exec"])]
    pub pair: bool,
    /// The name to store the key under, with --pair or --accept-new [default: HOST]
    #[arg(long = "as", value_name = "NAME", requires = "stores", value_parser = Petname::from_str)]
    pub name: Option<Petname>,
    /// Give up the conversation that was cut, and begin a new one
    #[arg(long)]
    pub new: bool,
    /// Dial through this SOCKS5 proxy alone, such as Tor: socks5h://HOST:PORT; names are looked up there [default: no proxy, whatever the environment says]
    #[arg(long, value_name = "URL", value_parser = Proxy::from_str)]
    pub proxy: Option<Proxy>,
    /// How both sides talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `server` and `client`.
#[derive(Debug, Args)]
pub struct TalkArgs {
    /// How long a conversation that was cut is held, with its unit: 90s, 15m, 1h; with 0s a cut ends it
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    pub hold: Duration,
    /// Keep the open conversation on disk, and go on with it after a restart [default: at a terminal and with --json, not with --exec]
    #[arg(long, overrides_with = "no_journal")]
    pub journal: bool,
    /// Keep nothing on disk
    #[arg(long)]
    pub no_journal: bool,
    /// Talk in JSON lines, for programs
    #[arg(long)]
    pub json: bool,
    /// Ring the terminal's bell when it becomes your turn
    #[arg(long, conflicts_with_all = ["json", "exec"])]
    pub bell: bool,
    /// End the conversation if a turn takes longer, whoever's it is [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = turn_timeout)]
    pub turn_timeout: Option<Duration>,
    /// Append all that is said to this file; as JSON lines if it ends in .jsonl [default: nothing is recorded]
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<PathBuf>,
    /// Make stderr a log, as text or json: an event a line, with its time; more of them with -v; never what is said [default: messages for people]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    pub log: Option<LogFormat>,
    /// Read messages that end with NUL from standard input, and so may have several lines
    #[arg(long, conflicts_with_all = ["json", "exec"])]
    pub null: bool,
    /// Have this program talk, with its arguments, the rest of the line: each message is a line on its stdin, and each line on its stdout a message [default: you talk]
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub exec: Option<Vec<OsString>>,
    /// Whose side this is.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

impl TalkArgs {
    /// Whether open conversations are kept on disk for this speaker.
    pub fn keeps_journal(&self, speaker: &impl Speaker) -> bool {
        (self.journal || speaker.can_resume()) && !self.no_journal
    }
}

/// An identity that is not in the home.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// Your certificate [default: cert.pem in the home]
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Your private key [default: key.pem in the home]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// `turnchat fingerprint`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  turnchat fingerprint
  turnchat fingerprint certs/bob/cert.pem")]
pub struct FingerprintArgs {
    /// A certificate [default: your own]
    #[arg(value_name = "CERT.pem", conflicts_with_all = ["cert", "key"])]
    pub certificate: Option<PathBuf>,
    /// Whose.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// `turnchat peers`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  turnchat peers add bob certs/bob/cert.pem
  turnchat peers list")]
pub enum PeersCommand {
    /// List the address book: name, key, address, how and when the key came
    #[command(after_help = "\
At a terminal this is a table. Elsewhere a tab stands between the columns.

Example:
  turnchat peers list")]
    List {
        /// As JSON, one object a line for each peer
        #[arg(long)]
        json: bool,
    },
    /// Add a peer by its key, or a further key or an address to a peer
    #[command(after_help = "\
A peer that changes its key has both for a while: add the new one under the same name, and later remove the old one.

Example:
  turnchat peers add bob certs/bob/cert.pem --address 192.0.2.7")]
    Add {
        /// What you call the peer
        #[arg(value_parser = Petname::from_str)]
        name: Petname,
        /// Its key, as fingerprint or certificate
        #[arg(value_name = "KEY|CERT.pem", value_parser = pin)]
        key: KeyArg,
        /// Where it can be reached, on port 8876 if none is given [default: not known]
        #[arg(long, value_name = "HOST[:PORT]", value_parser = Address::from_str)]
        address: Option<Address>,
    },
    /// Remove a peer, or one of its keys
    #[command(after_help = "\
A server that runs reads the address book again at SIGHUP, and then ends the conversations with keys that are gone.

Example:
  turnchat peers remove bob")]
    Remove {
        /// What you call the peer
        #[arg(value_parser = Petname::from_str)]
        name: Petname,
        /// Only this key, as fingerprint or certificate [default: the peer, with all keys]
        #[arg(value_name = "KEY|CERT.pem", value_parser = pin)]
        key: Option<KeyArg>,
    },
    /// Call a peer something else
    #[command(after_help = "Example:\n  turnchat peers rename bob robert")]
    Rename {
        /// What you call it now
        #[arg(value_parser = Petname::from_str)]
        old: Petname,
        /// What you want to call it
        #[arg(value_parser = Petname::from_str)]
        new: Petname,
    },
}

/// `turnchat conversations`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
They stand in the journal in the home. One that a running program holds is listed, and cannot be given up from here.

Examples:
  turnchat conversations list
  turnchat conversations end bob")]
pub enum ConversationsCommand {
    /// List them: name, key, your role, turns, when last written, and whether a program holds it
    #[command(after_help = "Example:\n  turnchat conversations list")]
    List {
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Give up the conversation with a peer, on either side
    #[command(after_help = "\
What you said last and was not acknowledged is named. A client that comes back to a conversation given up here is told that it has ended; a server is told when you call it again.

Example:
  turnchat conversations end bob")]
    End {
        /// With whom: a name in the address book, or a key
        #[arg(value_name = "PEER", value_parser = KeyArg::from_str)]
        peer: KeyArg,
    },
}

/// `turnchat completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Tab then completes commands, options, files, and the names in your address book.
Behind --exec it completes a program, then files; shells other than bash offer
turnchat's options there too. Variables such as $HOME are not looked up.
For each new shell, add the line to the file:
  ~/.bashrc                   eval \"$(turnchat completions bash)\"
  ~/.zshrc, below compinit    eval \"$(turnchat completions zsh)\"
  ~/.config/fish/config.fish  turnchat completions fish | source

Example:
  turnchat completions bash")]
pub struct CompletionsArgs {
    /// Your shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `turnchat man`
#[derive(Debug, Args)]
#[command(after_help = "\
To read it, or to keep it for `man turnchat`:
  turnchat man | man -l -
  turnchat man >~/.local/share/man/man1/turnchat.1

Example:
  turnchat man")]
pub struct ManArgs {}

/// What those who come from other programs call our commands.
const CALLED_ELSEWHERE: [(&str, &[&str]); 4] = [
    ("server", &["listen", "serve", "host", "accept", "wait"]),
    ("client", &["connect", "call", "dial", "join", "chat"]),
    (
        "gen-cert",
        &["keygen", "genkey", "gen-key", "cert", "init", "new"],
    ),
    ("peers", &["peer", "contacts", "book", "known", "trust"]),
];
/// The same for `turnchat peers`.
const PEERS_CALLED_ELSEWHERE: [(&str, &[&str]); 3] = [
    ("list", &["ls", "show"]),
    ("remove", &["rm", "del", "delete", "forget"]),
    ("rename", &["mv", "move"]),
];

/// Has a command that is none suggest the one that may be meant.
pub fn suggest(error: &mut clap::Error) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let is_of_peers = error
        .get(ContextKind::Usage)
        .is_some_and(|usage| usage.to_string().contains("turnchat peers"));
    let table = match is_of_peers {
        true => PEERS_CALLED_ELSEWHERE.as_slice(),
        false => &CALLED_ELSEWHERE,
    };
    let meant = table
        .iter()
        .find(|(_, names)| names.contains(&word.as_str()));
    if let Some((command, _)) = meant {
        let suggested = ContextValue::Strings(vec![(*command).to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, suggested);
    }
}

/// How a key is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyArg {
    /// `SHA256:…`
    Key(KeyId),
    /// With `/`, or ending in `.pem`: a certificate.
    File(PathBuf),
    /// Anything else: a name in the address book.
    Peer(Petname),
}

impl FromStr for KeyArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(KeyId::PREFIX) {
            return text
                .parse()
                .map(Self::Key)
                .map_err(|e: crate::trust::MalformedKey| e.to_string());
        }
        if text.contains('/') || text.ends_with(".pem") {
            return Ok(Self::File(text.into()));
        }
        text.parse().map(Self::Peer).map_err(|_| {
            "neither a key (`SHA256:…`), nor a certificate (`….pem`), nor a name".to_owned()
        })
    }
}

fn pin(text: &str) -> Result<KeyArg, String> {
    match text.parse()? {
        KeyArg::Peer(_) => Err(
            "neither a key (`SHA256:…`) nor a certificate (`….pem`, or a path with `/`)".to_owned(),
        ),
        named => Ok(named),
    }
}

fn turn_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => {
            Err("no turn could be taken; without the option there is no limit".to_owned())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn conversations(number: &str) -> Result<usize, String> {
    match number.parse() {
        Ok(0) => Err("no conversation could begin".to_owned()),
        parsed => parsed.map_err(|error: std::num::ParseIntError| error.to_string()),
    }
}

fn text(words: &str) -> Result<Text, String> {
    Text::new(words).map_err(|error| error.to_string())
}
