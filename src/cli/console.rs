//! `ctl console`: a terminal for the machine's console.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use crate::cli::{ctl, output};
use crate::console::{Key, Keys};
use crate::control::{Request, Response};
use crate::host::stdout;
use crate::host::terminal::{Raw, wait_to_show};

const WELCOME: &str = "[console of the machine; ~. leaves, ~? helps]\r\n";
const HELP: &str = "\r\n~.  leave\r\n~B  send a break\r\n~~  type ~\r\n";

/// Attaches the terminal, until `~.` or the program's end. Without a terminal, standard input is
/// typed and standard output shows, until the program ends or nobody reads any more.
pub(super) fn run(socket: &Path, read_only: bool, history: bool) -> io::Result<ExitCode> {
    let request = Request::Console { read_only, history };
    let (answer, stream) = ctl::ask_on(socket, request)?;
    if let Response::Refused(reason) = answer {
        return Err(io::Error::other(reason));
    }
    stream.get_ref().set_read_timeout(None)?;
    stream.get_ref().set_write_timeout(None)?;
    // Also where nothing is typed: for `~.`.
    let raw = Raw::enter()?;
    if raw.is_some() {
        output::complain(WELCOME);
    }
    let (to, socket) = (stream.get_ref().try_clone()?, socket.to_owned());
    if raw.is_some() {
        thread::spawn(move || keyboard(to, &socket, read_only));
    } else {
        thread::spawn(move || {
            // What is wrong shows on the other side, too.
            let _ = type_input(&to, read_only);
        });
    }
    let shown = show(stream);
    drop(raw);
    shown
}

fn show(mut stream: BufReader<UnixStream>) -> io::Result<ExitCode> {
    let mut buffer = [0; 64 * 1024];
    loop {
        if stream.buffer().is_empty() {
            match wait_to_show(stream.get_ref()) {
                Ok(true) => {}
                // The reader has seen enough.
                Ok(false) => return Ok(ExitCode::SUCCESS),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
        }
        let len = match stream.read(&mut buffer) {
            Ok(0) => return Ok(ExitCode::SUCCESS),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Err(error) = stdout::write(&buffer[..len]) {
            return Ok(output::failed(&error).unwrap_or(ExitCode::SUCCESS));
        }
    }
}

/// Types what is on standard input, at the pace at which it is taken.
fn type_input(mut to: &UnixStream, read_only: bool) -> io::Result<()> {
    let mut input = io::stdin().lock();
    if read_only { io::copy(&mut input, &mut io::sink()) } else { io::copy(&mut input, &mut to) }?;
    Ok(())
}

/// Types what is pressed, and heeds the escapes: also while what was typed is not taken.
fn keyboard(to: UnixStream, socket: &Path, read_only: bool) {
    let (typed, waiting) = mpsc::channel::<Vec<u8>>();
    thread::scope(|threads| {
        threads.spawn(|| {
            for characters in waiting {
                if (&to).write_all(&characters).is_err() {
                    return;
                }
            }
        });
        // A terminal that is gone shows nothing any more, either.
        let _ = press_all(&typed, socket, read_only);
        let _ = to.shutdown(Shutdown::Both);
        drop(typed);
    });
}

/// Hands on what is typed, until the user leaves.
fn press_all(typed: &mpsc::Sender<Vec<u8>>, socket: &Path, read_only: bool) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut keys = Keys::default();
    let mut input = io::stdin().lock();
    loop {
        let len = input.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        for key in keys.press(&buffer[..len]) {
            match key {
                Key::Typed(characters) if !read_only => {
                    // Who does not take it any more shows on the other side, too.
                    let _ = typed.send(characters);
                }
                Key::Break if !read_only => {
                    if let Err(error) = ctl::ask(socket, Request::Break) {
                        output::complain(&format!("\r\nno break was sent: {error}\r\n"));
                    }
                }
                Key::Typed(_) | Key::Break => {}
                Key::Help => output::complain(HELP),
                Key::Leave => {
                    output::complain("\r\n");
                    return Ok(());
                }
            }
        }
    }
}
