//! Templates with `{{names}}`, filled with escaped values.

/// Fills every `{{name}}` of a template. Values are escaped for text and quoted attributes, and never looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut page = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = after.split_once("}}") else { break };
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            escape(value, &mut page);
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

/// The same for one value in a page made by hand.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn values_are_escaped_and_not_filled_again() {
        let page = fill("<a href=\"{{url}}\">{{ text }}{{text}}</a>", &[("url", "\"><script>"), ("text", "{{url}}&'")]);
        assert_eq!(page, "<a href=\"&quot;&gt;&lt;script&gt;\">{{url}}&amp;&#39;</a>");
    }
}
