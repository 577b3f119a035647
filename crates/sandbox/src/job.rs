//! The order to scan a file, byte for byte, and the small answers.

use filesafety_model::{Password, ScanTypes};

/// Answers to a request for memory.
pub(crate) const GRANTED: u8 = 1;
pub(crate) const SHORT: u8 = 2;
pub(crate) const BEYOND: u8 = 3;

/// Levels of what goes to the log.
pub(crate) const ERROR: u8 = 1;
pub(crate) const WARNING: u8 = 2;

const VIRUS: u8 = 1;
const NSFW: u8 = 2;
const SHOWN: u8 = 4;
const NAMED: u8 = 8;

/// A file to scan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) types: ScanTypes,
    pub(crate) name: Option<String>,
    pub(crate) passwords: Vec<Password>,
    pub(crate) content: Bytes,
}

/// Where the content is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// In the order itself.
    Told(Vec<u8>),
    /// In the memory file that came with it.
    Shown,
}

/// More go with no file.
const MAX_PASSWORDS: usize = 16;

/// What goes before the content: the flags, the length of the name, the name, how many passwords, and the length of each before it.
pub(crate) fn head(types: ScanTypes, name: Option<&str>, passwords: &[Password], shown: bool) -> Vec<u8> {
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    let flags = flag(types.virus(), VIRUS) | flag(types.nsfw(), NSFW) | flag(shown, SHOWN) | flag(name.is_some(), NAMED);
    let name = name.unwrap_or_default();
    let mut end = name.len().min(usize::from(u16::MAX) - 1024);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name.get(..end).unwrap_or_default();
    let mut head = vec![flags];
    head.extend_from_slice(&u16::try_from(name.len()).unwrap_or_default().to_le_bytes());
    head.extend_from_slice(name.as_bytes());
    let passwords = passwords.get(..MAX_PASSWORDS).unwrap_or(passwords);
    head.push(u8::try_from(passwords.len()).unwrap_or_default());
    for password in passwords.iter().map(Password::reveal) {
        head.extend_from_slice(&u16::try_from(password.len()).unwrap_or_default().to_le_bytes());
        head.extend_from_slice(password);
    }
    head
}

/// The order that a frame brings.
pub(crate) fn parse(payload: Vec<u8>) -> Option<Job> {
    let (&flags, rest) = payload.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (&count, mut content) = rest.split_first()?;
    let mut passwords = Vec::new();
    for _ in 0..count {
        let (length, rest) = content.split_first_chunk()?;
        let (password, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        passwords.push(Password::new(password).ok()?);
        content = rest;
    }
    let name = std::str::from_utf8(name).ok()?;
    let content = if flags & SHOWN == 0 { Bytes::Told(content.to_vec()) } else { Bytes::Shown };
    let types = match (flags & VIRUS != 0, flags & NSFW != 0) {
        (true, true) => ScanTypes::ALL,
        (true, false) => ScanTypes::VIRUS,
        (false, true) => ScanTypes::NSFW,
        (false, false) => return None,
    };
    Some(Job { types, name: (flags & NAMED != 0).then(|| name.to_owned()), passwords, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_as_it_was_given() {
        let passwords = ["infected", "s\u{e9}same"].map(|text| Password::new(text).unwrap());
        let told = [head(ScanTypes::VIRUS, Some("ä.zip"), &passwords, false), b"content".to_vec()].concat();
        let job = Job {
            types: ScanTypes::VIRUS,
            name: Some("ä.zip".into()),
            passwords: passwords.to_vec(),
            content: Bytes::Told(b"content".to_vec()),
        };
        assert_eq!(parse(told), Some(job));
        let shown = parse(head(ScanTypes::NSFW, None, &[], true)).unwrap();
        assert_eq!(shown, Job { types: ScanTypes::NSFW, name: None, passwords: Vec::new(), content: Bytes::Shown });
    }

    #[test]
    fn an_endless_name_is_cut_at_a_character() {
        let job = parse(head(ScanTypes::ALL, Some(&"ä".repeat(100_000)), &[], false)).unwrap();
        assert_eq!(job.name.map(|name| name.len()), Some(64_510));
    }

    #[test]
    fn what_is_cut_is_no_order() {
        let order = head(ScanTypes::ALL, Some("name"), &[Password::new("a").unwrap()], false);
        for end in 0..order.len() {
            assert_eq!(parse(order[..end].to_vec()), None, "{end}");
        }
        assert_eq!(parse(vec![VIRUS | NAMED, 1, 0, 0xff]), None);
    }
}
