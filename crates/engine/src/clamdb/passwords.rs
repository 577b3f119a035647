//! Passwords that archives are tried with.
//!
//! Format: ClamAV's manual, *Passwords for archive files*: `name;description;storage;password`, where the storage is 0 for the password
//! as it is and 1 for its hexadecimal digits.

use filesafety_model::Password;

use super::{
    load::{Refused, check_level},
    logical::Range,
    types::ClamType,
};

/// Longer ones are refused.
const MAX_LENGTH: usize = 1_024;

/// The signature's name, and its password.
pub(super) fn parse(line: &str) -> Result<(&str, Password), Refused> {
    let mut fields = line.splitn(4, ';');
    let mut next = || fields.next().ok_or(Refused::Invalid("fewer fields than a password has"));
    let (name, description, storage, password) = (next()?, next()?, next()?, next()?);
    for field in description.split(',').filter(|field| !field.is_empty()) {
        match field.split_once(':').ok_or(Refused::Invalid("a description without a value"))? {
            ("Engine", range) => {
                let range = Range::parse(range).ok_or(Refused::Invalid("a description whose range cannot be read"))?;
                check_level(Some(&range.least.to_string()), Some(&range.most.to_string()))?;
            }
            // Any container has its passwords tried.
            ("Container", kind) if kind == "CL_TYPE_ANY" || ClamType::parse(kind).is_some() => {}
            ("Container", _) => return Err(Refused::Invalid("a type of container that ClamAV does not know")),
            // It says of which type the archive is; any type has its passwords tried.
            ("Target" | "FileSize", _) => {}
            _ => return Err(Refused::Invalid("a description that the manual does not know")),
        }
    }
    let bytes = match storage {
        "0" => password.as_bytes().to_vec(),
        "1" => unhex(password).ok_or(Refused::Invalid("a password that is no hexadecimal text"))?,
        _ => return Err(Refused::Invalid("the storage of a password is 0 or 1")),
    };
    if bytes.is_empty() || bytes.len() > MAX_LENGTH {
        return Err(Refused::Invalid("a password has 1 to 1024 bytes"));
    }
    Password::new(bytes).map(|password| (name, password)).map_err(|_| Refused::Invalid("a password that no archive can have"))
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes().chunks_exact(2).map(|pair| u8::try_from(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_storages_are_read() {
        let parsed = |line| parse(line).map(|(name, password)| (name, password.reveal().to_vec()));
        assert_eq!(parsed("Name;Engine:81-255;0;in;fected"), Ok(("Name", b"in;fected".to_vec())));
        assert_eq!(parsed("Name;Engine:81-255,Container:CL_TYPE_ZIP;1;00ff"), Ok(("Name", vec![0, 0xff])));
    }

    #[test]
    fn what_is_no_password_is_refused() {
        for line in [
            "",
            "Name",
            "Name;;0",
            "Name;;0;",
            "Name;;2;x",
            "Name;;1;0",
            "Name;;1;zz",
            "Name;Odd:1;0;x",
            "Name;Container:ZIP;0;x",
            "Name;x;0;x",
        ] {
            assert!(matches!(parse(line), Err(Refused::Invalid(_))), "{line}");
        }
        assert!(parse(&format!("Name;;0;{}", "x".repeat(1_025))).is_err());
        assert!(matches!(parse("Name;Engine:1-2;0;x"), Err(Refused::Level)));
    }
}
