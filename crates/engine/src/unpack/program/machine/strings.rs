//! Instructions on strings, once or repeated.

use super::{
    EAX, ECX, EDI, ESI, Fault, Machine,
    decode::{Prefixes, Repeat},
    memory::Width,
};

impl Machine {
    pub(super) fn string(&mut self, opcode: u8, prefixes: &Prefixes) -> Result<(), Fault> {
        let width = prefixes.width_of(opcode);
        if prefixes.repeat == Repeat::Once {
            return self.string_once(opcode, width, prefixes.segment);
        }
        // It ends at the latest where memory does.
        while self.registers[ECX] != 0 {
            self.string_once(opcode, width, prefixes.segment)?;
            self.registers[ECX] = self.registers[ECX].wrapping_sub(1);
            self.steps += 1;
            let compares = matches!(opcode, 0xa6 | 0xa7 | 0xae | 0xaf);
            if compares && self.flags.zero != (prefixes.repeat == Repeat::Equal) {
                break;
            }
        }
        Ok(())
    }

    fn string_once(&mut self, opcode: u8, width: Width, segment: u32) -> Result<(), Fault> {
        let (from, to) = (self.registers[ESI].wrapping_add(segment), self.registers[EDI]);
        let (moves_from, moves_to) = match opcode & 0xfe {
            0xa4 => {
                let value = self.memory.load(from, width)?;
                self.memory.store(to, width, value)?;
                (true, true)
            }
            0xa6 => {
                let (a, b) = (self.memory.load(from, width)?, self.memory.load(to, width)?);
                self.flags.sub(a, b, false, width);
                (true, true)
            }
            0xaa => {
                self.memory.store(to, width, self.register(EAX, width))?;
                (false, true)
            }
            0xac => {
                let value = self.memory.load(from, width)?;
                self.set_register(EAX, width, value);
                (true, false)
            }
            _ => {
                let value = self.memory.load(to, width)?;
                self.flags.sub(self.register(EAX, width), value, false, width);
                (false, true)
            }
        };
        let step = if self.flags.direction { width.bytes().wrapping_neg() } else { width.bytes() };
        if moves_from {
            self.registers[ESI] = self.registers[ESI].wrapping_add(step);
        }
        if moves_to {
            self.registers[EDI] = self.registers[EDI].wrapping_add(step);
        }
        Ok(())
    }
}
