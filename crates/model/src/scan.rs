//! One request to judge a file: its states and what it asks for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a scan stands. `awaiting_upload → pending → scanning → complete | failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    AwaitingUpload,
    Pending,
    Scanning,
    Complete,
    Failed,
}

impl ScanState {
    pub const ALL: [Self; 5] = [Self::AwaitingUpload, Self::Pending, Self::Scanning, Self::Complete, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingUpload => "awaiting_upload",
            Self::Pending => "pending",
            Self::Scanning => "scanning",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// Nothing follows these.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }

    /// A scan may go back from `scanning` to `pending`: its worker let go of it.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::AwaitingUpload => matches!(next, Self::Pending | Self::Failed),
            Self::Pending => matches!(next, Self::Scanning | Self::Failed),
            Self::Scanning => matches!(next, Self::Pending | Self::Complete | Self::Failed),
            Self::Complete | Self::Failed => false,
        }
    }
}

impl fmt::Display for ScanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ScanState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

/// What a scan asks for: malware, unsafe pictures, or both. Never neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct ScanTypes {
    virus: bool,
    nsfw: bool,
}

/// The list names no type, or one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanTypesError {
    #[error("names no scan type; give \"virus\", \"nsfw\" or both")]
    Empty,
    #[error("names the unknown scan type {0:?}; there are \"virus\" and \"nsfw\"")]
    Unknown(String),
}

impl ScanTypes {
    pub const ALL: Self = Self { virus: true, nsfw: true };
    pub const VIRUS: Self = Self { virus: true, nsfw: false };
    pub const NSFW: Self = Self { virus: false, nsfw: true };

    pub fn parse<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, ScanTypesError> {
        let (mut virus, mut nsfw) = (false, false);
        for name in names {
            match name.as_ref() {
                "virus" => virus = true,
                "nsfw" => nsfw = true,
                other => return Err(ScanTypesError::Unknown(other.chars().take(40).collect())),
            }
        }
        if virus || nsfw { Ok(Self { virus, nsfw }) } else { Err(ScanTypesError::Empty) }
    }

    pub fn virus(self) -> bool {
        self.virus
    }

    pub fn nsfw(self) -> bool {
        self.nsfw
    }

    pub fn names(self) -> Vec<&'static str> {
        [(self.virus, "virus"), (self.nsfw, "nsfw")].into_iter().filter_map(|(asked, name)| asked.then_some(name)).collect()
    }
}

impl From<ScanTypes> for Vec<String> {
    fn from(types: ScanTypes) -> Self {
        types.names().into_iter().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for ScanTypes {
    type Error = ScanTypesError;

    fn try_from(names: Vec<String>) -> Result<Self, ScanTypesError> {
        Self::parse(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_finished_scan() {
        for state in ScanState::ALL.into_iter().filter(|state| state.is_finished()) {
            assert!(ScanState::ALL.into_iter().all(|next| !state.may_become(next)));
        }
    }

    #[test]
    fn a_scan_completes_only_from_scanning() {
        let before: Vec<_> = ScanState::ALL.into_iter().filter(|state| state.may_become(ScanState::Complete)).collect();
        assert_eq!(before, [ScanState::Scanning]);
    }

    #[test]
    fn scan_types_are_one_or_both() {
        assert_eq!(ScanTypes::parse(["nsfw", "virus"]), Ok(ScanTypes::ALL));
        assert_eq!(ScanTypes::parse(["virus"]), Ok(ScanTypes::VIRUS));
        assert_eq!(ScanTypes::parse::<&str>([]), Err(ScanTypesError::Empty));
        assert_eq!(ScanTypes::parse(["Virus"]), Err(ScanTypesError::Unknown("Virus".into())));
    }
}
