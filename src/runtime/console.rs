//! The serial port of whatever QEMU runs now.
//!
//! Always drained: a serial port that nobody reads stops a QEMU guest after some 280 bytes. Bytes
//! that come from one process are passed on before those of the next.

use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::error;

use crate::runtime::bmc;

/// Packets from the console that may wait for the guest to read its serial port.
pub(super) const INBOX: usize = 64;
/// Most bytes that are read at once.
const CHUNK: usize = 4096;

/// What this task is told.
#[derive(Debug)]
pub(super) enum Input {
    /// A new process has this serial port.
    Attach(StdUnixStream),
    /// Characters for the serial port.
    Characters(Vec<u8>),
    /// No process will come any more: answer when the last one's characters are passed on.
    Finish(oneshot::Sender<()>),
}

pub(super) async fn run(mut inbox: mpsc::Receiver<Input>, bmc: mpsc::Sender<bmc::Input>) {
    let mut port: Option<OwnedWriteHalf> = None;
    let mut draining: Option<JoinHandle<()>> = None;
    while let Some(input) = inbox.recv().await {
        match input {
            Input::Attach(stream) => match attach(stream) {
                Ok((read, write)) => {
                    port = Some(write);
                    let before = draining.take();
                    draining = Some(tokio::task::spawn_local(drain(before, read, bmc.clone())));
                }
                Err(error) => error!(%error, "the serial port cannot be used"),
            },
            Input::Characters(characters) => {
                // Without a machine the line is dead, as on metal.
                let Some(write) = &mut port else { continue };
                if write.write_all(&characters).await.is_err() {
                    port = None;
                }
            }
            Input::Finish(finished) => {
                if let Some(draining) = draining.take() {
                    let _ = draining.await;
                }
                let _ = finished.send(());
            }
        }
    }
}

fn attach(stream: StdUnixStream) -> std::io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?.into_split())
}

/// Reads a serial port until its process is gone; first lets the one `before` come to its end, so
/// that characters of two processes stay in order.
async fn drain(
    before: Option<JoinHandle<()>>,
    mut port: OwnedReadHalf,
    bmc: mpsc::Sender<bmc::Input>,
) {
    if let Some(before) = before {
        let _ = before.await;
    }
    let mut buffer = vec![0; CHUNK];
    while let Ok(len @ 1..) = port.read(&mut buffer).await {
        if bmc.send(bmc::Input::Console(buffer[..len].to_vec())).await.is_err() {
            return;
        }
    }
}
