//! Instructions of two bytes.

use super::{
    EAX, EBX, ECX, EDX, Fault, Machine,
    decode::{Operands, Place, Prefixes},
    memory::Width,
};

impl Machine {
    pub(super) fn extended(&mut self, prefixes: &Prefixes) -> Result<(), Fault> {
        let opcode = self.fetch(Width::Byte)? as u8;
        let width = prefixes.width;
        match opcode {
            0x0d | 0x18..=0x1f => self.operands(prefixes).map(drop),
            0x31 => {
                self.registers[EAX] = self.steps as u32;
                self.registers[EDX] = (self.steps >> 32) as u32;
                Ok(())
            }
            0x40..=0x4f => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let value = self.get(place, width)?;
                if self.flags.holds(opcode) {
                    self.set_register(middle, width, value);
                }
                Ok(())
            }
            0x80..=0x8f => {
                let distance = self.fetch(width)?;
                self.jump_if(self.flags.holds(opcode), distance, prefixes);
                Ok(())
            }
            0x90..=0x9f => {
                let Operands { place, .. } = self.operands(prefixes)?;
                self.set(place, Width::Byte, u32::from(self.flags.holds(opcode)))
            }
            0xa0 | 0xa8 => self.push(width, 0),
            0xa1 | 0xa9 => self.pop(width).map(drop),
            0xa2 => {
                self.identify();
                Ok(())
            }
            0xa3 | 0xab | 0xb3 | 0xbb => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let bit = self.register(middle, width);
                self.bit(opcode >> 3 & 3, beyond(place, bit, width), bit, width)
            }
            0xba => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let bit = self.fetch(Width::Byte)?;
                if middle < 4 { Err(Fault::Illegal) } else { self.bit(middle as u8 & 3, place, bit, width) }
            }
            0xa4 | 0xa5 | 0xac | 0xad => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let count = if opcode & 1 == 0 { self.fetch(Width::Byte)? } else { self.register(ECX, Width::Byte) };
                let (value, filler) = (self.get(place, width)?, self.register(middle, width));
                let shifted = self.flags.shift_double(value, filler, count, width, opcode < 0xa8);
                self.set(place, width, shifted)
            }
            _ => self.extended_data(opcode, prefixes),
        }
    }

    fn extended_data(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width;
        if let 0xc8..=0xcf = opcode {
            let register = usize::from(opcode & 7);
            self.registers[register] = self.registers[register].swap_bytes();
            return Ok(());
        }
        if !matches!(opcode, 0xaf..=0xb1 | 0xb6 | 0xb7 | 0xbc..=0xc1) {
            return Err(Fault::Illegal);
        }
        let Operands { place, middle } = self.operands(prefixes)?;
        match opcode {
            0xaf => {
                let value = self.get(place, width)?;
                self.multiply_into(middle, self.register(middle, width), value, width);
            }
            0xb0 | 0xb1 => {
                let width = prefixes.width_of(opcode);
                let value = self.get(place, width)?;
                self.flags.sub(self.register(EAX, width), value, false, width);
                if self.flags.zero {
                    self.set(place, width, self.register(middle, width))?;
                } else {
                    self.set_register(EAX, width, value);
                }
            }
            0xb6 | 0xb7 | 0xbe | 0xbf => {
                let from = if opcode & 1 == 0 { Width::Byte } else { Width::Word };
                let value = self.get(place, from)?;
                self.set_register(middle, width, if opcode < 0xb8 { value } else { from.extend(value) });
            }
            0xbc | 0xbd => {
                let value = self.get(place, width)?;
                self.flags.zero = value == 0;
                if value != 0 {
                    let found = if opcode == 0xbc { value.trailing_zeros() } else { 31 - value.leading_zeros() };
                    self.set_register(middle, width, found);
                }
            }
            _ => {
                let width = prefixes.width_of(opcode);
                let (a, b) = (self.get(place, width)?, self.register(middle, width));
                let sum = self.flags.add(a, b, false, width);
                self.set_register(middle, width, a);
                self.set(place, width, sum)?;
            }
        }
        Ok(())
    }

    /// Tests a bit; then leaves, sets, clears or turns it.
    fn bit(&mut self, operation: u8, place: Place, bit: u32, width: Width) -> Result<(), Fault> {
        let bit = 1 << (bit % width.bits());
        let value = self.get(place, width)?;
        let changed = match operation {
            0 => value,
            1 => value | bit,
            2 => value & !bit,
            _ => value ^ bit,
        };
        if operation != 0 {
            self.set(place, width, changed)?;
        }
        self.flags.carry = value & bit != 0;
        Ok(())
    }

    /// `cpuid`: an old processor of Intel.
    fn identify(&mut self) {
        let [a, b, c, d] = match self.registers[EAX] {
            0 => [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
            _ => [0x0000_0633, 0, 0, 0x0000_8011],
        };
        (self.registers[EAX], self.registers[EBX], self.registers[ECX], self.registers[EDX]) = (a, b, c, d);
    }
}

/// A bit in memory may lie beyond its operand, on either side.
fn beyond(place: Place, bit: u32, width: Width) -> Place {
    match place {
        Place::Register(_) => place,
        Place::Memory(address) => {
            let units = (width.extend(bit & width.mask()) as i32).div_euclid(width.bits() as i32);
            Place::Memory(address.wrapping_add((units as u32).wrapping_mul(width.bytes())))
        }
    }
}
