//! Executables built by code.

/// A section of a PE: address and length in memory, place and length in the file.
pub(in crate::clamdb) type PeSection = (u32, u32, u32, u32);

/// The headers of a PE32 with these sections, followed by `fill` up to `length`; it begins at `entry`, imports stand at `imports`.
pub(in crate::clamdb) fn pe(sections: &[PeSection], entry: u32, imports: u32, length: usize, fill: &[u8]) -> Vec<u8> {
    let mut file = b"MZ".to_vec();
    file.resize(0x3c, 0);
    file.extend(0x80u32.to_le_bytes());
    file.resize(0x80, 0);
    file.extend(b"PE\0\0");
    file.extend(0x14cu16.to_le_bytes());
    file.extend((sections.len() as u16).to_le_bytes());
    file.extend([0; 12]);
    file.extend(224u16.to_le_bytes());
    file.extend(0x102u16.to_le_bytes());
    file.extend([0x0b, 1, 1, 0]);
    for value in [0x200, 0, 0, entry, 0x1000, 0x2000, 0x40_0000, 0x1000, 0x200, 4, 0, 4, 0, 0x1_0000, 0x400, 0] {
        file.extend(u32::to_le_bytes(value));
    }
    file.extend([3, 0, 0, 0]);
    for value in [0x10_0000, 0x1000, 0x10_0000, 0x1000, 0, 16, 0, 0, imports, if imports == 0 { 0 } else { 200 }] {
        file.extend(u32::to_le_bytes(value));
    }
    file.resize(0x80 + 24 + 224, 0);
    for (index, (address, memory, start, size)) in sections.iter().enumerate() {
        file.extend(format!(".s{index:<6}").replace(' ', "\0").as_bytes());
        for value in [memory, address, size, start, &0, &0, &0, &0x6000_0020] {
            file.extend(value.to_le_bytes());
        }
    }
    let mut filling = fill.iter().cycle();
    while file.len() < length {
        file.push(*filling.next().unwrap_or(&0));
    }
    file
}
