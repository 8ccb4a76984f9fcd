//! How a node is called (`celery/utils/nodenames.py`).

use crate::app::host_name;

/// A node name as `celery worker -n` reads it: `%h` stands for the name of this host, `%n` for its first part and `%d` for
/// the rest. What has no `@` is a host: `celery@…`.
///
/// ```
/// assert_eq!(celeriac::worker::nodename("first@somewhere"), "first@somewhere");
/// ```
#[must_use]
pub fn nodename(said: &str) -> String {
    on_host(said, &host_name())
}

fn on_host(said: &str, host: &str) -> String {
    let (name, domain) = host.split_once('.').unwrap_or((host, ""));
    let said = said.replace("%h", host).replace("%n", name).replace("%d", domain);
    match said.split_once('@') {
        Some(("", at)) => format!("celery@{at}"),
        Some((name, "")) => format!("{name}@{host}"),
        Some(_) => said,
        None => format!("celery@{said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_called_as_celery_calls_it() {
        for (said, name) in [
            ("w1@%h", "w1@shop.example.org"),
            ("w1@%n", "w1@shop"),
            ("w1@%d", "w1@example.org"),
            ("w1@", "w1@shop.example.org"),
            ("w1", "celery@w1"),
            ("@w1", "celery@w1"),
            ("w1@there", "w1@there"),
        ] {
            assert_eq!(on_host(said, "shop.example.org"), name, "{said}");
        }
    }
}
