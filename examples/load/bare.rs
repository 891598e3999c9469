//! tokio-rustls with the same TLS settings, the same messages and the same pings, and nothing
//! above it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use turnchat::internals::{client_config, server_config, server_name};
use turnchat::{Algorithm, Identity, KeyId, tcp};

use super::{MESSAGE, PING_AFTER};

/// As long as a `ping` frame.
const PING: [u8; 12] = [b'p'; 12];

/// Says what it hears, until standard input ends.
pub(crate) async fn serve() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(server_config(&identity));
    println!("{} {port}", identity.key_id());
    let serving = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(echo(acceptor.clone(), stream));
        }
    };
    let mut input = tokio::io::stdin();
    tokio::select! {
        () = serving => {}
        _ = input.read_u8() => {}
    }
}

async fn echo(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut message = [0; MESSAGE];
    loop {
        let length = stream.read(&mut message).await?;
        match message.get(..length) {
            None | Some([]) => return stream.shutdown().await,
            Some(message) => stream.write_all(message).await?,
        }
        stream.flush().await?;
    }
}

pub(crate) struct Talk(TlsStream<TcpStream>);

impl Talk {
    async fn said_and_heard<const LENGTH: usize>(&mut self, mut message: [u8; LENGTH]) {
        self.0.write_all(&message).await.unwrap();
        self.0.flush().await.unwrap();
        self.0.read_exact(&mut message).await.unwrap();
    }
}

impl super::Talk for Talk {
    type Clients = (Vec<Arc<rustls::ClientConfig>>, u16);

    fn clients(keys: usize, server: KeyId, port: u16) -> Self::Clients {
        let client = |_| {
            let identity = Identity::generate(Algorithm::default()).unwrap();
            client_config(&identity, vec![server])
        };
        ((0..keys).map(client).collect(), port)
    }

    async fn open((clients, port): &Self::Clients, client: usize) -> Self {
        let stream = tcp::dial("127.0.0.1", *port).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(clients.get(client).unwrap()));
        let stream = connector.connect(server_name(), stream).await.unwrap();
        // As many round trips as `hello` and two turns take.
        Self(stream).turn().await.turn().await
    }

    async fn turn(mut self) -> Self {
        self.said_and_heard([b'x'; MESSAGE]).await;
        self
    }

    async fn idle(mut self, time: Duration) -> Self {
        let until = Instant::now() + time;
        let mut ping_at = Instant::now() + PING_AFTER;
        while ping_at < until {
            sleep_until(ping_at).await;
            self.said_and_heard(PING).await;
            ping_at = Instant::now() + PING_AFTER;
        }
        sleep_until(until).await;
        self
    }
}
