//! Instructions of one byte.

use super::{
    EAX, EBP, EBX, ECX, EDX, ESP, Fault, Machine,
    decode::{Operands, Place, Prefixes},
    flags::Flags,
    memory::Width,
};

/// What segment registers hold; nothing hangs on it.
const SEGMENT: u32 = 0x23;
/// The flags that `sahf` sets.
const LOW_FLAGS: u32 = 0xd5;

impl Machine {
    pub(super) fn execute(&mut self) -> Result<(), Fault> {
        let (opcode, prefixes) = self.opcode()?;
        match opcode {
            0x0f => self.extended(&prefixes),
            0x00..=0x3f => self.arithmetic(opcode, &prefixes),
            0x40..=0x6f => self.stack(opcode, &prefixes),
            0x70..=0x7f => {
                let distance = self.fetch_signed()?;
                self.jump_if(self.flags.holds(opcode), distance, &prefixes);
                Ok(())
            }
            0x80..=0x8f => self.moves(opcode, &prefixes),
            0x90..=0x9f => self.exchanges(opcode, &prefixes),
            0xa0..=0xaf => self.offsets_and_strings(opcode, &prefixes),
            0xb0..=0xbf => {
                let width = if opcode < 0xb8 { Width::Byte } else { prefixes.width };
                let value = self.fetch(width)?;
                self.set_register(usize::from(opcode & 7), width, value);
                Ok(())
            }
            0xc0..=0xcf => self.returns(opcode, &prefixes),
            0xd0..=0xdf => self.shifts(opcode, &prefixes),
            0xe0..=0xef => self.branches(opcode, &prefixes),
            0xf0..=0xff => self.unary(opcode, &prefixes),
        }
    }

    pub(super) fn jump_if(&mut self, holds: bool, distance: u32, prefixes: &Prefixes) {
        if holds {
            self.jump_by(distance, prefixes);
        }
    }

    fn arithmetic(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        match opcode & 7 {
            0..=3 => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let (a, b) = (self.get(place, width)?, self.register(middle, width));
                let into_register = opcode & 2 != 0;
                let (a, b) = if into_register { (b, a) } else { (a, b) };
                let target = if into_register { Place::Register(middle) } else { place };
                self.operate_on(opcode >> 3, a, b, target, width)
            }
            4 | 5 => {
                let value = self.fetch(width)?;
                self.operate_on(opcode >> 3, self.register(EAX, width), value, Place::Register(EAX), width)
            }
            // Segment registers onto the stack and back; the adjustments of decimal numbers are not met in loaders.
            6 if opcode < 0x20 => self.push(prefixes.width, SEGMENT),
            7 if opcode < 0x20 => self.pop(prefixes.width).map(drop),
            _ => Err(Fault::Illegal),
        }
    }

    fn operate_on(&mut self, operation: u8, a: u32, b: u32, target: Place, width: Width) -> Result<(), Fault> {
        let flags = self.flags;
        if let Some(result) = self.flags.operate(operation, a, b, width) {
            self.set(target, width, result).inspect_err(|_| self.flags = flags)?;
        }
        Ok(())
    }

    fn stack(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let (number, width) = (usize::from(opcode & 7), prefixes.width);
        match opcode {
            0x40..=0x4f => {
                let stepped = self.flags.step(self.register(number, width), opcode < 0x48, width);
                self.set_register(number, width, stepped);
            }
            0x50..=0x57 => self.push(width, self.register(number, width))?,
            0x58..=0x5f => {
                let value = self.pop(width)?;
                self.set_register(number, width, value);
            }
            0x60 => {
                let top = self.registers[ESP];
                for number in 0..8 {
                    let value = if number == ESP { top } else { self.registers[number] };
                    self.push(width, value)?;
                }
            }
            0x61 => {
                for number in (0..8).rev() {
                    let value = self.pop(width)?;
                    if number != ESP {
                        self.set_register(number, width, value);
                    }
                }
            }
            0x68 => {
                let value = self.fetch(width)?;
                self.push(width, value)?;
            }
            0x6a => {
                let value = self.fetch_signed()?;
                self.push(width, value)?;
            }
            0x69 | 0x6b => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let value = self.get(place, width)?;
                let factor = if opcode == 0x69 { self.fetch(width)? } else { self.fetch_signed()? };
                self.multiply_into(middle, value, factor, width);
            }
            0x6c..=0x6f => return Err(Fault::Privileged),
            _ => return Err(Fault::Illegal),
        }
        Ok(())
    }

    pub(super) fn multiply_into(&mut self, number: usize, a: u32, b: u32, width: Width) {
        let product = i64::from(width.extend(a) as i32) * i64::from(width.extend(b) as i32);
        let low = product as u32 & width.mask();
        self.flags.carry = i64::from(width.extend(low) as i32) != product;
        self.flags.overflow = self.flags.carry;
        self.set_register(number, width, low);
    }

    fn moves(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        let Operands { place, middle } = self.operands(prefixes)?;
        match opcode {
            0x80..=0x83 => {
                let a = self.get(place, width)?;
                let b = if opcode == 0x81 { self.fetch(width)? } else { self.fetch_signed()? & width.mask() };
                self.operate_on(middle as u8, a, b, place, width)
            }
            0x84 | 0x85 => {
                let value = self.get(place, width)? & self.register(middle, width);
                self.flags.logic(value, width);
                Ok(())
            }
            0x86 | 0x87 => {
                let (a, b) = (self.get(place, width)?, self.register(middle, width));
                self.set(place, width, b)?;
                self.set_register(middle, width, a);
                Ok(())
            }
            0x88 | 0x89 => self.set(place, width, self.register(middle, width)),
            0x8a | 0x8b => {
                let value = self.get(place, width)?;
                self.set_register(middle, width, value);
                Ok(())
            }
            0x8c => self.set(place, Width::Word, SEGMENT),
            0x8d => match place {
                Place::Memory(address) => {
                    self.set_register(middle, prefixes.width, address.wrapping_sub(prefixes.segment));
                    Ok(())
                }
                Place::Register(_) => Err(Fault::Illegal),
            },
            0x8e => self.get(place, Width::Word).map(drop),
            // `pop`: where the stack pointer is part of the address, that after it counts, which no loader was seen to need.
            _ => {
                let value = self.pop(prefixes.width)?;
                self.set(place, prefixes.width, value)
            }
        }
    }

    fn exchanges(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width;
        match opcode {
            0x90..=0x97 => {
                let number = usize::from(opcode & 7);
                let (a, b) = (self.register(EAX, width), self.register(number, width));
                self.set_register(EAX, width, b);
                self.set_register(number, width, a);
            }
            0x98 => {
                let half = if width == Width::Word { Width::Byte } else { Width::Word };
                self.set_register(EAX, width, half.extend(self.register(EAX, half)));
            }
            0x99 => {
                let negative = self.register(EAX, width) & width.sign() != 0;
                self.set_register(EDX, width, if negative { u32::MAX } else { 0 });
            }
            0x9b => {}
            0x9c => self.push(width, self.flags.word())?,
            0x9d => self.flags = Flags::of(self.pop(width)?),
            0x9e => {
                let low = self.register(EAX, Width::Word) >> 8 & LOW_FLAGS;
                self.flags = Flags::of(self.flags.word() & !LOW_FLAGS | low);
            }
            0x9f => self.set_register(4, Width::Byte, self.flags.word()),
            _ => return Err(Fault::Illegal),
        }
        Ok(())
    }

    fn offsets_and_strings(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        match opcode {
            0xa0..=0xa3 => {
                let address = self.fetch(if prefixes.short_addresses { Width::Word } else { Width::Double })?;
                let address = address.wrapping_add(prefixes.segment);
                if opcode < 0xa2 {
                    let value = self.memory.load(address, width)?;
                    self.set_register(EAX, width, value);
                    return Ok(());
                }
                self.memory.store(address, width, self.register(EAX, width))
            }
            0xa8 | 0xa9 => {
                let value = self.fetch(width)? & self.register(EAX, width);
                self.flags.logic(value, width);
                Ok(())
            }
            _ => self.string(opcode, prefixes),
        }
    }

    fn returns(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        match opcode {
            0xc0 | 0xc1 => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let count = self.fetch(Width::Byte)?;
                self.shift_place(middle as u8, place, count, width)
            }
            0xc2 | 0xc3 => {
                let dropped = if opcode == 0xc2 { self.fetch(Width::Word)? } else { 0 };
                self.eip = self.pop(prefixes.width)?;
                self.registers[ESP] = self.registers[ESP].wrapping_add(dropped);
                Ok(())
            }
            0xc6 | 0xc7 => {
                let Operands { place, .. } = self.operands(prefixes)?;
                let value = self.fetch(width)?;
                self.set(place, width, value)
            }
            0xc8 => {
                let (room, nesting) = (self.fetch(Width::Word)?, self.fetch(Width::Byte)?);
                if nesting & 31 != 0 {
                    return Err(Fault::Illegal);
                }
                self.push(Width::Double, self.registers[EBP])?;
                self.registers[EBP] = self.registers[ESP];
                self.registers[ESP] = self.registers[ESP].wrapping_sub(room);
                Ok(())
            }
            0xc9 => {
                let value = self.memory.load(self.registers[EBP], Width::Double)?;
                self.registers[ESP] = self.registers[EBP].wrapping_add(4);
                self.registers[EBP] = value;
                Ok(())
            }
            0xcc => Err(Fault::Breakpoint),
            0xcd => match self.fetch(Width::Byte)? {
                3 => Err(Fault::Breakpoint),
                _ => Err(Fault::Access),
            },
            0xce if !self.flags.overflow => Ok(()),
            _ => Err(Fault::Illegal),
        }
    }

    fn shift_place(&mut self, operation: u8, place: Place, count: u32, width: Width) -> Result<(), Fault> {
        let (value, flags) = (self.get(place, width)?, self.flags);
        let shifted = self.flags.shift(operation, value, count, width);
        self.set(place, width, shifted).inspect_err(|_| self.flags = flags)
    }

    fn shifts(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        match opcode {
            0xd0..=0xd3 => {
                let Operands { place, middle } = self.operands(prefixes)?;
                let count = if opcode < 0xd2 { 1 } else { self.register(ECX, Width::Byte) };
                self.shift_place(middle as u8, place, count, prefixes.width_of(opcode))
            }
            0xd4 => {
                let divisor = self.fetch(Width::Byte)?;
                let value = self.register(EAX, Width::Byte);
                let quotient = value.checked_div(divisor).ok_or(Fault::Divide)?;
                self.set_register(EAX, Width::Word, (quotient << 8) | (value % divisor));
                self.flags.result(value % divisor, Width::Byte);
                Ok(())
            }
            0xd5 => {
                let factor = self.fetch(Width::Byte)?;
                let value = self.register(EAX, Width::Word);
                let sum = ((value & 0xff) + (value >> 8) * factor) & 0xff;
                self.set_register(EAX, Width::Word, sum);
                self.flags.result(sum, Width::Byte);
                Ok(())
            }
            0xd6 => {
                self.set_register(EAX, Width::Byte, if self.flags.carry { 0xff } else { 0 });
                Ok(())
            }
            0xd7 => {
                let address = self.registers[EBX].wrapping_add(self.register(EAX, Width::Byte)).wrapping_add(prefixes.segment);
                let value = self.memory.load(address, Width::Byte)?;
                self.set_register(EAX, Width::Byte, value);
                Ok(())
            }
            // Loaders have floating point to confuse; nothing is computed with it.
            _ => self.operands(prefixes).map(drop),
        }
    }

    fn branches(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        match opcode {
            0xe0..=0xe3 => {
                let distance = self.fetch_signed()?;
                let width = if prefixes.short_addresses { Width::Word } else { Width::Double };
                if opcode != 0xe3 {
                    self.set_register(ECX, width, self.register(ECX, width).wrapping_sub(1));
                }
                let counted = self.register(ECX, width) != 0;
                let holds = match opcode {
                    0xe0 => counted && !self.flags.zero,
                    0xe1 => counted && self.flags.zero,
                    0xe2 => counted,
                    _ => !counted,
                };
                self.jump_if(holds, distance, prefixes);
                Ok(())
            }
            0xe8 => {
                let distance = self.fetch(prefixes.width)?;
                self.push(prefixes.width, self.eip)?;
                self.jump_by(distance, prefixes);
                Ok(())
            }
            0xe9 => {
                let distance = self.fetch(prefixes.width)?;
                self.jump_by(distance, prefixes);
                Ok(())
            }
            0xeb => {
                let distance = self.fetch_signed()?;
                self.jump_by(distance, prefixes);
                Ok(())
            }
            0xea => Err(Fault::Illegal),
            _ => Err(Fault::Privileged),
        }
    }

    fn unary(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        match opcode {
            0xf1 => Err(Fault::SingleStep),
            0xf4 | 0xfa | 0xfb => Err(Fault::Privileged),
            0xf5 => {
                self.flags.carry = !self.flags.carry;
                Ok(())
            }
            0xf8 | 0xf9 => {
                self.flags.carry = opcode == 0xf9;
                Ok(())
            }
            0xfc | 0xfd => {
                self.flags.direction = opcode == 0xfd;
                Ok(())
            }
            0xf6 | 0xf7 => self.multiply_and_divide(opcode, prefixes),
            0xfe | 0xff => self.step_or_call(opcode, prefixes),
            _ => Err(Fault::Illegal),
        }
    }

    fn step_or_call(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        let Operands { place, middle } = self.operands(prefixes)?;
        let value = self.get(place, width)?;
        match (opcode, middle) {
            (_, 0 | 1) => {
                let flags = self.flags;
                let stepped = self.flags.step(value, middle == 0, width);
                self.set(place, width, stepped).inspect_err(|_| self.flags = flags)
            }
            (0xff, 2) => {
                self.push(width, self.eip)?;
                self.eip = value;
                Ok(())
            }
            (0xff, 4) => {
                self.eip = value;
                Ok(())
            }
            (0xff, 6) => self.push(width, value),
            _ => Err(Fault::Illegal),
        }
    }

    fn multiply_and_divide(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        let Operands { place, middle } = self.operands(prefixes)?;
        let value = self.get(place, width)?;
        match middle {
            0 | 1 => {
                let mask = self.fetch(width)?;
                self.flags.logic(value & mask, width);
            }
            2 => self.set(place, width, !value)?,
            3 => {
                let flags = self.flags;
                let negative = self.flags.sub(0, value, false, width);
                self.set(place, width, negative).inspect_err(|_| self.flags = flags)?;
            }
            4 | 5 => {
                let product = if middle == 4 {
                    u64::from(self.register(EAX, width)) * u64::from(value)
                } else {
                    let signed = |value: u32| i64::from(width.extend(value) as i32);
                    (signed(self.register(EAX, width)) * signed(value)) as u64
                };
                self.set_wide(product, width);
                let low = product as u32 & width.mask();
                let whole = if middle == 4 { u64::from(low) } else { i64::from(width.extend(low) as i32) as u64 };
                self.flags.carry = whole != product;
                self.flags.overflow = self.flags.carry;
            }
            6 => {
                let dividend = self.wide(width);
                let (quotient, rest) = (dividend.checked_div(value.into()), dividend.checked_rem(value.into()));
                let (Some(quotient), Some(rest)) = (quotient, rest) else { return Err(Fault::Divide) };
                if quotient > u64::from(width.mask()) {
                    return Err(Fault::Divide);
                }
                self.set_parts(quotient as u32, rest as u32, width);
            }
            _ => {
                let free = 64 - width.bits() * 2;
                let dividend = ((self.wide(width) << free) as i64) >> free;
                let divisor = i64::from(width.extend(value) as i32);
                let (quotient, rest) = (dividend.checked_div(divisor), dividend.checked_rem(divisor));
                let (Some(quotient), Some(rest)) = (quotient, rest) else { return Err(Fault::Divide) };
                if i64::from(width.extend(quotient as u32 & width.mask()) as i32) != quotient {
                    return Err(Fault::Divide);
                }
                self.set_parts(quotient as u32, rest as u32, width);
            }
        }
        Ok(())
    }

    /// What a division takes: AX, DX:AX or EDX:EAX.
    fn wide(&self, width: Width) -> u64 {
        match width {
            Width::Byte => u64::from(self.register(EAX, Width::Word)),
            Width::Word | Width::Double => u64::from(self.register(EDX, width)) << width.bits() | u64::from(self.register(EAX, width)),
        }
    }

    fn set_wide(&mut self, value: u64, width: Width) {
        self.set_parts(value as u32, (value >> width.bits()) as u32, width);
    }

    fn set_parts(&mut self, low: u32, high: u32, width: Width) {
        match width {
            Width::Byte => self.set_register(EAX, Width::Word, high << 8 & 0xff00 | low & 0xff),
            Width::Word | Width::Double => {
                self.set_register(EAX, width, low);
                self.set_register(EDX, width, high);
            }
        }
    }
}
