//! The customer's browser at the bank's 3-D Secure page: opens it, presses a button, and follows the form back.

use anyhow::{Context as _, bail};

/// Where the bank's page sends the customer back to. Nobody listens there: the demo reads the form instead.
const TERM_URL: &str = "https://cinema.example/3ds";

/// What the bank sends back through the customer's browser.
pub(super) struct BankAnswer {
    pub md: String,
    pub pa_res: String,
}

/// Opens the bank's page with the form that the shop shows, confirms the payment there, and reads the answer.
pub(super) async fn confirm(
    http: &reqwest::Client,
    acs_url: &str,
    pa_req: &str,
    md: &str,
) -> anyhow::Result<BankAnswer> {
    let shop_form = [("PaReq", pa_req), ("MD", md), ("TermUrl", TERM_URL)];
    let page = submit(http, acs_url, &shop_form).await?;
    let mut form = Form::parse(&page).context("the bank's page has no form")?;
    form.press("confirm");
    let answer = if form.action == TERM_URL {
        form
    } else {
        let target = reqwest::Url::parse(acs_url)?.join(&form.action)?;
        let page = submit(http, target.as_str(), &form.fields).await?;
        Form::parse(&page).context("the bank's answer has no form back to the shop")?
    };
    if answer.action != TERM_URL {
        bail!("the bank sends the customer to {} instead of back to the shop", answer.action);
    }
    Ok(BankAnswer { md: answer.field("MD")?, pa_res: answer.field("PaRes")? })
}

async fn submit<T: serde::Serialize + ?Sized>(http: &reqwest::Client, url: &str, fields: &T) -> anyhow::Result<String> {
    let answer = http.post(url).form(fields).send().await.with_context(|| format!("the bank's page {url}"))?;
    Ok(answer.error_for_status()?.text().await?)
}

/// The first form of a page: enough of HTML for a page whose author we know.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
    buttons: Vec<(String, String)>,
}

impl Form {
    fn parse(page: &str) -> Option<Self> {
        let start = page.find("<form")?;
        let end = page[start..].find("</form>").map_or(page.len(), |length| start + length);
        let mut tags = page[start..end].split('<').skip(1);
        let action = attribute(tags.next()?, "action")?;
        let (mut fields, mut buttons) = (Vec::new(), Vec::new());
        for tag in tags.filter(|tag| tag.starts_with("input") || tag.starts_with("button")) {
            let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value")) else { continue };
            let is_button = tag.starts_with("button") || attribute(tag, "type").as_deref() == Some("submit");
            if is_button { &mut buttons } else { &mut fields }.push((name, value));
        }
        Some(Self { action, fields, buttons })
    }

    /// Adds the button of that value to what is submitted, as a click does.
    fn press(&mut self, value: &str) {
        let button = self.buttons.iter().find(|button| button.1.eq_ignore_ascii_case(value)).cloned();
        self.fields.extend(button);
    }

    fn field(&self, name: &str) -> anyhow::Result<String> {
        let field = self.fields.iter().find(|field| field.0 == name);
        field.map(|field| field.1.clone()).with_context(|| format!("the bank's form has no field {name}"))
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(unescape(value))
}

fn unescape(text: &str) -> String {
    [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::Form;

    const PAGE: &str = r#"<h1>Bank</h1><form method="post" action="/acs/answer"><input type="hidden" name="MD" value="12">
        <input type="hidden" name="PaReq" value="a&amp;b&#34;"><button name="answer" value="confirm">Confirm</button>
        <button name="answer" value="reject">Reject</button></form>"#;

    #[test]
    fn a_form_is_submitted_with_its_fields_and_only_the_button_that_was_pressed() {
        let mut form = Form::parse(PAGE).unwrap();
        form.press("confirm");
        assert_eq!(form.action, "/acs/answer");
        let expected = [("MD", "12"), ("PaReq", "a&b\""), ("answer", "confirm")];
        assert_eq!(form.fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_page_without_a_form_is_no_form() {
        assert!(Form::parse("<p>Service unavailable</p>").is_none());
    }
}
