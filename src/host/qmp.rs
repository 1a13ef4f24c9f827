//! One QMP connection: lines in, lines out.
//!
//! Nothing here waits for QEMU: commands go into a queue, and what QEMU says comes out of a channel.
//! A QEMU that hangs holds up nobody.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::rc::Rc;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::qmp::{Command, Message, Request};

/// Longest line that is taken from QEMU, in bytes.
const MAX_LINE_LEN: u64 = 1 << 20;

/// The sending end of a connection.
#[derive(Debug)]
pub struct Qmp {
    lines: mpsc::UnboundedSender<(String, Option<Rc<OwnedFd>>)>,
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
        let (lines, mut queue) = mpsc::unbounded_channel::<(String, Option<Rc<OwnedFd>>)>();
        tokio::task::spawn_local(async move {
            while let Some((line, descriptor)) = queue.recv().await {
                let sent = match descriptor {
                    None => Ok(0),
                    Some(descriptor) => send_descriptor(write.as_ref(), &line, &descriptor).await,
                };
                let Ok(sent) = sent else { break };
                if write.write_all(&line.as_bytes()[sent..]).await.is_err() {
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
        self.send_with(command, None);
    }

    /// Sends a command with a descriptor, such as `getfd` wants.
    pub fn send_with(&mut self, command: Command, descriptor: Option<Rc<OwnedFd>>) {
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
        let _ = self.lines.send((line, descriptor));
        self.pending.insert(id, command);
    }

    /// Takes note of a return. Answers the command that it is for.
    pub fn returned(&mut self, id: u64) -> Option<Command> {
        self.pending.remove(&id)
    }
}

/// Sends the beginning of a line with a descriptor (unix(7), `SCM_RIGHTS`); answers how many bytes.
async fn send_descriptor(
    stream: &UnixStream,
    line: &str,
    descriptor: &OwnedFd,
) -> io::Result<usize> {
    let descriptors = [descriptor.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let send = || {
        let bytes = [IoSlice::new(line.as_bytes())];
        sendmsg::<()>(stream.as_raw_fd(), &bytes, &rights, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(io::Error::from)
    };
    stream.async_io(Interest::WRITABLE, send).await
}
