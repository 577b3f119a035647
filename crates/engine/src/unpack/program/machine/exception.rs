//! Faults that a program handles itself: the chain of handlers that its thread keeps, and the record and context that each is given, as
//! Windows has them for 32-bit programs.

use super::{EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP, Fault, Machine, flags::Flags, memory::Width, system};

/// More are not given to handlers.
const MAX_EXCEPTIONS: u32 = 20_000;
const LAST_HANDLER: u32 = u32::MAX;
const CONTEXT_BYTES: u32 = 0x2cc;
const RECORD_BYTES: u32 = 0x50;
const FLAGS_AT: u32 = 0xc0;
const EIP_AT: u32 = 0xb8;
/// Where the context has which register.
const REGISTERS_AT: [(u32, usize); 8] =
    [(0x9c, EDI), (0xa0, ESI), (0xa4, EBX), (0xa8, EDX), (0xac, ECX), (0xb0, EAX), (0xb4, EBP), (0xc4, ESP)];

impl Fault {
    fn code(self) -> u32 {
        match self {
            Self::Access => 0xc000_0005,
            Self::Illegal => 0xc000_001d,
            Self::Privileged => 0xc000_0096,
            Self::Divide => 0xc000_0094,
            Self::Breakpoint => 0x8000_0003,
            Self::SingleStep => 0x8000_0004,
        }
    }
}

impl Machine {
    /// Goes on in the first handler; whether there is one.
    pub(super) fn raise(&mut self, fault: Fault) -> bool {
        self.system.exceptions += 1;
        if self.system.exceptions > MAX_EXCEPTIONS {
            return false;
        }
        let context = self.registers[ESP].wrapping_sub(CONTEXT_BYTES + 0x40) & !0xf;
        let record = context.wrapping_sub(RECORD_BYTES);
        let frame = self.memory.load(system::TEB, Width::Double).unwrap_or(LAST_HANDLER);
        self.write_context(context, record, fault).is_ok() && self.call_handler(frame, record, context)
    }

    fn write_context(&mut self, context: u32, record: u32, fault: Fault) -> Result<(), Fault> {
        for word in 0..CONTEXT_BYTES / 4 {
            self.memory.store(context.wrapping_add(word * 4), Width::Double, 0)?;
        }
        for (at, register) in REGISTERS_AT {
            self.memory.store(context.wrapping_add(at), Width::Double, self.registers[register])?;
        }
        let fields = [(0, 0x1_001f), (EIP_AT, self.eip), (FLAGS_AT, self.flags.word()), (0x8c, 0), (0x90, 0x3b), (0xbc, 0x1b)];
        for (at, value) in fields {
            self.memory.store(context.wrapping_add(at), Width::Double, value)?;
        }
        for (at, value) in [(0, fault.code()), (4, 0), (8, 0), (12, self.eip), (16, 0)] {
            self.memory.store(record.wrapping_add(at), Width::Double, value)?;
        }
        Ok(())
    }

    /// Calls the handler of a frame: with the record, the frame, the context, and the frame of the system.
    fn call_handler(&mut self, frame: u32, record: u32, context: u32) -> bool {
        let Ok(handler) = self.memory.load(frame.wrapping_add(4), Width::Double) else { return false };
        if frame == LAST_HANDLER {
            return false;
        }
        // While a handler runs, the chain begins with a frame of the system, and some handlers know.
        let head = self.memory.load(system::TEB, Width::Double).unwrap_or(LAST_HANDLER);
        self.registers[ESP] = record;
        for value in [system::HANDLED, head] {
            if self.push(Width::Double, value).is_err() {
                return false;
            }
        }
        let own = self.registers[ESP];
        for value in [own, context, frame, record, system::HANDLED] {
            if self.push(Width::Double, value).is_err() {
                return false;
            }
        }
        if self.memory.store(system::TEB, Width::Double, own).is_err() {
            return false;
        }
        self.flags.trap = false;
        self.eip = handler;
        true
    }

    /// A handler has returned: the program goes on where the context says, or the next handler is asked.
    pub(super) fn end_handler(&mut self) -> bool {
        let argument = |index: u32| self.memory.load(self.registers[ESP].wrapping_add(index * 4), Width::Double);
        let (Ok(record), Ok(frame), Ok(context), Ok(own)) = (argument(0), argument(1), argument(2), argument(3)) else { return false };
        let Ok(head) = self.memory.load(own, Width::Double) else { return false };
        if self.memory.store(system::TEB, Width::Double, head).is_err() {
            return false;
        }
        if self.registers[EAX] != 0 {
            let next = self.memory.load(frame, Width::Double).unwrap_or(LAST_HANDLER);
            return self.call_handler(next, record, context);
        }
        let field = |at: u32| self.memory.load(context.wrapping_add(at), Width::Double);
        let (Ok(eip), Ok(flags)) = (field(EIP_AT), field(FLAGS_AT)) else { return false };
        let mut registers = [0; 8];
        for (at, register) in REGISTERS_AT {
            let Ok(value) = field(at) else { return false };
            registers[register] = value;
        }
        (self.registers, self.eip, self.flags) = (registers, eip, Flags::of(flags));
        true
    }
}
