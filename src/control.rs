//! What `ctl` and `health` say to the running program over its control socket, and what it answers:
//! one JSON object a line, one request a connection. A connection that has asked for the console is
//! that console from the answer on.

use serde::{Deserialize, Serialize};

use crate::machine::{Power, Request as PowerRequest};

/// Name of the control socket in the run directory.
pub const SOCKET: &str = "control.sock";

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// How the machine and its BMC are.
    Status,
    /// How the VM's NICs are connected.
    Links,
    /// Watch the console, and type at it.
    Console {
        /// Do not type.
        read_only: bool,
        /// Begin with what it has shown last.
        history: bool,
    },
    /// Send a break on the console.
    Break,
    /// Set what to boot next.
    Boot {
        /// From where.
        device: BootChoice,
        /// Not only once.
        always: bool,
        /// By UEFI.
        uefi: bool,
    },
    /// What the System Event Log holds.
    Sel,
    /// What the sensors read.
    Sensors,
    /// Set the reading of a sensor.
    Sensor {
        /// Its name.
        name: String,
        /// What it is to read; `null`: what it would read by itself.
        value: Option<f64>,
    },
    /// Switch power.
    Power {
        /// What to do.
        request: PowerRequest,
    },
}

/// What to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootChoice {
    /// A disk.
    Disk,
    /// A CD-ROM.
    Cdrom,
    /// The network.
    Pxe,
    /// The firmware's set-up or boot menu.
    Bios,
    /// No override.
    None,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Links`].
    Links(Vec<Link>),
    /// To [`Request::Sel`]: oldest entry first.
    Sel(Vec<SelEntry>),
    /// To [`Request::Sensors`]: by number.
    Sensors(Vec<Sensor>),
    /// The request was accepted.
    Accepted,
    /// It was not; says why.
    Refused(String),
}

/// How the machine and its BMC are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Machine name.
    pub name: String,
    /// Machine UUID.
    pub uuid: String,
    /// Power as of now.
    pub power: Power,
    /// The power operation under way.
    pub operation: Option<PowerRequest>,
    /// The boot override, in words.
    pub boot: Option<String>,
    /// The machine is off because it crashed or could not be started.
    pub fault: bool,
    /// Process ID of QEMU.
    pub qemu_pid: Option<i32>,
    /// How QEMU ended last, if it ended by itself.
    pub last_failure: Option<String>,
    /// The BMC's UDP port.
    pub ipmi_port: u16,
    /// Open IPMI sessions.
    pub sessions: usize,
    /// Serial-over-LAN is active.
    pub sol_active: bool,
    /// Datagrams that got no answer since the start.
    pub dropped_datagrams: u64,
    /// The chassis shows where it is (Chassis Identify).
    pub identify: bool,
    /// For how long yet in seconds, if not for ever.
    pub identify_left_s: Option<u64>,
    /// What was changed over IPMI, and is not as the profile has it.
    pub differences: Vec<Difference>,
    /// How the VM's NICs are connected.
    pub links: Vec<Link>,
}

/// How one of the VM's NICs is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// QEMU's ID of the device.
    pub nic: String,
    /// Its address.
    pub mac: String,
    /// QEMU's device.
    pub model: String,
    /// The container's interface.
    pub interface: Option<String>,
    /// How it is connected.
    pub wiring: String,
    /// Its TAP device.
    pub tap: Option<String>,
    /// The interface is there, and connected.
    pub connected: bool,
    /// Why it is not, if it is there.
    pub problem: Option<String>,
    /// The guest sees a carrier.
    pub carrier: bool,
    /// MTU of the interface in bytes.
    pub mtu: Option<u32>,
    /// Packets that went to the guest.
    pub to_guest_packets: u64,
    /// Packets that were for the guest, and that it did not take.
    pub to_guest_dropped: u64,
    /// Packets that came from the guest.
    pub from_guest_packets: u64,
    /// Packets that came from the guest, and were dropped.
    pub from_guest_dropped: u64,
}

/// A setting that is not as the profile has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The profile's key, or what it is called where the profile has none.
    pub setting: String,
    /// What the profile says, or what holds where it says nothing.
    pub profile: String,
    /// What holds now.
    pub now: String,
}

/// An entry of the System Event Log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelEntry {
    /// Record ID.
    pub id: u16,
    /// Seconds since 1970 by the log's clock, for records that have a time stamp.
    pub time_s: Option<u32>,
    /// The sensor, or what kind of record it is.
    pub sensor: String,
    /// The event.
    pub event: String,
    /// The state has begun; else it has ended.
    pub asserted: bool,
    /// Who it was, or why.
    pub detail: Option<String>,
    /// The record as it is, in hexadecimal.
    pub record: String,
}

/// What a sensor reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensor {
    /// Sensor number.
    pub number: u8,
    /// Name.
    pub name: String,
    /// What kind of number it reads as; `states` and `events` for sensors without one.
    pub kind: String,
    /// What it reads, if it has a number, and that can be read now.
    pub value: Option<f64>,
    /// The unit's sign, for those with a number.
    pub unit: Option<String>,
    /// States that it is in, and thresholds that it has crossed.
    pub states: Vec<String>,
    /// `ctl` has set the reading.
    pub set: bool,
}
