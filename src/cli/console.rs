//! `ctl console`: a terminal for the machine's console.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use crate::cli::{ctl, output};
use crate::console::{Key, Keys};
use crate::control::{Request, Response};
use crate::host::terminal::Raw;

const WELCOME: &str = "[console of the machine; ~. leaves, ~? helps]\r\n";
const HELP: &str = "\r\n~.  leave\r\n~B  send a break\r\n~~  type ~\r\n";

/// Attaches the terminal, until `~.` or the program's end. Without a terminal, standard input is
/// typed and standard output shows, until the program ends.
pub(super) fn run(socket: &Path, read_only: bool, history: bool) -> io::Result<()> {
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
    let (to, socket, escapes) = (stream.get_ref().try_clone()?, socket.to_owned(), raw.is_some());
    thread::spawn(move || {
        // What is wrong shows on the other side, too.
        let _ = type_all(&to, &socket, escapes, read_only);
    });
    let shown = show(stream);
    drop(raw);
    shown
}

fn show(mut stream: BufReader<UnixStream>) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    let mut out = io::stdout().lock();
    loop {
        let len = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match out.write_all(&buffer[..len]).and_then(|()| out.flush()) {
            // The reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
}

fn type_all(mut to: &UnixStream, socket: &Path, escapes: bool, read_only: bool) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut keys = Keys::default();
    let mut input = io::stdin().lock();
    loop {
        let len = input.read(&mut buffer)?;
        let pressed = if escapes {
            keys.press(&buffer[..len])
        } else {
            vec![Key::Typed(buffer[..len].to_vec())]
        };
        for key in pressed {
            match key {
                Key::Typed(characters) if !read_only => to.write_all(&characters)?,
                Key::Break if !read_only => {
                    ctl::ask(socket, Request::Break)?;
                }
                Key::Typed(_) | Key::Break => {}
                Key::Help => output::complain(HELP),
                Key::Leave => {
                    output::complain("\r\n");
                    return to.shutdown(Shutdown::Both);
                }
            }
        }
        if len == 0 {
            // A terminal that is gone shows nothing any more, either.
            return if escapes { to.shutdown(Shutdown::Both) } else { Ok(()) };
        }
    }
}
