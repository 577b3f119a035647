//! A machine that runs the loader of a packed program: integer instructions of 32-bit x86 as Intel's *Software Developer's Manual*
//! (volume 2) has them, in a memory of its own, under bounds.
//!
//! It is no virtual Windows. It serves the few calls that loaders make ([`system`]) and gives exceptions to the program's own handlers;
//! at anything else it stops, which is how the end of a loader is met: the program proper asks for more. A deviation costs a layer that
//! is not seen, and that is told; nothing here reaches beyond its vectors.

mod calls;
mod decode;
mod exception;
mod execute;
mod extended;
mod flags;
mod memory;
mod strings;
mod system;
#[cfg(test)]
mod tests;

use crate::unpack::{Sink, Stop};

use decode::Prefixes;
use flags::Flags;
use memory::{Memory, Width};
use system::System;

/// Why an instruction cannot go on; the program may have a handler for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No memory there.
    Access,
    /// No instruction that is known here.
    Illegal,
    /// One for the operating system alone.
    Privileged,
    Divide,
    Breakpoint,
    /// After an instruction, where the program asked for it.
    SingleStep,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The program called what no loader calls, or left.
    Call,
    /// A fault that the program does not handle.
    Fault,
    /// It ran for as long as it may.
    Steps,
}

/// Where a section lies in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) address: u32,
    pub(super) length: u32,
}

/// What is run.
pub(super) struct Program {
    pub(super) base: u32,
    pub(super) image: Vec<u8>,
    /// Relative to the base, as the sections.
    pub(super) entry: u32,
    /// The table of what it imports; zero where there is none.
    pub(super) imports: u32,
    pub(super) sections: Vec<Extent>,
    /// What the program may allocate.
    pub(super) room: u32,
}

/// What a run left.
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) image: Vec<u8>,
    /// Relative to the base: where the program went on in what it had unpacked.
    pub(super) entered: Option<u32>,
    /// Whether it was there when it ended: what it did before that, the loader did.
    pub(super) ended_there: bool,
    /// Bytes of the image that it wrote.
    pub(super) written: u64,
    /// Whether it ran code that it had written, be it of its loader.
    pub(super) rewrites: bool,
}

const EAX: usize = 0;
const ECX: usize = 1;
const EDX: usize = 2;
const EBX: usize = 3;
const ESP: usize = 4;
const EBP: usize = 5;
const ESI: usize = 6;
const EDI: usize = 7;

/// More instructions are not run: a loader takes some ten for each byte that it unpacks.
const MAX_STEPS: u64 = if cfg!(fuzzing) { 2_000_000 } else { 200_000_000 };
/// As many pass between two looks at the clock.
const STEPS_PER_LOOK: u64 = 1 << 20;
/// Of so many instructions one is looked at.
const SAMPLE: u64 = 64;
const PAGE_BITS: u32 = 12;

struct Machine {
    registers: [u32; 8],
    eip: u32,
    flags: Flags,
    memory: Memory,
    system: System,
    steps: u64,
    base: u32,
    sections: Vec<Extent>,
    /// The section that it began in.
    loader: Option<usize>,
    entered: Option<u32>,
    rewrites: bool,
    /// The last instruction that was one of the program's.
    last: u32,
}

/// Runs the program until it ends, or its bounds do.
pub(super) fn run(program: Program, sink: &mut dyn Sink) -> Result<Ran, Stop> {
    let mut machine = Machine::new(program);
    let end = machine.run(sink)?;
    let (written, ended_there) = (machine.memory.written(), machine.is_in_unpacked());
    Ok(Ran { end, entered: machine.entered, ended_there, written, rewrites: machine.rewrites, image: machine.memory.into_image() })
}

impl Machine {
    fn new(program: Program) -> Self {
        let Program { base, image, entry, imports, sections, room } = program;
        let mut memory = Memory::new(base, image);
        let mut system = System::new(base, room, &mut memory);
        if imports != 0 {
            system::bind(&mut system, &mut memory, imports);
        }
        let mut registers = [0; 8];
        registers[ESP] = system::STACK_START;
        registers[EBP] = system::STACK_START + 0x30;
        registers[EBX] = system::PEB;
        let eip = base.wrapping_add(entry);
        registers[EAX] = eip;
        let flags = Flags::default();
        let mut machine = Self {
            registers,
            eip,
            flags,
            memory,
            system,
            steps: 0,
            base,
            sections,
            loader: None,
            entered: None,
            rewrites: false,
            last: eip,
        };
        machine.loader = machine.section_of(eip);
        machine
    }

    fn run(&mut self, sink: &mut dyn Sink) -> Result<End, Stop> {
        let mut look = STEPS_PER_LOOK;
        while self.steps < MAX_STEPS {
            if self.steps >= look {
                look = self.steps + STEPS_PER_LOOK;
                sink.clock()?;
            }
            let before = self.eip;
            if system::is_inside(before) {
                if !self.serve() {
                    return Ok(End::Call);
                }
            } else {
                self.last = before;
                let fault = self.step().err();
                if fault.is_some_and(|fault| !self.raise(fault)) {
                    return Ok(End::Fault);
                }
            }
            if before >> PAGE_BITS != self.eip >> PAGE_BITS && !system::is_inside(before) {
                self.turn_page(before);
            }
            if self.steps.is_multiple_of(SAMPLE) && !self.rewrites {
                self.rewrites = self.memory.is_written(self.eip);
            }
        }
        Ok(End::Steps)
    }

    /// Runs one instruction. Where it faults, it is as if it had not begun, but for what a repeated one has done already.
    fn step(&mut self) -> Result<(), Fault> {
        let (start, trapped) = (self.eip, self.flags.trap);
        self.steps += 1;
        if let Err(fault) = self.execute() {
            // A trap stands behind its instruction.
            if fault != Fault::SingleStep {
                self.eip = start;
            }
            return Err(fault);
        }
        if trapped && self.flags.trap {
            self.flags.trap = false;
            return Err(Fault::SingleStep);
        }
        Ok(())
    }

    /// Looks whether the program has come to what it has unpacked: to bytes that it wrote, or out of its loader's section, whose code
    /// may have stood there in the clear while the rest was packed.
    fn turn_page(&mut self, before: u32) {
        let Some(section) = self.section_of(self.eip) else { return };
        let leaves_loader = self.loader.is_some_and(|loader| loader != section);
        if self.section_of(before) != Some(section) && (leaves_loader || self.memory.is_written(self.eip)) {
            self.entered = Some(self.eip.wrapping_sub(self.base));
        }
    }

    /// Whether its last instruction stands where the program went on.
    fn is_in_unpacked(&self) -> bool {
        self.entered.is_some_and(|entered| self.section_of(self.last) == self.section_of(self.base.wrapping_add(entered)))
    }

    fn section_of(&self, address: u32) -> Option<usize> {
        let address = address.wrapping_sub(self.base);
        self.sections.iter().position(|section| address.wrapping_sub(section.address) < section.length)
    }

    fn fetch(&mut self, width: Width) -> Result<u32, Fault> {
        let value = self.memory.load(self.eip, width)?;
        self.eip = self.eip.wrapping_add(width.bytes());
        Ok(value)
    }

    /// A byte that stands for a number with a sign.
    fn fetch_signed(&mut self) -> Result<u32, Fault> {
        Ok(Width::Byte.extend(self.fetch(Width::Byte)?))
    }

    fn register(&self, number: usize, width: Width) -> u32 {
        match width {
            Width::Byte => self.registers[number & 3] >> ((number >> 2 & 1) * 8) & 0xff,
            Width::Word => self.registers[number & 7] & 0xffff,
            Width::Double => self.registers[number & 7],
        }
    }

    fn set_register(&mut self, number: usize, width: Width, value: u32) {
        match width {
            Width::Byte => {
                let (shift, register) = ((number >> 2 & 1) * 8, &mut self.registers[number & 3]);
                *register = *register & !(0xff << shift) | (value & 0xff) << shift;
            }
            Width::Word => {
                let register = &mut self.registers[number & 7];
                *register = *register & 0xffff_0000 | value & 0xffff;
            }
            Width::Double => self.registers[number & 7] = value,
        }
    }

    fn push(&mut self, width: Width, value: u32) -> Result<(), Fault> {
        let top = self.registers[ESP].wrapping_sub(width.bytes());
        self.memory.store(top, width, value)?;
        self.registers[ESP] = top;
        Ok(())
    }

    fn pop(&mut self, width: Width) -> Result<u32, Fault> {
        let value = self.memory.load(self.registers[ESP], width)?;
        self.registers[ESP] = self.registers[ESP].wrapping_add(width.bytes());
        Ok(value)
    }

    fn jump_by(&mut self, distance: u32, prefixes: &Prefixes) {
        let to = self.eip.wrapping_add(distance);
        self.eip = if prefixes.width == Width::Word { to & 0xffff } else { to };
    }
}
