//! What a program sees as its memory: the image of the program itself, and whatever else was given to it.

use super::Fault;

/// How much one access takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Byte,
    Word,
    Double,
}

impl Width {
    pub(super) fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Double => 4,
        }
    }

    pub(super) fn bits(self) -> u32 {
        self.bytes() * 8
    }

    pub(super) fn mask(self) -> u32 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Double => u32::MAX,
        }
    }

    pub(super) fn sign(self) -> u32 {
        1 << (self.bits() - 1)
    }

    /// The value as one of 32 bits with the same sign.
    pub(super) fn extend(self, value: u32) -> u32 {
        let free = 32 - self.bits();
        (((value << free) as i32) >> free) as u32
    }
}

/// Bytes at an address.
struct Region {
    base: u32,
    bytes: Vec<u8>,
}

impl Region {
    fn offset(&self, address: u32, length: u32) -> Option<std::ops::Range<usize>> {
        let from = address.wrapping_sub(self.base) as usize;
        let to = from.checked_add(length as usize)?;
        (to <= self.bytes.len()).then_some(from..to)
    }
}

pub(super) struct Memory {
    image: Region,
    /// A bit for each byte of the image that the program has written.
    written: Vec<u64>,
    others: Vec<Region>,
}

impl Memory {
    pub(super) fn new(base: u32, image: Vec<u8>) -> Self {
        let written = vec![0; image.len().div_ceil(64)];
        Self { image: Region { base, bytes: image }, written, others: Vec::new() }
    }

    /// Gives the program more; where it overlaps with what is there, the older counts.
    pub(super) fn add(&mut self, base: u32, bytes: Vec<u8>) {
        self.others.push(Region { base, bytes });
    }

    pub(super) fn has(&self, address: u32) -> bool {
        self.bytes(address, 1).is_some()
    }

    /// Whether the program itself wrote this byte of its image.
    pub(super) fn is_written(&self, address: u32) -> bool {
        let Some(at) = self.image.offset(address, 1) else { return false };
        self.written.get(at.start / 64).is_some_and(|bits| bits >> (at.start % 64) & 1 == 1)
    }

    /// How many bytes of its image the program wrote.
    pub(super) fn written(&self) -> u64 {
        self.written.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    pub(super) fn into_image(self) -> Vec<u8> {
        self.image.bytes
    }

    /// As many bytes at an address, if all of them are in one region.
    pub(super) fn bytes(&self, address: u32, length: u32) -> Option<&[u8]> {
        if let Some(range) = self.image.offset(address, length) {
            return self.image.bytes.get(range);
        }
        self.others.iter().find_map(|region| region.bytes.get(region.offset(address, length)?))
    }

    pub(super) fn load(&self, address: u32, width: Width) -> Result<u32, Fault> {
        match self.bytes(address, width.bytes()) {
            Some(&[a]) => Ok(u32::from(a)),
            Some(&[a, b]) => Ok(u32::from(u16::from_le_bytes([a, b]))),
            Some(&[a, b, c, d]) => Ok(u32::from_le_bytes([a, b, c, d])),
            Some(_) | None => Err(Fault::Access),
        }
    }

    pub(super) fn store(&mut self, address: u32, width: Width, value: u32) -> Result<(), Fault> {
        let value = value.to_le_bytes();
        let value = value.get(..width.bytes() as usize).unwrap_or_default();
        if let Some(range) = self.image.offset(address, width.bytes()) {
            for at in range.clone() {
                if let Some(bits) = self.written.get_mut(at / 64) {
                    *bits |= 1 << (at % 64);
                }
            }
            if let Some(place) = self.image.bytes.get_mut(range) {
                place.copy_from_slice(value);
                return Ok(());
            }
        }
        for region in &mut self.others {
            if let Some(place) = region.offset(address, width.bytes()).and_then(|range| region.bytes.get_mut(range)) {
                place.copy_from_slice(value);
                return Ok(());
            }
        }
        Err(Fault::Access)
    }

    /// Puts an address into the image, as the system does before the program runs.
    pub(super) fn place(&mut self, address: u32, value: u32) -> Option<()> {
        let place = self.image.offset(address, 4).and_then(|range| self.image.bytes.get_mut(range))?;
        place.copy_from_slice(&value.to_le_bytes());
        Some(())
    }

    /// Text that a zero ends, of at most as many bytes.
    pub(super) fn text(&self, address: u32, most: u32) -> Vec<u8> {
        let bytes = (0..most).map_while(|index| self.bytes(address.wrapping_add(index), 1)?.first().copied());
        bytes.take_while(|byte| *byte != 0).collect()
    }
}
