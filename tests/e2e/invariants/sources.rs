//! What the sources may say.

use super::reader::{contains, flat, macro_calls, sources, tasks, typed_names};

/// The names under which secrets of a customer or of the shop travel.
const SECRETS: [&str; 8] =
    ["cryptogram", "card_cryptogram_packet", "pa_res", "payment_token", "token", "card_number", "cvv", "api_secret"];

#[test]
fn protocol_and_state_machines_do_no_io_read_no_clock_and_never_wait() {
    const FORBIDDEN: &str = "async|await|tokio|futures_util|diesel_async|lapin|reqwest|SystemTime|Instant|Utc : : now|\
        Local : : now|fs|net|thread|spawn|File|stdin|stdout|stderr|println|OsRng|fastrand|clock : :";
    let pure = ["celeriac/src/protocol", "billing/src/payment", "cloudpayments/src/notification"];
    let files = ["billing/src/payment.rs", "billing/src/refund.rs", "billing/src/bill.rs", "billing/src/account.rs"];
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

#[test]
fn a_secret_is_never_held_in_a_plain_string() {
    let mut protected = 0;
    for source in ["cloudpayments/src", "billing/src", "billing-admin/src", "billing-api/src", "billing-worker/src"]
        .iter()
        .flat_map(|p| sources(p))
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
    for crate_name in [
        "cloudpayments",
        "billing",
        "billing-admin",
        "billing-api",
        "billing-worker",
        "billing-beat",
        "celeriac",
        "dial",
    ] {
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

#[test]
fn every_port_is_served_through_the_listener() {
    const ELSEWHERE: [&str; 3] = ["axum : : serve", "transport : : Server", "Server : : builder"];
    for crate_name in ["billing-api", "billing-worker", "billing-beat", "billing-cli", "cloudpayments-sandbox"] {
        for source in sources(&format!("{crate_name}/src")) {
            let tokens = flat(&source.tokens);
            let found: Vec<_> = ELSEWHERE.into_iter().filter(|words| contains(&tokens, words)).collect();
            assert!(found.is_empty(), "{} serves without the limits of `listener`: {found:?}", source.path);
        }
    }
}
