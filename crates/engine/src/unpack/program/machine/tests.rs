use super::*;
use crate::unpack::fixtures::Record;

const BASE: u32 = 0x40_0000;

/// Runs code that stands at the begin of an image of 64 KiB, until it faults or calls.
fn ran(code: &[u8]) -> Machine {
    let mut image = code.to_vec();
    image.resize(0x1_0000, 0xcc);
    let program = Program { base: BASE, image, entry: 0, imports: 0, sections: Vec::new(), room: 1 << 20 };
    let mut machine = Machine::new(program);
    machine.run(&mut Record::default()).unwrap();
    machine
}

/// The registers that a piece of code leaves.
fn registers(code: &[u8]) -> [u32; 8] {
    ran(code).registers
}

#[test]
fn moves_and_addresses() {
    // mov eax,0x11223344; mov cl,ah; movzx edx,al; movsx ebx,cl; lea esi,[eax+edx*4+0x10]
    let left = registers(b"\xb8\x44\x33\x22\x11\x88\xe1\x0f\xb6\xd0\x0f\xbe\xd9\x8d\x74\x90\x10");
    assert_eq!((left[EAX], left[ECX] & 0xff, left[EDX], left[EBX]), (0x1122_3344, 0x33, 0x44, 0x33));
    assert_eq!(left[ESI], 0x1122_3344 + 0x44 * 4 + 0x10);
    // mov eax,0x401000; mov dword [eax],5; inc dword [eax]; mov ecx,[0x401000]; xchg ecx,edx; bswap edx
    let left = registers(b"\xb8\x00\x10\x40\x00\xc7\x00\x05\x00\x00\x00\xff\x00\x8b\x0d\x00\x10\x40\x00\x87\xca\x0f\xca");
    assert_eq!(left[EDX], 0x0600_0000);
}

#[test]
fn the_stack_and_calls() {
    // push 1; push 2; pop eax; pop ecx; call +1; int3; pop edx (the return address)
    let left = registers(b"\x6a\x01\x6a\x02\x58\x59\xe8\x01\x00\x00\x00\xcc\x5a");
    assert_eq!((left[EAX], left[ECX], left[EDX]), (2, 1, BASE + 11));
    assert_eq!(left[ESP], system::STACK_START);
    // mov ebx,7; pusha; xor ebx,ebx; popa
    assert_eq!(registers(b"\xbb\x07\x00\x00\x00\x60\x31\xdb\x61")[EBX], 7);
    // enter 8,0; leave
    assert_eq!(registers(b"\xc8\x08\x00\x00\xc9")[ESP], system::STACK_START);
}

#[test]
fn loops_and_strings() {
    // mov edi,0x401000; mov ecx,5; mov al,'x'; rep stosb; mov ecx,5; mov edi,0x401000; repe scasb
    let code = b"\xbf\x00\x10\x40\x00\xb9\x05\x00\x00\x00\xb0x\xf3\xaa\xb9\x09\x00\x00\x00\xbf\x00\x10\x40\x00\xf3\xae";
    let machine = ran(code);
    assert_eq!(machine.memory.bytes(BASE + 0x1000, 6), Some(&b"xxxxx\xcc"[..]));
    assert_eq!((machine.registers[ECX], machine.registers[EDI]), (3, BASE + 0x1006));
    // xor eax,eax; mov ecx,10; (add eax,ecx; loop)
    assert_eq!(registers(b"\x31\xc0\xb9\x0a\x00\x00\x00\x01\xc8\xe2\xfc")[EAX], 55);
}

#[test]
fn products_and_quotients() {
    // mov eax,0xffffffff; mov ecx,2; mul ecx
    let left = registers(b"\xb8\xff\xff\xff\xff\xb9\x02\x00\x00\x00\xf7\xe1");
    assert_eq!((left[EAX], left[EDX]), (0xffff_fffe, 1));
    // mov eax,-7; cdq; mov ecx,2; idiv ecx
    let left = registers(b"\xb8\xf9\xff\xff\xff\x99\xb9\x02\x00\x00\x00\xf7\xf9");
    assert_eq!((left[EAX] as i32, left[EDX] as i32), (-3, -1));
    // mov eax,100; mov cl,7; div cl; imul edx,eax,3
    let left = registers(b"\xb8\x64\x00\x00\x00\xb1\x07\xf6\xf1\x6b\xd0\x03");
    assert_eq!((left[EAX], left[EDX]), ((2 << 8) | 14, ((2 << 8) | 14) * 3));
}

#[test]
fn flags_of_sums_and_differences() {
    let mut flags = Flags::default();
    assert_eq!(flags.add(0x7f, 1, false, Width::Byte), 0x80);
    assert!(flags.overflow && flags.sign && !flags.carry && !flags.zero && flags.adjust);
    assert_eq!(flags.add(0xff, 1, false, Width::Byte), 0);
    assert!(!flags.overflow && flags.zero && flags.carry && flags.parity);
    assert_eq!(flags.sub(0, 1, false, Width::Double), u32::MAX);
    assert!(flags.carry && flags.sign && !flags.overflow);
    assert_eq!(flags.sub(0x8000, 1, false, Width::Word), 0x7fff);
    assert!(flags.overflow && !flags.carry);
    assert_eq!(flags.sub(5, 4, true, Width::Double), 0);
    assert!(flags.zero && !flags.carry);
    assert_eq!(Flags::of(flags.word()).word(), flags.word());
}

#[test]
fn shifts_and_rotations() {
    let mut flags = Flags::default();
    for (operation, value, count, width, expected, carry) in [
        (0, 0x81, 1, Width::Byte, 0x03, true),
        (0, 0x1234_5678, 8, Width::Double, 0x3456_7812, false),
        (1, 0x01, 1, Width::Byte, 0x80, true),
        (1, 0x1234, 4, Width::Word, 0x4123, false),
        (4, 0x8000_0001, 1, Width::Double, 2, true),
        (5, 0x03, 1, Width::Byte, 1, true),
        (7, 0x80, 2, Width::Byte, 0xe0, false),
        (7, 0xffff_fffe, 31, Width::Double, u32::MAX, true),
    ] {
        flags.carry = false;
        assert_eq!((flags.shift(operation, value, count, width), flags.carry), (expected, carry), "{operation} {value:x} {count}");
    }
    flags.carry = true;
    assert_eq!((flags.shift(2, 0x80, 1, Width::Byte), flags.carry), (1, true));
    flags.carry = true;
    assert_eq!((flags.shift(3, 0x01, 1, Width::Byte), flags.carry), (0x80, true));
    assert_eq!(flags.shift_double(0x1234_5678, 0x9abc_def0, 8, Width::Double, true), 0x3456_789a);
    assert_eq!(flags.shift_double(0x1234_5678, 0x9abc_def0, 8, Width::Double, false), 0xf012_3456);
}

#[test]
fn a_handler_of_the_program_goes_on_after_a_fault() {
    // push handler; push fs:[0]; mov fs:[0],esp; mov ecx,[0] (6 bytes); mov ebx,1; int3, with none left: hlt
    let code =
        b"\x68\x20\x00\x40\x00\x64\xff\x35\x00\x00\x00\x00\x64\x89\x25\x00\x00\x00\x00\x8b\x0d\x00\x00\x00\x00\x43\xe9\x1e\x00\x00\x00\x90";
    // handler: mov eax,[esp+12]; add dword [eax+0xb8],6; xor eax,eax; ret
    let handler = b"\x8b\x44\x24\x0c\x83\x80\xb8\x00\x00\x00\x06\x31\xc0\xc3";
    let mut code = [&code[..], handler].concat();
    code.resize(0x3d, 0x90);
    // mov esi,0x1234; call through an address where nothing is
    code.extend(b"\xbe\x34\x12\x00\x00\x64\xc7\x05\x00\x00\x00\x00\xff\xff\xff\xff\xf4");
    let machine = ran(&code);
    assert_eq!((machine.registers[EBX] & 0xff, machine.registers[ESI]), ((system::PEB + 1) & 0xff, 0x1234));
    assert_eq!(machine.system.exceptions, 2);
}

#[test]
fn calls_are_served_by_name_and_by_the_table_of_exports() {
    // The address of a call, as a loader finds it: from the return address down to the header, then through the table.
    let mut memory = Memory::new(BASE, vec![0; 0x1000]);
    let mut system = System::new(BASE, 1 << 20, &mut memory);
    let load = |address: u32| memory.load(address, Width::Double).unwrap();
    let back = load(system::STACK_START);
    assert_eq!(memory.bytes(back & 0xffff_0000, 2).map(<[u8]>::to_vec), memory.bytes(system::KERNEL + 0x1_0000, 2).map(<[u8]>::to_vec));
    let header = system::KERNEL + load(system::KERNEL + 0x3c);
    let table = system::KERNEL + load(header + 0x78);
    let names = system::KERNEL + load(table + 0x20);
    let count = load(table + 0x18);
    let found = (0..count).find(|index| memory.text(system::KERNEL + load(names + index * 4), 64) == b"VirtualAlloc").unwrap();
    let ordinal = memory.load(system::KERNEL + load(table + 0x24) + found * 2, Width::Word).unwrap();
    let address = system::KERNEL + load(system::KERNEL + load(table + 0x1c) + ordinal * 4);
    assert_eq!(system.address_of(b"VirtualAlloc"), Some(address));
    assert_eq!(system.name_at(address), Some(&b"VirtualAlloc"[..]));
    assert_eq!(system.name_at(address + 1), None);
}

#[test]
fn memory_is_given_within_bounds() {
    let mut memory = Memory::new(BASE, vec![0; 0x1000]);
    let mut system = System::new(BASE, 0x4000, &mut memory);
    let block = system.allocate(0, 0x1800, &mut memory);
    assert!(block != 0 && memory.has(block + 0x17ff));
    assert_eq!(system.allocate(0, 0x4000, &mut memory), 0);
    assert_eq!(system.allocate(BASE, 0x10, &mut memory), BASE);
    assert_eq!(system.allocate(0, u32::MAX, &mut memory), 0);
}

#[test]
fn any_bytes_end_without_a_panic() {
    for seed in 0..2_000u32 {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .take(256)
        .collect();
        let mut machine = Machine::new(Program { base: BASE, image: noise, entry: 0, imports: 0, sections: Vec::new(), room: 1 << 16 });
        for _ in 0..2_000 {
            let goes_on = if system::is_inside(machine.eip) {
                machine.serve()
            } else {
                machine.step().err().is_none_or(|fault| machine.raise(fault))
            };
            if !goes_on {
                break;
            }
        }
    }
}
