//! Who watches a serial port beside Serial-over-LAN: streams, a file, standard output.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{tcp, unix};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::console::{Chunk, From, Lines};
use crate::host::log_file::LogFile;
use crate::host::stdout;
use crate::runtime::console::{Port, Watcher};

/// How long what a client types may find no room, because the guest does not read its serial port.
/// Then it is dropped until there is some: who reads no more from a client does not see it go.
const OVERRUN: Duration = Duration::from_secs(2);
/// How often a client that will not send any more is looked at: it may have gone.
const LOOK: Duration = Duration::from_secs(1);

/// What a client sends.
pub(super) trait Heard: AsyncRead + Unpin + 'static {
    /// The client takes what it is sent, for all that is known.
    fn takes(&self) -> bool;
}

impl Heard for unix::OwnedReadHalf {
    fn takes(&self) -> bool {
        self.as_ref().try_write(&[]).is_ok()
    }
}

impl Heard for tcp::OwnedReadHalf {
    fn takes(&self) -> bool {
        self.as_ref().try_write(&[]).is_ok()
    }
}

/// Serves a port to those whom `accept` lets in.
pub(super) async fn serve<R: Heard, W: AsyncWrite + Unpin + 'static>(
    accept: impl AsyncFn() -> io::Result<(R, W)>,
    port: Port,
) {
    loop {
        let Ok((read, write)) = accept().await else {
            // Out of descriptors: they come back when clients go.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let port = port.clone();
        tokio::task::spawn_local(async move {
            watch(BufReader::new(read), write, &port, From::Now, false).await;
        });
    }
}

/// Shows a port on a stream, and types what comes from there, until either ends.
pub(super) async fn watch<R: Heard, W: AsyncWrite + Unpin>(
    mut read: BufReader<R>,
    mut write: W,
    port: &Port,
    from: From,
    read_only: bool,
) {
    let Some(watcher) = port.join(from).await else { return };
    let show = async {
        while let Some(chunk) = watcher.next().await {
            write.write_all(&chunk.marked()).await?;
        }
        Ok(())
    };
    let hear = async {
        let mut buffer = [0; 1024];
        let mut patience = OVERRUN;
        loop {
            match read.read(&mut buffer).await? {
                // It may go on reading.
                0 => break,
                _ if read_only => {}
                len => {
                    let sent = port.keys.send_timeout(buffer[..len].to_vec(), patience).await;
                    patience = if sent.is_ok() { OVERRUN } else { Duration::ZERO };
                }
            }
        }
        while read.get_ref().takes() {
            sleep(LOOK).await;
        }
        Ok(())
    };
    let ended: io::Result<()> = tokio::select! {
        ended = show => ended,
        ended = hear => ended,
    };
    if let Err(error) = ended {
        debug!(%error, "a viewer of the console has gone");
    }
}

/// Writes all to a file, in a thread of its own: a slow disk holds up nobody.
pub(super) fn write_to_file(watcher: Watcher, mut file: LogFile) {
    thread::spawn(move || {
        let mut lost = 0;
        while let Some(chunk) = watcher.blocking_next() {
            let before = lost;
            if let Err(error) = write_or_mark(chunk, &mut lost, |bytes| file.write(bytes))
                && before == 0
            {
                warn!(%error, file = %file.path().display(), "a console's file cannot be written");
            }
        }
    });
}

/// Writes a chunk, behind a line about the `lost` bytes before it. It is lost itself if there is no room
/// for it.
fn write_or_mark(
    mut chunk: Chunk,
    lost: &mut u64,
    write: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    chunk.skipped += *lost;
    let all = chunk.skipped + chunk.bytes.len() as u64;
    let result = write(&chunk.marked());
    *lost = if result.is_ok() { 0 } else { all };
    result
}

/// Prints all to standard output, in a thread of its own: whoever reads it may stop.
pub(super) fn print(watcher: Watcher) {
    thread::spawn(move || {
        let mut lines = Lines::default();
        while let Some(chunk) = watcher.blocking_next() {
            if let Err(error) = stdout::write(&lines.push(&chunk.marked())) {
                warn!(%error, "the console is not printed to standard output any more");
                return;
            }
        }
        let _ = stdout::write(&lines.finish());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_disk_has_no_room_for_is_marked() {
        let mut lost = 0;
        let chunk = |skipped, bytes: &[u8]| Chunk { skipped, bytes: bytes.to_vec() };
        for chunk in [chunk(0, b"lost"), chunk(10, b"gone")] {
            let full = Err(io::ErrorKind::StorageFull.into());
            write_or_mark(chunk, &mut lost, |_| full).unwrap_err();
        }
        let mut written = Vec::new();
        for chunk in [chunk(0, b"back"), chunk(0, b" again")] {
            let write = |bytes: &[u8]| {
                written.extend_from_slice(bytes);
                Ok(())
            };
            write_or_mark(chunk, &mut lost, write).unwrap();
        }
        assert_eq!(written, b"\r\n[qemu-bmc: 18 bytes skipped]\r\nback again");
    }
}
