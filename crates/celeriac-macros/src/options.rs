//! `#[task(…)]` on the struct.

use std::collections::BTreeSet;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Error, LitBool, LitFloat, LitInt, LitStr, Token};

use crate::duration::{self, Milliseconds};

pub(crate) struct Options {
    pub(crate) name: LitStr,
    /// `field: value` of `TaskOptions`, where it differs from the defaults.
    pub(crate) settings: Vec<TokenStream>,
    /// The argument that `concurrency_key` names.
    pub(crate) concurrency_key: Option<LitStr>,
}

const KNOWN: [&str; 26] = [
    "name",
    "queue",
    "priority",
    "acks_late",
    "acks_on_failure_or_timeout",
    "acks_on_failure",
    "acks_on_timeout",
    "reject_on_worker_lost",
    "deduplicate_successful",
    "max_retries",
    "default_retry_delay",
    "retry_backoff",
    "retry_backoff_max",
    "retry_jitter",
    "autoretry",
    "soft_time_limit",
    "time_limit",
    "rate_limit",
    "cluster_rate",
    "concurrency_key",
    "concurrency_limit",
    "concurrency_scope",
    "expires",
    "ignore_result",
    "store_errors_even_if_ignored",
    "track_started",
];

/// The longest name that AMQP carries in a header of ours and in routing keys alike.
const MAX_NAME: usize = 255;

pub(crate) fn parse(input: &DeriveInput) -> syn::Result<Options> {
    let mut name = None;
    let mut settings = Vec::new();
    let mut seen = BTreeSet::new();
    let mut limits = TimeLimits::default();
    let mut concurrency = Concurrency::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("task")) {
        attribute.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().ok_or_else(|| unknown(&meta))?.clone();
            if !KNOWN.contains(&key.to_string().as_str()) {
                return Err(unknown(&meta));
            }
            if !seen.insert(key.to_string()) {
                return Err(meta.error(format_args!("`{key}` is given twice")));
            }
            if key == "name" {
                name = Some(task_name(&meta)?);
                return Ok(());
            }
            if key.to_string().starts_with("concurrency_") {
                return concurrency.read(&key, &meta);
            }
            let value = match key.to_string().as_str() {
                "soft_time_limit" => some(*limits.soft.insert(duration(&meta)?)),
                "time_limit" => some(*limits.hard.insert(duration(&meta)?)),
                other => value(other, &meta)?,
            };
            settings.push(quote!(#key: #value));
            Ok(())
        })?;
        limits.check(attribute)?;
    }
    let name = name.ok_or_else(|| {
        Error::new(input.ident.span(), "a task needs a name on the wire: add #[task(name = \"project.what_it_does\")]")
    })?;
    settings.extend(concurrency.setting()?);
    Ok(Options { name, settings, concurrency_key: concurrency.key })
}

fn unknown(meta: &ParseNestedMeta<'_>) -> Error {
    meta.error(format_args!("no such option; there are: {}", KNOWN.join(", ")))
}

fn task_name(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    let name: LitStr = meta.value()?.parse()?;
    let text = name.value();
    if text.is_empty()
        || text.len() > MAX_NAME
        || text.contains(|character: char| character.is_whitespace() || character.is_control())
    {
        return Err(Error::new(name.span(), "a name has 1 to 255 bytes and no spaces"));
    }
    Ok(name)
}

/// The expression for an option of `TaskOptions`.
fn value(key: &str, meta: &ParseNestedMeta<'_>) -> syn::Result<TokenStream> {
    match key {
        "queue" => {
            let queue: LitStr = meta.value()?.parse()?;
            if queue.value().is_empty() || queue.value().len() > MAX_NAME {
                return Err(Error::new(queue.span(), "a queue's name has 1 to 255 bytes"));
            }
            Ok(some(queue))
        }
        "priority" => {
            let priority: LitInt = meta.value()?.parse()?;
            let priority = priority
                .base10_parse::<u8>()
                .map_err(|_| Error::new(priority.span(), "a priority is a number from 0 to 255"))?;
            Ok(some(priority))
        }
        "max_retries" => max_retries(meta),
        "rate_limit" | "cluster_rate" => rate_limit(&meta.value()?.parse()?),
        "default_retry_delay" | "retry_backoff_max" => Ok(duration(meta)?.into_token_stream()),
        "retry_backoff" | "expires" => Ok(some(duration(meta)?)),
        "acks_on_failure" | "acks_on_timeout" => Ok(some(flag(meta)?)),
        _ => flag(meta),
    }
}

fn some(value: impl ToTokens) -> TokenStream {
    quote!(::core::option::Option::Some(#value))
}

fn duration(meta: &ParseNestedMeta<'_>) -> syn::Result<Milliseconds> {
    let literal: LitStr = meta.value()?.parse().map_err(|error: Error| duration::refused(error.span()))?;
    duration::parse(&literal)
}

/// `concurrency_key`, `concurrency_limit` and `concurrency_scope`, which belong together.
#[derive(Default)]
struct Concurrency {
    key: Option<LitStr>,
    limit: Option<LitInt>,
    scope: Option<LitStr>,
}

impl Concurrency {
    fn read(&mut self, option: &syn::Ident, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if option == "concurrency_limit" {
            let limit: LitInt = meta.value()?.parse()?;
            if !limit.base10_parse::<u32>().is_ok_and(|limit| limit > 0) {
                return Err(Error::new(limit.span(), "at least 1 task must be able to run"));
            }
            self.limit = Some(limit);
            return Ok(());
        }
        let text: LitStr = meta.value()?.parse()?;
        if text.value().is_empty() || text.value().len() > MAX_NAME {
            return Err(Error::new(text.span(), "a name of 1 to 255 bytes is expected"));
        }
        *if option == "concurrency_key" { &mut self.key } else { &mut self.scope } = Some(text);
        Ok(())
    }

    fn setting(&self) -> syn::Result<Option<TokenStream>> {
        let Some(key) = &self.key else {
            let left = self.limit.as_ref().map(LitInt::span).or_else(|| self.scope.as_ref().map(LitStr::span));
            return match left {
                Some(span) => Err(Error::new(span, "which argument is the key? add concurrency_key = \"…\"")),
                None => Ok(None),
            };
        };
        let limit = self.limit.as_ref().map_or_else(|| quote!(1), ToTokens::to_token_stream);
        let scope = self.scope.as_ref().map_or_else(|| quote!(::core::option::Option::None), some);
        let limit = quote!(::celeriac::task::ConcurrencyLimit { key: #key, limit: #limit, scope: #scope });
        let limit = some(limit);
        Ok(Some(quote!(concurrency: #limit)))
    }
}

/// The two limits, which must be in their order.
#[derive(Default)]
struct TimeLimits {
    soft: Option<Milliseconds>,
    hard: Option<Milliseconds>,
}

impl TimeLimits {
    fn check(&self, attribute: &Attribute) -> syn::Result<()> {
        match (self.soft, self.hard) {
            (Some(soft), Some(hard)) if soft >= hard => Err(Error::new_spanned(
                attribute,
                "`soft_time_limit` must be below `time_limit`: it gives the task time to end by itself",
            )),
            _ => Ok(()),
        }
    }
}

/// `key` or `key = true` or `key = false`
fn flag(meta: &ParseNestedMeta<'_>) -> syn::Result<TokenStream> {
    if !meta.input.peek(Token![=]) {
        return Ok(quote!(true));
    }
    let value: LitBool = meta.value()?.parse()?;
    Ok(quote!(#value))
}

fn max_retries(meta: &ParseNestedMeta<'_>) -> syn::Result<TokenStream> {
    let input = meta.value()?;
    let refused = |span| Error::new(span, "a number of retries or \"forever\" is expected");
    if input.peek(LitStr) {
        let word: LitStr = input.parse()?;
        return if word.value() == "forever" {
            Ok(quote!(::core::option::Option::None))
        } else {
            Err(refused(word.span()))
        };
    }
    let number: LitInt = input.parse().map_err(|error: Error| refused(error.span()))?;
    let number = number.base10_parse::<u32>().map_err(|_| refused(number.span()))?;
    Ok(some(number))
}

fn rate_limit(literal: &LitStr) -> syn::Result<TokenStream> {
    let refused = || Error::new(literal.span(), "not a rate limit: write \"5/s\", \"10/m\" or \"100/h\"");
    let text = literal.value();
    let (count, period) = text.split_once('/').ok_or_else(refused)?;
    let constructor = match period {
        "s" => "per_second",
        "m" => "per_minute",
        "h" => "per_hour",
        _ => return Err(refused()),
    };
    let count = count.parse::<f64>().ok().filter(|count| count.is_finite() && *count > 0.0).ok_or_else(refused)?;
    let constructor = format_ident!("{constructor}");
    let count = LitFloat::new(&format!("{count:?}"), literal.span());
    Ok(some(quote!(::celeriac::task::RateLimit::#constructor(#count))))
}
