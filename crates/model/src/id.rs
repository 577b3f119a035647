//! Prefixed identities: `scn_` and the like before a ULID (<https://github.com/ulid/spec>).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The text is not this kind of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 characters")]
pub struct IdError {
    prefix: &'static str,
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ULID_CHARS: usize = 26;

/// 48 bits of milliseconds, 80 bits of entropy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ulid(u128);

impl Ulid {
    fn new(now: Timestamp, entropy: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&entropy);
        let millis = u128::try_from(now.as_millis()).unwrap_or(0) & 0xFFFF_FFFF_FFFF;
        Self(u128::from_be_bytes(bytes) | millis << 80)
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != ULID_CHARS {
            return None;
        }
        let mut value: u128 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let digit = CROCKFORD.iter().position(|&c| c == byte)?;
            if index == 0 && digit > 7 {
                return None; // 26 × 5 bits hold two more than a ULID has.
            }
            value = value << 5 | digit as u128;
        }
        Some(Self(value))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; ULID_CHARS];
        for (index, slot) in text.iter_mut().rev().enumerate() {
            *slot = CROCKFORD[(self.0 >> (5 * index) & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// A new id: sortable by `now`, unique by 80 bits of `entropy`.
            pub fn new(now: Timestamp, entropy: [u8; 10]) -> Self {
                Self(Ulid::new(now, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let ulid = text.strip_prefix(concat!($prefix, "_")).and_then(Ulid::parse);
                ulid.map(Self).ok_or(IdError { prefix: $prefix })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}

prefixed_id!(
    /// One request to judge a file.
    ScanId, "scn"
);
prefixed_id!(
    /// Who owns scans, keys and secrets.
    AccountId, "acc"
);
prefixed_id!(
    /// An API key's row; never the key.
    KeyId, "key"
);
prefixed_id!(
    /// A signing secret's row; never the secret.
    SecretId, "sec"
);
prefixed_id!(
    /// A fact announced: the `webhook-id` of every attempt to tell it.
    EventId, "evt"
);
prefixed_id!(
    /// One event on its way to one URL.
    DeliveryId, "dlv"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_ulid_of_the_specification() {
        let id = ScanId::new(Timestamp::from_millis(1_469_918_176_385), [0; 10]);
        assert_eq!(id.to_string(), "scn_01ARYZ6S410000000000000000");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn sorts_by_time() {
        let early = ScanId::new(Timestamp::from_millis(1), [255; 10]);
        let late = ScanId::new(Timestamp::from_millis(2), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn refuses_other_prefixes_lengths_and_letters() {
        for text in [
            "",
            "scn_",
            "evt_01ARYZ6S410000000000000000",
            "scn_01ARYZ6S41000000000000000",
            "scn_01ARYZ6S41000000000000000U",
            "scn_81ARYZ6S410000000000000000",
            "scn_01aryz6s410000000000000000",
        ] {
            assert!(text.parse::<ScanId>().is_err(), "{text}");
        }
    }
}
