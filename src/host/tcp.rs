//! TCP, for clients of the console.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpListener;

/// After what silence a client is asked whether it is still there, and how often then.
const SILENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(10);

/// Listens. A client that has gone without a word, while there was nothing to tell it, is found
/// out: its connection is over then.
///
/// # Errors
/// The kernel's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // Linux hands both on to the connections.
    let socket = SockRef::from(&listener);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE).with_interval(AGAIN))?;
    socket.set_tcp_nodelay(true)?;
    TcpListener::from_std(listener)
}
