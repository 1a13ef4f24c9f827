//! Who asks something of the machine.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A user of the BMC, over the LAN.
    Lan {
        /// Name of the user.
        user: String,
        /// User ID.
        user_id: u8,
        /// The console's address.
        console: SocketAddr,
        /// Managed System Session ID.
        session: u32,
    },
    /// Software on the machine itself, over the system interface.
    SystemInterface,
    /// `ctl`.
    Ctl,
    /// The power restore policy.
    RestorePolicy,
    /// The BMC's watchdog timer.
    Watchdog,
    /// The end of the program.
    End,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lan { user, user_id, console, session } => {
                write!(f, "user {user} ({user_id}) from {console}, session {session:#010x}")
            }
            Self::SystemInterface => f.write_str("software on the machine"),
            Self::Ctl => f.write_str("ctl"),
            Self::RestorePolicy => f.write_str("the power restore policy"),
            Self::Watchdog => f.write_str("the watchdog timer"),
            Self::End => f.write_str("the end of qemu-bmc"),
        }
    }
}
