//! The derive macro of celeriac: a struct of arguments becomes a task.

#![warn(missing_docs)]

mod duration;
mod fields;
mod options;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input};

/// Derives `celeriac::Task` for a struct of arguments.
///
/// ```ignore
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "billing.charge_payment", queue = "payments", acks_late, max_retries = 10, retry_backoff = "1s")]
/// pub struct ChargePayment {
///     pub payment_id: u64,
///     #[task(redact)]
///     pub note: String,
/// }
/// ```
///
/// | option | value | is |
/// |---|---|---|
/// | `name` | string, required | the name on the wire |
/// | `queue` | string | where it is sent |
/// | `priority` | 0 to 255 | sent with the message |
/// | `acks_late` | flag | acknowledge after the run |
/// | `reject_on_worker_lost` | flag | changes nothing: with `acks_late` it always goes back when the worker dies |
/// | `deduplicate_successful` | flag | with `acks_late`: what was delivered before and has a stored success is not run again |
/// | `acks_on_failure_or_timeout` | `true`, `false` | with `acks_late`: acknowledge failures too (default) |
/// | `acks_on_failure`, `acks_on_timeout` | `true`, `false` | the same for one of them |
/// | `max_retries` | number or `"forever"` | 3 by default |
/// | `default_retry_delay` | duration | 3 minutes by default |
/// | `retry_backoff` | duration | the first delay; it doubles |
/// | `retry_backoff_max` | duration | 10 minutes by default |
/// | `retry_jitter` | `true`, `false` | true by default |
/// | `autoretry` | flag | retry unexpected errors |
/// | `soft_time_limit`, `time_limit` | duration | |
/// | `rate_limit` | `"10/m"` | starts per worker |
/// | `cluster_rate` | `"100/m"` | starts in the whole cluster |
/// | `concurrency_key` | name of an argument | with one value of it, one task runs at a time in the whole cluster |
/// | `concurrency_limit` | number | so many at a time instead |
/// | `concurrency_scope` | string | tasks of one scope share their keys; else each task has its own |
/// | `expires` | duration | older messages are dropped |
/// | `ignore_result`, `store_errors_even_if_ignored`, `track_started` | flag | |
///
/// Durations are written as `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"2d"`. A flag may also be given `true` or `false`.
///
/// The names of the arguments are those of the fields after `serde`'s `rename` and `rename_all`; fields that are an
/// `Option` or have `serde(default)` may be left out by callers; `serde(alias)` is honoured.
#[proc_macro_derive(Task, attributes(task))]
pub fn derive_task(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(_) | Fields::Unit => &data.fields,
            Fields::Unnamed(fields) => {
                return Err(Error::new_spanned(
                    fields,
                    "the arguments of a task need names: write a struct with named fields",
                ));
            }
        },
        Data::Enum(data) => return Err(Error::new(data.enum_token.span, "a task is a struct of its arguments")),
        Data::Union(data) => return Err(Error::new(data.union_token.span, "a task is a struct of its arguments")),
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a task cannot be generic: its name stands for one type of arguments",
        ));
    }
    let options = options::parse(input)?;
    let fields = fields::parse(fields, &input.attrs)?;

    let ident = &input.ident;
    let options::Options { name, settings, concurrency_key } = options;
    if let Some(key) = &concurrency_key {
        fields.check_key(key)?;
    }
    let fields::Arguments { names, required, aliases, redacted, .. } = fields;
    Ok(quote! {
        #[automatically_derived]
        impl ::celeriac::task::Task for #ident {
            const NAME: &'static str = #name;
            const FIELDS: &'static [&'static str] = &[#(#names),*];
            const REQUIRED: &'static [&'static str] = &[#(#required),*];
            const ALIASES: &'static [&'static str] = &[#(#aliases),*];
            const REDACTED: &'static [&'static str] = &[#(#redacted),*];
            const OPTIONS: ::celeriac::task::TaskOptions = ::celeriac::task::TaskOptions {
                #(#settings,)*
                ..::celeriac::task::TaskOptions::DEFAULT
            };
        }
    })
}
