//! The macros of a workbook as they are found: the text of its macro sheets, and what they do.

use crate::{
    facts::Fact,
    unpack::{Sink, Stop},
};

/// Of a sheet so much text is kept; the rest is told to be more than that.
const MOST_TEXT: usize = 16 << 20;

/// Functions that only macros have, or that do what cells do not.
const OF_MACROS: &[&str] = &[
    "EXEC(",
    "CALL(",
    "REGISTER(",
    "REGISTER.ID(",
    "FORMULA(",
    "FORMULA.FILL(",
    "RUN(",
    "GOTO(",
    "HALT(",
    "FOPEN(",
    "FWRITE(",
    "FWRITELN(",
    "SET.VALUE(",
    "SET.NAME(",
    "ON.TIME(",
    "EXECUTE(",
    "INITIATE(",
    "ALERT(",
    "GET.WORKSPACE(",
    "RETURN(",
    "EVALUATE(",
    "FUNCTION255(",
];

/// The formulas of one sheet.
#[derive(Default)]
pub(crate) struct Sheet {
    name: String,
    is_macro: bool,
    text: String,
    has_macros: bool,
    is_cut: bool,
    held: u64,
}

impl Sheet {
    /// `is_macro` is what the file says.
    pub(super) fn new(name: String, is_macro: bool) -> Self {
        Self { name, is_macro, ..Self::default() }
    }

    /// A sheet of an XML document that is one of macros.
    pub(crate) fn of_macros(name: &str) -> Self {
        Self::new(name.to_owned(), true)
    }

    pub(crate) fn add(&mut self, cell: &str, formula: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
        self.has_macros |= OF_MACROS.iter().any(|function| formula.contains(function));
        if !self.is_macro && !self.has_macros && self.text.len() > MOST_TEXT / 16 {
            // Cells of an ordinary sheet so far: nobody will read them.
            self.text.clear();
        }
        let more = cell.len() + formula.len() + 4;
        if self.text.len() + more > MOST_TEXT {
            self.is_cut = true;
            return Ok(());
        }
        let grown = (self.text.len() + more) as u64;
        if grown > self.held {
            sink.hold(grown - self.held)?;
            self.held = grown;
        }
        self.text.push_str(cell);
        self.text.push_str(": =");
        self.text.push_str(formula);
        self.text.push('\n');
        Ok(())
    }

    /// Examines the text, if there are macros in it.
    pub(crate) fn finish(self, sink: &mut dyn Sink) -> Result<(), Stop> {
        if (self.is_macro || self.has_macros) && !self.text.is_empty() {
            judge(&self.text, sink);
            sink.part(&format!("XLM/{}.txt", self.name), self.text.as_bytes())?;
            if self.is_cut {
                sink.unexamined(filesafety_model::Reason::Limit, "Bytes");
            }
        }
        sink.release(self.held);
        Ok(())
    }
}

/// What the formulas of a macro sheet do.
fn judge(text: &str, sink: &mut dyn Sink) {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&'static str]| words.iter().copied().find(|word| text.contains(word)).map(|word| word.trim_end_matches('('));
    if let Some(function) = has(&["exec(", "call(", "register(", "register.id(", "execute("]) {
        sink.fact(Fact::Executes, &format!("the macro function {}", function.to_ascii_uppercase()));
    }
    if let Some(function) = has(&["urldownloadtofile", "urlopen", "winhttp", "internetopen", "urlmon"]) {
        sink.fact(Fact::Fetches, &format!("{function} in a macro"));
    }
}

/// A name of the workbook: some run what they refer to.
pub(crate) fn judge_name(name: &str, sink: &mut dyn Sink) {
    let lower = name.to_ascii_lowercase();
    let plain = lower.trim_start_matches("_xlnm.");
    if plain.starts_with("auto_open") || plain.starts_with("auto_activate") || plain.starts_with("auto_close") {
        sink.fact(Fact::RunsByItself, &format!("the macro name {name}"));
    }
}
