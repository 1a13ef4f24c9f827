//! The serial port of whatever QEMU runs now, and the hub of those who watch it.
//!
//! Always drained: a serial port that nobody reads stops a QEMU guest after some 280 bytes. What
//! comes from one process is passed on before what the next one says. Viewers take by themselves,
//! each at its own speed.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::bmc::event::Watch;
use crate::console::{Chunk, From, Hub, Pace, Reading, Viewer};
use crate::host::{self, process};
use crate::runtime::machine;

/// What was typed, in pieces, that may wait for the guest to read its serial port.
const KEYS: usize = 256;
/// Most bytes that are written at once: a UART's FIFO. What is in the socket cannot be had back.
const MOST_WRITTEN: usize = 16;
/// Most bytes that are read at once.
const MOST_READ: usize = 4096;
/// Most bytes that a viewer takes at once.
const MOST_TAKEN: usize = 64 * 1024;
/// The same for Serial-over-LAN: few, so that its progress shows.
const MOST_FOR_SOL: usize = 4096;

/// What this task is told.
#[derive(Debug)]
pub(super) enum Input {
    /// A new process has this serial port.
    Attach(StdUnixStream),
    /// Serial-over-LAN's wish.
    Watch(Watch),
    /// A viewer comes.
    Join(From, oneshot::Sender<Viewer>),
    /// A viewer wants more, and waits for it; `None`: there will be no more.
    Take(Viewer, oneshot::Sender<Option<Chunk>>),
    /// A viewer goes.
    Leave(Viewer),
    /// What was typed and has not gone out yet is to be dropped: at somebody's wish, or because the
    /// machine was reset, which clears a UART's FIFO.
    Flush,
    /// What is typed goes out again when this has ended.
    Hold(oneshot::Receiver<()>),
    /// No process will come any more: answer when the last one has said all.
    Finish(oneshot::Sender<()>),
    /// Answer when all viewers have seen all and have gone.
    Farewell(oneshot::Sender<()>),
}

/// For Serial-over-LAN, as it has asked; without bytes: there will be no more.
#[derive(Debug)]
pub(super) struct ForSol {
    pub(super) activation: u32,
    pub(super) chunk: Chunk,
}

/// The way to a serial port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Never waits.
    pub(super) inbox: mpsc::UnboundedSender<Input>,
    /// For what is typed. Waits for the guest.
    pub(super) keys: mpsc::Sender<Vec<u8>>,
}

impl Port {
    /// Another viewer.
    pub(super) async fn join(&self, from: From) -> Option<Watcher> {
        let (reply, viewer) = oneshot::channel();
        self.inbox.send(Input::Join(from, reply)).ok()?;
        Some(Watcher { viewer: viewer.await.ok()?, inbox: self.inbox.clone() })
    }

    /// Sends a break, past what the guest has not read yet: it may never read it. What is typed from
    /// now on comes after it.
    pub(super) fn send_break(&self, machine: &mpsc::UnboundedSender<machine::Input>) -> Option<()> {
        let (waiting, sent) = oneshot::channel();
        self.inbox.send(Input::Hold(sent)).ok()?;
        machine.send(machine::Input::Break(waiting)).ok()
    }
}

/// A viewer; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    viewer: Viewer,
    inbox: mpsc::UnboundedSender<Input>,
}

impl Watcher {
    fn ask(&self) -> Option<oneshot::Receiver<Option<Chunk>>> {
        let (reply, chunk) = oneshot::channel();
        self.inbox.send(Input::Take(self.viewer, reply)).ok()?;
        Some(chunk)
    }

    /// What comes next, if anything will. Not to be given up while it waits: that would be lost.
    pub(super) async fn next(&self) -> Option<Chunk> {
        self.ask()?.await.ok().flatten()
    }

    /// The same for a thread of its own.
    pub(super) fn blocking_next(&self) -> Option<Chunk> {
        self.ask()?.blocking_recv().ok().flatten()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.inbox.send(Input::Leave(self.viewer));
    }
}

/// Starts the task of a port that keeps this many bytes of history.
pub(super) fn start(history: usize, sol: Option<mpsc::UnboundedSender<ForSol>>) -> Port {
    let (inbox_sender, inbox) = mpsc::unbounded_channel();
    let (keys_sender, keys) = mpsc::channel(KEYS);
    let console = Console {
        hub: Hub::new(history),
        pace: Pace::default(),
        sol,
        watching: None,
        waiting: Vec::new(),
        viewers: 0,
        finish: None,
        over: false,
        farewell: None,
    };
    tokio::task::spawn_local(run(console, inbox, keys));
    Port { inbox: inbox_sender, keys: keys_sender }
}

/// A port's hub with those who wait at it.
struct Console {
    hub: Hub,
    pace: Pace,
    sol: Option<mpsc::UnboundedSender<ForSol>>,
    watching: Option<Watching>,
    waiting: Vec<(Viewer, oneshot::Sender<Option<Chunk>>)>,
    /// Those but Serial-over-LAN.
    viewers: usize,
    finish: Option<oneshot::Sender<()>>,
    /// Nothing will come any more.
    over: bool,
    farewell: Option<oneshot::Sender<()>>,
}

/// Serial-over-LAN as viewer.
struct Watching {
    activation: u32,
    viewer: Viewer,
    waits: bool,
}

async fn run(
    mut console: Console,
    mut inbox: mpsc::UnboundedReceiver<Input>,
    mut keys: mpsc::Receiver<Vec<u8>>,
) {
    let mut ports: VecDeque<OwnedReadHalf> = VecDeque::new();
    let mut writer: Option<OwnedWriteHalf> = None;
    // A break is on its way.
    let mut held: Option<oneshot::Receiver<()>> = None;
    // For the writer; the first bytes are on their way.
    let mut typed: Vec<u8> = Vec::new();
    let mut buffer = [0; MOST_READ];
    loop {
        console.pump(ports.is_empty());
        let reading = console.pace.reading(host::now(), console.behind(), buffer.len());
        let (most, not_before) = match reading {
            Reading::UpTo(most) => (most, None),
            Reading::NotBefore(then) => (0, Some(then)),
        };
        tokio::select! {
            biased;
            input = inbox.recv() => match input {
                Some(Input::Attach(stream)) => match attach(stream) {
                    Ok((read, write)) => {
                        ports.push_back(read);
                        writer = Some(write);
                        drop_typed(&mut typed, &mut keys);
                    }
                    Err(error) => error!(%error, "the serial port cannot be used"),
                },
                Some(Input::Flush) => drop_typed(&mut typed, &mut keys),
                // QEMU takes breaks in order, so the last one decides.
                Some(Input::Hold(sent)) => held = Some(sent),
                Some(input) => console.handle(input),
                None => return,
            },
            // Without a machine the line is dead, as on metal.
            () = ended(held.as_mut()), if held.is_some() => held = None,
            Some(pressed) = keys.recv(), if typed.is_empty() && held.is_none() => {
                typed = pressed;
                write(&mut writer, &mut typed);
            }
            () = writable(writer.as_ref()), if !typed.is_empty() && held.is_none() => {
                write(&mut writer, &mut typed);
            }
            read = read(ports.front_mut(), &mut buffer[..most]), if most > 0 => match read {
                Ok(len @ 1..) => {
                    console.hub.push(&buffer[..len]);
                    console.pace.handle_read(host::now(), console.behind());
                    if len == MOST_READ {
                        // There is more to come than the viewers' tasks have seen.
                        console.pump(false);
                        yield_now().await;
                    }
                }
                _ => drop(ports.pop_front()),
            },
            () = async {
                match not_before {
                    Some(then) => sleep_until(Instant::from_std(then)).await,
                    None => pending().await,
                }
            } => {}
        }
    }
}

impl Console {
    fn handle(&mut self, input: Input) {
        match input {
            Input::Watch(Watch::Begin { activation, replay }) => {
                self.handle(Input::Watch(Watch::Leave));
                self.pace.handle_taken(host::now());
                let viewer = self.hub.attach(if replay { From::History } else { From::Now });
                self.watching = Some(Watching { activation, viewer, waits: true });
            }
            Input::Watch(Watch::More) => {
                self.pace.handle_taken(host::now());
                self.watching.iter_mut().for_each(|watching| watching.waits = true);
            }
            Input::Watch(Watch::Leave) => {
                if let Some(watching) = self.watching.take() {
                    self.hub.detach(watching.viewer);
                }
            }
            Input::Join(from, reply) => {
                self.viewers += 1;
                let viewer = self.hub.attach(from);
                if reply.send(viewer).is_err() {
                    self.handle(Input::Leave(viewer));
                }
            }
            Input::Take(viewer, reply) => self.waiting.push((viewer, reply)),
            Input::Leave(viewer) => {
                self.viewers = self.viewers.saturating_sub(1);
                self.hub.detach(viewer);
                self.waiting.retain(|(waiting, _)| *waiting != viewer);
            }
            Input::Finish(reply) => self.finish = Some(reply),
            Input::Farewell(reply) => self.farewell = Some(reply),
            // `run` has its own way with these.
            Input::Attach(_) | Input::Flush | Input::Hold(_) => {}
        }
    }

    /// How far Serial-over-LAN is behind.
    fn behind(&self) -> u64 {
        self.watching.as_ref().map_or(0, |watching| self.hub.behind(watching.viewer))
    }

    /// Gives to those who wait what there is for them. `silent`: no process is there to say more.
    fn pump(&mut self, silent: bool) {
        if silent && let Some(reply) = self.finish.take() {
            self.over = true;
            let _ = reply.send(());
        }
        let over = self.over;
        if let (Some(watching), Some(sol)) = (&mut self.watching, &self.sol)
            && watching.waits
        {
            let chunk = self.hub.take(watching.viewer, MOST_FOR_SOL);
            if let Some(chunk) = chunk.or_else(|| over.then(Chunk::default)) {
                watching.waits = false;
                // It has asked long ago if the port was silent: its time to take more begins now.
                self.pace.handle_taken(host::now());
                let _ = sol.send(ForSol { activation: watching.activation, chunk });
            }
        }
        for index in (0..self.waiting.len()).rev() {
            let chunk = self.hub.take(self.waiting[index].0, MOST_TAKEN);
            if chunk.is_some() || over {
                let (_, reply) = self.waiting.swap_remove(index);
                let _ = reply.send(chunk);
            }
        }
        if self.viewers == 0
            && let Some(reply) = self.farewell.take()
        {
            let _ = reply.send(());
        }
    }
}

fn attach(stream: StdUnixStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nonblocking(true)?;
    process::limit_unread(&stream)?;
    Ok(UnixStream::from_std(stream)?.into_split())
}

async fn read(port: Option<&mut OwnedReadHalf>, buffer: &mut [u8]) -> io::Result<usize> {
    match port {
        Some(port) => port.read(buffer).await,
        None => pending().await,
    }
}

async fn ended(held: Option<&mut oneshot::Receiver<()>>) {
    if let Some(held) = held {
        // Without a word it ends, too.
        let _ = held.await;
    }
}

async fn writable(writer: Option<&OwnedWriteHalf>) {
    if let Some(writer) = writer {
        // An error shows when it is written to.
        let _ = writer.writable().await;
    }
}

fn drop_typed(typed: &mut Vec<u8>, keys: &mut mpsc::Receiver<Vec<u8>>) {
    typed.clear();
    while keys.try_recv().is_ok() {}
}

/// Writes what goes out now.
fn write(writer: &mut Option<OwnedWriteHalf>, typed: &mut Vec<u8>) {
    let most = typed.len().min(MOST_WRITTEN);
    match writer.as_ref().map(|writer| writer.try_write(&typed[..most])) {
        Some(Ok(len)) => drop(typed.drain(..len)),
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
        Some(Err(_)) | None => {
            *writer = None;
            typed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn run_local(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async { timeout(LIMIT, test).await.unwrap() });
    }

    /// Types until there is no room, at a guest that reads nothing.
    async fn type_until_full(port: &Port) {
        while timeout(Duration::from_millis(50), port.keys.send(vec![b'k'; 100])).await.is_ok() {}
    }

    #[test]
    fn what_a_hung_guest_has_not_read_is_gone_after_a_reset_and_in_the_next_machine() {
        run_local(async {
            let port = start(0, None);
            for reset in [true, false] {
                let (ours, mut guest) = StdUnixStream::pair().unwrap();
                port.inbox.send(Input::Attach(ours)).unwrap();
                type_until_full(&port).await;
                if reset {
                    port.inbox.send(Input::Flush).unwrap();
                } else {
                    let (ours, next) = StdUnixStream::pair().unwrap();
                    port.inbox.send(Input::Attach(ours)).unwrap();
                    guest = next;
                }
                // It has been told when there is room again.
                port.keys.send(b"!".to_vec()).await.unwrap();
                guest.set_nonblocking(true).unwrap();
                let mut guest = UnixStream::from_std(guest).unwrap();
                let mut read = Vec::new();
                while read.last() != Some(&b'!') {
                    assert_ne!(guest.read_buf(&mut read).await.unwrap(), 0);
                }
                let most = if reset { 160 } else { 0 };
                assert!(read.len() - 1 <= most, "{} characters of the one before", read.len() - 1);
            }
        });
    }

    #[test]
    fn who_goes_while_waiting_waits_no_longer() {
        run_local(async {
            let port = start(0, None);
            let watcher = port.join(From::Now).await.unwrap();
            let waits = watcher.ask().unwrap();
            drop(watcher);
            assert!(waits.await.is_err(), "dropped, not kept for ever");
        });
    }
}
