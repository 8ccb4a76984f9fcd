//! Addresses of servers: `scheme://user:password@server:port,server/path?option=value`.
//!
//! A password is meant to be percent-encoded, and often is not. What ends it is therefore not the first character that
//! could, but the first `@` behind which servers stand: a `#`, `?`, `/` or `@` in a password is part of the password,
//! for whoever connects and for whoever shows the address.

use percent_encoding::percent_decode_str;

/// An address in its parts, none of them decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What stands before `://`.
    pub scheme: &'a str,
    /// Empty if there is none.
    pub user: &'a str,
    /// `None` is not the same as an empty one.
    pub password: Option<&'a str>,
    /// One server or several, with `,` between them.
    pub servers: &'a str,
    /// Behind the first `/`, without it.
    pub path: &'a str,
    /// Behind the `?`, without it.
    pub query: &'a str,
}

/// Takes an address apart. `options` are the names that its query may have: what else looks like a query is part of a
/// password.
///
/// # Errors
/// What is wrong, in words that show nothing of the address.
pub fn split<'a>(address: &'a str, options: &[&str]) -> Result<Parts<'a>, &'static str> {
    let (scheme, rest) = address.split_once("://").ok_or("no scheme")?;
    let ends: Vec<usize> = rest.match_indices('@').map(|(at, _)| at).collect();
    for (index, at) in ends.iter().copied().enumerate() {
        let (credentials, behind) = (&rest[..at], &rest[at + 1..]);
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        let is_last = index + 1 == ends.len();
        if !user.contains('/') && is_location(behind, is_last, options) {
            return Ok(located(scheme, user, password, behind));
        }
    }
    if is_location(rest, true, options) {
        return Ok(located(scheme, "", None, rest));
    }
    Err("the server is not a name with a port; encode what is special in the password (@ is %40, / is %2F)")
}

fn located<'a>(scheme: &'a str, user: &'a str, password: Option<&'a str>, location: &'a str) -> Parts<'a> {
    let (location, query) = location.split_once('?').unwrap_or((location, ""));
    let (servers, path) = location.split_once('/').unwrap_or((location, ""));
    Parts { scheme, user, password, servers, path, query }
}

/// Whether a text reads as servers, a path and a query. Behind the last `@` of an address no password can be, so there
/// more is allowed.
fn is_location(text: &str, is_last: bool, options: &[&str]) -> bool {
    let Parts { servers, path, query, .. } = located("", "", None, text);
    let is_known = |option: &str| options.contains(&option.split_once('=').map_or(option, |(name, _)| name));
    servers.split(',').all(is_server)
        && (is_last || !path.contains('@'))
        && (is_last || !query.contains('@') || query.split('&').all(is_known))
}

fn is_server(text: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || ".-_%~".contains(c);
    let is_port = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return !host.contains(['@', '/']) && rest.strip_prefix(':').map_or(rest.is_empty(), is_port);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    host.chars().all(is_name) && is_port(port)
}

/// A server's host and port, which is empty where none is given; `[::1]:5432` has the host `::1`.
///
/// # Errors
/// The bracket of the host is not closed.
pub fn host_and_port(server: &str) -> Result<(&str, &str), &'static str> {
    if let Some(rest) = server.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the [ of the host is not closed")?;
        return Ok((host, rest.strip_prefix(':').unwrap_or("")));
    }
    Ok(server.rsplit_once(':').unwrap_or((server, "")))
}

/// A host as it is written in addresses: with brackets where it has colons.
pub fn written(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A port, or the usual one where the text is empty.
///
/// # Errors
/// It is no number up to 65535. The text is not shown: a part of a password may look like a port.
pub fn port(text: &str, usual: u16) -> Result<u16, &'static str> {
    if text.is_empty() { Ok(usual) } else { text.parse().map_err(|_| "the port is not a number up to 65535") }
}

/// Percent-decodes.
///
/// # Errors
/// It is not UTF-8.
pub fn decoded(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| "a part of the address is not UTF-8")
}

/// The options of a query, decoded.
///
/// # Errors
/// One is not UTF-8.
pub fn options(query: &str) -> Result<Vec<(String, String)>, &'static str> {
    query
        .split('&')
        .filter(|option| !option.is_empty())
        .map(|option| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// An address that cannot be used, as it may be shown: without password and query, and where it does not even read as an
/// address, its scheme alone.
pub fn unusable(address: &str) -> String {
    let Some((scheme, _)) = address.split_once("://") else { return "the address".to_owned() };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
        return "the address".to_owned();
    }
    match split(address, &[]) {
        Ok(Parts { user, servers, path, .. }) => {
            let user = if user.is_empty() { String::new() } else { format!("{user}@") };
            let path = if path.is_empty() { String::new() } else { format!("/{path}") };
            format!("{scheme}://{user}{servers}{path}")
        }
        Err(_) => format!("{scheme}://…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(address: &str) -> (String, Option<String>, String, String, String) {
        let Parts { user, password, servers, path, query, .. } = split(address, &["password", "sslmode"]).unwrap();
        let owned = str::to_owned;
        (owned(user), password.map(owned), owned(servers), owned(path), owned(query))
    }

    #[test]
    fn a_password_may_have_every_special_character() {
        for special in ["#", "?", "/", "@", ":", "%", "&", "=", ";", ",", "[", "]", "+", "!", "$", "'", "\"", " ", "\\"]
        {
            for password in [format!("se{special}cret"), special.to_owned(), format!("1{special}2{special}")] {
                let address = format!("postgres://app:{password}@db:5432/billing?sslmode=require");
                let (user, found, servers, path, query) = parts(&address);
                assert_eq!((user.as_str(), found.as_deref()), ("app", Some(password.as_str())), "{address}");
                assert_eq!((servers.as_str(), path.as_str()), ("db:5432", "billing"), "{address}");
                assert_eq!(query, "sslmode=require");
            }
        }
        let all = "p@ss:w/o?r#d%";
        assert_eq!(parts(&format!("redis://:{all}@h/0")).1.as_deref(), Some(all));
        assert_eq!(parts("amqp://u:p?a=b@h/v").1.as_deref(), Some("p?a=b"), "an option that is none");
    }

    #[test]
    fn what_stands_behind_the_servers_may_have_an_at_sign_too() {
        assert_eq!(parts("postgres://u:p@db/x?password=a@b").2, "db");
        assert_eq!(parts("postgres://u:p@db/x?password=a@b").4, "password=a@b");
        assert_eq!(parts("amqp://localhost/v@w").2, "localhost");
        assert_eq!(parts("amqp://localhost/v@w").3, "v@w");
    }

    #[test]
    fn parts_may_be_missing() {
        for (address, user, password, servers, path) in [
            ("amqp://", "", None, "", ""),
            ("amqp://h", "", None, "h", ""),
            ("redis://:p@h", "", Some("p"), "h", ""),
            ("redis://u@h/1", "u", None, "h", "1"),
            ("redis://u:@h/1", "u", Some(""), "h", "1"),
            ("postgres://u:p@/x", "u", Some("p"), "", "x"),
            ("postgres://a:1,b:2,[::1]:3/x", "", None, "a:1,b:2,[::1]:3", "x"),
            ("amqp://u:p@h//", "u", Some("p"), "h", "/"),
        ] {
            let found = parts(address);
            assert_eq!((found.0.as_str(), found.1.as_deref()), (user, password), "{address}");
            assert_eq!((found.2.as_str(), found.3.as_str()), (servers, path), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_shown() {
        for address in ["", "h:5432", "postgres://u:secret@h:port/x", "postgres://u:secret@[::1/x"] {
            assert!(split(address, &[]).is_err(), "{address}");
            assert!(!unusable(address).contains("secret"), "{address}");
        }
        assert_eq!(unusable("postgres://u:secret@h:port"), "postgres://…");
        assert_eq!(unusable("redis://u:secret@localhost"), "redis://u@localhost");
        assert_eq!(unusable("amqp://u:se#?/@cret@h:70000/v?x=secret"), "amqp://u@h:70000/v");
        assert_eq!(unusable("u:secret://h"), "the address");
    }

    #[test]
    fn hosts_may_be_addresses_of_ipv6() {
        assert_eq!(host_and_port("[::1]:7"), Ok(("::1", "7")));
        assert_eq!(host_and_port("[::1]"), Ok(("::1", "")));
        assert_eq!(host_and_port("h:7"), Ok(("h", "7")));
        assert_eq!(written("::1"), "[::1]");
        assert_eq!(written("h"), "h");
    }
}
