//! Between rows and types.

use std::str::FromStr;

use filesafety_model::{ScanTypes, Sha256, Timestamp};
use rusqlite::{Row, types::FromSql};

use crate::{DeliveryStatus, Overage, Rate, Result, SourceRecord, StoreError, Submission};

/// The text of a column, parsed.
pub(crate) fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|_| damaged(column))?;
    text.parse().map_err(|_| damaged(column))
}

pub(crate) fn parsed_if_any<T: FromStr>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|_| damaged(column))?;
    text.map(|text| text.parse().map_err(|_| damaged(column))).transpose()
}

pub(crate) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

pub(crate) fn time_if_any(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// A number that is stored as SQLite's signed one.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<T> {
    T::try_from(row.get(column)?).map_err(|_| damaged(column))
}

pub(crate) fn number_if_any<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    row.get::<_, Option<i64>>(column)?.map(|value| T::try_from(value).map_err(|_| damaged(column))).transpose()
}

pub(crate) fn digest_if_any(row: &Row<'_>, column: &str) -> Result<Option<Sha256>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(Sha256::new))
}

/// All rows of a query.
pub(crate) fn all<T>(mut rows: rusqlite::Rows<'_>, mut read: impl FnMut(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(row)?);
    }
    Ok(values)
}

/// The first column of all rows.
pub(crate) fn firsts<T: FromSql>(rows: rusqlite::Rows<'_>) -> Result<Vec<T>> {
    all(rows, |row| Ok(row.get(0)?))
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|_| damaged(column))?;
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("the column {column}: {error}")))
}

pub(crate) fn types_text(types: ScanTypes) -> String {
    types.names().join(",")
}

pub(crate) fn types(row: &Row<'_>, column: &str) -> Result<ScanTypes> {
    let text = row.get_ref(column)?.as_str().map_err(|_| damaged(column))?;
    ScanTypes::parse(text.split(',')).map_err(|_| damaged(column))
}

/// SQLite's numbers are signed; what is larger than they can tell never ends.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn damaged(column: &str) -> StoreError {
    StoreError::Corrupt(format!("the column {column} holds what was never written"))
}

impl Submission {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

impl FromStr for Submission {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [Self::Sync, Self::Async].into_iter().find(|lane| lane.as_str() == text).ok_or(())
    }
}

impl SourceRecord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Upload => "upload",
            Self::Url => "url",
        }
    }
}

impl FromStr for SourceRecord {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [Self::Bytes, Self::Upload, Self::Url].into_iter().find(|source| source.as_str() == text).ok_or(())
    }
}

impl FromStr for DeliveryStatus {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let all = [Self::Pending, Self::Delivering, Self::Delivered, Self::Abandoned];
        all.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

impl Overage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// `allow` or `refuse`.
impl FromStr for Overage {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [Self::Allow, Self::Refuse].into_iter().find(|overage| overage.as_str() == text).ok_or(())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Limit { per_second, burst } => write!(f, "{per_second},{burst}"),
        }
    }
}

/// `off`, or submissions a second and a burst of at least 1: `50,100`.
impl FromStr for Rate {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (per_second, burst) = text.split_once(',').ok_or(())?;
        let positive = |text: &str| text.trim().parse().ok().filter(|number: &u32| *number > 0).ok_or(());
        Ok(Self::Limit { per_second: positive(per_second)?, burst: positive(burst)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["off", "50,100", "1,1"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "on", "50", "0,1", "1,0", "-1,5", "1,2,3"] {
            assert_eq!(text.parse::<Rate>(), Err(()), "{text}");
        }
    }
}
