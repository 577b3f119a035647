//! Encrypted documents in compound files: which streams are, and what they are when a known password opens them.

use filesafety_model::Reason;

use super::{Walk, compound::Content, pictures, word};
use crate::unpack::{Stop, excel, office_crypt, u16_at, u32_at};

impl<'a> Walk<'a, '_, '_> {
    /// Opens what is encrypted, or says so.
    pub(super) fn encrypted(&mut self) -> Result<(), Stop> {
        self.package()?;
        self.document()?;
        for name in ["Workbook", "Book"] {
            self.workbook(name)?;
        }
        self.presentation()
    }

    /// A document of today, encrypted as a whole, or one whose rights somebody manages.
    fn package(&mut self) -> Result<(), Stop> {
        if self.streams.iter().any(|listed| listed.path == "\u{9}DRMContent") {
            self.sink.unexamined(Reason::Encrypted, office_crypt::DETAIL);
        }
        let Some(package) = self.named("EncryptedPackage")? else { return Ok(()) };
        match self.named("EncryptionInfo")? {
            Some(info) => {
                office_crypt::open_package(&info.bytes, &package.bytes, self.sink)?;
                info.give_back(self.sink);
            }
            None => self.sink.unexamined(Reason::Encrypted, office_crypt::DETAIL),
        }
        package.give_back(self.sink);
        Ok(())
    }

    fn document(&mut self) -> Result<(), Stop> {
        const IDENT: u16 = 0xa5ec;
        const ENCRYPTED: u16 = 0x0100;
        const OBFUSCATED: u16 = 0x8000;
        const SECOND_TABLE: u16 = 0x0200;
        /// So much of the header stands in the clear.
        const CLEAR: usize = 0x44;
        let Some(document) = self.named("WordDocument")? else { return Ok(()) };
        let flags = u16_at(&document.bytes, 0x0a).filter(|_| u16_at(&document.bytes, 0) == Some(IDENT)).unwrap_or(0);
        if flags & ENCRYPTED != 0 {
            let table_name = if flags & SECOND_TABLE == 0 { "0Table" } else { "1Table" };
            let table = if flags & OBFUSCATED == 0 { self.named(table_name)? } else { None };
            let key = table.as_ref().and_then(|table| office_crypt::Rc4Key::of(&table.bytes, &office_crypt::passwords(self.sink)));
            match key {
                Some(key) => {
                    self.decrypted(&key, "WordDocument", &document, CLEAR)?;
                    for (name, stream) in [(table_name, table), ("Data", self.named("Data")?)] {
                        if let Some(stream) = stream {
                            self.decrypted(&key, name, &stream, 0)?;
                            stream.give_back(self.sink);
                        }
                    }
                }
                None => {
                    self.sink.unexamined(Reason::Encrypted, office_crypt::DETAIL);
                    table.into_iter().for_each(|table| table.give_back(self.sink));
                }
            }
        }
        document.give_back(self.sink);
        Ok(())
    }

    fn decrypted(&mut self, key: &office_crypt::Rc4Key, name: &str, stream: &Content<'_>, clear: usize) -> Result<(), Stop> {
        self.sink.hold(stream.bytes.len() as u64)?;
        let plain = key.document_stream(&stream.bytes, clear);
        let name = format!("{name}-decrypted");
        self.sink.part(&name, &plain)?;
        word::open(&plain, self.sink);
        pictures::open(&name, &plain, self.sink)?;
        self.sink.release(plain.len() as u64);
        Ok(())
    }

    fn workbook(&mut self, name: &str) -> Result<(), Stop> {
        let Some(stream) = self.named(name)? else { return Ok(()) };
        if let Some(header) = excel::encryption_header(&stream.bytes) {
            match office_crypt::key_of_workbook(header, &office_crypt::passwords(self.sink)) {
                Some(key) => {
                    self.sink.hold(stream.bytes.len() as u64)?;
                    let plain = key.decrypt(&stream.bytes);
                    self.sink.part(&format!("{name}-decrypted"), &plain)?;
                    excel::open(&plain, excel::Records::Decrypted, self.sink)?;
                    self.sink.release(plain.len() as u64);
                }
                None => self.sink.unexamined(Reason::Encrypted, office_crypt::DETAIL),
            }
        }
        stream.give_back(self.sink);
        Ok(())
    }

    /// Of a presentation only whether it is.
    fn presentation(&mut self) -> Result<(), Stop> {
        const TOKEN_OF_ENCRYPTED: u32 = 0xf3d1_c4df;
        let Some(user) = self.named("Current User")? else { return Ok(()) };
        if u32_at(&user.bytes, 12) == Some(TOKEN_OF_ENCRYPTED) {
            self.sink.unexamined(Reason::Encrypted, office_crypt::DETAIL);
        }
        user.give_back(self.sink);
        Ok(())
    }

    /// The stream of that name in the root.
    fn named(&mut self, name: &str) -> Result<Option<Content<'a>>, Stop> {
        let Some(entry) = self.streams.iter().find(|listed| listed.path.eq_ignore_ascii_case(name)).map(|listed| listed.entry.clone())
        else {
            return Ok(None);
        };
        self.file.stream(&entry, self.sink).map(Some)
    }
}
