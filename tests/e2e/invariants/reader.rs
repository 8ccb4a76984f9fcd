//! Rust sources as tokens: comments and strings do not count, neither do unit tests.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub(super) struct Source {
    pub(super) path: String,
    pub(super) tokens: TokenStream,
}

/// All Rust files below `crates/<path>`, or the one file.
pub(super) fn sources(path: &str) -> Vec<Source> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates"));
    let mut files = Vec::new();
    collect(&root.join(path), &mut files);
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("a source is readable");
        let tokens = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let path = file.strip_prefix(root).expect("it is below").display().to_string();
        Source { path, tokens: without_unit_tests(tokens) }
    };
    files.into_iter().map(read).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory is readable").flatten() {
            collect(&entry.path(), files);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        files.push(path.to_owned());
    }
}

/// Drops every item under `#[cfg(test)]`.
fn without_unit_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        let is_test = matches!(&token, TokenTree::Group(group)
            if group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)");
        if !is_test {
            kept.push(token);
            continue;
        }
        let ends_item = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        tokens.by_ref().find(ends_item);
    }
    kept.into_iter().collect()
}

/// The tokens one after another, groups opened, without spaces: `a::b(c)` is `["a", ":", ":", "b", "(", "c", ")"]`.
pub(super) fn flat(tokens: &TokenStream) -> Vec<String> {
    let mut all = Vec::new();
    for token in tokens.clone() {
        let TokenTree::Group(group) = token else {
            all.push(token.to_string());
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        all.push(open.to_owned());
        all.extend(flat(&group.stream()));
        all.push(close.to_owned());
    }
    all
}

pub(super) fn contains(tokens: &[String], words: &str) -> bool {
    let words: Vec<_> = words.split(' ').collect();
    tokens.windows(words.len()).any(|window| window == words)
}

/// The structs that derive `Task`, with the types of their fields.
pub(super) fn tasks(tokens: &TokenStream) -> Vec<(String, Vec<String>)> {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    let mut found = Vec::new();
    let mut derives_task = false;
    for window in tokens.windows(3) {
        match window {
            [TokenTree::Punct(hash), TokenTree::Group(attribute), _] if hash.as_char() == '#' => {
                let attribute = flat(&attribute.stream());
                derives_task |= attribute[0] == "derive" && contains(&attribute, "Task");
            }
            [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(fields)]
                if keyword == "struct" && std::mem::take(&mut derives_task) =>
            {
                let fields = flat(&fields.stream());
                found.push((name.to_string(), typed_names(&fields).map(|(_, ty)| ty).collect()));
            }
            _ => {}
        }
    }
    found
}

/// Every `name: Type` (and, as this reads tokens only, every `name: value`).
pub(super) fn typed_names(tokens: &[String]) -> impl Iterator<Item = (&str, String)> {
    let is_colon = |at: usize| tokens.get(at).is_some_and(|token| token == ":");
    let starts = (1..tokens.len()).filter(move |&at| is_colon(at) && !is_colon(at - 1) && !is_colon(at + 1));
    starts.map(|at| {
        let ends = |token: &&String| !matches!(token.as_str(), "," | ")" | "}" | ";" | "=" | "|");
        (tokens[at - 1].as_str(), tokens[at + 1..].iter().take_while(ends).map(String::as_str).collect())
    })
}

/// The arguments of every call of one of these macros, however deep.
pub(super) fn macro_calls(tokens: &TokenStream, names: &[&str]) -> Vec<Vec<String>> {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    let mut calls = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before = tokens[at.saturating_sub(2)..at].iter().map(ToString::to_string).collect::<Vec<_>>();
        if matches!(&before[..], [name, bang] if bang == "!" && names.contains(&name.as_str())) {
            calls.push(flat(&group.stream()));
        }
        calls.extend(macro_calls(&group.stream(), names));
    }
    calls
}

#[test]
fn the_reader_sees_what_the_rules_ask_for() {
    let code = r#"
        // async fn comment() { info!("{token}") }
        #[derive(Debug, Task)]
        #[task(name = "async")]
        pub struct Charge { pub payment_id: crate::PaymentId, pub amount: Option<String> }
        struct Other { amount: String }
        fn log() { if true { tracing::info!(id = 1, "{}", token.expose_secret()); } }
        #[cfg(test)]
        mod tests { async fn hidden() {} }
        fn last(at: Utc) { Utc::now() }
    "#;
    let tokens = without_unit_tests(code.parse().unwrap());
    let all = flat(&tokens);
    assert!(!contains(&all, "async"), "comments, strings and unit tests do not count");
    assert!(contains(&all, "last") && contains(&all, "Utc : : now"));
    let fields = vec!["crate::PaymentId".to_owned(), "Option<String>".to_owned()];
    assert_eq!(tasks(&tokens), [("Charge".to_owned(), fields)]);
    let calls = macro_calls(&tokens, &["info"]);
    assert!(calls.len() == 1 && contains(&calls[0], "expose_secret"), "{calls:?}");
}
