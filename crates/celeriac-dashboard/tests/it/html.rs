//! What stands on a page, read as a person reads it: rows, labels, texts.

use std::collections::BTreeMap;

/// Without tags, entities read, white space as one blank.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let text = unescaped(&text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescaped(text: &str) -> String {
    let entities = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// The rows of all tables, each cell by its label.
pub(crate) fn rows(page: &str) -> Vec<BTreeMap<String, String>> {
    let cells = |row: &str| {
        let cell = |part: &str| {
            let (label, rest) = part.split_once('"')?;
            let (_, rest) = rest.split_once('>')?;
            let end = [rest.find("</td>"), rest.find("</th>")].into_iter().flatten().min()?;
            Some((label.to_owned(), text(&rest[..end])))
        };
        row.split("data-l=\"").skip(1).filter_map(cell).collect::<BTreeMap<_, _>>()
    };
    page.split("<tr>").skip(1).map(cells).filter(|cells| !cells.is_empty()).collect()
}

/// The row whose cell `label` is `value`.
pub(crate) fn row(page: &str, label: &str, value: &str) -> Result<BTreeMap<String, String>, String> {
    let found = rows(page).into_iter().find(|row| row.get(label).is_some_and(|cell| cell == value));
    found.ok_or_else(|| format!("no row has {value} as {label}: {}", text(page)))
}

/// What stands beside a term.
pub(crate) fn fact(page: &str, term: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("<dt>{term}</dt><dd>"))?;
    Some(text(rest.split_once("</dd>")?.0))
}

/// The preformatted text below a heading, exactly.
pub(crate) fn preformatted(page: &str, heading: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!(">{heading}</h"))?;
    let (_, rest) = rest.split_once("<pre tabindex=\"0\">")?;
    Some(unescaped(rest.split_once("</pre>")?.0))
}

/// What follows the heading of a section, to the section's end.
pub(crate) fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("<h2>{heading}</h2>"))?;
    rest.split_once("</section>").map(|(section, _)| section)
}
