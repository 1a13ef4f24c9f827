//! `[identity]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who the machine says it is: to its guest by SMBIOS, to others by IPMI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// SMBIOS system UUID and IPMI System GUID. Default: derived from the machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5a9d882d-7a74-5ead-adb8-671adc89d694")]
    pub uuid: Option<Uuid>,
    /// Manufacturer, 1 to 63 printable ASCII characters, as all texts here.
    #[schemars(regex(pattern = r"^[ -~]{1,63}$"), example = &"Example Corp.")]
    pub manufacturer: String,
    /// Product name.
    #[schemars(regex(pattern = r"^[ -~]{1,63}$"), example = &"Rack Server 1U")]
    pub product: String,
    /// Serial number. Default: derived from the machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,63}$"), example = &"SN0001")]
    pub serial: Option<String>,
    /// Asset tag of the chassis. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,63}$"), example = &"rack4-u17")]
    pub asset_tag: Option<String>,
    /// SKU number. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,63}$"), example = &"R1U-8C-32G")]
    pub sku: Option<String>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            uuid: None,
            manufacturer: "qemu-bmc".into(),
            product: "Virtual Server".into(),
            serial: None,
            asset_tag: None,
            sku: None,
        }
    }
}
