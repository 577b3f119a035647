//! The rule pack: what the binary brings along.

/// A name and a source for each file.
pub(super) const SOURCES: [(&str, &str); 11] = [
    ("eicar.yar", include_str!("../../rules/eicar.yar")),
    ("desktop.yar", include_str!("../../rules/desktop.yar")),
    ("destruction.yar", include_str!("../../rules/destruction.yar")),
    ("page.yar", include_str!("../../rules/page.yar")),
    ("pdf.yar", include_str!("../../rules/pdf.yar")),
    ("powershell.yar", include_str!("../../rules/powershell.yar")),
    ("script.yar", include_str!("../../rules/script.yar")),
    ("shell.yar", include_str!("../../rules/shell.yar")),
    ("shortcut.yar", include_str!("../../rules/shortcut.yar")),
    ("vba.yar", include_str!("../../rules/vba.yar")),
    ("webshell.yar", include_str!("../../rules/webshell.yar")),
];

#[cfg(test)]
mod tests;
