//! A macro project: where the input's first two bytes say, the list of modules ends and a module begins.
#![no_main]

use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
/// What the one sector of the table can tell of.
const MOST: usize = 100 * SECTOR;
const END: u32 = 0xffff_fffe;
const FREE: u32 = 0xffff_ffff;

fuzz_target!(|input: &[u8]| {
    let Some((at, streams)) = input.split_first_chunk() else { return };
    let streams = &streams[..streams.len().min(MOST)];
    let (directory, module) = streams.split_at(usize::from(u16::from_le_bytes(*at)).min(streams.len()));
    filesafety_engine::fuzzing::unpack(&project(directory, module));
});

/// A compound file without a mini stream: the table, the directory, two streams.
fn project(directory: &[u8], module: &[u8]) -> Vec<u8> {
    let sectors = |stream: &[u8]| stream.len().div_ceil(SECTOR).max(1) as u32;
    let (first, second) = (2, 2 + sectors(directory));
    let chain = |start: u32, count: u32| (1..count).map(move |index| start + index).chain([END]);
    let mut table: Vec<u32> = [0xffff_fffd, END].into_iter().chain(chain(first, sectors(directory))).chain(chain(second, sectors(module))).collect();
    table.resize(SECTOR / 4, FREE);
    let mut file = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    file.resize(24, 0);
    file.extend([0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    file.resize(44, 0);
    // Streams of every length lie in sectors of the file.
    file.extend([1, 1, 0, 0, END, 0, END, 0, 0].iter().flat_map(|value: &u32| value.to_le_bytes()));
    file.resize(SECTOR, 0xff);
    file.extend(table.iter().flat_map(|next| next.to_le_bytes()));
    let entries = [("Root Entry", 5, FREE, 1, END, 0), ("VBA", 1, FREE, 2, 0, 0), ("dir", 2, 3, FREE, first, directory.len()), ("Module1", 2, FREE, FREE, second, module.len())];
    for (name, kind, right, child, start, size) in entries {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = entry.len() as u16 + 2;
        entry.resize(64, 0);
        entry.extend(length.to_le_bytes());
        entry.extend([kind, 1]);
        entry.extend([FREE, right, child].iter().flat_map(|link| link.to_le_bytes()));
        entry.resize(116, 0);
        entry.extend(start.to_le_bytes());
        entry.extend((size as u64).to_le_bytes());
        file.extend(entry);
    }
    for stream in [directory, module] {
        file.extend(stream);
        file.resize(file.len().next_multiple_of(SECTOR), 0);
    }
    file
}
