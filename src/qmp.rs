//! QMP messages as types: the commands that we send, and what QEMU says.
//!
//! Source: QEMU's *QMP Reference Manual*. Names are QEMU's. Only bytes to values; the connection is
//! `host::qmp`.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::value::Secret;

/// A command to QEMU.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "execute", content = "arguments")]
pub enum Command {
    /// Leaves the negotiation mode that every connection starts in.
    #[serde(rename = "qmp_capabilities")]
    QmpCapabilities,
    /// Presses the ACPI power button.
    #[serde(rename = "system_powerdown")]
    SystemPowerdown,
    /// Resets the machine; the process stays.
    #[serde(rename = "system_reset")]
    SystemReset,
    /// Ends the process.
    #[serde(rename = "quit")]
    Quit,
    /// Sends a non-maskable interrupt to the guest's CPUs.
    #[serde(rename = "inject-nmi")]
    InjectNmi,
    /// Sends a break on a serial port.
    #[serde(rename = "chardev-send-break")]
    ChardevSendBreak {
        /// ID of the character device.
        id: String,
    },
    /// Sets the password of a display.
    #[serde(rename = "set_password")]
    SetPassword {
        /// `vnc`.
        protocol: &'static str,
        /// ASCII text.
        #[serde(serialize_with = "expose")]
        password: Secret,
    },
    /// Presses keys on the guest's keyboard, and lets them go.
    #[serde(rename = "send-key")]
    SendKey {
        /// Which.
        keys: [Key; 1],
    },
    /// Makes a network back end.
    #[serde(rename = "netdev_add")]
    NetdevAdd(serde_json::Map<String, Value>),
    /// Removes a network back end.
    #[serde(rename = "netdev_del")]
    NetdevDel {
        /// ID of the back end.
        id: String,
    },
    /// Gives the descriptor that comes with the message a name.
    #[serde(rename = "getfd")]
    GetFd {
        /// The name.
        #[serde(rename = "fdname")]
        name: String,
    },
    /// Plugs in a device.
    #[serde(rename = "device_add")]
    DeviceAdd(serde_json::Map<String, Value>),
    /// Asks the guest to let go of a device, and unplugs it then.
    #[serde(rename = "device_del")]
    DeviceDel {
        /// ID of the device.
        id: String,
    },
    /// Gives a network device a carrier, or takes it away.
    #[serde(rename = "set_link")]
    SetLink {
        /// ID of the device.
        name: String,
        /// It has one.
        up: bool,
    },
    /// Asks what was read from and written to block devices.
    #[serde(rename = "query-blockstats")]
    QueryBlockstats,
    /// Sets a property of a device.
    #[serde(rename = "qom-set")]
    QomSet {
        /// Path in the object tree, such as `/machine/peripheral/disk0`.
        path: String,
        /// Name of the property.
        property: String,
        /// Its value.
        value: Value,
    },
}

/// A key of the guest's keyboard (QEMU's `KeyValue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum Key {
    /// By name, such as `f2`.
    Qcode(&'static str),
}

/// For QEMU, whom we tell.
fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(secret.expose()))
}

/// A command with the ID that its return will carry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request<'a> {
    /// The command.
    #[serde(flatten)]
    pub command: &'a Command,
    /// Chosen by us; QEMU gives it back.
    pub id: u64,
}

/// One line from QEMU.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first line of a connection.
    Greeting(Version),
    /// A command has ended.
    Return {
        /// The request's ID.
        id: u64,
        /// What it returned, or QEMU's description of what went wrong.
        result: Result<Value, String>,
    },
    /// Something has happened.
    Event(Event),
}

/// QEMU's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
}

/// An event, as far as it matters to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine has shut down, or is about to.
    Shutdown {
        /// The guest asked for it.
        guest: bool,
        /// QEMU's `ShutdownCause`, such as `guest-shutdown`.
        reason: String,
    },
    /// The machine was reset.
    Reset {
        /// The guest asked for it.
        guest: bool,
        /// QEMU's `ShutdownCause`, such as `guest-reset`.
        reason: String,
    },
    /// The guest's kernel has panicked and said so.
    GuestPanicked,
    /// A device that was to be unplugged is gone.
    DeviceDeleted {
        /// Its ID; parts of devices have none.
        id: Option<String>,
    },
    /// A watchdog device has run out.
    Watchdog {
        /// QEMU's `WatchdogAction`, such as `reset`.
        action: String,
    },
    /// Any other event, by name.
    Other(String),
}

/// Bytes that the guest has read from all its block devices, and written: what `query-blockstats`
/// returns, added up.
#[must_use]
pub fn block_bytes(returned: &Value) -> Option<u64> {
    let bytes = |device: &Value| {
        let count = |name: &str| device.get("stats")?.get(name)?.as_u64();
        count("rd_bytes")?.checked_add(count("wr_bytes")?)
    };
    returned.as_array()?.iter().try_fold(0_u64, |sum, device| sum.checked_add(bytes(device)?))
}

impl Message {
    /// Reads one line.
    ///
    /// # Errors
    /// When the line is not JSON or not one of the forms that QMP defines.
    pub fn decode(line: &str) -> Result<Self, serde_json::Error> {
        let raw: RawMessage = serde_json::from_str(line)?;
        let id = raw.id.unwrap_or_default();
        match raw {
            RawMessage { greeting: Some(greeting), .. } => {
                Ok(Self::Greeting(greeting.version.qemu))
            }
            RawMessage { event: Some(name), data, .. } => {
                Ok(Self::Event(Event::from_parts(name, data.unwrap_or_default())))
            }
            RawMessage { error: Some(error), .. } => {
                Ok(Self::Return { id, result: Err(error.desc) })
            }
            RawMessage { returned: Some(value), .. } => Ok(Self::Return { id, result: Ok(value) }),
            _ => Err(serde::de::Error::custom("neither greeting, return, error nor event")),
        }
    }
}

impl Event {
    fn from_parts(name: String, data: EventData) -> Self {
        let EventData { guest, reason, action, device } = data;
        match name.as_str() {
            "SHUTDOWN" => Self::Shutdown { guest, reason },
            "RESET" => Self::Reset { guest, reason },
            // The second one when a kernel for the crash takes over (kdump).
            "GUEST_PANICKED" | "GUEST_CRASHLOADED" => Self::GuestPanicked,
            "WATCHDOG" => Self::Watchdog { action },
            "DEVICE_DELETED" => Self::DeviceDeleted { id: device },
            _ => Self::Other(name),
        }
    }
}

#[derive(Deserialize)]
struct RawMessage {
    #[serde(rename = "QMP")]
    greeting: Option<RawGreeting>,
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<RawError>,
    event: Option<String>,
    data: Option<EventData>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawGreeting {
    version: RawVersion,
}

#[derive(Deserialize)]
struct RawVersion {
    qemu: Version,
}

#[derive(Deserialize)]
struct RawError {
    #[serde(default)]
    desc: String,
}

#[derive(Default, Deserialize)]
struct EventData {
    #[serde(default)]
    guest: bool,
    #[serde(default)]
    reason: String,
    device: Option<String>,
    #[serde(default)]
    action: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_qemu_7_2() {
        let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}, "capabilities": ["oob"]}}"#;
        let version = Version { major: 7, minor: 2, micro: 22 };
        assert_eq!(Message::decode(greeting).unwrap(), Message::Greeting(version));

        let event = r#"{"timestamp": {"seconds": 1795464719, "microseconds": 996423}, "event": "RESET", "data": {"guest": false, "reason": "host-qmp-system-reset"}}"#;
        let reset = Event::Reset { guest: false, reason: "host-qmp-system-reset".into() };
        assert_eq!(Message::decode(event).unwrap(), Message::Event(reset));

        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_PANICKED", "data": {"action": "run"}}"#;
        assert_eq!(Message::decode(event).unwrap(), Message::Event(Event::GuestPanicked));
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "WATCHDOG", "data": {"action": "reset"}}"#;
        let watchdog = Event::Watchdog { action: "reset".into() };
        assert_eq!(Message::decode(event).unwrap(), Message::Event(watchdog));

        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "NIC_RX_FILTER_CHANGED", "data": {"name": "nic0", "path": "/machine/peripheral/nic0"}}"#;
        let other = Event::Other("NIC_RX_FILTER_CHANGED".into());
        assert_eq!(Message::decode(event).unwrap(), Message::Event(other));

        let message = Message::decode(r#"{"return": {}, "id": 7}"#).unwrap();
        let Message::Return { id: 7, result: Ok(_) } = message else { panic!("{message:?}") };

        let error = r#"{"id": 8, "error": {"class": "GenericError", "desc": "The bootindex 1 has already been used"}}"#;
        let result = Err("The bootindex 1 has already been used".into());
        assert_eq!(Message::decode(error).unwrap(), Message::Return { id: 8, result });
    }

    #[test]
    fn bytes_of_all_block_devices() {
        let stats = serde_json::json!([
            {"device": "", "qdev": "/machine/peripheral/disk0/virtio-backend",
             "stats": {"rd_bytes": 4096, "wr_bytes": 512, "rd_operations": 1}},
            {"device": "", "stats": {"rd_bytes": 1, "wr_bytes": 2}},
        ]);
        assert_eq!(block_bytes(&stats), Some(4611));
        assert_eq!(block_bytes(&serde_json::json!([])), Some(0));
        let most = serde_json::json!([{"stats": {"rd_bytes": u64::MAX, "wr_bytes": 1}}]);
        for odd in [most, serde_json::json!({}), serde_json::json!([{"stats": {}}])] {
            assert_eq!(block_bytes(&odd), None, "{odd}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for line in ["", "{}", "[]", "{\"event\": 3}", "null", "{\"return\":"] {
            assert!(Message::decode(line).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_are_what_qemu_reads() {
        let text = |command: &Command| serde_json::to_string(&Request { command, id: 1 }).unwrap();
        assert_eq!(text(&Command::Quit), r#"{"execute":"quit","id":1}"#);
        let stats = r#"{"execute":"query-blockstats","id":1}"#;
        assert_eq!(text(&Command::QueryBlockstats), stats);
        let command = Command::QomSet {
            path: "/machine/peripheral/disk0".into(),
            property: "bootindex".into(),
            value: (-1).into(),
        };
        assert_eq!(
            text(&command),
            r#"{"execute":"qom-set","arguments":{"path":"/machine/peripheral/disk0","property":"bootindex","value":-1},"id":1}"#
        );
        assert_eq!(
            text(&Command::SendKey { keys: [Key::Qcode("f2")] }),
            r#"{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"f2"}]},"id":1}"#
        );
    }
}
