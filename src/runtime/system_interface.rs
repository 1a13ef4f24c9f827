//! The connection to the machine's system interface.

use std::os::unix::net::UnixStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net;
use tokio::sync::mpsc;
use tracing::debug;

use crate::runtime::bmc;

/// Bytes that are passed on at once: a long request.
const CHUNK: usize = 512;

/// Carries bytes between process `number` and the BMC, until either is gone. What the machine sends
/// waits when the BMC is busy: only the machine's own software is held up by that.
pub(super) async fn run(number: u64, stream: UnixStream, bmc: mpsc::Sender<bmc::Input>) {
    let stream = stream.set_nonblocking(true).and_then(|()| net::UnixStream::from_std(stream));
    let (mut from, mut to) = match stream {
        Ok(stream) => stream.into_split(),
        Err(error) => {
            debug!(%error, "the system interface cannot be used");
            return;
        }
    };
    let (sender, mut outbox) = mpsc::unbounded_channel::<Vec<u8>>();
    if bmc.send(bmc::Input::SystemInterface(number, sender)).await.is_err() {
        return;
    }
    // QEMU does not read while it writes.
    let write = async move {
        while let Some(bytes) = outbox.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let read = async move {
        let mut buffer = [0; CHUNK];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            let bytes = bmc::Input::FromSystemInterface(number, buffer[..len].to_vec());
            if bmc.send(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
