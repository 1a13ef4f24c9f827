//! One command of the client library `ipmi-rs`, for the client matrix:
//! `ipmi_rs_client PORT USER PASSWORD COMMAND`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a tool of the tests")]

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use ipmi_rs::Ipmi;
use ipmi_rs::app::auth::{
    GetChannelAuthenticationCapabilities, GetChannelCipherSuites, PrivilegeLevel,
};
use ipmi_rs::app::{GetChannelAccess, GetChannelInfo, GetDeviceId};
use ipmi_rs::connection::{
    Channel, IpmiCommand, IpmiConnection as _, LogicalUnit, Message, NetFn, Request,
    RequestTargetAddress, Response,
};
use ipmi_rs::rmcp::Rmcp;
use ipmi_rs::sensor_event::{GetSensorReading, ThresholdReading};
use ipmi_rs::storage::sdr::record::{
    IdentifiableSensor as _, InstancedSensor as _, RecordContents,
};
use ipmi_rs::storage::sdr::{GetDeviceSdrInfo, GetSdrRepositoryInfo, SdrCount, SdrGetAllocInfo};
use ipmi_rs::storage::sel::{
    ClearSel, GetSelEntry, GetSelInfo, RecordId, ReserveSel, SelGetAllocInfo,
};
use ipmi_rs::transport::{GetLanConfigParameters, LanConfigParameter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The library's errors are no [`Error`]s.
fn told(error: impl Debug) -> Box<dyn Error> {
    format!("{error:?}").into()
}

fn ask<C: IpmiCommand>(bmc: &mut Ipmi<Rmcp>, command: C) -> Result<C::Output>
where
    C::Error: Debug,
{
    bmc.send_recv(command).map_err(told)
}

fn show<C: IpmiCommand>(bmc: &mut Ipmi<Rmcp>, command: C) -> Result<()>
where
    C::Error: Debug,
    C::Output: Debug,
{
    println!("{:?}", ask(bmc, command)?);
    Ok(())
}

/// For what the library has no type.
fn raw(bmc: &mut Ipmi<Rmcp>, netfn: NetFn, command: u8, data: &[u8]) -> Result<Response> {
    let message = Message::new_request(netfn, command, data.to_vec());
    let mut request = Request::new(message, RequestTargetAddress::Bmc(LogicalUnit::Zero));
    bmc.inner_mut().send_recv(&mut request).map_err(told)
}

fn show_raw(bmc: &mut Ipmi<Rmcp>, netfn: NetFn, command: u8, data: &[u8]) -> Result<()> {
    let response = raw(bmc, netfn, command, data)?;
    println!("completion code {:#04x}, data {:02x?}", response.cc(), response.data());
    Ok(())
}

/// Set Session Privilege Level: a session begins as a user's.
fn become_administrator(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    let response = raw(bmc, NetFn::App, 0x3B, &[PrivilegeLevel::Administrator.into()])?;
    match response.cc() {
        0 => Ok(()),
        code => Err(format!("no administrator: completion code {code:#04x}").into()),
    }
}

/// A temperature, 0x30, has gone high.
fn sel_add(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    const RECORD: [u8; 16] = [0, 0, 2, 0, 0, 0, 0, 0x20, 0, 4, 1, 0x30, 1, 0x57, 0x64, 0x5F];
    become_administrator(bmc)?;
    show_raw(bmc, NetFn::Storage, 0x44, &RECORD)
}

fn sel(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    let mut next = RecordId::FIRST;
    let mut entries = 0;
    while !next.is_last() {
        let record = ask(bmc, GetSelEntry::new(None, next))?;
        println!("{:?}", record.entry);
        next = record.next_entry;
        entries += 1;
    }
    println!("{entries} of {} entries", ask(bmc, GetSelInfo)?.entries);
    Ok(())
}

fn sel_clear(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    become_administrator(bmc)?;
    let reservation = ask(bmc, ReserveSel)?;
    show(bmc, ClearSel::initiate(Some(reservation)))?;
    show(bmc, ClearSel::get_status(Some(reservation)))
}

fn sdrs(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    let records: Vec<_> = bmc.sdrs().collect();
    for record in &records {
        let kind = match &record.contents {
            RecordContents::FullSensor(_) => "full",
            RecordContents::CompactSensor(_) => "compact",
            RecordContents::EventOnlySensor(_) => "event-only",
            RecordContents::FruDeviceLocator(_) => "FRU",
            RecordContents::McDeviceLocator(_) => "MC",
            RecordContents::GenericDeviceLocator(_) => "generic",
            RecordContents::Unknown { .. } => "unknown",
        };
        println!("{kind}: {}", record.id().map_or_else(String::new, ToString::to_string));
    }
    println!("{} of {} records", records.len(), ask(bmc, GetSdrRepositoryInfo)?.record_count);
    Ok(())
}

fn sensors(bmc: &mut Ipmi<Rmcp>) -> Result<()> {
    let records: Vec<_> = bmc.sdrs().collect();
    for record in &records {
        let RecordContents::FullSensor(sensor) = &record.contents else { continue };
        let reading = ask(bmc, GetSensorReading::for_sensor_key(sensor.key_data()))?;
        let reading = ThresholdReading::from(&reading);
        let value = reading.reading.and_then(|reading| sensor.display_reading(reading));
        println!("{}: {}", sensor.id_string(), value.as_deref().unwrap_or("no reading"));
    }
    Ok(())
}

fn cipher_suites(bmc: &mut Ipmi<Rmcp>, channel: Channel) -> Result<()> {
    let suites = GetChannelCipherSuites::new(channel, 0).ok_or("no such part of the list")?;
    show(bmc, suites)
}

fn lan(bmc: &mut Ipmi<Rmcp>, channel: Channel) -> Result<()> {
    become_administrator(bmc)?;
    for parameter in [
        LanConfigParameter::IpAddress,
        LanConfigParameter::IpAddressSource,
        LanConfigParameter::MacAddress,
        LanConfigParameter::SubnetMask,
        LanConfigParameter::DefaultGatewayAddress,
    ] {
        let response = ask(bmc, GetLanConfigParameters::new(channel, parameter))?;
        println!("{parameter:?}: {:?}", parameter.parse(&response.data).map_err(told)?);
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, user, password, command] = &arguments[..] else {
        return Err("usage: ipmi_rs_client PORT USER PASSWORD COMMAND".into());
    };
    let mut connection = Rmcp::new(("127.0.0.1", port.parse()?), Duration::from_secs(2))?;
    connection.activate(true, Some(user), Some(password.as_bytes())).map_err(told)?;
    let bmc = &mut Ipmi::new(connection);
    let this = Channel::Current;
    match command.as_str() {
        "device-id" => show(bmc, GetDeviceId),
        "auth-capabilities" => {
            let level = PrivilegeLevel::Administrator;
            show(bmc, GetChannelAuthenticationCapabilities::new(this, level))
        }
        "channel-info" => show(bmc, GetChannelInfo::new(this)),
        "channel-access" => show(bmc, GetChannelAccess::volatile(this)),
        "cipher-suites" => cipher_suites(bmc, this),
        "lan" => lan(bmc, this),
        "sel-info" => show(bmc, GetSelInfo),
        "sel-allocation" => {
            println!("{:?}", *ask(bmc, SelGetAllocInfo)?);
            Ok(())
        }
        "sel-add" => sel_add(bmc),
        "sel" => sel(bmc),
        "sel-clear" => sel_clear(bmc),
        "sdr-info" => show(bmc, GetSdrRepositoryInfo),
        "sdr-allocation" => {
            println!("{:?}", *ask(bmc, SdrGetAllocInfo)?);
            Ok(())
        }
        "device-sdr-info" => show(bmc, GetDeviceSdrInfo::new(SdrCount)),
        "sdrs" => sdrs(bmc),
        "sensors" => sensors(bmc),
        "chassis-status" => show_raw(bmc, NetFn::Chassis, 0x01, &[]),
        "power-on-as-user" => show_raw(bmc, NetFn::Chassis, 0x02, &[0x01]),
        "power-on" => {
            become_administrator(bmc)?;
            show_raw(bmc, NetFn::Chassis, 0x02, &[0x01])
        }
        "power-off" => {
            become_administrator(bmc)?;
            show_raw(bmc, NetFn::Chassis, 0x02, &[0x00])
        }
        other => Err(format!("what is {other}?").into()),
    }
}
