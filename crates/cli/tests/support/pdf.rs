//! Small PDF files.

use crate::support::archives;

/// A page that says hello: nothing to find, everything to read.
pub(crate) fn clean() -> Vec<u8> {
    with_objects(&[])
}

/// A clean page and, as its last object, a stream packed by zlib.
pub(crate) fn with_flate_stream(content: &[u8]) -> Vec<u8> {
    with_objects(&[stream("/Filter /FlateDecode", &zlib(content))])
}

/// A clean page and a stream with a dictionary of the caller's own.
pub(crate) fn with_stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    with_objects(&[stream(dictionary, content)])
}

/// Encrypted by a password that nobody knows.
pub(crate) fn encrypted() -> Vec<u8> {
    let random = |seed: u8| (0..32_u8).map(|index| format!("{:02x}", index.wrapping_mul(37) ^ seed)).collect::<String>();
    let dictionary = format!("<< /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <{}> /U <{}> >>", random(0x5a), random(0xc3));
    let mut file = with_objects(&[dictionary.into_bytes(), stream("/Filter /FlateDecode", &[0x93; 64])]);
    let trailer = file.windows(7).rposition(|window| window == b"trailer").expect("a trailer");
    let open = trailer + file[trailer..].windows(2).position(|window| window == b"<<").expect("its dictionary") + 2;
    let entry = format!(" /Encrypt 5 0 R /ID [<{0}> <{0}>]", "00112233445566778899aabbccddeeff");
    file.splice(open..open, entry.into_bytes());
    file
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    [format!("<< /Length {} {dictionary} >>\nstream\n", content.len()).as_bytes(), content, b"\nendstream"].concat()
}

fn with_objects(more: &[Vec<u8>]) -> Vec<u8> {
    let page = stream("", b"BT /F1 24 Tf 72 720 Td (Hello) Tj ET");
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>".to_vec(),
        page,
    ];
    objects.extend_from_slice(more);
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut offsets = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n", index + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let table = file.len();
    file.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for offset in offsets {
        file.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    file.extend_from_slice(format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).as_bytes());
    file
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let (mut low, mut high) = (1_u32, 0_u32);
    for &byte in content {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    [b"\x78\x9c".as_slice(), &archives::deflate(content), &((high << 16) | low).to_be_bytes()].concat()
}
