//! What openers tell of an object, and the children that they give: each is decoded under the budget, then examined.

use std::{
    io::{self, Read},
    rc::Rc,
};

use filesafety_model::{EngineName, Password, Reason, Unexamined};

use super::{Door, Walk, keep, member_path, shown};
use crate::{
    budget::{Deadline, Limit, Stopped},
    clamdb::Container,
    facts::Fact,
    nsfw::Pixels,
    unpack::{Decoded, Ended, Member, Sink, Stop},
};

/// Below this a growing object doubles its room, above it grows by a quarter.
const DOUBLES_BELOW: usize = 16 << 20;

/// Of an object that passed a limit while it was decoded, so much of its start is still scanned.
const SCANNED_OF_REFUSED: usize = 32 << 20;

impl Walk<'_, '_> {
    /// Whether the child that is offered is not to be examined.
    fn refuses(&mut self) -> bool {
        if self.door == Door::Closed {
            self.door = Door::Refused;
        }
        self.door == Door::Refused
    }

    /// Decodes into memory, step by step under the budget. What was decoded stands in `buffer` also when it stops.
    fn decode(&mut self, content: &mut dyn Read, buffer: &mut Vec<u8>, held: &mut u64) -> Result<Decoded, Stop> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut crc = crc32fast::Hasher::new();
        let result = loop {
            match content.read(&mut scratch) {
                Ok(0) => break Ok(Ended::AtEnd),
                Ok(count) => {
                    let step = scratch.get(..count).unwrap_or_default();
                    crc.update(step);
                    if let Err(stop) = self.append(step, buffer, held) {
                        break Err(stop);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break Ok(Ended::InError),
            }
        };
        self.scratch = scratch;
        Ok(Decoded { ended: result?, bytes: buffer.len() as u64, crc32: crc.finalize() })
    }

    fn append(&mut self, step: &[u8], buffer: &mut Vec<u8>, held: &mut u64) -> Result<(), Stop> {
        self.budget.unpack(step.len() as u64)?;
        let needed = buffer.len() + step.len();
        if needed > buffer.capacity() {
            let room = buffer.capacity() + if buffer.capacity() < DOUBLES_BELOW { buffer.capacity() } else { buffer.capacity() / 4 };
            let more = room.max(needed) - buffer.len();
            let grown = (room.max(needed) - buffer.capacity()) as u64;
            self.budget.hold(grown)?;
            *held += grown;
            if buffer.try_reserve_exact(more).is_err() {
                return Err(self.budget.stop(Limit::Memory));
            }
        }
        buffer.extend_from_slice(step);
        Ok(())
    }

    /// Scans the start of what was decoded before a bound on size was passed: a name is worth more than a limit.
    fn scan_refused(&mut self, name: &str, buffer: &[u8]) {
        match self.budget.stopped() {
            Some(Stopped::Limit(Limit::Bytes | Limit::Ratio)) => {}
            Some(Stopped::Limit(Limit::Depth | Limit::Objects | Limit::Time | Limit::Memory | Limit::Matches) | Stopped::MemoryShort)
            | None => return,
        }
        self.path.push_str(if self.path.is_empty() { "" } else { "/" });
        self.path.push_str(&shown(name));
        let (start, here) = (buffer.get(..SCANNED_OF_REFUSED).unwrap_or(buffer), self.path.len());
        self.facts.enter();
        // The scan has stopped already; that it could stop again changes nothing.
        let _: Result<(), Stop> = self.detect(start);
        self.conclude(start, here);
    }
}

impl Sink for Walk<'_, '_> {
    fn member(&mut self, member: &Member<'_>) {
        if self.allowed_at.is_some() || self.door == Door::Refused {
            return;
        }
        let Some((opened, findings)) = self.containers.last_mut().zip(self.virus.as_mut()) else { return };
        opened.members += 1;
        let container = Container { kind: opened.kind, size: opened.size, position: opened.members };
        let hits = self.engine.clamdb.judge_member(member, &container);
        if !hits.is_empty() {
            keep(&mut findings.clamdb, hits, EngineName::ClamDb, &member_path(&self.path, member.name), self.watcher);
        }
    }

    fn child(&mut self, name: &str, content: &mut dyn Read) -> Result<Decoded, Stop> {
        if self.refuses() {
            return Ok(NOTHING);
        }
        let (mut buffer, mut held) = (Vec::new(), 0);
        let decoded = self.decode(content, &mut buffer, &mut held).inspect_err(|_| self.scan_refused(name, &buffer))?;
        self.descend(name, &buffer)?;
        drop(buffer);
        self.budget.release(held);
        Ok(decoded)
    }

    fn pixels(&mut self, name: &str, pixels: &Pixels, content: &mut dyn Read) -> Result<Decoded, Stop> {
        self.pixels = Some(pixels.clone());
        let decoded = self.child(name, content);
        self.pixels = None;
        decoded
    }

    fn part(&mut self, name: &str, content: &[u8]) -> Result<Decoded, Stop> {
        if self.refuses() {
            return Ok(NOTHING);
        }
        self.budget.unpack(content.len() as u64).inspect_err(|_| self.scan_refused(name, content))?;
        self.descend(name, content)?;
        Ok(Decoded { bytes: content.len() as u64, crc32: crc32fast::hash(content), ended: Ended::AtEnd })
    }

    fn unexamined(&mut self, reason: Reason, detail: &str) {
        // At the depth limit it is told that something is there, not what.
        if self.refuses() {
            return;
        }
        self.coverage.add_unexamined(Unexamined::new(&self.path, reason, detail));
    }

    fn member_unexamined(&mut self, name: &str, reason: Reason, detail: &str) {
        if self.refuses() {
            return;
        }
        self.coverage.add_unexamined(Unexamined::new(member_path(&self.path, name), reason, detail));
    }

    fn note(&mut self, note: &str) {
        if self.door == Door::Open {
            self.coverage.add_note(&self.path, note);
        }
    }

    fn fact(&mut self, fact: Fact, detail: &str) {
        if self.door == Door::Open && self.virus.is_some() {
            self.facts.state(&self.path, fact, &shown(detail));
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.budget.entry()
    }

    fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        self.budget.hold(bytes)
    }

    fn release(&mut self, bytes: u64) {
        self.budget.release(bytes);
    }

    fn clock(&mut self) -> Result<(), Stop> {
        self.budget.check_time()
    }

    fn deadline(&self) -> Option<Deadline> {
        Some(self.budget.deadline())
    }

    fn room(&self) -> u64 {
        self.budget.room()
    }

    fn passwords(&self) -> Rc<[Password]> {
        self.passwords.clone()
    }
}

/// What a child is that was refused.
const NOTHING: Decoded = Decoded { bytes: 0, crc32: 0, ended: Ended::AtEnd };
