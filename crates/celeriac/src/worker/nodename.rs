//! How a node is called (`celery/utils/nodenames.py`).

use crate::app::host_name;

/// A node name as `celery worker -n` reads it: `%h` stands for the name of this host, `%n` for its first part, `%d` for the
/// rest, `%i` for the number of the process, which is 0 where there are no others, `%I` for the same with a dash, or nothing,
/// and `%%` for a percent sign. What has no `@` is a host: `celery@…`. Whatever else follows a percent sign is left as it is.
///
/// ```
/// assert_eq!(celeriac::worker::nodename("first@somewhere"), "first@somewhere");
/// ```
#[must_use]
pub fn nodename(said: &str) -> String {
    let host = host_name();
    expanded(said, &host).unwrap_or_else(|_| with_node(said, &host))
}

/// [`nodename`], or what is wrong with it.
pub(super) fn try_nodename(said: &str) -> Result<String, String> {
    expanded(said, &host_name())
}

fn expanded(said: &str, host: &str) -> Result<String, String> {
    let (name, domain) = host.split_once('.').unwrap_or((host, ""));
    let template = with_node(said, host);
    let mut expanded = String::new();
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        let key = after.chars().next();
        expanded.push_str(match key {
            Some('h') => host,
            Some('n') => name,
            Some('d') => domain,
            Some('i') => "0",
            Some('I') => "",
            Some('%') => "%",
            Some(key) if key.is_alphanumeric() || key == '_' => {
                return Err(format!("%{key} stands for nothing: %h, %n, %d, %i, %I or %% expected"));
            }
            _ => {
                expanded.push('%');
                rest = after;
                continue;
            }
        });
        rest = &after[key.map_or(0, char::len_utf8)..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// With both halves (`default_nodename`).
fn with_node(said: &str, host: &str) -> String {
    match said.split_once('@') {
        Some(("", "")) => format!("celery@{host}"),
        Some(("", at)) => format!("celery@{at}"),
        Some((name, "")) => format!("{name}@{host}"),
        Some(_) => said.to_owned(),
        None if said.is_empty() => format!("celery@{host}"),
        None => format!("celery@{said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against `host_format(default_nodename(…))` of Celery 5.7.0.
    #[test]
    fn a_node_is_called_as_celery_calls_it() {
        for (said, name) in [
            ("w1@%h", "w1@shop.example.org"),
            ("w1@%n", "w1@shop"),
            ("w1@%d", "w1@example.org"),
            ("%n@%d", "shop@example.org"),
            ("w1@", "w1@shop.example.org"),
            ("w1", "celery@w1"),
            ("%h", "celery@shop.example.org"),
            ("", "celery@shop.example.org"),
            ("@w1", "celery@w1"),
            ("w1@there", "w1@there"),
            ("a@b@c", "a@b@c"),
            ("w%i@%h", "w0@shop.example.org"),
            ("w%I@%h", "w@shop.example.org"),
            ("w%%1@%h", "w%1@shop.example.org"),
            ("w1@%%h", "w1@%h"),
            ("%n%%h", "celery@shop%h"),
            ("w%-@x%", "w%-@x%"),
        ] {
            assert_eq!(expanded(said, "shop.example.org").as_deref(), Ok(name), "{said}");
        }
        for wrong in ["w%x@h", "w%p@h", "w@%é"] {
            assert!(expanded(wrong, "h").is_err(), "{wrong}");
        }
    }
}
