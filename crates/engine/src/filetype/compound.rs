//! What a compound file is, by the names in its directory, wherever that stands.

use memchr::memmem;

/// A name that tells, and the type.
const TELLING: [(&str, &str); 7] = [
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("VisioDocument", "application/vnd.visio"),
    ("HwpSummaryInformation", "application/x-hwp"),
];
/// Installers have this class in their root.
const INSTALLER: &[u8] = b"\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46";
const LOOKED_AT: usize = 64 << 20;

pub(super) fn media_type(content: &[u8]) -> &'static str {
    let content = content.get(..LOOKED_AT).unwrap_or(content);
    if memmem::find(content, INSTALLER).is_some() {
        return "application/x-msi";
    }
    let names = |name: &str| {
        let mut wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        wide.extend([0, 0]);
        // An entry is 128 bytes, and starts with its name.
        memmem::find_iter(content, &wide).any(|at| at % 128 == 0 || name.starts_with("Hwp"))
    };
    TELLING.iter().find(|(name, _)| names(name)).map_or("application/x-ole-storage", |(_, media_type)| media_type)
}
