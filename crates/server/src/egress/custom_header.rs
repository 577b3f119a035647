//! Headers of an account's own, that go with its webhooks.

use filesafety_store::CustomHeader;
use http::HeaderName;

/// The longest name and value, in bytes.
const NAME_MAX: usize = 64;
const VALUE_MAX: usize = 1024;

/// What is wrong with a header; follows the option's name in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomHeaderError {
    #[error("is not of the form 'Name: value'")]
    NoColon,
    #[error("has a name that is none: letters, digits and dashes, at most {NAME_MAX}")]
    BadName,
    #[error("names a header that the service sets itself, or that is about the connection")]
    Reserved,
    #[error("has no value")]
    NoValue,
    #[error("has a value of more than {VALUE_MAX} bytes")]
    LongValue,
    #[error("has a value with control or other characters than ASCII")]
    BadValue,
}

/// Of the service, of the message, or of one connection (RFC 9110, section 7.6.1).
const RESERVED: [&str; 17] = [
    "accept-encoding",
    "connection",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "range",
];
const RESERVED_PREFIXES: [&str; 3] = ["webhook-", "content-", "proxy-"];

/// Reads `Name: value`. The value may hold a token; no error shows it.
///
/// # Errors
/// What is wrong with it.
pub fn custom_header(text: &str) -> Result<CustomHeader, CustomHeaderError> {
    let (name, value) = text.split_once(':').ok_or(CustomHeaderError::NoColon)?;
    let name = name.trim();
    let parsed: HeaderName = name.parse().map_err(|_| CustomHeaderError::BadName)?;
    if name.len() > NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(CustomHeaderError::BadName);
    }
    let lower = parsed.as_str();
    if RESERVED.contains(&lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(CustomHeaderError::Reserved);
    }
    // Spaces around it are not part of it; a tab or a line's end is no space.
    let value = value.trim_matches(' ');
    match value.len() {
        0 => Err(CustomHeaderError::NoValue),
        length if length > VALUE_MAX => Err(CustomHeaderError::LongValue),
        _ if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Err(CustomHeaderError::BadValue),
        _ => Ok(CustomHeader { name: name.to_owned(), value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_would_say_something_of_ours_or_more_than_one_header() {
        let long = format!("X: {}", "x".repeat(1025));
        for (text, error) in [
            ("", CustomHeaderError::NoColon),
            ("X-Token", CustomHeaderError::NoColon),
            (": value", CustomHeaderError::BadName),
            ("X Token: value", CustomHeaderError::BadName),
            ("X\r\nY: value", CustomHeaderError::BadName),
            ("Größe: 1", CustomHeaderError::BadName),
            ("Host: other.example", CustomHeaderError::Reserved),
            ("Webhook-Signature: v1,AAAA", CustomHeaderError::Reserved),
            ("WEBHOOK-ANYTHING: 1", CustomHeaderError::Reserved),
            ("Content-Length: 1", CustomHeaderError::Reserved),
            ("content-type: text/plain", CustomHeaderError::Reserved),
            ("Transfer-Encoding: chunked", CustomHeaderError::Reserved),
            ("Connection: close", CustomHeaderError::Reserved),
            ("Proxy-Authorization: Basic eA==", CustomHeaderError::Reserved),
            ("User-Agent: other", CustomHeaderError::Reserved),
            ("X-Token:", CustomHeaderError::NoValue),
            ("X-Token:   ", CustomHeaderError::NoValue),
            ("X-Token: a\r\nHost: b", CustomHeaderError::BadValue),
            ("X-Token: a\tb", CustomHeaderError::BadValue),
            ("X-Token: a\n", CustomHeaderError::BadValue),
            ("X-Token: \u{e9}", CustomHeaderError::BadValue),
            (&long, CustomHeaderError::LongValue),
        ] {
            assert_eq!(custom_header(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn takes_a_token_and_never_shows_it() {
        let header = custom_header("Authorization:  Bearer a:b c ").unwrap();
        assert_eq!((header.name.as_str(), header.value.as_str()), ("Authorization", "Bearer a:b c"));
        assert!(!format!("{header:?}").contains("Bearer"));
    }
}
