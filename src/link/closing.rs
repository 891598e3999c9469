//! How a connection is closed without losing the last frame (PROTOCOL 3.15).

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::metered::Meter;
use crate::protocol::Limits;

/// Read at once, and dropped.
const CHUNK: usize = 512;

/// The first half: these bytes and `close_notify`, in one packet. Whether they are on their way.
pub(super) async fn say_last<S>(stream: &mut S, meter: &Meter, last: &[u8], limits: &Limits) -> bool
where
    S: AsyncWrite + Unpin,
{
    let last_words = async {
        meter.cork();
        stream.write_all(last).await?;
        stream.shutdown().await
    };
    matches!(timeout(limits.close_time, last_words).await, Ok(Ok(())))
}

/// The second half: reads and drops, since closing with unread input would make TCP destroy
/// what was sent last.
pub(super) async fn drain<S>(stream: &mut S, buffer: &mut Vec<u8>, limits: &Limits)
where
    S: AsyncRead + Unpin,
{
    let drain = async {
        let mut dropped = 0;
        while dropped < limits.close_bytes {
            buffer.clear();
            buffer.reserve(CHUNK);
            match stream.read_buf(buffer).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => dropped += bytes,
            }
        }
    };
    let _ = timeout(limits.close_time, drain).await;
}
