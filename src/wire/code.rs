//! Code sets of the specification, each one table.
//!
//! All are open: a value that has no name survives a round trip and prints in hexadecimal.

macro_rules! codes {
    ($($(#[$meta:meta])* $type:ident($int:ty) { $($(#[$doc:meta])* $name:ident = $value:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub $int);

        #[allow(missing_docs, reason = "the specification's own names; some carry a note")]
        impl $type {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name of the code, if it has one here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({:#04x})", stringify!($type), self.0),
                }
            }
        }
    )*};
}

codes! {
    /// Network function of a request, even numbers (v2.0 table 5-1). A response has it plus one.
    NetFn(u8) {
        CHASSIS = 0x00,
        BRIDGE = 0x02,
        SENSOR_EVENT = 0x04,
        APP = 0x06,
        FIRMWARE = 0x08,
        STORAGE = 0x0A,
        TRANSPORT = 0x0C,
        GROUP_EXTENSION = 0x2C,
        OEM_GROUP = 0x2E,
    }

    /// Completion code: first data byte of every response (v2.0 table 5-2), and the
    /// command-specific ones (80h–BEh) that we send.
    CompletionCode(u8) {
        OK = 0x00,
        /// Get/Set … Parameters: parameter not supported; payload commands: already (in)active.
        PARAMETER_NOT_SUPPORTED = 0x80,
        /// Set … Parameters: set-in-progress already held.
        SET_IN_PROGRESS = 0x81,
        /// Set … Parameters: write to a read-only parameter.
        READ_ONLY = 0x82,
        /// Close Session (v2.0 section 22.19): no such session.
        INVALID_SESSION_ID = 0x87,
        NODE_BUSY = 0xC0,
        INVALID_COMMAND = 0xC1,
        INVALID_LUN = 0xC2,
        TIMEOUT = 0xC3,
        OUT_OF_SPACE = 0xC4,
        RESERVATION_CANCELED = 0xC5,
        LENGTH_INVALID = 0xC7,
        OUT_OF_RANGE = 0xC9,
        CANNOT_RETURN_BYTES = 0xCA,
        NOT_PRESENT = 0xCB,
        INVALID_FIELD = 0xCC,
        ILLEGAL_FOR_SENSOR = 0xCD,
        INSUFFICIENT_PRIVILEGE = 0xD4,
        NOT_IN_PRESENT_STATE = 0xD5,
        UNSPECIFIED = 0xFF,
    }

    /// Payload type of the RMCP+ session header (v2.0 table 13-16).
    PayloadType(u8) {
        IPMI = 0x00,
        SOL = 0x01,
        OEM_EXPLICIT = 0x02,
        OPEN_SESSION_REQUEST = 0x10,
        OPEN_SESSION_RESPONSE = 0x11,
        RAKP_1 = 0x12,
        RAKP_2 = 0x13,
        RAKP_3 = 0x14,
        RAKP_4 = 0x15,
    }

    /// RMCP+ and RAKP message status (v2.0 table 13-15).
    RakpStatus(u8) {
        OK = 0x00,
        INSUFFICIENT_RESOURCES = 0x01,
        INVALID_SESSION_ID = 0x02,
        INVALID_PAYLOAD_TYPE = 0x03,
        INVALID_AUTHENTICATION_ALGORITHM = 0x04,
        INVALID_INTEGRITY_ALGORITHM = 0x05,
        INACTIVE_SESSION_ID = 0x08,
        INVALID_ROLE = 0x09,
        UNAUTHORIZED_ROLE = 0x0A,
        INVALID_NAME_LENGTH = 0x0C,
        UNAUTHORIZED_NAME = 0x0D,
        INVALID_INTEGRITY_CHECK_VALUE = 0x0F,
        INVALID_CONFIDENTIALITY_ALGORITHM = 0x10,
        NO_CIPHER_SUITE_MATCH = 0x11,
        ILLEGAL_PARAMETER = 0x12,
    }

    /// Privilege level, ordered (v2.0 section 6.8).
    Privilege(u8) {
        CALLBACK = 0x01,
        USER = 0x02,
        OPERATOR = 0x03,
        ADMINISTRATOR = 0x04,
    }

    /// Authentication type of an IPMI 1.5 session header (v2.0 table 13-8).
    AuthType(u8) {
        NONE = 0x00,
        MD2 = 0x01,
        MD5 = 0x02,
        /// The password itself, in clear.
        PASSWORD = 0x04,
    }

    /// RAKP authentication algorithm (v2.0 table 13-17).
    Authentication(u8) {
        NONE = 0x00,
        HMAC_SHA1 = 0x01,
        HMAC_MD5 = 0x02,
        HMAC_SHA256 = 0x03,
    }

    /// Integrity algorithm (v2.0 table 13-18).
    Integrity(u8) {
        NONE = 0x00,
        HMAC_SHA1_96 = 0x01,
        HMAC_MD5_128 = 0x02,
        MD5_128 = 0x03,
        HMAC_SHA256_128 = 0x04,
    }

    /// Confidentiality algorithm (v2.0 table 13-19).
    Confidentiality(u8) {
        NONE = 0x00,
        AES_CBC_128 = 0x01,
    }
}

impl AuthType {
    /// The type's bit in a set of types (v2.0 tables 22-15 and 23-4); none for what is no type.
    #[must_use]
    pub fn bit(self) -> u8 {
        1_u8.checked_shl(self.0.into()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_survive_and_print_in_hexadecimal() {
        assert_eq!(format!("{:?}", CompletionCode::NODE_BUSY), "NODE_BUSY");
        assert_eq!(format!("{:?}", CompletionCode(0x99)), "CompletionCode(0x99)");
        assert!(Privilege::OPERATOR < Privilege::ADMINISTRATOR);
    }
}
