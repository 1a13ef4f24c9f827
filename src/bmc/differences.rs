//! What clients have changed, beside what the profile says.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::bmc::store::{Fru, Store};
use crate::bmc::{Bmc, Core};

/// Longest value that is shown whole, in bytes.
const MAX_SHOWN: usize = 60;

/// A setting that is not as the profile has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The profile's key, or what it is called where the profile has none.
    pub setting: String,
    /// What the profile says, or what holds where it says nothing.
    pub profile: String,
    /// What holds now.
    pub now: String,
}

impl Difference {
    pub(super) fn new(
        setting: impl Into<String>,
        profile: impl Into<String>,
        now: impl Into<String>,
    ) -> Self {
        Self { setting: setting.into(), profile: profile.into(), now: now.into() }
    }
}

impl Bmc {
    /// What clients have changed. No secret is told, only that it was changed.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let mut all = self.core.store.users.differences();
        self.core.policies(&mut all);
        self.core.address_differences(&mut all);
        let now = &self.core.store;
        let mut fresh = Store::default();
        // These are compared with what the interface has.
        fresh.lan.addresses = now.lan.addresses;
        for (name, before, after) in [
            ("channel", value(&fresh.channel), value(&now.channel)),
            ("lan", value(&fresh.lan), value(&now.lan)),
            ("sol", value(&fresh.sol), value(&now.sol)),
            ("bmc", value(&fresh.device), value(&now.device)),
            ("sensors", value(&fresh.sensors), value(&now.sensors)),
            ("pef", value(&fresh.pef), value(&now.pef)),
            ("system_info", value(&fresh.system_info), value(&now.system_info)),
            ("dcmi", value(&fresh.dcmi), value(&now.dcmi)),
        ] {
            compare(name, &before, &after, &mut all);
        }
        all
    }
}

impl Core {
    fn policies(&self, all: &mut Vec<Difference>) {
        let chassis = &self.store.chassis;
        if self.restore_policy() != self.restore {
            let words = |restore| text(&value(&restore));
            let (before, now) = (words(self.restore), words(self.restore_policy()));
            all.push(Difference::new("power.restore", before, now));
        }
        if self.cycle_interval_s() != self.cycle_interval_s {
            let (before, now) = (self.cycle_interval_s, self.cycle_interval_s());
            all.push(Difference::new(
                "power.cycle_interval_s",
                before.to_string(),
                now.to_string(),
            ));
        }
        if chassis.disabled_buttons != 0 {
            let buttons = ["power-off", "reset", "diagnostic interrupt", "standby"];
            let disabled = buttons.iter().enumerate();
            let disabled = disabled.filter(|(bit, _)| chassis.disabled_buttons & 1 << bit != 0);
            let names: Vec<&str> = disabled.map(|(_, name)| *name).collect();
            all.push(Difference::new("disabled buttons", "none", names.join(", ")));
        }
        if chassis.capabilities.is_some() {
            all.push(Difference::new("chassis capabilities", "the BMC's own", "changed"));
        }
        if self.store.k_g.is_some() {
            let before = if self.declared_k_g.is_some() { "<secret>" } else { "none" };
            all.push(Difference::new("ipmi.k_g_file", before, "<another>"));
        }
        if self.store.sel.time_offset_s != 0 {
            let offset = format!("{:+} s", self.store.sel.time_offset_s);
            all.push(Difference::new("clock of the SEL", "the host's", offset));
        }
        if self.store.fru.image() != Fru::new(&self.identity).image() {
            all.push(Difference::new("FRU inventory", "as `identity` has it", "written to"));
        }
    }
}

fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

/// Every leaf that differs, by its path.
fn compare(path: &str, before: &Value, now: &Value, all: &mut Vec<Difference>) {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| {
                    map.get(key).cloned().unwrap_or_default()
                };
                compare(&format!("{path}.{key}"), &of(old), &of(new), all);
            }
        }
        _ if before == now => {}
        // Good for reading a device's state, where traps are sent.
        _ if path.ends_with(".community") => {
            all.push(Difference::new(path, "<secret>", "<another>"));
        }
        _ => all.push(Difference::new(path, text(before), text(now))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(bytes) if bytes.iter().all(Value::is_u64) => {
            let mut hex = String::new();
            for byte in bytes.iter().filter_map(Value::as_u64) {
                let _ = write!(hex, "{byte:02x} ");
            }
            shortened(hex.trim_end().to_owned())
        }
        other => shortened(other.to_string()),
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_SHOWN {
        while text.len() > MAX_SHOWN {
            text.pop();
        }
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_that_differ_are_named_by_their_path() {
        let before = json!({ "a": 1, "b": { "c": [1, 2], "d": "x" }, "community": [1] });
        let now = json!({ "a": 1, "b": { "c": [1, 255], "d": "x", "e": true }, "community": [2] });
        let mut all = Vec::new();
        compare("lan", &before, &now, &mut all);
        let expected = [
            Difference::new("lan.b.c", "01 02", "01 ff"),
            Difference::new("lan.b.e", "none", "true"),
            Difference::new("lan.community", "<secret>", "<another>"),
        ];
        assert_eq!(all, expected);
        assert_eq!(shortened("ä".repeat(100)).chars().count(), MAX_SHOWN / 2 + 1);
    }
}
