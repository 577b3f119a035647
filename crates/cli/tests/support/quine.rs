//! A zip that holds itself, and so on for ever.
//!
//! Its deflate stream is made of two operations: `stored` says that so many bytes follow as they are, `repeat` writes the last so many
//! bytes once more. The file is laid out so that what comes out of the stream never falls behind what the file itself says: each
//! operation that would be missing from the output is said again by the one after it. The checksum of the file stands inside the file;
//! as CRC-32 is linear in those 32 bits, they are the solution of 32 equations.

const NAME: &[u8] = b"q.zip";
const LOCAL: usize = 30 + NAME.len();
/// An operation `stored` by its header alone.
const STORED: usize = 5;
/// Where CRC and sizes stand in a local header, and in an entry of the directory.
const LOCAL_CRC: usize = 14;
const CENTRAL_CRC: usize = 16;

/// The archive: one member, `q.zip`, whose content is the archive.
pub(crate) fn zip() -> Vec<u8> {
    (0..=u16::MAX).find_map(with_time).expect("some time of day makes the equations solvable")
}

fn with_time(time: u16) -> Option<Vec<u8>> {
    let (file, places) = lay_out(time);
    let crc = fixed_point(&file, &places)?;
    let file = with_crc(&file, &places, crc);
    (crc32fast::hash(&file) == crc).then_some(file)
}

/// The file with a checksum of zero, and where it is to stand.
fn lay_out(time: u16) -> (Vec<u8>, Vec<usize>) {
    // The sizes do not depend on what the headers say: the first pass measures.
    let (draft, _, packed) = with_sizes(time, 0, 0);
    let (file, places, _) = with_sizes(time, packed, draft.len());
    (file, places)
}

fn with_sizes(time: u16, packed: usize, size: usize) -> (Vec<u8>, Vec<usize>, usize) {
    let head = local_header(time, packed, size);
    let again = stored(LOCAL + STORED);
    let mut file = head.clone();
    // The head and the operation that says it, said and repeated.
    file.extend_from_slice(&again);
    let second_head = file.len();
    file.extend_from_slice(&head);
    file.extend_from_slice(&again);
    let repeat_head = repeat_40();
    file.extend_from_slice(&repeat_head);
    // What is behind now: that repetition. Said, it leaves behind the operation that said it, and itself.
    let say_repeat = stored(repeat_head.len());
    file.extend_from_slice(&say_repeat);
    file.extend_from_slice(&repeat_head);
    // Four operations of five bytes: these repeat so that the output catches up, and gets one operation ahead.
    let (say_20, repeat_20) = (stored(20), repeat_20());
    for part in [&say_20, &say_repeat, &repeat_head, &say_20, &repeat_20] {
        file.extend_from_slice(part);
    }
    for part in [&say_20, &repeat_20, &say_20, &repeat_20, &say_20, &repeat_20] {
        file.extend_from_slice(part);
    }
    // Ahead by one `stored`, whatever it says comes out as it stands: here the way to a longer one.
    let central = central_entry(time, packed, size);
    let end = end_record(head.len() + packed, central.len());
    let last = [&[3, 0], central.as_slice(), &end].concat();
    let repeat_last = repeat_84();
    let tail = [repeat_last.as_slice(), &last].concat();
    assert_eq!(tail.len(), 84, "as long as what repeats it");
    let bridge = [repeat_13().as_slice(), &stored(tail.len())].concat();
    file.extend_from_slice(&say_20);
    file.extend_from_slice(&[0; 7]);
    file.extend_from_slice(&bridge);
    file.extend_from_slice(&bridge);
    let first_central = file.len() + repeat_last.len() + 2;
    file.extend_from_slice(&tail);
    let second_central = file.len() + repeat_last.len() + 2;
    file.extend_from_slice(&tail);
    let packed = second_central - LOCAL;
    let places = vec![LOCAL_CRC, second_head + LOCAL_CRC, first_central + CENTRAL_CRC, second_central + CENTRAL_CRC];
    (file, places, packed)
}

fn local_header(time: u16, packed: usize, size: usize) -> Vec<u8> {
    let mut header = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
    header.extend_from_slice(&facts(time, packed, size));
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(NAME);
    header
}

fn central_entry(time: u16, packed: usize, size: usize) -> Vec<u8> {
    let mut entry = b"PK\x01\x02\x14\0\x14\0\0\0\x08\0".to_vec();
    entry.extend_from_slice(&facts(time, packed, size));
    entry.extend_from_slice(&[0; 16]);
    entry.extend_from_slice(NAME);
    entry
}

/// Time, date, no checksum yet, sizes, and the length of the name.
fn facts(time: u16, packed: usize, size: usize) -> Vec<u8> {
    let mut bytes = [time.to_le_bytes(), 0x5821_u16.to_le_bytes()].concat();
    bytes.extend_from_slice(&[0; 4]);
    for length in [packed, size] {
        bytes.extend_from_slice(&u32::try_from(length).expect("a small file").to_le_bytes());
    }
    bytes.extend_from_slice(&[NAME.len() as u8, 0]);
    bytes
}

fn end_record(start: usize, length: usize) -> Vec<u8> {
    let mut record = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    for value in [length, start] {
        record.extend_from_slice(&u32::try_from(value).expect("a small file").to_le_bytes());
    }
    record.extend_from_slice(&[0, 0]);
    record
}

/// `length` bytes follow as they are.
fn stored(length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("a small file");
    [[0].as_slice(), &length.to_le_bytes(), &(!length).to_le_bytes()].concat()
}

/// The last 40 bytes once more, in 10 bytes.
fn repeat_40() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.open();
    // Three matches and two empty blocks, because these make whole bytes.
    for (code, extra, width) in [(270, 1, 2), (262, 0, 0), (262, 0, 0)] {
        bits.matched((code, extra, width), (10, 40 - 33, 4));
    }
    bits.close();
    for _ in 0..2 {
        bits.open();
        bits.close();
    }
    bits.whole(10)
}

/// The last 20 bytes once more, in 5 bytes.
fn repeat_20() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.open();
    for _ in 0..2 {
        bits.matched((264, 0, 0), (8, 20 - 17, 3));
    }
    bits.close();
    bits.whole(5)
}

/// The last 13 bytes once more, in 8 bytes.
fn repeat_13() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.open();
    bits.matched((266, 0, 1), (7, 0, 2));
    bits.close();
    [bits.padded().as_slice(), &[0, 0, 0xff, 0xff]].concat()
}

/// The last 84 bytes once more, in 9 bytes.
fn repeat_84() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.open();
    bits.matched((278, 84 - 83, 4), (12, 84 - 65, 5));
    bits.close();
    [bits.padded().as_slice(), &[0, 0, 0xff, 0xff]].concat()
}

/// Bits of blocks with fixed codes.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    /// A block that is not the last.
    fn open(&mut self) {
        self.low_first(0b010, 3);
    }

    fn close(&mut self) {
        self.high_first(0, 7);
    }

    /// A length below 280 and a distance, each as its code, and its extra bits with their number.
    fn matched(&mut self, length: (u32, u32, u32), distance: (u32, u32, u32)) {
        self.high_first(length.0 - 256, 7);
        self.low_first(length.1, length.2);
        self.high_first(distance.0, 5);
        self.low_first(distance.1, distance.2);
    }

    fn low_first(&mut self, value: u32, width: u32) {
        self.0.extend((0..width).map(|bit| value >> bit & 1 == 1));
    }

    fn high_first(&mut self, value: u32, width: u32) {
        self.0.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
    }

    /// Begins an empty stored block, which pads to a whole byte.
    fn padded(mut self) -> Vec<u8> {
        self.low_first(0, 3);
        self.bytes()
    }

    fn whole(self, length: usize) -> Vec<u8> {
        assert_eq!(self.0.len(), length * 8, "whole bytes");
        self.bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|bits| bits.iter().enumerate().fold(0, |byte, (place, &bit)| byte | u8::from(bit) << place)).collect()
    }
}

fn with_crc(file: &[u8], places: &[usize], crc: u32) -> Vec<u8> {
    let mut file = file.to_vec();
    for &place in places {
        file[place..place + 4].copy_from_slice(&crc.to_le_bytes());
    }
    file
}

/// The checksum that a file has once it holds it. `None` where there is none, or more than one.
fn fixed_point(file: &[u8], places: &[usize]) -> Option<u32> {
    let zero = crc32fast::hash(file);
    // Bit `row` of the checksum less bit `row` of what is written, for each bit written; above them, what it must come to.
    let columns: Vec<u32> = (0..32).map(|bit| crc32fast::hash(&with_crc(file, places, 1 << bit)) ^ zero ^ (1 << bit)).collect();
    let mut rows: Vec<u64> = (0..32)
        .map(|row| {
            let left = columns.iter().enumerate().fold(0, |left, (column, bits)| left | u64::from(bits >> row & 1) << column);
            left | u64::from(zero >> row & 1) << 32
        })
        .collect();
    for column in 0..32 {
        let pivot = (column..32).find(|&row| rows[row] >> column & 1 == 1)?;
        rows.swap(column, pivot);
        let chosen = rows[column];
        for (row, bits) in rows.iter_mut().enumerate() {
            if row != column && *bits >> column & 1 == 1 {
                *bits ^= chosen;
            }
        }
    }
    Some(rows.iter().enumerate().fold(0, |crc, (bit, row)| crc | u32::from(row >> 32 & 1 == 1) << bit))
}
