//! UTF-16 text as UTF-8.

/// Which byte of a unit comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    Little,
    Big,
}

impl Endian {
    /// Told by the mark, or by every second byte of the start being zero.
    pub(crate) fn of(content: &[u8]) -> Option<Self> {
        /// Fewer units prove nothing.
        const LEAST: usize = 8;
        const LOOKED_AT: usize = 256;
        match content {
            [0xff, 0xfe, ..] => return Some(Self::Little),
            [0xfe, 0xff, ..] => return Some(Self::Big),
            _ => {}
        }
        let start = content.get(..LOOKED_AT).unwrap_or(content).as_chunks::<2>().0;
        let is = |text: usize| start.iter().all(|unit| unit.get(1 - text) == Some(&0) && unit.get(text).is_some_and(|&byte| byte >= 9));
        match start.len() {
            ..LEAST => None,
            _ if is(0) => Some(Self::Little),
            _ if is(1) => Some(Self::Big),
            _ => None,
        }
    }
}

/// At most half as long again as `content`. Units that are no text, and a byte too many, become U+FFFD; the mark is left out.
pub(crate) fn to_utf8(content: &[u8], endian: Endian) -> Vec<u8> {
    let units = content.chunks(2).map(|unit| match (endian, unit) {
        (Endian::Little, &[low, high]) | (Endian::Big, &[high, low]) => u16::from_be_bytes([high, low]),
        (Endian::Little | Endian::Big, _) => 0xfffd,
    });
    let mut text = String::with_capacity(content.len());
    text.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.as_bytes().to_vec(),
        None => text.into_bytes(),
    }
}
