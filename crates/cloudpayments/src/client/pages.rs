//! A list, page after page.

use super::Client;
use crate::{Doubt, Error, ListRequest, Transaction};

/// More pages than any list has.
const MAX_PAGES: u32 = 10_000;

/// The pages of a list. A transaction created meanwhile can move others to the next page, so that they
/// come twice: take them by their ids.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    request: ListRequest,
    number: u32,
    /// How the last page began, to notice a gateway that sends the same page for every number.
    began_with: Option<i64>,
    ended: bool,
}

impl Pages {
    pub(super) fn new(client: Client, request: ListRequest) -> Self {
        Self { client, request, number: 1, began_with: None, ended: false }
    }

    /// The next page, or none after the last. After an error the same page is asked for again.
    pub async fn next(&mut self) -> Result<Option<Vec<Transaction>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let page = self.client.list(&self.request, self.number).await?;
        let Some(first) = page.first().map(|transaction| transaction.transaction_id) else {
            self.ended = true;
            return Ok(None);
        };
        if self.began_with == Some(first) || self.number == MAX_PAGES {
            return Err(Doubt::Contradictory("a list without end").into());
        }
        self.began_with = Some(first);
        self.number += 1;
        Ok(Some(page))
    }
}
