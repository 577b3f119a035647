//! The page: whatever comes from outside is escaped.

use std::fmt::Write as _;

use crate::avatars::{Avatar, State};

/// The form, what to do about a problem, and the uploads.
pub(crate) fn render(avatars: &[Avatar], problem: Option<&str>) -> String {
    let problem =
        problem.map(|text| format!("<p class=\"problem\" id=\"problem\" role=\"alert\">{}</p>", escape(text))).unwrap_or_default();
    let described = if problem.is_empty() { "hint" } else { "problem hint" };
    let checking = avatars.iter().filter(|avatar| avatar.state == State::Checking).count();
    let summary = match (avatars.len(), checking) {
        (0, _) => "No uploads yet.".to_owned(),
        (_, 0) => "Everything is checked.".to_owned(),
        (_, 1) => "One upload is being checked.".to_owned(),
        (_, more) => format!("{more} uploads are being checked."),
    };
    let list: String = avatars.iter().map(item).collect();
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Avatars</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<main>
<h1>Avatars</h1>
<form method="post" action="/avatars" enctype="multipart/form-data">
<label for="picture">Your picture</label>
<p id="hint" class="hint">PNG, JPEG, GIF or WebP, at most 5 MB. It is shown once it is checked.</p>
{problem}
<div class="row"><input type="file" id="picture" name="picture" accept="image/*" required aria-describedby="{described}"><button>Upload</button></div>
</form>
<section aria-labelledby="uploads">
<h2 id="uploads">Uploads</h2>
<p id="summary" role="status">{summary}</p>
<ul id="avatars">{list}</ul>
</section>
</main>
</body>
</html>
"#
    )
}

fn item(avatar: &Avatar) -> String {
    let Avatar { id, name, state, note } = avatar;
    let name = if name.is_empty() { "unnamed".to_owned() } else { escape(name) };
    let (word, sentence) = match state {
        State::Checking => ("Checking", "Nobody sees it yet."),
        State::Published => ("Published", "Everybody sees it."),
        State::Quarantined => ("Quarantined", "It is kept apart and shown to nobody."),
        State::Review => ("In review", "A person has to look at it."),
        State::Rejected => ("Rejected", "It is shown to nobody."),
        State::Unjudged => ("Not checked", "It could not be checked. Please upload it again."),
    };
    let mut html = format!("<li data-state=\"{}\">", state.as_str());
    let picture = match state {
        State::Published => format!("<a href=\"/avatars/{id}\"><img src=\"/avatars/{id}\" alt=\"{name}\" width=\"64\" height=\"64\"></a>"),
        State::Checking | State::Quarantined | State::Review | State::Rejected | State::Unjudged => {
            "<span class=\"blank\" aria-hidden=\"true\"></span>".to_owned()
        }
    };
    let note = if note.is_empty() { String::new() } else { format!(" <span class=\"note\">{}</span>", escape(note)) };
    write!(html, "{picture}<div><h3>{name}</h3><p><strong>{word}</strong> {sentence}{note}</p>").expect("texts take whatever is written");
    if *state == State::Review {
        // Behind a link: nobody sees it unasked.
        write!(html, "<p><a href=\"/avatars/{id}/review\">Look at {name}</a></p>").expect("texts take whatever is written");
        for (action, label) in [("approve", "Approve"), ("reject", "Reject")] {
            let button = format!("<button aria-label=\"{label} {name}\">{label}</button>");
            write!(html, "<form method=\"post\" action=\"/avatars/{id}/{action}\">{button}</form>")
                .expect("texts take whatever is written");
        }
    }
    html + "</div></li>"
}

/// Text of a stranger for HTML. Control and direction characters become visible: they could make a name look like another.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c if c.is_control()
                || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}') =>
            {
                escaped += &format!("\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The media type of pictures that browsers show, by their first bytes.
pub(crate) fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        let avatar = Avatar {
            id: "0".repeat(32),
            name: "\"><script>alert('x')</script>\u{202e}gpj.exe\u{7}&".into(),
            state: State::Review,
            note: "<b>".into(),
        };
        let page = render(&[avatar], Some("<i>"));
        assert!(!page.contains("<script>alert") && !page.contains("<b>") && !page.contains("<i>"));
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\\u{202e}gpj.exe\\u{7}&amp;"), "{page}");
    }
}
