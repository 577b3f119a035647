//! Facts: what an object does or pretends, none of which condemns it alone.
//!
//! A template that fills itself in runs by itself; an installer executes programs. Only two independent facts about one object, or
//! about the parts of one document, raise a detection ([`suspicions`]). A fact alone is a note. Links that somebody has to follow
//! and pictures that a viewer loads are no facts.

use filesafety_model::Note;

/// What an opener, a rule or a name says of the object in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Code in it starts when it is opened, without further asking: a macro `AutoOpen`, an open action with a script.
    RunsByItself,
    /// Code in it gets content from elsewhere, or opening it loads a template or an object from there.
    Fetches,
    /// Code in it starts a program, an interpreter or machine code.
    Executes,
    /// Code in it writes a program or a script to the disk.
    Drops,
    /// Code in it is decoded from a text of its own before it is used.
    Decodes,
    /// Its name shows another kind of file than it is: a double extension, a reversed ending.
    Disguised,
    /// Its name leads out of the folder that its archive is unpacked to.
    Escapes,
    /// By content it is a program. Told only of what should be none, or every program would have a note.
    IsProgram,
}

impl Fact {
    const ALL: [Self; 8] =
        [Self::RunsByItself, Self::Fetches, Self::Executes, Self::Drops, Self::Decodes, Self::Disguised, Self::Escapes, Self::IsProgram];

    /// The word in the metadata of a rule.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RunsByItself => "runs_by_itself",
            Self::Fetches => "fetches",
            Self::Executes => "executes",
            Self::Drops => "drops",
            Self::Decodes => "decodes",
            Self::Disguised => "disguised",
            Self::Escapes => "escapes",
            Self::IsProgram => "is_program",
        }
    }

    /// For a person; a note begins with it.
    fn sentence(self) -> &'static str {
        match self {
            Self::RunsByItself => "runs by itself",
            Self::Fetches => "fetches from elsewhere",
            Self::Executes => "executes",
            Self::Drops => "writes a program",
            Self::Decodes => "decodes what it runs",
            Self::Disguised => "has a name that deceives",
            Self::Escapes => "leaves its folder",
            Self::IsProgram => "is a program",
        }
    }
}

/// The facts that together are a detection, and the last word of its signature. The rows are independent of each other: of a file for
/// which several hold, each is reported.
const SUSPICIONS: [(Fact, Fact, &str); 9] = [
    // Templates run by themselves, and tools start programs; what starts programs as soon as it is opened asks nobody.
    (Fact::RunsByItself, Fact::Executes, "FileSafety.Suspicious.RunsProgram"),
    (Fact::RunsByItself, Fact::Fetches, "FileSafety.Suspicious.RunsAndFetches"),
    (Fact::RunsByItself, Fact::Drops, "FileSafety.Suspicious.RunsAndDrops"),
    // Data is decoded everywhere; commands that are hidden from their reader and then run are not.
    (Fact::Decodes, Fact::Executes, "FileSafety.Suspicious.DecodesAndExecutes"),
    // Names deceive by accident where the content is what they say.
    (Fact::Disguised, Fact::IsProgram, "FileSafety.Suspicious.DisguisedProgram"),
    (Fact::Disguised, Fact::Executes, "FileSafety.Suspicious.DisguisedCommand"),
    (Fact::Disguised, Fact::Drops, "FileSafety.Suspicious.DisguisedDropper"),
    // Careless archivers write names that climb; what climbs and can be run is meant for a folder whose content is started.
    (Fact::Escapes, Fact::IsProgram, "FileSafety.Suspicious.EscapingProgram"),
    (Fact::Escapes, Fact::Executes, "FileSafety.Suspicious.EscapingCommand"),
];

/// The signatures of the detections that these facts raise.
pub(crate) fn suspicions(facts: FactSet) -> impl Iterator<Item = &'static str> {
    SUSPICIONS.into_iter().filter(move |(one, other, _)| facts.contains(*one) && facts.contains(*other)).map(|(_, _, signature)| signature)
}

/// Which facts hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FactSet(u8);

impl FactSet {
    pub(crate) fn insert(&mut self, fact: Fact) {
        self.0 |= 1 << fact as u8;
    }

    pub(crate) fn contains(self, fact: Fact) -> bool {
        self.0 & 1 << fact as u8 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn join(&mut self, others: Self) {
        self.0 |= others.0;
    }
}

/// The facts of the objects that are open, each inside the one before it, and the notes of the whole file.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    open: Vec<Open>,
    notes: Vec<Note>,
}

/// An object that is being examined.
#[derive(Debug, Default)]
struct Open {
    facts: FactSet,
    /// Whether what is inside counts for it: the parts of a document do, the members of an archive know nothing of each other.
    is_document: bool,
}

/// What to make of the facts of an object that was examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// Nothing, or left to the document around it.
    Nothing,
    /// They count for this object.
    Here(FactSet),
    /// They would have, but the operator vouches for it.
    Allowed(FactSet),
}

impl Gathering {
    /// As many notes are kept.
    pub(crate) const MAX_NOTES: usize = 20;

    pub(crate) fn enter(&mut self) {
        self.open.push(Open::default());
    }

    /// From here on facts of what is inside count for the object in hand.
    pub(crate) fn joins_its_parts(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.is_document = true;
        }
    }

    /// `detail` says what was seen, and begins where [`Fact::sentence`] ends.
    pub(crate) fn state(&mut self, path: &str, fact: Fact, detail: &str) {
        if let Some(open) = self.open.last_mut() {
            open.facts.insert(fact);
        }
        self.note(path, format!("{}: {detail}", fact.sentence()));
    }

    pub(crate) fn note(&mut self, path: &str, note: String) {
        if self.notes.len() < Self::MAX_NOTES && !self.notes.iter().any(|known| known.path == path && known.note == note) {
            self.notes.push(Note { path: path.to_owned(), note });
        }
    }

    /// To be called once the object in hand and everything in it is examined. `allowed` is asked only where there are facts.
    pub(crate) fn leave(&mut self, allowed: impl FnOnce() -> bool) -> Gathered {
        let facts = self.open.pop().unwrap_or_default().facts;
        if facts.is_empty() {
            return Gathered::Nothing;
        }
        if allowed() {
            return Gathered::Allowed(facts);
        }
        match self.open.last_mut().filter(|around| around.is_document) {
            Some(document) => {
                document.facts.join(facts);
                Gathered::Nothing
            }
            None => Gathered::Here(facts),
        }
    }

    pub(crate) fn into_notes(self) -> Vec<Note> {
        self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(facts: &[Fact]) -> FactSet {
        facts.iter().fold(FactSet::default(), |mut set, fact| {
            set.insert(*fact);
            set
        })
    }

    fn raised(facts: &[Fact]) -> Vec<&'static str> {
        suspicions(set(facts)).collect()
    }

    #[test]
    fn no_fact_alone_raises_anything() {
        for fact in Fact::ALL {
            assert!(raised(&[fact]).is_empty(), "{fact:?}");
            assert!(raised(&[fact, fact]).is_empty(), "{fact:?} twice");
            assert_eq!(Fact::parse(fact.word()), Some(fact));
        }
    }

    #[test]
    fn pairs_that_honest_files_show_raise_nothing() {
        for pair in [
            [Fact::Fetches, Fact::Executes],
            [Fact::Fetches, Fact::Drops],
            [Fact::Fetches, Fact::Decodes],
            [Fact::RunsByItself, Fact::Decodes],
            [Fact::Executes, Fact::Drops],
            [Fact::Executes, Fact::IsProgram],
            [Fact::Drops, Fact::IsProgram],
            [Fact::Disguised, Fact::Fetches],
            [Fact::Disguised, Fact::Escapes],
        ] {
            assert!(raised(&pair).is_empty(), "{pair:?}");
        }
    }

    #[test]
    fn each_row_raises_its_own_signature() {
        for (one, other, signature) in [
            (Fact::RunsByItself, Fact::Executes, "FileSafety.Suspicious.RunsProgram"),
            (Fact::RunsByItself, Fact::Fetches, "FileSafety.Suspicious.RunsAndFetches"),
            (Fact::RunsByItself, Fact::Drops, "FileSafety.Suspicious.RunsAndDrops"),
            (Fact::Decodes, Fact::Executes, "FileSafety.Suspicious.DecodesAndExecutes"),
            (Fact::Disguised, Fact::IsProgram, "FileSafety.Suspicious.DisguisedProgram"),
            (Fact::Disguised, Fact::Executes, "FileSafety.Suspicious.DisguisedCommand"),
            (Fact::Disguised, Fact::Drops, "FileSafety.Suspicious.DisguisedDropper"),
            (Fact::Escapes, Fact::IsProgram, "FileSafety.Suspicious.EscapingProgram"),
            (Fact::Escapes, Fact::Executes, "FileSafety.Suspicious.EscapingCommand"),
        ] {
            assert_eq!(raised(&[one, other]), [signature]);
        }
        assert_eq!(raised(&[Fact::RunsByItself, Fact::Fetches, Fact::Executes]).len(), 2);
    }

    /// States facts of a child of an object, then tells what both come to.
    fn in_a_child(is_document: bool, own: &[Fact], child: &[Fact]) -> [Gathered; 2] {
        let mut gathering = Gathering::default();
        gathering.enter();
        own.iter().for_each(|fact| gathering.state("", *fact, "x"));
        if is_document {
            gathering.joins_its_parts();
        }
        gathering.enter();
        child.iter().for_each(|fact| gathering.state("child", *fact, "x"));
        let inner = gathering.leave(|| false);
        [inner, gathering.leave(|| false)]
    }

    #[test]
    fn parts_count_for_their_document_and_members_only_for_themselves() {
        let (runs, executes) = (&[Fact::RunsByItself][..], &[Fact::Executes][..]);
        let [inner, outer] = in_a_child(true, runs, executes);
        assert_eq!((inner, outer), (Gathered::Nothing, Gathered::Here(set(&[Fact::RunsByItself, Fact::Executes]))));
        let [inner, outer] = in_a_child(false, runs, executes);
        assert_eq!((inner, outer), (Gathered::Here(set(executes)), Gathered::Here(set(runs))));
    }

    #[test]
    fn siblings_in_an_archive_do_not_add_up() {
        let mut gathering = Gathering::default();
        gathering.enter();
        for fact in [Fact::RunsByItself, Fact::Executes] {
            gathering.enter();
            gathering.state("member", fact, "x");
            assert_eq!(gathering.leave(|| false), Gathered::Here(set(&[fact])));
        }
        assert_eq!(gathering.leave(|| false), Gathered::Nothing);
    }

    #[test]
    fn what_is_allowed_counts_neither_for_itself_nor_for_what_is_around_it() {
        let mut gathering = Gathering::default();
        gathering.enter();
        gathering.joins_its_parts();
        gathering.state("", Fact::RunsByItself, "x");
        gathering.enter();
        gathering.state("part", Fact::Executes, "x");
        assert_eq!(gathering.leave(|| true), Gathered::Allowed(set(&[Fact::Executes])));
        assert_eq!(gathering.leave(|| false), Gathered::Here(set(&[Fact::RunsByItself])));
    }

    #[test]
    fn notes_are_bounded_and_told_once() {
        let mut gathering = Gathering::default();
        gathering.enter();
        for index in 0..100 {
            gathering.state(&index.to_string(), Fact::Fetches, "a template");
            gathering.state(&index.to_string(), Fact::Fetches, "a template");
        }
        let notes = gathering.into_notes();
        assert_eq!(notes.len(), Gathering::MAX_NOTES);
        assert_eq!((notes[1].path.as_str(), notes[1].note.as_str()), ("1", "fetches from elsewhere: a template"));
    }
}
