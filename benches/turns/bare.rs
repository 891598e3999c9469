//! tokio-rustls with our TLS settings and nothing above it: messages of a known
//! size, read and written whole.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use turnchat::Text;
use turnchat::internals::{client_config, server_config, server_name};
use turnchat::tcp;

use super::contender::{Contender, Sides};
use super::disk::Disk;

/// A server, and its clients. Needs a runtime.
pub(crate) struct Host {
    connectors: Vec<TlsConnector>,
    port: u16,
    text: Text,
    syncs_in: Option<PathBuf>,
    serving: tokio::task::JoinHandle<()>,
}

impl Host {
    /// With a directory, both sides sync a file of their own there.
    pub(crate) fn start(sides: &Sides, text: &Text, syncs_in: Option<&Path>) -> Self {
        let accepted = vec![sides.server.key_id()];
        let config = |identity| client_config(identity, accepted.clone());
        let configs = sides.clients.iter().map(config);
        let acceptor = TlsAcceptor::from(server_config(&sides.server));
        let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let size = text.as_str().len();
        let syncs_in = syncs_in.map(Path::to_owned);
        let dir = syncs_in.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let disk = dir.as_deref().map(Disk::new);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    answer(stream, size, disk).await
                });
            }
        });
        Self {
            connectors: configs.map(TlsConnector::from).collect(),
            port,
            text: text.clone(),
            syncs_in,
            serving,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The client's end, and what it says.
pub(crate) struct Talk {
    stream: client::TlsStream<TcpStream>,
    message: Vec<u8>,
    disk: Option<Disk>,
}

impl Contender for Host {
    type Talk = Talk;

    async fn open(&self, who: usize) -> Talk {
        let stream = tcp::dial("127.0.0.1", self.port).await.unwrap();
        let stream = self
            .connectors
            .get(who)
            .unwrap()
            .connect(server_name(), stream);
        let talk = Talk {
            stream: stream.await.unwrap(),
            message: self.text.as_str().into(),
            disk: self.syncs_in.as_deref().map(Disk::new),
        };
        // As many round trips as `hello` and the first turn take.
        Self::turns(talk, 1).await
    }

    async fn turns(mut talk: Talk, count: usize) -> Talk {
        let (stream, disk) = (&mut talk.stream, &talk.disk);
        for _ in 0..count {
            write(stream, &talk.message, disk).await.unwrap();
            read(stream, &mut talk.message, disk).await.unwrap();
        }
        talk
    }

    fn port(&self) -> u16 {
        self.port
    }

    async fn short(&self, who: usize) {
        let mut talk = Self::turns(self.open(who).await, 1).await;
        talk.stream.shutdown().await.unwrap();
        assert_eq!(talk.stream.read(&mut talk.message).await.unwrap(), 0);
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    size: usize,
    disk: Option<Disk>,
) -> io::Result<()> {
    let mut message = vec![0; size];
    while read(&mut stream, &mut message, &disk).await.is_ok() {
        write(&mut stream, &message, &disk).await?;
    }
    stream.shutdown().await
}

async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    message: &mut [u8],
    disk: &Option<Disk>,
) -> io::Result<()> {
    stream.read_exact(message).await?;
    if let Some(disk) = disk {
        disk.heard().await;
    }
    Ok(())
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    disk: &Option<Disk>,
) -> io::Result<()> {
    if let Some(disk) = disk {
        disk.says().await;
    }
    stream.write_all(message).await?;
    stream.flush().await
}
