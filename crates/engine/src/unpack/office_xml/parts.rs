//! The parts that say or hold something, told by their root element.

use filesafety_model::Reason;

use super::{
    base64::Base64,
    tags::{Tag, decoded, tags},
};
use crate::{
    facts::Fact,
    unpack::{Sink, Stop, excel, field, source},
};

const BETWEEN_TICKS: usize = 256;
/// Of one instruction or formula so much is read.
const MOST_TEXT: usize = 64 << 10;

pub(super) fn open(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let Some(root) = tags(text).next() else { return Ok(()) };
    match root.name {
        "Relationships" => relationships(text, sink),
        "document" | "hdr" | "ftr" | "footnotes" | "endnotes" | "comments" | "glossaryDocument" => fields(text, sink),
        "macrosheet" => macro_sheet(text, sink),
        "workbook" => workbook(text, sink),
        "externalLink" => external_link(text, sink),
        "package" => flat_package(text, sink),
        "wordDocument" => {
            embedded(text, "binData", "name", sink)?;
            fields(text, sink)
        }
        "module" => basic_module(&root, sink),
        "manifest" => manifest(text, sink),
        "document-content" => open_document(text, sink),
        _ => Ok(()),
    }
}

/// Which parts lead out of the document. Links that somebody clicks, and pictures, do so in honest documents.
fn relationships(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    each(text, sink, |tag, sink| {
        let is_external = tag.attribute("TargetMode").is_some_and(|mode| mode.eq_ignore_ascii_case("External"));
        let (Some(kind), Some(target)) = (tag.attribute("Type"), tag.attribute("Target")) else { return Ok(()) };
        match kind.rsplit('/').next().unwrap_or_default() {
            "attachedTemplate" if is_external => field::judge_template(&target, sink),
            "oleObject" | "frame" | "subDocument" | "control" | "externalLinkPath" if is_external => field::judge_object(&target, sink),
            _ => {}
        }
        Ok(())
    })
}

/// The instructions of fields, which writers cut into runs as they like.
fn fields(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut instruction = String::new();
    each(text, sink, |tag, sink| {
        match tag.name {
            "fldSimple" if !tag.is_closing => field::judge(&tag.attribute("instr").unwrap_or_default(), sink),
            "instrText" if !tag.is_closing && instruction.len() < MOST_TEXT => instruction.push_str(&start_of(tag.text)),
            "OLEObject" if tag.attribute("UpdateMode").is_some_and(|mode| mode == "Always") => field::updates_itself(sink),
            "fldChar" if !tag.is_closing => field::judge(&std::mem::take(&mut instruction), sink),
            _ => {}
        }
        Ok(())
    })?;
    field::judge(&instruction, sink);
    Ok(())
}

fn macro_sheet(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let (mut sheet, mut cell) = (excel::Sheet::of_macros("macrosheet"), String::new());
    each(text, sink, |tag, sink| {
        match tag.name {
            "c" if !tag.is_closing => cell = tag.attribute("r").unwrap_or_default(),
            "f" if !tag.is_closing => return sheet.add(&cell, &start_of(tag.text), sink),
            _ => {}
        }
        Ok(())
    })?;
    sheet.finish(sink)
}

fn workbook(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    each(text, sink, |tag, sink| {
        if tag.name == "definedName" && !tag.is_closing {
            excel::judge_name(&tag.attribute("name").unwrap_or_default(), sink);
        }
        Ok(())
    })
}

fn external_link(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    each(text, sink, |tag, sink| {
        if tag.name == "ddeLink" && !tag.is_closing {
            let part = |name| tag.attribute(name).unwrap_or_default();
            field::exchange(&format!("{} {}", part("ddeService"), part("ddeTopic")), sink);
        }
        Ok(())
    })
}

/// A document whose archive is one text: parts in XML stand in the clear, others in base64.
fn flat_package(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    embedded(text, "binaryData", "", sink)?;
    fields(text, sink)?;
    relationships(text, sink)
}

/// Examines what stands in base64 in elements of this name; called after an attribute of theirs, or after the part around them.
fn embedded(text: &str, element: &str, attribute: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut part = String::new();
    each(text, sink, |tag, sink| {
        if tag.name == "part" && !tag.is_closing {
            part = tag.attribute("name").unwrap_or_default();
        }
        if tag.name != element || tag.is_closing {
            return Ok(());
        }
        let name = tag.attribute(attribute).unwrap_or_else(|| part.clone());
        sink.child(name.trim_start_matches('/'), &mut Base64::new(tag.text)).map(drop)
    })
}

/// A module of an OpenDocument's macros.
fn basic_module(root: &Tag<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let name = root.attribute("name").unwrap_or_default();
    if root.text.trim().is_empty() {
        return Ok(());
    }
    let copied = root.text.len() as u64;
    sink.hold(copied)?;
    let source = decoded(root.text);
    source::judge(source.as_bytes(), sink);
    sink.part(&format!("Basic/{name}.bas"), source.as_bytes())?;
    sink.release(copied);
    Ok(())
}

/// Which members of an OpenDocument are encrypted.
fn manifest(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    let mut is_encrypted = false;
    each(text, sink, |tag, _| {
        is_encrypted |= tag.name == "encryption-data";
        Ok(())
    })?;
    if is_encrypted {
        sink.unexamined(Reason::Encrypted, "OpenDocument");
    }
    Ok(())
}

fn open_document(text: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
    each(text, sink, |tag, sink| {
        match tag.name {
            "event-listener" if !tag.is_closing => {
                let event = tag.attribute("event-name").unwrap_or_default();
                let is_start = matches!(
                    event.rsplit(':').next().unwrap_or_default(),
                    "load" | "start-app" | "load-finished" | "view-created" | "new" | "focus"
                );
                let runs = tag
                    .attribute("href")
                    .is_some_and(|address| address.starts_with("vnd.sun.star.script") || address.starts_with("macro:"));
                if is_start && runs {
                    sink.fact(Fact::RunsByItself, "a macro bound to the opening of the document");
                }
            }
            "dde-source" | "dde-connection-decl" if !tag.is_closing => {
                let part = |name| tag.attribute(name).unwrap_or_default();
                field::exchange(&format!("{} {}", part("dde-application"), part("dde-topic")), sink);
            }
            _ => {}
        }
        Ok(())
    })
}

/// A text with its characters in place of their entities, if it is no longer than what is read here.
fn start_of(text: &str) -> String {
    let end = (0..=text.len().min(MOST_TEXT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    decoded(text.get(..end).unwrap_or_default())
}

/// Every tag, with a look at the budget now and then.
fn each(text: &str, sink: &mut dyn Sink, mut visit: impl FnMut(&Tag<'_>, &mut dyn Sink) -> Result<(), Stop>) -> Result<(), Stop> {
    for (index, tag) in tags(text).enumerate() {
        if index.is_multiple_of(BETWEEN_TICKS) {
            sink.tick()?;
        }
        visit(&tag, sink)?;
    }
    Ok(())
}
