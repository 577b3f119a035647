//! RAR archives of every age (1.3 to 7), decoded by the crate `rars`. It writes into memory of ours as far as the budget goes.

mod output;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use filesafety_model::Reason;
use rars::{
    Archive, ArchiveMember, ArchiveMemberDetail, ArchiveReadOptions, ArchiveReader, Error, ErrorKind, ExtractionDecision,
    ExtractionErrorAction, rar15_40, rar50,
};

use self::output::Output;
use super::{
    Member, Sink, Stop,
    ranges::{Ranges, examine_gaps},
    u16_at, u32_at, zip,
};

const DETAIL: &str = "Rar";

/// What decoding may hold beside its output; the next is tried where one does not suffice.
const WORKSPACES: [u64; 3] = [24 << 20, 96 << 20, 640 << 20];

/// More headers and more of their bytes are not read.
const MAX_HEADERS: u64 = 2_000_000;
const MAX_HEADER_BYTES: u64 = 256 << 20;

/// Of a member whose size the archive does not tell, so much is decoded.
const UNTOLD: u64 = 64 << 20;

pub(crate) fn open(content: &[u8], sink: &mut dyn Sink) -> Result<(), Stop> {
    // The decoder keeps a copy, and makes two of it.
    let copy = content.len() as u64;
    sink.hold(copy * 2)?;
    let (archive, password) = match parse(content, sink)? {
        Ok(opened) => opened,
        Err(error) => {
            tell(sink, None, &error);
            sink.release(copy * 2);
            return zip::open_across(content, &[], sink);
        }
    };
    sink.release(copy);
    let password = match password {
        Some(password) => Some(password),
        None => find_password(&archive, sink)?,
    };
    members(&archive, password.as_deref(), sink)?;
    let gaps = frame(content, &archive, sink)?;
    drop(archive);
    sink.release(copy);
    zip::open_across(content, &gaps, sink)
}

type Opened = Result<(Archive, Option<Vec<u8>>), Error>;

/// Reads the headers, by one of the passwords if they are encrypted.
fn parse(content: &[u8], sink: &mut dyn Sink) -> Result<Opened, Stop> {
    let options = |password| {
        let options = ArchiveReadOptions::with_optional_password(password);
        options.with_max_header_count(MAX_HEADERS).with_max_header_bytes(MAX_HEADER_BYTES)
    };
    let read = |password| guarded(|| ArchiveReader::read_with_options(content, options(password)));
    let error = match read(None) {
        Ok(archive) => return Ok(Ok((archive, None))),
        Err(error) => error,
    };
    if !is_closed(&error) {
        return Ok(Err(error));
    }
    for password in sink.passwords().iter() {
        sink.clock()?;
        if let Ok(archive) = read(Some(password.reveal())) {
            return Ok(Ok((archive, Some(password.reveal().to_vec()))));
        }
    }
    Ok(Err(Error::NeedPassword))
}

/// The password of the first encrypted member, if one of those that are known is it.
fn find_password(archive: &Archive, sink: &mut dyn Sink) -> Result<Option<Vec<u8>>, Stop> {
    let Some(target) = archive.members().position(|member| member.meta.is_encrypted) else { return Ok(None) };
    let is_solid = is_solid(archive);
    for password in sink.passwords().iter() {
        sink.clock()?;
        let (limit, deadline) = (sink.room(), sink.deadline());
        let mut index = 0;
        let decide = |member: &ArchiveMember| {
            let here = index;
            index += 1;
            let discarded = || ExtractionDecision::Extract(Box::new(Output::discarding(limit, deadline)));
            Ok(match here {
                _ if here > target => ExtractionDecision::Stop,
                _ if here == target || is_solid && !member.meta.is_directory => discarded(),
                _ => ExtractionDecision::Skip,
            })
        };
        let options = ArchiveReadOptions::with_password(password.reveal()).with_max_reader_workspace_bytes(WORKSPACES[2]);
        sink.hold(WORKSPACES[2])?;
        let opened = guarded(|| archive.extract_with_control(options, decide));
        sink.release(WORKSPACES[2]);
        if opened.is_ok() {
            return Ok(Some(password.reveal().to_vec()));
        }
    }
    Ok(None)
}

/// What goes on while members are decoded.
struct Walk<'s> {
    sink: &'s mut dyn Sink,
    /// Members that are done with.
    settled: usize,
    /// Members that were met in this run.
    met: usize,
    /// The member that is decoded.
    current: Option<Current>,
    stopped: bool,
}

struct Current {
    name: String,
    output: Output,
    held: u64,
    is_told: bool,
}

fn members(archive: &Archive, password: Option<&[u8]>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let walk = RefCell::new(Walk { sink, settled: 0, met: 0, current: None, stopped: false });
    for (attempt, workspace) in WORKSPACES.into_iter().enumerate() {
        walk.borrow_mut().met = 0;
        walk.borrow_mut().sink.hold(workspace)?;
        let options = ArchiveReadOptions::with_optional_password(password);
        let options = options.with_max_reader_workspace_bytes(workspace).with_rar50_dictionary_size_limit(workspace);
        let decide = |member: &ArchiveMember| Ok(walk.borrow_mut().decide(member, is_solid(archive), password.is_some()));
        let fail = |member: &ArchiveMember, error: &Error| Ok(walk.borrow_mut().fail(member, error));
        let result = guarded(|| archive.extract_with_control_and_errors(options, decide, fail));
        let mut walk = walk.try_borrow_mut().map_err(|_| Stop)?;
        walk.sink.release(workspace);
        if walk.stopped {
            return Err(Stop);
        }
        match result {
            Err(error) if error.kind() == ErrorKind::ResourceLimit && attempt + 1 < WORKSPACES.len() => walk.forget_current(),
            Err(error) => {
                let name = walk.current.as_ref().map(|current| current.name.clone());
                walk.settle()?;
                tell(walk.sink, name.as_deref(), &error);
                return Ok(());
            }
            Ok(_) => return walk.settle(),
        }
    }
    Ok(())
}

impl Walk<'_> {
    fn decide(&mut self, member: &ArchiveMember, is_solid: bool, has_password: bool) -> ExtractionDecision {
        match self.next(member, is_solid, has_password) {
            Ok(decision) => decision,
            Err(Stop) => {
                self.stopped = true;
                ExtractionDecision::Stop
            }
        }
    }

    fn next(&mut self, member: &ArchiveMember, is_solid: bool, has_password: bool) -> Result<ExtractionDecision, Stop> {
        self.settle()?;
        self.sink.tick()?;
        let index = self.met;
        self.met += 1;
        let meta = &member.meta;
        if index < self.settled {
            return Ok(if is_solid && !meta.is_directory { discarded(self.sink) } else { ExtractionDecision::Skip });
        }
        self.settled = self.met;
        let name = meta.name_lossy();
        self.sink.member(&Member {
            name: &name,
            packed: Some(meta.packed_size),
            unpacked: Some(meta.unpacked_size).filter(|size| *size != u64::MAX),
            encrypted: meta.is_encrypted,
            crc32: checksum(&member.detail),
        });
        if meta.is_directory || meta.is_redirection {
            return Ok(ExtractionDecision::Skip);
        }
        if meta.is_split_before || meta.is_split_after {
            self.sink.member_unexamined(&name, Reason::Unsupported, "RarVolume");
            // What comes before in another volume, nothing here can be decoded without.
            return Ok(if is_solid { ExtractionDecision::Stop } else { ExtractionDecision::Skip });
        }
        if meta.is_encrypted && !has_password {
            self.sink.member_unexamined(&name, Reason::Encrypted, DETAIL);
            return Ok(if is_solid { ExtractionDecision::Stop } else { ExtractionDecision::Skip });
        }
        let room = self.sink.room().saturating_add(1);
        let held = if meta.unpacked_size == u64::MAX { UNTOLD } else { meta.unpacked_size }.min(room);
        self.sink.hold(held)?;
        let output = Output::new(held, self.sink.deadline());
        self.current = Some(Current { name, output: output.clone(), held, is_told: false });
        Ok(ExtractionDecision::Extract(Box::new(output)))
    }

    /// Examines the member that was decoded last.
    fn settle(&mut self) -> Result<(), Stop> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let content = current.output.take();
        if !content.bytes.is_empty() {
            self.sink.part(&current.name, &content.bytes)?;
        }
        self.sink.clock()?;
        if content.overflowed && !current.is_told {
            self.sink.member_unexamined(&current.name, Reason::Limit, "Memory");
        }
        drop(content);
        self.sink.release(current.held);
        Ok(())
    }

    /// The member is decoded again, with more memory.
    fn forget_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.sink.release(current.held);
        }
        self.settled = self.met.saturating_sub(1);
    }

    fn fail(&mut self, member: &ArchiveMember, error: &Error) -> ExtractionErrorAction {
        if let Some(current) = self.current.as_mut() {
            current.is_told = true;
        }
        // A wrong password and damage look alike in old archives.
        let is_closed = member.meta.is_encrypted && matches!(error.kind(), ErrorKind::BadPassword | ErrorKind::PasswordRequired);
        let error = if is_closed { &Error::NeedPassword } else { error };
        tell(self.sink, Some(&member.meta.name_lossy()), error);
        ExtractionErrorAction::Continue
    }
}

fn checksum(detail: &ArchiveMemberDetail) -> Option<u32> {
    match detail {
        ArchiveMemberDetail::Rar15To40 { crc32, .. } => Some(*crc32),
        ArchiveMemberDetail::Rar50Plus { crc32, .. } => *crc32,
        _ => None,
    }
}

fn discarded(sink: &dyn Sink) -> ExtractionDecision {
    ExtractionDecision::Extract(Box::new(Output::discarding(u64::MAX, sink.deadline())))
}

fn is_solid(archive: &Archive) -> bool {
    match archive {
        Archive::Rar13(archive) => archive.main.is_solid(),
        Archive::Rar15To40(archive) => archive.main.is_solid(),
        Archive::Rar50Plus(archive) => archive.main.is_solid(),
        _ => true,
    }
}

/// Says what an error means for the container.
fn tell(sink: &mut dyn Sink, name: Option<&str>, error: &Error) {
    let (reason, detail) = match error.kind() {
        ErrorKind::PasswordRequired | ErrorKind::BadPassword => (Reason::Encrypted, DETAIL),
        ErrorKind::UnsupportedFormat | ErrorKind::UnsupportedFeature => (Reason::Unsupported, DETAIL),
        ErrorKind::ResourceLimit => (Reason::Limit, "Memory"),
        _ => (Reason::Broken, DETAIL),
    };
    match name {
        Some(name) => sink.member_unexamined(name, reason, detail),
        None => sink.unexamined(reason, detail),
    }
}

fn is_closed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PasswordRequired | ErrorKind::BadPassword)
}

/// The decoder is not ours to prove, and one file must never end a scan without a verdict.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::InvalidHeader("the decoder gave up")))
}

/// Looks at what stands around the members: services that carry content, the end, bytes that belong to nothing.
fn frame(content: &[u8], archive: &Archive, sink: &mut dyn Sink) -> Result<Vec<std::ops::Range<usize>>, Stop> {
    let mut read = Ranges::default();
    match archive {
        Archive::Rar50Plus(archive) if !archive.main.encrypted_headers => new_frame(archive, &mut read, sink),
        Archive::Rar15To40(archive) if !archive.main.has_encrypted_headers() => old_frame(archive, &mut read, sink),
        // Where headers are encrypted, or the format is older than headers for everything, nothing tells what belongs to what.
        _ => return crate::search::embedded(content, sink).map(|()| Vec::new()),
    }
    examine_gaps(content, &read, sink)
}

fn new_frame(archive: &rar50::Archive, read: &mut Ranges, sink: &mut dyn Sink) {
    let mut ended = false;
    let mut block = |block: &rar50::BlockHeader| read.insert(block.offset..block.header_range.end.max(block.data_range.end));
    block(&archive.main.block);
    for part in &archive.blocks {
        match part {
            rar50::Block::File(file) => block(&file.block),
            rar50::Block::Service(service) => {
                block(&service.block);
                tell_service(&service.name, sink);
            }
            rar50::Block::End(end) => {
                ended = true;
                block(&end.block);
            }
            rar50::Block::Unknown(unknown) => block(unknown),
            _ => {}
        }
    }
    read.insert(0..8);
    if !ended {
        sink.unexamined(Reason::Broken, DETAIL);
    }
}

fn old_frame(archive: &rar15_40::Archive, read: &mut Ranges, sink: &mut dyn Sink) {
    const MARK: usize = 7;
    let mut ended = false;
    let end = |block: &rar15_40::BlockHeader| block.offset.saturating_add(usize::from(block.head_size));
    let whole = |block: &rar15_40::BlockHeader| {
        let data = usize::try_from(block.add_size.unwrap_or(0)).unwrap_or(usize::MAX);
        block.offset..end(block).saturating_add(data)
    };
    read.insert(0..MARK + usize::from(archive.main.head_size));
    for part in &archive.blocks {
        match part {
            rar15_40::Block::File(file) => read.insert(file.block.offset..end(&file.block).max(file.packed_range.end)),
            rar15_40::Block::NewSub(service) => {
                read.insert(service.file.block.offset..end(&service.file.block).max(service.file.packed_range.end));
                tell_service(&service.file.name, sink);
            }
            rar15_40::Block::Comment(comment) => read.insert(comment.block.offset..end(&comment.block).max(comment.packed_range.end)),
            rar15_40::Block::Protect(protect) => read.insert(protect.block.offset..end(&protect.block).max(protect.data_range.end)),
            rar15_40::Block::End(block) => {
                ended = true;
                read.insert(whole(block));
            }
            rar15_40::Block::Unknown(block) => read.insert(whole(block)),
            _ => {}
        }
    }
    if !ended {
        // Writers before RAR 3 put none.
        sink.note("no end record");
    }
}

/// A second stream of a file on Windows carries content; recovery records, owners and the like do not.
fn tell_service(name: &[u8], sink: &mut dyn Sink) {
    if name == b"STM" {
        sink.unexamined(Reason::Unsupported, "RarStream");
    }
}

/// Whether an archive with a main header of right checksum stands here.
pub(crate) fn starts(content: &[u8]) -> bool {
    is_rar4(content) || is_rar5(content)
}

/// The archive header after the mark: type 0x73, and the low half of its CRC-32.
fn is_rar4(content: &[u8]) -> bool {
    let Some(length) = u16_at(content, 12).map(usize::from).filter(|length| *length >= 13) else { return false };
    let Some(header) = content.get(9..7 + length) else { return false };
    let sum = crc32fast::hash(header) & 0xffff;
    header.first() == Some(&0x73) && u16_at(content, 7).map(u32::from) == Some(sum)
}

/// The main header after the mark: CRC-32, its size as a variable number, then type 1.
fn is_rar5(content: &[u8]) -> bool {
    /// A header has at most 2 MiB, so its size takes no more bytes.
    const LONGEST_SIZE: usize = 3;
    let Some(rest) = content.get(12..) else { return false };
    let Some(last) = rest.iter().take(LONGEST_SIZE).position(|byte| byte & 0x80 == 0) else { return false };
    let size = rest.iter().take(last + 1).rev().fold(0usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
    let Some(header) = rest.get(..last + 1 + size) else { return false };
    // 4 is the header of an encrypted archive.
    size > 0 && matches!(header.get(last + 1), Some(1 | 4)) && u32_at(content, 8) == Some(crc32fast::hash(header))
}
