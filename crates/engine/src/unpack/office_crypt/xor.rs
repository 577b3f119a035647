//! Obfuscation by XOR (MS-OFFCRYPTO 2.3.7), of workbooks of Excel 5 to 2003.

/// Fills an array up behind the password.
const PADDING: [u8; 15] = [0xbb, 0xff, 0xff, 0xba, 0xff, 0xff, 0xb9, 0x80, 0x00, 0xbe, 0x0f, 0x00, 0xbf, 0x0f, 0x00];

/// What a key starts from, by the length of the password.
const INITIAL: [u16; 15] =
    [0xe1f0, 0x1d0f, 0xcc9c, 0x84c0, 0x110c, 0x0e10, 0xf1ce, 0x313e, 0x1872, 0xe139, 0xd40f, 0x84f9, 0x280c, 0xa96a, 0x4ec3];

/// What each bit of the password adds to the key, from the last on.
const MATRIX: [u16; 105] = [
    0xaefc, 0x4dd9, 0x9bb2, 0x2745, 0x4e8a, 0x9d14, 0x2a09, 0x7b61, 0xf6c2, 0xfda5, 0xeb6b, 0xc6f7, 0x9dcf, 0x2bbf, 0x4563, 0x8ac6, 0x05ad,
    0x0b5a, 0x16b4, 0x2d68, 0x5ad0, 0x0375, 0x06ea, 0x0dd4, 0x1ba8, 0x3750, 0x6ea0, 0xdd40, 0xd849, 0xa0b3, 0x5147, 0xa28e, 0x553d, 0xaa7a,
    0x44d5, 0x6f45, 0xde8a, 0xad35, 0x4a4b, 0x9496, 0x390d, 0x721a, 0xeb23, 0xc667, 0x9cef, 0x29ff, 0x53fe, 0xa7fc, 0x5fd9, 0x47d3, 0x8fa6,
    0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0, 0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec, 0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84,
    0x3508, 0x6a10, 0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168, 0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0x3730,
    0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1021, 0x2042, 0x4084, 0x8108,
    0x1231, 0x2462, 0x48c4,
];

/// What the bytes of records are combined with.
pub(crate) struct Array([u8; 16]);

impl Array {
    /// Nothing if the password is not the one.
    pub(super) fn of(password: &str, verifier: u16) -> Option<Self> {
        let bytes = password.as_bytes();
        let initial = *INITIAL.get(bytes.len().checked_sub(1)?)?;
        if verify(bytes) != verifier {
            return None;
        }
        let [low, high] = key(bytes, initial).to_le_bytes();
        let padded = bytes.iter().chain(&PADDING).take(16);
        let mut array = [0; 16];
        for (index, (place, byte)) in array.iter_mut().zip(padded).enumerate() {
            let half = if index % 2 == 0 { low } else { high };
            *place = (byte ^ half).rotate_right(1);
        }
        Some(Self(array))
    }

    /// One byte of a record; `index` is where it stands in the stream, with the length of its record.
    pub(super) fn reveal(&self, byte: u8, index: usize) -> u8 {
        let mask = self.0.get(index % self.0.len()).copied().unwrap_or_default();
        (byte ^ mask).rotate_right(5)
    }
}

fn verify(password: &[u8]) -> u16 {
    let length = u8::try_from(password.len()).unwrap_or(u8::MAX);
    let mix = |sum: u16, byte: &u8| (sum >> 14 & 1 | sum << 1 & 0x7fff) ^ u16::from(*byte);
    password.iter().rev().chain([&length]).fold(0, mix) ^ 0xce4b
}

fn key(password: &[u8], initial: u16) -> u16 {
    let bits = password.iter().rev().flat_map(|byte| (0..7).map(move |bit| byte << bit & 0x40 != 0));
    bits.zip(MATRIX.iter().rev()).filter(|(is_set, _)| *is_set).fold(initial, |key, (_, add)| key ^ add)
}
