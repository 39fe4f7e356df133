//! ListErrors, ListRetryable.

use pannier_proto::uploads::v1 as pb;

use super::super::Uploads;
use super::super::convert::{self, Parser};
use super::super::domain::UploadError;
use super::super::store::{self, ErrorFilter};
use crate::error::{Error, Result};
use crate::page::Query;

/// A page of errors that is asked for.
struct Asked {
    session_id: String,
    filter: ErrorFilter,
    rows_max: u64,
}

impl Uploads {
    pub(super) async fn list_errors(&self, request: pb::ListErrorsRequest) -> Result<pb::ListErrorsResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let session_id = parser.optional_session_id(request.session_id).unwrap_or_default();
        parser.error_type(&|| "type".to_owned(), &request.r#type, 0);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let resolved = if request.include_resolved { "all" } else { "open" };
        let query = Query::of("uploads.ListErrors", &[&session_id, &request.r#type, resolved]);
        let filter = ErrorFilter::All(request.r#type, request.include_resolved);
        if session_id.is_empty() {
            return self.all_errors(filter, rows_max, query, &request.page_token).await;
        }
        let asked = Asked { session_id, filter, rows_max };
        let (errors, next_page_token) = self.errors(asked, query, &request.page_token).await?;
        Ok(pb::ListErrorsResponse {
            errors: errors.into_iter().map(convert::error).collect(),
            next_page_token,
        })
    }

    pub(super) async fn list_retryable(
        &self,
        request: pb::ListRetryableRequest,
    ) -> Result<pb::ListRetryableResponse> {
        let mut parser = Parser::new(&self.settings.uploads);
        let session_id = parser.session_id(request.session_id);
        let policy = parser.policy(request.policy.unwrap_or_default());
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let numbers = [policy.attempts_max, policy.backoff_us, policy.backoff_us_max].map(|n| n.to_string());
        let mut parts = vec![session_id.as_str(), &numbers[0], &numbers[1], &numbers[2]];
        parts.extend(policy.types.iter().map(String::as_str));
        let query = Query::of("uploads.ListRetryable", &parts);
        let asked = Asked { session_id, filter: ErrorFilter::Due(policy, self.clock.clone()), rows_max };
        let (errors, next_page_token) = self.errors(asked, query, &request.page_token).await?;
        Ok(pb::ListRetryableResponse {
            errors: errors.into_iter().map(convert::error).collect(),
            next_page_token,
        })
    }

    async fn errors(
        &self,
        asked: Asked,
        query: Query,
        page_token: &str,
    ) -> Result<(Vec<UploadError>, String)> {
        let page = self.page(super::number_key(query, page_token)?, asked.rows_max);
        let input = (self.names.reading(), asked, page);
        let (errors, next) = self
            .storage
            .read(input, |db, (names, asked, page)| {
                Box::pin(store::list_errors(db, names, &asked.session_id, &asked.filter, page))
            })
            .await?;
        Ok((errors, next.map(|key| query.token(&key.to_string())).unwrap_or_default()))
    }

    /// A page of the errors of all sessions.
    async fn all_errors(
        &self,
        filter: ErrorFilter,
        rows_max: u64,
        query: Query,
        page_token: &str,
    ) -> Result<pb::ListErrorsResponse> {
        let place = |key: String| {
            let (update_us, id) = key.split_once(':').ok_or(Error::PageTokenInvalid)?;
            let number = |text: &str| text.parse::<i64>().map_err(|_| Error::PageTokenInvalid);
            Ok::<_, Error>((number(update_us)?, number(id)?))
        };
        let page = self.page(query.key_of(page_token)?.map(place).transpose()?, rows_max);
        let (errors, next) = self
            .storage
            .read((filter, page), |db, (filter, page)| Box::pin(store::list_all_errors(db, filter, page)))
            .await?;
        Ok(pb::ListErrorsResponse {
            errors: errors.into_iter().map(convert::error).collect(),
            next_page_token: next.map(|(us, id)| query.token(&format!("{us}:{id}"))).unwrap_or_default(),
        })
    }
}
