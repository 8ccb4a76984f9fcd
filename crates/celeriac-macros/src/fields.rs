//! The fields of the struct as the arguments of the task, named as `serde` names them.

mod case;

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Field, Fields, LitStr, Token, Type, parenthesized};

use case::Case;

#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) names: Vec<String>,
    pub(crate) required: Vec<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) redacted: Vec<String>,
    /// Those of `names` that have other names too.
    aliased: Vec<String>,
}

impl Arguments {
    /// The key of a task must be found in a message without looking twice.
    pub(crate) fn check_key(&self, key: &LitStr) -> syn::Result<()> {
        let name = key.value();
        if !self.names.contains(&name) {
            return Err(Error::new(key.span(), "no argument of this task has this name"));
        }
        if self.aliased.contains(&name) {
            return Err(Error::new(key.span(), "an argument with a `serde(alias)` cannot be the key"));
        }
        Ok(())
    }
}

/// What `serde`'s attributes on one item say that matters here.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<Case>,
    aliases: Vec<String>,
    default: bool,
    skip: bool,
    flatten: bool,
    /// Read by a function of its own: `serde` does not know then that an `Option` may be left out.
    with: bool,
}

pub(crate) fn parse(fields: &Fields, attributes: &[Attribute]) -> syn::Result<Arguments> {
    let container = Serde::parse(attributes)?;
    let mut arguments = Arguments::default();
    for field in fields {
        let serde = Serde::parse(&field.attrs)?;
        if serde.flatten {
            return Err(Error::new_spanned(
                field,
                "`serde(flatten)` leaves open which arguments there are: name each field",
            ));
        }
        if serde.skip {
            continue;
        }
        let name = name(field, &serde, container.rename_all);
        if !(serde.default || container.default || is_option(&field.ty) && !serde.with) {
            arguments.required.push(name.clone());
        }
        if is_redacted(field)? {
            arguments.redacted.push(name.clone());
            arguments.redacted.extend(serde.aliases.iter().cloned());
        }
        if !serde.aliases.is_empty() {
            arguments.aliased.push(name.clone());
        }
        arguments.aliases.extend(serde.aliases);
        arguments.names.push(name);
    }
    Ok(arguments)
}

fn name(field: &Field, serde: &Serde, rename_all: Option<Case>) -> String {
    let ident = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let ident = ident.trim_start_matches("r#");
    match (&serde.rename, rename_all) {
        (Some(name), _) => name.clone(),
        (None, Some(case)) => case.apply(ident),
        (None, None) => ident.to_owned(),
    }
}

/// `#[task(redact)]`
fn is_redacted(field: &Field) -> syn::Result<bool> {
    let mut redacted = false;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("task")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("redact") {
                return Err(meta.error("no such option; a field has: redact"));
            }
            redacted = true;
            Ok(())
        })?;
    }
    Ok(redacted)
}

/// Whether the type is written as an `Option`, which `serde` lets callers leave out.
fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Option"),
        _ => false,
    }
}

impl Serde {
    fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut serde = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| serde.read(&meta))?;
        }
        Ok(serde)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match key.as_str() {
            "rename" => self.rename = renamed(meta)?.map(|name| name.value()),
            "rename_all" => self.rename_all = renamed(meta)?.map(|rule| Case::parse(&rule)).transpose()?,
            "alias" => self.aliases.push(meta.value()?.parse::<LitStr>()?.value()),
            "default" => {
                self.default = true;
                skip_value(meta)?;
            }
            "with" | "deserialize_with" => {
                self.with = true;
                skip_value(meta)?;
            }
            "skip" => self.skip = true,
            "flatten" => self.flatten = true,
            // Everything else is serde's own business.
            _ => skip_value(meta)?,
        }
        Ok(())
    }
}

/// `rename = "name"`, or `rename(serialize = …, deserialize = …)`, which must agree.
fn renamed(meta: &ParseNestedMeta<'_>) -> syn::Result<Option<LitStr>> {
    if meta.input.peek(Token![=]) {
        return Ok(Some(meta.value()?.parse()?));
    }
    let mut name: Option<LitStr> = None;
    meta.parse_nested_meta(|meta| {
        let given: LitStr = meta.value()?.parse()?;
        if name.as_ref().is_some_and(|name| name.value() != given.value()) {
            return Err(Error::new(given.span(), "sender and worker must use one name"));
        }
        name = Some(given);
        Ok(())
    })?;
    Ok(name)
}

/// Moves behind `= value` or `(…)`.
fn skip_value(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(Token![=]) {
        let _: syn::Expr = meta.value()?.parse()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        let _: proc_macro2::TokenStream = content.parse()?;
    }
    Ok(())
}
