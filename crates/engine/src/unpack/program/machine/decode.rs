//! Prefixes and operands.

use super::{EBP, EBX, EDI, ESI, ESP, Fault, Machine, memory::Width, system};

/// Where an operand is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Register(usize),
    Memory(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    /// `rep`, `repe`.
    Equal,
    /// `repne`.
    Unequal,
}

/// What stands before an opcode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefixes {
    /// Of operands that are no bytes.
    pub(super) width: Width,
    pub(super) repeat: Repeat,
    /// What the segment adds to an address.
    pub(super) segment: u32,
    pub(super) short_addresses: bool,
}

/// What follows an opcode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub(super) place: Place,
    /// A register, or the number of an operation.
    pub(super) middle: usize,
}

impl Prefixes {
    /// The width that the lowest bit of an opcode tells.
    pub(super) fn width_of(&self, opcode: u8) -> Width {
        if opcode & 1 == 0 { Width::Byte } else { self.width }
    }
}

/// No instruction is longer.
const MAX_PREFIXES: u32 = 14;

impl Machine {
    pub(super) fn opcode(&mut self) -> Result<(u8, Prefixes), Fault> {
        let mut prefixes = Prefixes { width: Width::Double, repeat: Repeat::Once, segment: 0, short_addresses: false };
        for _ in 0..MAX_PREFIXES {
            let byte = self.fetch(Width::Byte)? as u8;
            match byte {
                0x26 | 0x2e | 0x36 | 0x3e | 0x65 => prefixes.segment = 0,
                0x64 => prefixes.segment = system::TEB,
                0x66 => prefixes.width = Width::Word,
                0x67 => prefixes.short_addresses = true,
                0xf0 => {}
                0xf2 => prefixes.repeat = Repeat::Unequal,
                0xf3 => prefixes.repeat = Repeat::Equal,
                _ => return Ok((byte, prefixes)),
            }
        }
        Err(Fault::Illegal)
    }

    pub(super) fn operands(&mut self, prefixes: &Prefixes) -> Result<Operands, Fault> {
        let byte = self.fetch(Width::Byte)?;
        let (mode, middle, low) = (byte >> 6, (byte >> 3 & 7) as usize, (byte & 7) as usize);
        let place = match mode {
            3 => Place::Register(low),
            _ if prefixes.short_addresses => Place::Memory(self.short_address(mode, low)?.wrapping_add(prefixes.segment)),
            _ => Place::Memory(self.address(mode, low)?.wrapping_add(prefixes.segment)),
        };
        Ok(Operands { place, middle })
    }

    fn address(&mut self, mode: u32, low: usize) -> Result<u32, Fault> {
        let start = match (mode, low) {
            (_, ESP) => self.scaled(mode)?,
            (0, EBP) => return self.fetch(Width::Double),
            _ => self.registers[low & 7],
        };
        let distance = match mode {
            1 => self.fetch_signed()?,
            2 => self.fetch(Width::Double)?,
            _ => 0,
        };
        Ok(start.wrapping_add(distance))
    }

    /// The byte that scales an index.
    fn scaled(&mut self, mode: u32) -> Result<u32, Fault> {
        let byte = self.fetch(Width::Byte)?;
        let (scale, index, base) = (byte >> 6, (byte >> 3 & 7) as usize, (byte & 7) as usize);
        let index = if index == ESP { 0 } else { self.registers[index] << scale };
        let base = if base == EBP && mode == 0 { self.fetch(Width::Double)? } else { self.registers[base] };
        Ok(base.wrapping_add(index))
    }

    fn short_address(&mut self, mode: u32, low: usize) -> Result<u32, Fault> {
        let sum = |one: usize, other: usize| self.registers[one].wrapping_add(self.registers[other]);
        let start = match low {
            0 => sum(EBX, ESI),
            1 => sum(EBX, EDI),
            2 => sum(EBP, ESI),
            3 => sum(EBP, EDI),
            4 => self.registers[ESI],
            5 => self.registers[EDI],
            6 if mode == 0 => return self.fetch(Width::Word),
            6 => self.registers[EBP],
            _ => self.registers[EBX],
        };
        let distance = match mode {
            1 => self.fetch_signed()?,
            2 => self.fetch(Width::Word)?,
            _ => 0,
        };
        Ok(start.wrapping_add(distance) & 0xffff)
    }

    pub(super) fn get(&self, place: Place, width: Width) -> Result<u32, Fault> {
        match place {
            Place::Register(number) => Ok(self.register(number, width)),
            Place::Memory(address) => self.memory.load(address, width),
        }
    }

    pub(super) fn set(&mut self, place: Place, width: Width, value: u32) -> Result<(), Fault> {
        match place {
            Place::Register(number) => self.set_register(number, width, value),
            Place::Memory(address) => self.memory.store(address, width, value)?,
        }
        Ok(())
    }
}
