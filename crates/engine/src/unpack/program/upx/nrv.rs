//! NRV2B, NRV2D and NRV2E, the codes of UCL: a bit for each literal, else a distance and a length in bits of their own, in groups that
//! stand between the bytes.

/// Which of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    B,
    D,
    E,
}

/// Exactly `length` bytes, and the end after them; `None` for anything else. `group` is how many bits stand together: 8, 16 or 32.
pub(super) fn unpack(packed: &[u8], kind: Kind, group: u32, length: usize) -> Option<Vec<u8>> {
    let mut input = Input { rest: packed, group, bits: 0, left: 0 };
    let mut output = Vec::with_capacity(length);
    let mut last = 1;
    loop {
        while input.bit()? == 1 {
            if output.len() == length {
                return None;
            }
            output.push(input.byte()?);
        }
        let Some((distance, begun)) = input.distance(kind, &mut last)? else { break };
        let count = input.length(kind, begun)?.checked_add(1 + u32::from(distance > kind.far()))?;
        let from = output.len().checked_sub(distance as usize)?;
        let count = count as usize;
        if output.len().checked_add(count)? > length {
            return None;
        }
        for at in from..from + count {
            output.push(*output.get(at)?);
        }
    }
    (output.len() == length).then_some(output)
}

impl Kind {
    /// Beyond this distance a match is one longer.
    fn far(self) -> u32 {
        match self {
            Self::B => 0xd00,
            Self::D | Self::E => 0x500,
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
    group: u32,
    bits: u32,
    left: u32,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.bits = 0;
            for place in 0..self.group / 8 {
                self.bits |= u32::from(self.byte()?) << (place * 8);
            }
            self.left = self.group;
        }
        self.left -= 1;
        Some(self.bits >> self.left & 1)
    }

    /// A number whose bits are each followed by whether it is over, begun with `value`.
    fn number(&mut self, mut value: u32) -> Option<u32> {
        loop {
            value = value.checked_mul(2)? | self.bit()?;
            if self.bit()? == 1 {
                return Some(value);
            }
        }
    }

    /// A distance, and what of the length was said with it; at the end, neither.
    fn distance(&mut self, kind: Kind, last: &mut u32) -> Option<Option<(u32, u32)>> {
        let high = match kind {
            Kind::B => self.number(1)?,
            Kind::D | Kind::E => self.interleaved()?,
        };
        if high == 2 {
            let begun = if kind == Kind::B { 0 } else { self.bit()? };
            return Some(Some((*last, begun)));
        }
        let value = (high - 3).checked_mul(256)? | u32::from(self.byte()?);
        if value == u32::MAX {
            return Some(None);
        }
        let (distance, begun) = match kind {
            Kind::B => (value, 0),
            Kind::D | Kind::E => (value >> 1, !value & 1),
        };
        *last = distance.checked_add(1)?;
        Some(Some((*last, begun)))
    }

    fn interleaved(&mut self) -> Option<u32> {
        let mut value = 1u32;
        loop {
            value = value.checked_mul(2)? | self.bit()?;
            if self.bit()? == 1 {
                return Some(value);
            }
            value = (value - 1).checked_mul(2)? | self.bit()?;
        }
    }

    /// The length of a match, less one.
    fn length(&mut self, kind: Kind, begun: u32) -> Option<u32> {
        match kind {
            Kind::B => match self.bit()? << 1 | self.bit()? {
                0 => self.number(1)?.checked_add(2),
                short => Some(short),
            },
            Kind::D => match begun << 1 | self.bit()? {
                0 => self.number(1)?.checked_add(2),
                short => Some(short),
            },
            Kind::E => match begun {
                1 => Some(1 + self.bit()?),
                _ if self.bit()? == 1 => Some(3 + self.bit()?),
                _ => self.number(1)?.checked_add(3),
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::Method, *};

    #[derive(Clone, Copy)]
    enum Token {
        Literal(u8),
        Match { distance: u32, count: u32 },
    }

    /// Writes what the decoder reads; for each match a distance of its own.
    struct Output {
        bytes: Vec<u8>,
        kind: Kind,
        group: u32,
        slot: usize,
        left: u32,
    }

    impl Output {
        fn bit(&mut self, bit: u32) {
            if self.left == 0 {
                (self.slot, self.left) = (self.bytes.len(), self.group);
                self.bytes.resize(self.slot + self.group as usize / 8, 0);
            }
            self.left -= 1;
            self.bytes[self.slot + self.left as usize / 8] |= (bit as u8) << (self.left % 8);
        }

        fn number(&mut self, value: u32) {
            let digits = value.ilog2();
            for place in (0..digits).rev() {
                self.bit(value >> place & 1);
                self.bit(u32::from(place == 0));
            }
        }

        fn interleaved(&mut self, value: u32, end: u32) {
            let before = value >> 1;
            if before > 1 {
                self.interleaved((before >> 1) + 1, 0);
                self.bit(before & 1);
            }
            self.bit(value & 1);
            self.bit(end);
        }

        /// The value that stands for a distance, or for the end.
        fn distance(&mut self, value: u32) {
            let high = (value >> 8) + 3;
            match self.kind {
                Kind::B => self.number(high),
                Kind::D | Kind::E => self.interleaved(high, 1),
            }
            self.bytes.push(value as u8);
        }

        fn token(&mut self, token: Token) {
            let Token::Match { distance, count } = token else {
                self.bit(1);
                let Token::Literal(byte) = token else { unreachable!() };
                return self.bytes.push(byte);
            };
            self.bit(0);
            let length = count - 1 - u32::from(distance > self.kind.far());
            let begun = match self.kind {
                Kind::B => 0,
                Kind::D => u32::from(length == 2 || length == 3),
                Kind::E => u32::from(length < 3),
            };
            self.distance(if self.kind == Kind::B { distance - 1 } else { (distance - 1) << 1 | (1 - begun) });
            match (self.kind, length) {
                (Kind::B, 1..=3) => {
                    self.bit(length >> 1);
                    self.bit(length & 1);
                }
                (Kind::D, 1..=3) => self.bit(length & 1),
                (Kind::B, _) => {
                    self.bit(0);
                    self.bit(0);
                    self.number(length - 2);
                }
                (Kind::D, _) => {
                    self.bit(0);
                    self.number(length - 2);
                }
                (Kind::E, 1 | 2) => self.bit(length - 1),
                (Kind::E, 3 | 4) => {
                    self.bit(1);
                    self.bit(length - 3);
                }
                (Kind::E, _) => {
                    self.bit(0);
                    self.number(length - 3);
                }
            }
        }
    }

    fn packed(kind: Kind, group: u32, tokens: &[Token]) -> Vec<u8> {
        let mut output = Output { bytes: Vec::new(), kind, group, slot: 0, left: 0 };
        tokens.iter().for_each(|token| output.token(*token));
        output.bit(0);
        output.distance(u32::MAX);
        output.bytes
    }

    /// Packed without one match.
    pub(in super::super) fn literals(method: Method, content: &[u8]) -> Vec<u8> {
        let Method::Nrv(kind, group) = method else { panic!("{method:?}") };
        // A run of one byte is a match, so that it becomes shorter.
        let mut tokens = Vec::new();
        for run in content.chunk_by(|one, other| one == other) {
            tokens.push(Token::Literal(run[0]));
            match run.len() - 1 {
                count @ 8.. => tokens.push(Token::Match { distance: 1, count: count as u32 }),
                count => tokens.extend((0..count).map(|_| Token::Literal(run[0]))),
            }
        }
        packed(kind, group, &tokens)
    }

    #[test]
    fn matches_near_and_far_short_and_long() {
        let mut expected: Vec<u8> = (0..4_000u32).map(|index| (index * 7 % 251) as u8).collect();
        let mut tokens: Vec<_> = expected.iter().map(|byte| Token::Literal(*byte)).collect();
        for (distance, count) in [(1, 4), (3, 2), (3, 3), (200, 5), (255, 6), (256, 7), (1_280, 9), (1_281, 4), (3_329, 40), (4_000, 700)] {
            tokens.push(Token::Match { distance, count });
            for _ in 0..count {
                expected.push(expected[expected.len() - distance as usize]);
            }
        }
        for kind in [Kind::B, Kind::D, Kind::E] {
            for group in [8, 16, 32] {
                let packed = packed(kind, group, &tokens);
                assert_eq!(unpack(&packed, kind, group, expected.len()).as_deref(), Some(&expected[..]), "{kind:?} {group}");
                assert_eq!(unpack(&packed, kind, group, expected.len() - 1), None);
                assert_eq!(unpack(&packed, kind, group, expected.len() + 1), None);
                assert_eq!(unpack(&packed[..packed.len() - 1], kind, group, expected.len()), None);
            }
        }
    }

    #[test]
    fn any_bytes_end() {
        for seed in 0..3_000u32 {
            let noise: Vec<u8> =
                (0..300u32).map(|index| (seed.wrapping_mul(2_654_435_761).wrapping_add(index * 40_503) >> 9) as u8).collect();
            for kind in [Kind::B, Kind::D, Kind::E] {
                unpack(&noise, kind, 32, 10_000);
            }
        }
    }
}
