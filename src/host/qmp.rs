//! One QMP connection: lines in, lines out.
//!
//! Nothing here waits for QEMU: commands go into a queue, and what QEMU says comes out of a channel.
//! A QEMU that hangs holds up nobody.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::qmp::{Command, Message, Request};

/// Longest line that is taken from QEMU, in bytes.
const MAX_LINE_LEN: u64 = 1 << 20;

/// The sending end of a connection.
#[derive(Debug)]
pub struct Qmp {
    lines: mpsc::UnboundedSender<String>,
    /// Commands that have not returned, to name them when they fail.
    pending: BTreeMap<u64, Command>,
    next_id: u64,
}

impl Qmp {
    /// Takes over our end of a socket pair. `deliver` gets each message, and `None` at the end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(
        stream: StdUnixStream,
        deliver: impl Fn(Option<Message>) + 'static,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (read, mut write) = UnixStream::from_std(stream)?.into_split();
        let (lines, mut queue) = mpsc::unbounded_channel::<String>();
        tokio::task::spawn_local(async move {
            while let Some(line) = queue.recv().await {
                if write.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        tokio::task::spawn_local(async move {
            let mut read = BufReader::new(read);
            let mut line = Vec::new();
            loop {
                line.clear();
                match (&mut read).take(MAX_LINE_LEN).read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
                let text = String::from_utf8_lossy(&line);
                match Message::decode(text.trim()) {
                    Ok(message) => deliver(Some(message)),
                    Err(error) => warn!(%error, "QEMU's monitor says something that is not QMP"),
                }
            }
            deliver(None);
        });
        Ok(Self { lines, pending: BTreeMap::new(), next_id: 1 })
    }

    /// Sends a command.
    pub fn send(&mut self, command: Command) {
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { command: &command, id };
        let mut line = serde_json::to_string(&request).expect("a command is plain data");
        match &command {
            Command::SetPassword { protocol, .. } => {
                debug!("to QEMU's monitor: {protocol} password")
            }
            _ => debug!(%line, "to QEMU's monitor"),
        }
        line.push('\n');
        // A closed connection is told by the reading side.
        let _ = self.lines.send(line);
        self.pending.insert(id, command);
    }

    /// Takes note of a return. Answers the command that it is for.
    pub fn returned(&mut self, id: u64) -> Option<Command> {
        self.pending.remove(&id)
    }
}
