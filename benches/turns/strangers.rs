//! Resident memory of a server's connections before their first frame: of those that sent
//! nothing, and of those that proved a key and then said nothing. Of the client's end
//! only the socket is there.

use clap::ValueEnum;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use turnchat::internals::{client_config, server_name};
use turnchat::tcp;

use super::Effort;
use super::contender::{Contender, Sides, Start, text};
use super::idle::{ROUNDS, SETTLE, WARM_UP, grown_elsewhere, resident};
use super::rounds::{Table, Unit, interleave};

const CONNECTIONS: usize = 1_000;

/// What a connection has done.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Stranger {
    Nothing,
    Handshake,
}

pub(crate) fn measure(effort: Effort, table: &mut Table) {
    let count = effort.of(CONNECTIONS);
    for (more, what) in [
        (["--strangers", "nothing"], "connection that sent nothing"),
        (
            ["--strangers", "handshake"],
            "connection without a first frame",
        ),
    ] {
        let of = |who| grown_elsewhere(who, count, &more);
        let contestants = [of("ours"), of("bare"), of("bare")];
        let rounds = interleave(effort.rounds.min(ROUNDS), contestants);
        let what = format!("{what}, the server's end, of {count}");
        table.row(&what, Unit::Kib, &rounds);
    }
}

/// By how many KiB this process grows with each of so many.
pub(crate) fn grown<C: Contender>(
    runtime: &Runtime,
    start: &Start<C>,
    count: usize,
    stranger: Stranger,
) -> f64 {
    let _in = runtime.enter();
    let sides = Sides::new();
    let contender = start(&sides, &text(64), None);
    let client = sides.clients.first().unwrap();
    let config = client_config(client, vec![sides.server.key_id()]);
    let connector = TlsConnector::from(config);
    let connect = async || -> TcpStream {
        let stream = tcp::dial("127.0.0.1", contender.port()).await.unwrap();
        match stranger {
            Stranger::Nothing => stream,
            Stranger::Handshake => {
                let proven = connector.connect(server_name(), stream).await;
                proven.unwrap().into_inner().0
            }
        }
    };
    runtime.block_on(async {
        let mut streams = Vec::with_capacity(WARM_UP + count);
        for _ in 0..WARM_UP {
            streams.push(connect().await);
        }
        sleep(SETTLE).await;
        let before = resident();
        for _ in 0..count {
            streams.push(connect().await);
        }
        sleep(SETTLE).await;
        (resident() - before) / count as f64
    })
}
