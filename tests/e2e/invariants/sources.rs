//! What the sources may say. They are read as tokens, so comments and strings do not count; neither do unit tests.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names under which secrets of a customer or of the shop travel.
const SECRETS: [&str; 8] =
    ["cryptogram", "card_cryptogram_packet", "pa_res", "payment_token", "token", "card_number", "cvv", "api_secret"];

struct Source {
    path: String,
    tokens: TokenStream,
}

/// All Rust files below `crates/<path>`, or the one file.
fn sources(path: &str) -> Vec<Source> {
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
fn flat(tokens: &TokenStream) -> Vec<String> {
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

fn contains(tokens: &[String], words: &str) -> bool {
    let words: Vec<_> = words.split(' ').collect();
    tokens.windows(words.len()).any(|window| window == words)
}

#[test]
fn protocol_and_state_machines_do_no_io_read_no_clock_and_never_wait() {
    const FORBIDDEN: &str = "async|await|tokio|futures_util|diesel_async|lapin|reqwest|SystemTime|Instant|Utc : : now|\
        Local : : now|fs|net|thread|spawn|File|stdin|stdout|stderr|println|OsRng|fastrand|clock";
    let pure = ["celeriac/src/protocol", "billing/src/payment", "cloudpayments/src/notification"];
    let files = ["billing/src/payment.rs", "billing/src/bill.rs", "billing/src/account.rs"];
    for path in pure.into_iter().chain(files) {
        let sources = sources(path);
        assert!(!sources.is_empty(), "{path} has gone, and its invariant with it");
        for source in sources {
            let tokens = flat(&source.tokens);
            let found: Vec<_> = FORBIDDEN.split('|').filter(|words| contains(&tokens, words)).collect();
            assert!(found.is_empty(), "{} must be pure, but says {found:?}", source.path);
        }
    }
}

#[test]
fn the_api_takes_only_the_notifications_from_the_gateways_crate() {
    for source in sources("billing-api/src") {
        let tokens = flat(&source.tokens);
        let all = tokens.windows(4).filter(|window| window[0] == "cloudpayments" && window[1] == ":");
        let others: Vec<_> = all.filter(|window| window[3] != "notification").collect();
        assert!(others.is_empty(), "{}: {others:?}", source.path);
    }
}

#[test]
fn task_arguments_are_ids_only() {
    let tasks: Vec<_> = sources("billing/src/tasks.rs").iter().flat_map(|source| tasks(&source.tokens)).collect();
    assert!(tasks.len() >= 8, "the contract page has gone, or is read wrongly: {tasks:?}");
    for (task, types) in tasks {
        let others: Vec<_> = types.iter().filter(|name| !name.ends_with("Id")).collect();
        assert!(others.is_empty(), "operators see the arguments of {task}: {others:?}");
    }
}

/// The structs that derive `Task`, with the types of their fields.
fn tasks(tokens: &TokenStream) -> Vec<(String, Vec<String>)> {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    let mut found = Vec::new();
    let mut derives_task = false;
    for window in tokens.windows(3) {
        match window {
            [TokenTree::Punct(hash), TokenTree::Group(attribute), _] if hash.as_char() == '#' => {
                let attribute = flat(&attribute.stream());
                derives_task |= attribute[0] == "derive" && contains(&attribute, "Task");
            }
            [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(fields)] if keyword == "struct" => {
                if std::mem::take(&mut derives_task) {
                    found.push((name.to_string(), typed_names(&flat(&fields.stream())).map(|(_, ty)| ty).collect()));
                }
            }
            _ => {}
        }
    }
    found
}

/// Every `name: Type` (and, as this reads tokens only, every `name: value`).
fn typed_names(tokens: &[String]) -> impl Iterator<Item = (&str, String)> {
    let is_colon = |at: usize| tokens.get(at).is_some_and(|token| token == ":");
    let starts = (1..tokens.len()).filter(move |&at| is_colon(at) && !is_colon(at - 1) && !is_colon(at + 1));
    starts.map(|at| {
        let ends = |token: &&String| !matches!(token.as_str(), "," | ")" | "}" | ";" | "=" | "|");
        (tokens[at - 1].as_str(), tokens[at + 1..].iter().take_while(ends).map(String::as_str).collect())
    })
}

#[test]
fn a_secret_is_never_held_in_a_plain_string() {
    let mut protected = 0;
    for source in
        ["cloudpayments/src", "billing/src", "billing-api/src", "billing-worker/src"].iter().flat_map(|p| sources(p))
    {
        // Rows hold them sealed.
        if source.path.starts_with("billing/src/models") || source.path == "billing/src/schema.rs" {
            continue;
        }
        for (name, ty) in typed_names(&flat(&source.tokens)).filter(|(name, _)| SECRETS.contains(name)) {
            protected += usize::from(ty.contains("SecretString"));
            let plain = ["String", "&str", "Option<String>", "Option<&str>", "Cow<str>"].contains(&ty.as_str());
            assert!(!plain, "{}: {name}: {ty} can be printed; hold it in a SecretString", source.path);
        }
    }
    assert!(protected > 5, "the secrets go by other names now: {SECRETS:?}");
}

#[test]
fn no_log_line_names_a_secret() {
    const LOGGING: [&str; 11] =
        ["trace", "debug", "info", "warn", "error", "event", "span", "println", "eprintln", "trace_span", "info_span"];
    let mut lines = 0;
    for crate_name in ["cloudpayments", "billing", "billing-api", "billing-worker", "billing-beat", "celeriac"] {
        for source in sources(&format!("{crate_name}/src")) {
            for line in macro_calls(&source.tokens, &LOGGING) {
                lines += 1;
                let told = SECRETS.into_iter().chain(["expose_secret"]).find(|name| contains(&line, name));
                assert!(told.is_none(), "{} logs {told:?}: {}", source.path, line.join(" "));
            }
        }
    }
    assert!(lines > 10, "nothing logs any more, or it is read wrongly");
}

/// The arguments of every call of one of these macros, however deep.
fn macro_calls(tokens: &TokenStream, names: &[&str]) -> Vec<Vec<String>> {
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
