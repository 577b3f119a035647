//! Arithmetic, and the flags that it leaves.

use super::memory::Width;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) carry: bool,
    pub(super) parity: bool,
    pub(super) adjust: bool,
    pub(super) zero: bool,
    pub(super) sign: bool,
    pub(super) trap: bool,
    pub(super) direction: bool,
    pub(super) overflow: bool,
}

impl Flags {
    /// As `pushf` has them; interrupts are on.
    pub(super) fn word(self) -> u32 {
        let bit = |flag: bool, at: u32| u32::from(flag) << at;
        0x202
            | bit(self.carry, 0)
            | bit(self.parity, 2)
            | bit(self.adjust, 4)
            | bit(self.zero, 6)
            | bit(self.sign, 7)
            | bit(self.trap, 8)
            | bit(self.direction, 10)
            | bit(self.overflow, 11)
    }

    pub(super) fn of(word: u32) -> Self {
        let bit = |at: u32| word >> at & 1 == 1;
        Self {
            carry: bit(0),
            parity: bit(2),
            adjust: bit(4),
            zero: bit(6),
            sign: bit(7),
            trap: bit(8),
            direction: bit(10),
            overflow: bit(11),
        }
    }

    /// Whether the condition with this number holds, as in the low digit of a conditional jump.
    pub(super) fn holds(self, condition: u8) -> bool {
        let holds = match condition >> 1 & 7 {
            0 => self.overflow,
            1 => self.carry,
            2 => self.zero,
            3 => self.carry || self.zero,
            4 => self.sign,
            5 => self.parity,
            6 => self.sign != self.overflow,
            _ => self.zero || self.sign != self.overflow,
        };
        holds != (condition & 1 == 1)
    }

    pub(super) fn result(&mut self, value: u32, width: Width) -> u32 {
        let value = value & width.mask();
        self.zero = value == 0;
        self.sign = value & width.sign() != 0;
        self.parity = (value & 0xff).count_ones().is_multiple_of(2);
        value
    }

    pub(super) fn logic(&mut self, value: u32, width: Width) -> u32 {
        (self.carry, self.overflow, self.adjust) = (false, false, false);
        self.result(value, width)
    }

    pub(super) fn add(&mut self, a: u32, b: u32, carry: bool, width: Width) -> u32 {
        let sum = u64::from(a) + u64::from(b) + u64::from(carry);
        self.carry = sum > u64::from(width.mask());
        let sum = sum as u32 & width.mask();
        self.overflow = (a ^ sum) & (b ^ sum) & width.sign() != 0;
        self.adjust = (a ^ b ^ sum) & 0x10 != 0;
        self.result(sum, width)
    }

    pub(super) fn sub(&mut self, a: u32, b: u32, borrow: bool, width: Width) -> u32 {
        let difference = a.wrapping_sub(b).wrapping_sub(u32::from(borrow)) & width.mask();
        self.carry = u64::from(a) < u64::from(b) + u64::from(borrow);
        self.overflow = (a ^ b) & (a ^ difference) & width.sign() != 0;
        self.adjust = (a ^ b ^ difference) & 0x10 != 0;
        self.result(difference, width)
    }

    /// The operation with this number, as in the middle of its opcode; `None` for a comparison, which keeps its result to itself.
    pub(super) fn operate(&mut self, operation: u8, a: u32, b: u32, width: Width) -> Option<u32> {
        Some(match operation & 7 {
            0 => self.add(a, b, false, width),
            1 => self.logic(a | b, width),
            2 => self.add(a, b, self.carry, width),
            3 => self.sub(a, b, self.carry, width),
            4 => self.logic(a & b, width),
            5 => self.sub(a, b, false, width),
            6 => self.logic(a ^ b, width),
            _ => {
                self.sub(a, b, false, width);
                return None;
            }
        })
    }

    /// Increments and decrements leave the carry as it is.
    pub(super) fn step(&mut self, value: u32, up: bool, width: Width) -> u32 {
        let carry = self.carry;
        let stepped = if up { self.add(value, 1, false, width) } else { self.sub(value, 1, false, width) };
        self.carry = carry;
        stepped
    }

    /// The shift or rotation with this number.
    pub(super) fn shift(&mut self, operation: u8, value: u32, count: u32, width: Width) -> u32 {
        let count = count & 31;
        if count == 0 {
            return value;
        }
        match operation & 7 {
            0 => self.rotate_left(value, count, width),
            1 => self.rotate_right(value, count, width),
            2 => self.through_carry(value, count % (width.bits() + 1), width),
            3 => self.through_carry(value, width.bits() + 1 - count % (width.bits() + 1), width),
            5 => self.shift_right(u64::from(value), count, width),
            7 => self.shift_right(i64::from(width.extend(value) as i32) as u64, count, width),
            _ => {
                let wide = u64::from(value) << count;
                self.carry = wide >> width.bits() & 1 == 1;
                let shifted = self.result(wide as u32, width);
                self.overflow = self.sign != self.carry;
                shifted
            }
        }
    }

    fn rotate_left(&mut self, value: u32, count: u32, width: Width) -> u32 {
        let count = count % width.bits();
        let wide = u64::from(value) << count;
        let rotated = (wide | wide >> width.bits()) as u32 & width.mask();
        self.carry = rotated & 1 == 1;
        self.overflow = (rotated & width.sign() != 0) != self.carry;
        rotated
    }

    fn rotate_right(&mut self, value: u32, count: u32, width: Width) -> u32 {
        let rotated = self.rotate_left(value, width.bits() - count % width.bits(), width);
        self.carry = rotated & width.sign() != 0;
        self.overflow = self.carry != (rotated & width.sign() >> 1 != 0);
        rotated
    }

    /// A rotation to the left through the carry.
    fn through_carry(&mut self, value: u32, count: u32, width: Width) -> u32 {
        let bits = width.bits() + 1;
        let wide = u128::from(value) | u128::from(self.carry) << width.bits();
        let turned = wide << (count % bits);
        let turned = turned | turned >> bits;
        self.carry = turned >> width.bits() & 1 == 1;
        let turned = turned as u32 & width.mask();
        self.overflow = (turned & width.sign() != 0) != self.carry;
        turned
    }

    fn shift_right(&mut self, value: u64, count: u32, width: Width) -> u32 {
        self.carry = value >> (count - 1) & 1 == 1;
        self.overflow = value as u32 & width.sign() != 0 && value >> 63 == 0;
        self.result((value >> count) as u32, width)
    }

    /// `shld` and `shrd`: `filler` comes in where `value` is shifted out.
    pub(super) fn shift_double(&mut self, value: u32, filler: u32, count: u32, width: Width, left: bool) -> u32 {
        let (count, bits) = (count & 31, width.bits());
        if count == 0 || count > bits {
            return value;
        }
        let shifted = if left {
            let wide = (u64::from(value) << bits | u64::from(filler)) << count;
            self.carry = (u128::from(value) << count) >> bits & 1 == 1;
            (wide >> bits) as u32
        } else {
            self.carry = value >> (count - 1) & 1 == 1;
            ((u64::from(filler) << bits | u64::from(value)) >> count) as u32
        };
        self.overflow = (shifted ^ value) & width.sign() != 0;
        self.result(shifted, width)
    }
}
