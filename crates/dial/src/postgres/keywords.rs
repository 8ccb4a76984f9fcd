//! libpq's other way to write an address: `host=db dbname='two words' password=…`.

/// The settings in their order. A value may stand in quotes; a backslash takes the next character as it is.
///
/// # Errors
/// What is wrong, without any value.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=').ok_or("expected postgresql://… or name=value")?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("expected postgresql://… or name=value with blanks between the settings".to_owned());
        }
        let (value, behind) = value(behind.trim_start()).ok_or_else(|| format!("the quote of {name} is not closed"))?;
        settings.push((name.to_owned(), value));
        rest = behind.trim_start();
    }
    if settings.is_empty() {
        Err("the address is empty; expected postgresql://… or name=value".to_owned())
    } else {
        Ok(settings)
    }
}

/// A value and what stands behind it; `None`: its quote is not closed.
fn value(text: &str) -> Option<(String, &str)> {
    let is_quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Some((value, &text[at + 1..])),
            blank if blank.is_whitespace() && !is_quoted => return Some((value, &text[at..])),
            character => value.push(character),
        }
    }
    (!is_quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_libpq_reads_them() {
        let read = read(r"host=db  user = 'o\'hara' password=a\ b\\ dbname='' port=7").unwrap();
        let expected = [("host", "db"), ("user", "o'hara"), ("password", r"a b\"), ("dbname", ""), ("port", "7")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
