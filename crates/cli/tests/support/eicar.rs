//! The EICAR test file, in parts, so that no source or binary of this project is one.

/// The whole test file: 68 bytes.
pub(crate) fn eicar() -> Vec<u8> {
    [head(), b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*".as_slice()].concat()
}

/// What stands before its readable half, and alone is no virus.
pub(crate) fn head() -> &'static [u8] {
    br"X5O!P%@AP[4\PZX54(P^)7CC)7}$"
}

pub(crate) const SIGNATURE: &str = "EICAR-Test-File";
