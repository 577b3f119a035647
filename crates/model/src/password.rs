use std::fmt;

/// A password that may open an archive or a document. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(Vec<u8>);

/// The text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password has 1 to {} bytes", Password::MAX_BYTES)]
pub struct PasswordError;

impl Password {
    pub const MAX_BYTES: usize = 512;

    /// # Errors
    /// When it is empty, or longer than [`Password::MAX_BYTES`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PasswordError> {
        let bytes = bytes.into();
        if (1..=Self::MAX_BYTES).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(PasswordError) }
    }

    /// As it was given: UTF-8 where it came as text.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// In UTF-16, low byte first, as many formats take it. Bytes that are no UTF-8 count as Latin-1.
    pub fn reveal_utf16(&self) -> Vec<u8> {
        let units: Vec<u16> = match std::str::from_utf8(&self.0) {
            Ok(text) => text.encode_utf16().collect(),
            Err(_) => self.0.iter().map(|&byte| u16::from(byte)).collect(),
        };
        units.into_iter().flat_map(u16::to_le_bytes).collect()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_bounded_and_not_shown() {
        assert_eq!(Password::new(""), Err(PasswordError));
        assert_eq!(Password::new("x".repeat(513)), Err(PasswordError));
        let password = Password::new("s\u{e9}same").unwrap();
        assert_eq!(format!("{password:?}"), "[redacted]");
        assert_eq!(password.reveal_utf16(), b"s\0\xe9\0s\0a\0m\0e\0");
        assert_eq!(Password::new(*b"\xe9").unwrap().reveal_utf16(), b"\xe9\0");
    }
}
