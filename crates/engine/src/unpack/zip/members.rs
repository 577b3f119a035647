//! What one header says of its data: read, judged, read again where headers disagree.

use filesafety_model::Reason;
use memchr::memmem;

use super::{
    Origin, Outcome, Trust, Walk, bounded,
    crypt::Lock,
    member::{self, Purpose, Reading},
    records::{CENTRAL, END, Facts, LOCAL, Local, descriptor_bytes, is_record, stored_ends},
    shown,
};
use crate::unpack::{Stop, codec::Fault, streams};

impl Walk<'_, '_> {
    /// Reads a member as its local header has it, with what stands behind the data taken from the directory. That it fails is no news:
    /// the first reading was judged.
    pub(super) fn second_reading(&mut self, local: &Local<'_>, listed: &Facts) -> Result<usize, Stop> {
        let facts = local.facts.completed_by(listed);
        let is_closed = facts.is_encrypted() || !member::is_supported(facts.method);
        // A reader of local headers takes such data as far as it goes, whatever the directory says of its size.
        let is_endless = local.facts.is_deferred() && !is_closed && member::is_self_terminated(facts.method);
        let packed = if is_endless { u64::MAX } else { facts.packed };
        let input = bounded(self.content, local.data, packed);
        let end = local.data.saturating_add(input.len());
        if facts.is_empty() || !self.done.insert((local.data, facts.method, packed, facts.is_encrypted())) {
            return Ok(if is_endless { local.data } else { end });
        }
        if is_closed {
            self.closed(local.name, input, &facts)?;
            return Ok(end);
        }
        let reading = member::read(&shown(local.name), input, &facts, Purpose::Examine, self.sink)?;
        Ok(match reading.fault {
            None if is_endless => local.data + reading.consumed,
            Some(_) if is_endless => local.data,
            Some(_) | None => end,
        })
    }

    /// Reads the member at a local header; gives where it ends, unless nothing is there.
    pub(super) fn local_header(&mut self, at: usize) -> Result<Option<usize>, Stop> {
        const SPANNED: usize = 4;
        let first = self.origin == Origin::Start && (at == 0 || at == SPANNED);
        let trust = if first || self.read.ends_at(at) { Trust::Sure } else { Trust::Candidate };
        let local = Local::parse(self.content, at).filter(|local| trust == Trust::Sure || local.is_plausible(self.content));
        let Some(local) = local else {
            if trust == Trust::Sure {
                self.sink.unexamined(Reason::Broken, "Zip");
            }
            return Ok(None);
        };
        let outcome = if local.facts.is_deferred() {
            self.deferred(&local, trust)?
        } else {
            self.member(local.name, local.data, &local.facts, trust)?
        };
        let Some(outcome) = outcome else { return Ok(None) };
        self.read.insert(at..outcome.end);
        // Behind damaged data the next header is a guess again, and so is searched for.
        Ok(Some(if outcome.whole { outcome.end } else { local.data.max(at + LOCAL.len()) }))
    }

    /// A member whose sizes stand behind its data, and that no directory tells.
    fn deferred(&mut self, local: &Local<'_>, trust: Trust) -> Result<Option<Outcome>, Stop> {
        let rest = self.content.get(local.data..).unwrap_or_default();
        let method = local.facts.method;
        if local.facts.is_encrypted() || !member::is_self_terminated(method) {
            let ends = self.described_end(local)?;
            let Some((length, crc32)) = ends else { return self.endless(local, trust) };
            let unpacked = if method == 0 { length as u64 } else { u64::from(descriptor_unpacked(rest, length)) };
            let facts = Facts { crc32, packed: length as u64, unpacked, ..local.facts };
            return self.member(local.name, local.data, &facts, Trust::Sure);
        }
        if trust == Trust::Candidate {
            let probed = member::read("", rest, &local.facts, Purpose::Probe, self.sink)?;
            if self.descriptor_after(local.data, &probed).is_none() {
                return self.doubtful(local.name, rest, &local.facts, &probed).map(|()| None);
            }
        }
        let reading = member::read(&shown(local.name), rest, &local.facts, Purpose::Examine, self.sink)?;
        let end = local.data + reading.consumed;
        let descriptor = self.descriptor_after(local.data, &reading);
        if descriptor.is_none() {
            self.say_damaged(local.name, reading.fault);
        }
        Ok(Some(Outcome { end: end + descriptor.unwrap_or(0), whole: descriptor.is_some() }))
    }

    /// The first descriptor that ends stored or encrypted data: how long the data then is, and its checksum.
    fn described_end(&mut self, local: &Local<'_>) -> Result<Option<(usize, u32)>, Stop> {
        const BETWEEN_TICKS: usize = 1_024;
        let rest = self.content.get(local.data..).unwrap_or_default();
        let is_plain = local.facts.method == 0 && !local.facts.is_encrypted();
        // Lengths only grow, so each byte is summed once however many descriptors there seem to be.
        let (mut crc, mut summed) = (crc32fast::Hasher::new(), 0);
        for (index, (length, crc32)) in stored_ends(self.content, local.data).enumerate() {
            if index % BETWEEN_TICKS == BETWEEN_TICKS - 1 {
                self.sink.tick()?;
            }
            crc.update(rest.get(summed..length).filter(|_| is_plain).unwrap_or_default());
            summed = length;
            if !is_plain || crc.clone().finalize() == crc32 {
                return Ok(Some((length, crc32)));
            }
        }
        Ok(None)
    }

    /// Stored or encrypted data whose end nothing tells: it goes as far as the next record.
    fn endless(&mut self, local: &Local<'_>, trust: Trust) -> Result<Option<Outcome>, Stop> {
        if trust == Trust::Candidate {
            return Ok(None);
        }
        let rest = self.content.get(local.data..).unwrap_or_default();
        let next = [LOCAL, CENTRAL, END].iter().filter_map(|mark| memmem::find(rest, mark)).min().unwrap_or(rest.len());
        self.sink.part(&shown(local.name), rest.get(..next).unwrap_or_default())?;
        let reason = if local.facts.is_encrypted() { Reason::Encrypted } else { Reason::Broken };
        self.sink.member_unexamined(&shown(local.name), reason, "Zip");
        Ok(Some(Outcome { end: local.data + next, whole: true }))
    }

    fn descriptor_after(&self, data: usize, reading: &Reading) -> Option<usize> {
        let at = data.checked_add(reading.consumed)?;
        if reading.fault.is_some() {
            return None;
        }
        descriptor_bytes(self.content, at, reading.decoded.crc32, reading.consumed as u64)
    }

    /// Reads one member as one header has it; nothing if a candidate turns out to be none.
    pub(super) fn member(&mut self, name: &[u8], data: usize, facts: &Facts, trust: Trust) -> Result<Option<Outcome>, Stop> {
        let input = bounded(self.content, data, facts.packed);
        let end = data.saturating_add(input.len());
        let whole = Outcome { end: self.after_descriptor(end, facts), whole: true };
        if facts.is_empty() {
            return Ok((trust == Trust::Sure).then_some(whole));
        }
        let key = (data, facts.method, facts.packed, facts.is_encrypted());
        if !self.done.insert(key) {
            return Ok(Some(whole));
        }
        if facts.is_encrypted() || !member::is_supported(facts.method) {
            let believed = trust == Trust::Sure || is_record(self.content, whole.end);
            if believed {
                return self.closed(name, input, facts).map(|()| Some(whole));
            }
            // A directory may still lead here, and then it counts.
            self.done.remove(&key);
            return Ok(None);
        }
        if trust == Trust::Candidate {
            let probed = member::read("", input, facts, Purpose::Probe, self.sink)?;
            if !probed.fits(facts) {
                self.done.remove(&key);
                return self.doubtful(name, input, facts, &probed).map(|()| None);
            }
        }
        let reading = member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        if reading.fits(facts) {
            // Bytes of the data that the stream did not need are searched.
            let used = data + reading.consumed;
            return Ok(Some(Outcome { end: if used == end { whole.end } else { used }, whole: true }));
        }
        if self.is_repaired(name, data, facts, &reading)? {
            self.sink.note("a header has a wrong size");
            return Ok(Some(whole));
        }
        self.say_damaged(name, reading.fault);
        Ok(Some(Outcome { end, whole: false }))
    }

    /// A candidate whose stream is whole while checksum or size are not as told: openers show what came out, so it is examined. It is
    /// too little to call a container broken.
    fn doubtful(&mut self, name: &[u8], input: &[u8], facts: &Facts, probed: &Reading) -> Result<(), Stop> {
        if member::is_self_terminated(facts.method) && probed.fault.is_none() && probed.decoded.bytes > 0 {
            member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        }
        Ok(())
    }

    /// Data that is encrypted or packed by a method of which only the name is known. The encryption flag may lie.
    fn closed(&mut self, name: &[u8], input: &[u8], facts: &Facts) -> Result<(), Stop> {
        let shown = shown(name);
        if member::is_supported(facts.method) && member::read("", input, facts, Purpose::Probe, self.sink)?.fits(facts) {
            self.sink.note("a member that is not encrypted says that it is");
            member::read(&shown, input, facts, Purpose::Examine, self.sink)?;
        } else if !facts.is_encrypted() {
            self.sink.member_unexamined(&shown, Reason::Unsupported, "ZipMethod");
        } else if !self.unlocked(&shown, input, facts)? {
            self.sink.member_unexamined(&shown, Reason::Encrypted, "Zip");
        }
        Ok(())
    }

    /// Whether one of the passwords opens the data; it is then examined.
    fn unlocked(&mut self, name: &str, input: &[u8], facts: &Facts) -> Result<bool, Stop> {
        let Some(lock) = Lock::of(facts, input) else { return Ok(false) };
        for password in self.sink.passwords().iter() {
            self.sink.tick()?;
            let Some(key) = lock.key(password.reveal()) else { continue };
            self.sink.hold(input.len() as u64)?;
            let opened = match lock.open(key) {
                Some(content) => self.behind_lock(name, &content, &lock.facts(facts, &content))?,
                None => false,
            };
            self.sink.release(input.len() as u64);
            if opened {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Examines what came out from under the encryption; false where the password must have been another.
    fn behind_lock(&mut self, name: &str, content: &[u8], facts: &Facts) -> Result<bool, Stop> {
        if !member::is_supported(facts.method) {
            if facts.is_proven {
                self.sink.member_unexamined(name, Reason::Unsupported, "ZipMethod");
            }
            return Ok(facts.is_proven);
        }
        let fits = member::read("", content, facts, Purpose::Probe, self.sink)?.fits(facts);
        if fits || facts.is_proven {
            member::read(name, content, facts, Purpose::Examine, self.sink)?;
        }
        if facts.is_proven && !fits {
            self.sink.member_unexamined(name, Reason::Broken, "Zip");
        }
        Ok(fits || facts.is_proven)
    }

    /// Whether the data is whole once its size is taken from elsewhere: from the stream itself, or from the other size.
    fn is_repaired(&mut self, name: &[u8], data: usize, facts: &Facts, reading: &Reading) -> Result<bool, Stop> {
        let rest = self.content.get(data..).unwrap_or_default();
        let input = match (reading.fault, facts.method) {
            (Some(Fault::Cut), method) if member::is_self_terminated(method) => rest,
            (None, 0) if facts.unpacked != facts.packed => bounded(self.content, data, facts.unpacked),
            _ => return Ok(false),
        };
        if !member::read("", input, facts, Purpose::Probe, self.sink)?.fits(facts) {
            return Ok(false);
        }
        member::read(&shown(name), input, facts, Purpose::Examine, self.sink)?;
        Ok(true)
    }

    fn say_damaged(&mut self, name: &[u8], fault: Option<Fault>) {
        match fault {
            Some(Fault::Cut | Fault::Damaged) | None => self.sink.member_unexamined(&shown(name), Reason::Broken, "Zip"),
            Some(other @ (Fault::Window | Fault::Unsupported)) => streams::report(other, "ZipMethod", self.sink),
        }
    }

    fn after_descriptor(&self, end: usize, facts: &Facts) -> usize {
        let bytes = facts.has_descriptor().then(|| descriptor_bytes(self.content, end, facts.crc32, facts.packed)).flatten();
        end + bytes.unwrap_or(0)
    }
}

fn descriptor_unpacked(rest: &[u8], at: usize) -> u32 {
    crate::unpack::u32_at(rest, at.saturating_add(12)).unwrap_or(0)
}
