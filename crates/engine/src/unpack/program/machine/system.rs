//! What surrounds a program: a stack, the blocks that Windows keeps of a thread and its process, and a `kernel32` that has a header, a
//! table of exports, and nothing behind their addresses but numbers.

use std::collections::HashMap;

use super::memory::{Memory, Width};

/// Where a program's stack begins; what called it has left a return address there.
pub(super) const STACK_START: u32 = STACK + STACK_BYTES - 0x1000;
pub(super) const TEB: u32 = 0x7ffd_e000;
pub(super) const PEB: u32 = 0x7ffd_f000;
pub(super) const KERNEL: u32 = 0x7c80_0000;
/// Where a handler of exceptions returns to.
pub(super) const HANDLED: u32 = KERNEL + LEFT_AT + 0x10;

const STACK: u32 = 0x7f00_0000;
const STACK_BYTES: u32 = 256 << 10;
const KERNEL_BYTES: u32 = 0x2_0000;
/// Where a program returns to when it is done.
const LEFT_AT: u32 = 0x1_f000;
/// The addresses of calls, each so far from the one before it.
const CALLS_AT: u32 = 0x4000;
const CALL_BYTES: u32 = 0x10;
const MAX_CALLS: usize = 4_096;
/// Memory that a program asks for lies from here on.
const HEAP: u32 = 0x2000_0000;
const GRANULE: u32 = 0x1_0000;
const MAX_BLOCKS: u32 = 64;

/// Whether an address is one that a program calls, and that has no code.
pub(super) fn is_inside(address: u32) -> bool {
    address.wrapping_sub(KERNEL) < KERNEL_BYTES
}

/// What a program has asked for so far.
pub(super) struct System {
    /// The names of the calls that have an address, in the order of their addresses.
    names: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, usize>,
    pub(super) exceptions: u32,
    pub(super) base: u32,
    pub(super) modules: u32,
    room: u32,
    blocks: u32,
    next_block: u32,
}

impl System {
    pub(super) fn new(base: u32, room: u32, memory: &mut Memory) -> Self {
        let mut system =
            Self { names: Vec::new(), numbers: HashMap::new(), exceptions: 0, base, modules: 0, room, blocks: 0, next_block: HEAP };
        let mut kernel = Block::new(KERNEL_BYTES);
        system.export(&mut kernel);
        memory.add(KERNEL, kernel.0);
        let mut stack = Block::new(STACK_BYTES);
        let top = STACK_START - STACK;
        // A program is called by the system; a library with its own address and the reason, that a process begins.
        for (index, value) in [KERNEL + LEFT_AT, base, 1, 0].into_iter().enumerate() {
            stack.put(top + index as u32 * 4, value);
        }
        memory.add(STACK, stack.0);
        let mut thread = Block::new(0x1000);
        for (at, value) in [(0, u32::MAX), (4, STACK + STACK_BYTES), (8, STACK), (0x18, TEB), (0x30, PEB)] {
            thread.put(at, value);
        }
        memory.add(TEB, thread.0);
        memory.add(PEB, process_block(base).0);
        system
    }

    /// The header of a library, and its table of exports.
    fn export(&mut self, kernel: &mut Block) {
        const HEADER: u32 = 0x80;
        const TABLE: u32 = 0x1000;
        let names: Vec<&str> = super::calls::names().collect();
        let count = names.len() as u32;
        let (addresses, pointers, ordinals) = (TABLE + 0x40, TABLE + 0x40 + count * 4, TABLE + 0x40 + count * 8);
        let mut text = ordinals + count * 2;
        kernel.bytes(0, b"MZ");
        kernel.put(0x3c, HEADER);
        kernel.bytes(HEADER, b"PE\0\0\x4c\x01");
        kernel.bytes(HEADER + 0x14, &[0xe0, 0, 0x0e, 0x21, 0x0b, 1]);
        for (at, value) in [(0x34, KERNEL), (0x38, 0x1000), (0x3c, 0x200), (0x50, KERNEL_BYTES), (0x54, 0x1000), (0x74, 16)] {
            kernel.put(HEADER + at, value);
        }
        kernel.put(HEADER + 0x78, TABLE);
        kernel.put(HEADER + 0x7c, 0x2000);
        for (at, value) in [(0x10, 1), (0x14, count), (0x18, count), (0x1c, addresses), (0x20, pointers), (0x24, ordinals)] {
            kernel.put(TABLE + at, value);
        }
        for (index, name) in names.into_iter().enumerate() {
            let number = index as u32;
            let address = self.address_of(name.as_bytes()).unwrap_or(KERNEL);
            kernel.put(addresses + number * 4, address - KERNEL);
            kernel.put(pointers + number * 4, text);
            kernel.bytes(ordinals + number * 2, &(number as u16).to_le_bytes());
            kernel.bytes(text, name.as_bytes());
            text += name.len() as u32 + 1;
        }
        kernel.put(TABLE + 0xc, text);
        kernel.bytes(text, b"KERNEL32.dll");
    }

    /// The address of a call, by its name; one is made for a name that is new. `None` once there are too many.
    pub(super) fn address_of(&mut self, name: &[u8]) -> Option<u32> {
        let index = match self.numbers.get(name) {
            Some(&index) => index,
            None if self.names.len() < MAX_CALLS => {
                self.names.push(name.into());
                self.numbers.insert(name.into(), self.names.len() - 1);
                self.names.len() - 1
            }
            None => return None,
        };
        Some(KERNEL + CALLS_AT + index as u32 * CALL_BYTES)
    }

    /// The name of the call at an address.
    pub(super) fn name_at(&self, address: u32) -> Option<&[u8]> {
        let within = address.checked_sub(KERNEL + CALLS_AT)?;
        let name = self.names.get((within / CALL_BYTES) as usize)?;
        within.is_multiple_of(CALL_BYTES).then_some(&**name)
    }

    /// A block of memory, at `wanted` unless that is zero; zero where there is no room.
    pub(super) fn allocate(&mut self, wanted: u32, length: u32, memory: &mut Memory) -> u32 {
        if wanted != 0 && memory.has(wanted) {
            return wanted;
        }
        let length = length.max(1).checked_next_multiple_of(0x1000).unwrap_or(u32::MAX);
        if length > self.room || self.blocks >= MAX_BLOCKS || wanted >= STACK {
            return 0;
        }
        let address = if wanted == 0 { self.next_block } else { wanted & !(GRANULE - 1) };
        let length = length + (wanted & (GRANULE - 1));
        let Some(next) = self.next_block.checked_add(length.next_multiple_of(GRANULE)).filter(|next| *next < STACK) else { return 0 };
        self.room = self.room.saturating_sub(length);
        self.blocks += 1;
        if wanted == 0 {
            self.next_block = next;
        }
        memory.add(address, vec![0; length as usize]);
        address
    }
}

/// Bytes that are written before a program runs.
struct Block(Vec<u8>);

impl Block {
    fn new(length: u32) -> Self {
        Self(vec![0; length as usize])
    }

    fn put(&mut self, at: u32, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }

    fn bytes(&mut self, at: u32, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at as usize..at as usize + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// The block of a process: where it is loaded, and the lists of what is loaded, in three orders that are one here.
fn process_block(base: u32) -> Block {
    const LISTS: u32 = 0x100;
    const ENTRIES: [u32; 2] = [0x200, 0x300];
    let mut block = Block::new(0x1000);
    block.put(8, base);
    block.put(0xc, PEB + LISTS);
    for order in 0..3 {
        let link = order * 8;
        let head = LISTS + 0xc + link;
        let ring = [head, ENTRIES[0] + link, ENTRIES[1] + link, head];
        for pair in ring.windows(2) {
            if let [from, to] = *pair {
                block.put(from, PEB + to);
                block.put(to + 4, PEB + from);
            }
        }
    }
    for (entry, library) in ENTRIES.into_iter().zip([base, KERNEL]) {
        block.put(entry + 0x18, library);
        block.put(entry + 0x20, KERNEL_BYTES);
    }
    let name: Vec<u8> = "KERNEL32.DLL".encode_utf16().flat_map(u16::to_le_bytes).collect();
    block.put(ENTRIES[1] + 0x2c, (name.len() as u32) << 16 | name.len() as u32);
    block.put(ENTRIES[1] + 0x30, PEB + 0x400);
    block.bytes(0x400, &name);
    block
}

/// Puts the addresses of what a program imports where its header asks for them.
pub(super) fn bind(system: &mut System, memory: &mut Memory, imports: u32) {
    const MAX_LIBRARIES: u32 = 256;
    for index in 0..MAX_LIBRARIES {
        let descriptor = system.base.wrapping_add(imports).wrapping_add(index * 20);
        let field = |offset: u32| memory.load(descriptor.wrapping_add(offset), Width::Double).unwrap_or(0);
        let (lookup, library, thunks) = (field(0), field(12), field(16));
        if library == 0 || thunks == 0 {
            return;
        }
        bind_library(system, memory, if lookup == 0 { thunks } else { lookup }, thunks);
    }
}

fn bind_library(system: &mut System, memory: &mut Memory, lookup: u32, thunks: u32) {
    let base = system.base;
    for index in 0..MAX_CALLS as u32 {
        let at = |table: u32| base.wrapping_add(table).wrapping_add(index * 4);
        let entry = memory.load(at(lookup), Width::Double).unwrap_or(0);
        if entry == 0 {
            return;
        }
        let name = match entry >> 31 {
            0 => memory.text(base.wrapping_add(entry).wrapping_add(2), 256),
            _ => format!("#{}", entry & 0xffff).into_bytes(),
        };
        let Some(address) = system.address_of(&name) else { return };
        if memory.place(at(thunks), address).is_none() {
            return;
        }
    }
}
