//! Documents of Hangul (HWP 5): streams in raw deflate, as a stream of the root says.

use filesafety_model::Reason;

use super::{Listed, Walk};
use crate::unpack::{
    Stop,
    codec::{Inflate, Stream},
    u32_at,
};

const HEADER: &str = "FileHeader";
const SIGNATURE: &[u8] = b"HWP Document File";
const FLAGS_AT: usize = 36;
const PACKED: u32 = 1;
const ENCRYPTED: u32 = 2;
const PARTS: [&str; 4] = ["BodyText/", "BinData/", "Scripts/", "DocInfo"];

impl Walk<'_, '_, '_> {
    pub(super) fn hangul(&mut self) -> Result<(), Stop> {
        let Some(header) = self.streams.iter().find(|listed| listed.path == HEADER) else { return Ok(()) };
        let header = self.file.short_stream(&header.entry);
        let flags = u32_at(&header, FLAGS_AT).unwrap_or(0);
        if !header.starts_with(SIGNATURE) {
            return Ok(());
        }
        if flags & ENCRYPTED != 0 {
            self.sink.unexamined(Reason::Encrypted, "Hangul");
            return Ok(());
        }
        if flags & PACKED == 0 {
            return Ok(());
        }
        let is_part = |listed: &&Listed| PARTS.iter().any(|part| listed.path.starts_with(part)) && listed.storage.is_some();
        let parts: Vec<_> = self.streams.iter().filter(is_part).map(|listed| (listed.path.clone(), listed.entry.clone())).collect();
        for (path, entry) in parts {
            let stream = self.file.stream(&entry, self.sink)?;
            let mut unpacked = Inflate::new(&stream.bytes);
            self.sink.child(&format!("{path}-unpacked"), &mut unpacked)?;
            let fault = unpacked.fault();
            // Embedded files may stand as they are.
            if fault.is_some() && unpacked.consumed() > stream.bytes.len() / 2 {
                self.sink.member_unexamined(&path, Reason::Broken, super::DETAIL);
            }
            stream.give_back(self.sink);
        }
        Ok(())
    }
}
