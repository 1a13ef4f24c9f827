//! FRU inventory of the machine (Platform Management FRU Information Storage Definition v1.3),
//! from its identity and from what clients have written.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bmc::store::hex;
use crate::plan::Identity;
use crate::profile::document;
use crate::wire::message::checksum;

/// Bytes of the inventory area. More than the longest identity takes: clients can edit.
pub(in crate::bmc) const SIZE: usize = 1024;

/// Type/length byte of 8-bit text (section 13); the length is in the lower six bits.
const TEXT: u8 = 0xC0;
/// "No more fields".
const END: u8 = 0xC1;
/// Chassis type "rack mount chassis" (SMBIOS section 7.4.1).
const RACK_MOUNT: u8 = 0x17;
/// Record type and sub-record of a management access record (sections 16.2 and 18.4).
const MANAGEMENT_ACCESS: u8 = 0x03;
const SYSTEM_UNIQUE_ID: u8 = 0x07;
/// Last record of the list, format version 2 (section 16.1).
const END_OF_LIST: u8 = 0x80;
const RECORD_FORMAT: u8 = 0x02;

/// The inventory.
#[derive(Debug, Default)]
pub(in crate::bmc) struct Fru {
    image: Vec<u8>,
    written: bool,
}

impl Serialize for Fru {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.then(|| hex::encode(&self.image)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fru {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self::default());
        };
        let image = hex::decode(&text).filter(|image| image.len() == SIZE);
        let image = image.ok_or_else(|| serde::de::Error::custom("no FRU inventory"))?;
        Ok(Self { image, written: true })
    }
}

impl Fru {
    /// What the identity alone makes.
    pub(in crate::bmc) fn new(identity: &Identity) -> Self {
        let image = Layout::declared(identity).encode().expect("the longest identity fits");
        Self { image, written: false }
    }

    /// After it was read from the state directory: what the profile sets wins over what clients
    /// have written, field by field. An inventory that cannot be understood is not kept.
    pub(in crate::bmc) fn settle(&mut self, identity: &Identity) {
        let kept = Some(&self.image).filter(|_| self.written).and_then(|image| {
            let mut layout = Layout::parse(image)?;
            layout.declare(identity);
            layout.encode()
        });
        *self = match kept {
            Some(image) => Self { image, written: true },
            None => Self::new(identity),
        };
    }

    /// All bytes.
    #[must_use]
    pub(in crate::bmc) fn image(&self) -> &[u8] {
        &self.image
    }

    /// Writes at `offset`, if all fits.
    pub(in crate::bmc) fn write(&mut self, offset: usize, bytes: &[u8]) -> Option<()> {
        self.image.get_mut(offset..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.written = true;
        Some(())
    }
}

/// An area of fields: what stands before them, and each with its type/length byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Area {
    head: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

/// The inventory, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Layout {
    internal: Vec<u8>,
    chassis: Option<Area>,
    board: Option<Area>,
    product: Option<Area>,
    records: Vec<u8>,
}

/// A text as field. A length of one is that of the end mark: such a text gets a blank.
fn field(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().take(0x3F).collect();
    if bytes.len() == 1 {
        bytes.push(b' ');
    }
    let len = u8::try_from(bytes.len()).unwrap_or(0x3F);
    bytes.insert(0, TEXT | len);
    bytes
}

impl Area {
    /// With its version, length, end mark, padding and checksum; in multiples of eight bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x01, 0];
        out.extend(&self.head);
        out.extend(self.fields.iter().flatten());
        out.push(END);
        out.resize((out.len() + 1).next_multiple_of(8) - 1, 0);
        out[1] = u8::try_from((out.len() + 1) / 8).unwrap_or(0);
        out.push(checksum(&out));
        out
    }

    /// `head_len`: bytes between the length and the first field.
    fn parse(bytes: &[u8], head_len: usize) -> Option<Self> {
        let len = usize::from(*bytes.get(1)?) * 8;
        let area = bytes.get(..len).filter(|area| !area.is_empty())?;
        if area[0] & 0x0F != 0x01 || checksum(area) != 0 {
            return None;
        }
        let head = area.get(2..2 + head_len)?.to_vec();
        let mut rest = area.get(2 + head_len..len - 1)?;
        let mut fields = Vec::new();
        loop {
            let first = *rest.first()?;
            if first == END {
                return Some(Self { head, fields });
            }
            let (field, after) = rest.split_at_checked(1 + usize::from(first & 0x3F))?;
            fields.push(field.to_vec());
            rest = after;
        }
    }

    fn set(&mut self, index: usize, text: &str) {
        if self.fields.len() <= index {
            self.fields.resize(index + 1, field(""));
        }
        self.fields[index] = field(text);
    }
}

impl Layout {
    fn declared(identity: &Identity) -> Self {
        let Identity { manufacturer, product, serial, asset_tag, sku, uuid, .. } = identity;
        let text = |text: &Option<String>| field(text.as_deref().unwrap_or(""));
        let custom = asset_tag.as_deref().map(field);
        // Sections 10 to 12. Language 25 is English; a manufacturing date of 0 is "unspecified".
        let chassis = Area {
            head: vec![RACK_MOUNT],
            fields: [text(sku), field(serial)].into_iter().chain(custom).collect(),
        };
        let board = Area {
            head: vec![25, 0, 0, 0],
            fields: vec![field(manufacturer), field(product), field(serial), text(sku), field("")],
        };
        let version = env!("CARGO_PKG_VERSION");
        let product = Area {
            head: vec![25],
            fields: vec![
                field(manufacturer),
                field(product),
                text(sku),
                field(version),
                field(serial),
                text(asset_tag),
                field(""),
            ],
        };
        // The bytes of the UUID in the order of its text (section 18.4.7).
        let payload: Vec<u8> = [SYSTEM_UNIQUE_ID].into_iter().chain(*uuid.as_bytes()).collect();
        let len = u8::try_from(payload.len()).unwrap_or(0);
        let mut records =
            vec![MANAGEMENT_ACCESS, END_OF_LIST | RECORD_FORMAT, len, checksum(&payload)];
        records.push(checksum(&records));
        records.extend(payload);
        Self {
            internal: Vec::new(),
            chassis: Some(chassis),
            board: Some(board),
            product: Some(product),
            records,
        }
    }

    /// Puts in what the profile sets.
    fn declare(&mut self, identity: &Identity) {
        let default = document::Identity::default();
        let mut set = |text: &str, [chassis, board, product]: [Option<usize>; 3]| {
            let areas = [&mut self.chassis, &mut self.board, &mut self.product];
            for (area, index) in areas.into_iter().zip([chassis, board, product]) {
                if let (Some(area), Some(index)) = (area, index) {
                    area.set(index, text);
                }
            }
        };
        if identity.manufacturer != default.manufacturer {
            set(&identity.manufacturer, [None, Some(0), Some(0)]);
        }
        if identity.product != default.product {
            set(&identity.product, [None, Some(1), Some(1)]);
        }
        if identity.serial != identity.name.serial() {
            set(&identity.serial, [Some(1), Some(2), Some(4)]);
        }
        if let Some(sku) = &identity.sku {
            set(sku, [Some(0), Some(3), Some(2)]);
        }
        if let Some(asset_tag) = &identity.asset_tag {
            set(asset_tag, [Some(2), None, Some(5)]);
        }
    }

    /// All bytes, if they fit (section 8).
    fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![0x01, 0, 0, 0, 0, 0, 0];
        out.push(0);
        let areas = [&self.chassis, &self.board, &self.product].map(Option::as_ref);
        let areas = areas.map(|area| area.map(Area::encode).unwrap_or_default());
        let [chassis, board, product] = areas;
        let parts = [&self.internal, &chassis, &board, &product, &self.records];
        for (index, part) in parts.into_iter().enumerate() {
            if part.is_empty() {
                continue;
            }
            out[1 + index] = u8::try_from(out.len() / 8).ok()?;
            out.extend(part);
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out[7] = checksum(&out[..7]);
        if out.len() > SIZE {
            return None;
        }
        out.resize(SIZE, 0);
        Some(out)
    }

    fn parse(image: &[u8]) -> Option<Self> {
        let header: &[u8; 8] = image.first_chunk()?;
        if header[0] & 0x0F != 0x01 || checksum(header) != 0 {
            return None;
        }
        let starts: [usize; 5] = std::array::from_fn(|index| usize::from(header[1 + index]) * 8);
        let [internal, chassis, board, product, records] = starts;
        let area = |start: usize, head_len| -> Option<Option<Area>> {
            if start == 0 {
                return Some(None);
            }
            Area::parse(image.get(start..)?, head_len).map(Some)
        };
        // Only where the next area begins tells how long this one is (section 9).
        let internal = match internal {
            0 => Vec::new(),
            start => {
                let end = starts.into_iter().filter(|other| *other > start).min();
                image.get(start..end.unwrap_or(SIZE))?.to_vec()
            }
        };
        let records = match records {
            0 => Vec::new(),
            start => record_list(image.get(start..)?)?.to_vec(),
        };
        Some(Self {
            internal,
            chassis: area(chassis, 1)?,
            board: area(board, 4)?,
            product: area(product, 1)?,
            records,
        })
    }
}

/// The list of multi-records that begins here (section 16).
fn record_list(bytes: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    loop {
        let header: &[u8; 5] = bytes.get(end..)?.first_chunk()?;
        if checksum(header) != 0 {
            return None;
        }
        end += 5 + usize::from(header[2]);
        if header[1] & END_OF_LIST != 0 {
            return bytes.get(..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "node1".parse().unwrap(),
            uuid: "5a9d882d-7a74-5ead-adb8-671adc89d694".parse().unwrap(),
            manufacturer: "qemu-bmc".into(),
            product: "Virtual Server".into(),
            serial: "node1".parse::<crate::value::MachineName>().unwrap().serial(),
            asset_tag: None,
            sku: None,
        }
    }

    fn saved(fru: &Fru) -> Fru {
        serde_json::from_str(&serde_json::to_string(fru).unwrap()).unwrap()
    }

    #[test]
    fn the_longest_and_the_shortest_identity_fit_and_can_be_read() {
        for len in [1, 2, 63] {
            let text = "x".repeat(len);
            let identity = Identity {
                manufacturer: text.clone(),
                product: text.clone(),
                serial: text.clone(),
                asset_tag: Some(text.clone()),
                sku: Some(text.clone()),
                ..identity()
            };
            let fru = Fru::new(&identity);
            assert_eq!(fru.image().len(), SIZE);
            let layout = Layout::parse(fru.image()).unwrap();
            assert_eq!(layout, Layout::declared(&identity));
            let product = layout.product.unwrap();
            assert_eq!(&product.fields[4][1..=len], text.as_bytes());
        }
    }

    #[test]
    fn what_is_written_stays_unless_the_profile_says_otherwise() {
        let mut layout = Layout::declared(&identity());
        layout.product.as_mut().unwrap().set(4, "WRITTEN-SERIAL");
        layout.product.as_mut().unwrap().set(5, "WRITTEN-TAG");
        layout.internal = vec![0x55; 8];
        let mut fru = Fru::new(&identity());
        assert_eq!(serde_json::to_string(&fru).unwrap(), "null", "nothing to save");
        fru.write(0, &layout.encode().unwrap()).unwrap();
        assert_eq!(fru.write(SIZE - 1, &[0, 0]), None);

        let mut kept = saved(&fru);
        kept.settle(&identity());
        assert_eq!(kept.image(), fru.image());

        let declared = Identity { serial: "DECLARED".into(), ..identity() };
        let mut kept = saved(&fru);
        kept.settle(&declared);
        let fields = |fru: &Fru| Layout::parse(fru.image()).unwrap().product.unwrap().fields;
        assert_eq!(fields(&kept)[4], field("DECLARED"));
        assert_eq!(fields(&kept)[5], field("WRITTEN-TAG"));

        // Half an edit, or something else altogether.
        fru.write(1, &[0xEE]).unwrap();
        let mut lost = saved(&fru);
        lost.settle(&declared);
        assert_eq!(lost.image(), Fru::new(&declared).image());
    }
}
