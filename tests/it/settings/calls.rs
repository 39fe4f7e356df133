//! The settings' calls in short, for the tests beside.

use pannier_proto::settings::v1 as pb;
use pannier_proto::settings::v1::set_request::Condition;
use tonic::{Status, Streaming};

use crate::harness::Pannier;

/// A request that sets `key` to a JSON value.
pub fn set_request(key: &str, value_json: &str) -> pb::SetRequest {
    pb::SetRequest { key: key.into(), value_json: value_json.into(), ..Default::default() }
}

impl Pannier {
    pub async fn try_set(&self, request: pb::SetRequest) -> Result<pb::SetResponse, Status> {
        Ok(self.settings.clone().set(request).await?.into_inner())
    }

    /// Sets; answers with the revision.
    pub async fn set(&self, key: &str, value_json: &str) -> i64 {
        self.try_set(set_request(key, value_json)).await.unwrap().setting.unwrap().revision
    }

    pub async fn set_if(
        &self,
        key: &str,
        value_json: &str,
        condition: Condition,
    ) -> Result<pb::SetResponse, Status> {
        self.try_set(pb::SetRequest { condition: Some(condition), ..set_request(key, value_json) }).await
    }

    pub async fn try_setting(&self, key: &str) -> Result<pb::Setting, Status> {
        let request = pb::GetRequest { key: key.into() };
        Ok(self.settings.clone().get(request).await?.into_inner().setting.unwrap())
    }

    pub async fn setting(&self, key: &str) -> String {
        self.try_setting(key).await.unwrap().value_json
    }

    pub async fn try_unset(&self, key: &str, if_revision: i64) -> Result<pb::DeleteResponse, Status> {
        let request = pb::DeleteRequest { key: key.into(), if_revision, ..Default::default() };
        Ok(self.settings.clone().delete(request).await?.into_inner())
    }

    /// Deletes; answers with the deletion's revision.
    pub async fn unset(&self, key: &str) -> i64 {
        self.try_unset(key, 0).await.unwrap().revision
    }

    /// All settings under a prefix, page by page, and the first page's cursor.
    pub async fn all_settings(&self, prefix: &str, page_size: i32) -> (Vec<pb::Setting>, String) {
        let mut request = pb::ListRequest { prefix: prefix.into(), page_size, ..Default::default() };
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.settings.clone().list(request.clone()).await.unwrap().into_inner();
            cursor.get_or_insert(page.cursor);
            assert!(page_size == 0 || page.settings.len() <= usize::try_from(page_size).unwrap());
            found.extend(page.settings);
            if page.next_page_token.is_empty() {
                return (found, cursor.unwrap());
            }
            request.page_token = page.next_page_token;
        }
    }

    pub async fn setting_keys(&self, prefix: &str) -> Vec<String> {
        self.all_settings(prefix, 0).await.0.into_iter().map(|setting| setting.key).collect()
    }

    /// The cursor after the last change.
    pub async fn settings_cursor(&self) -> String {
        self.all_settings("", 0).await.1
    }

    pub async fn watch_settings(&self, prefix: &str, cursor: &str) -> Streaming<pb::WatchResponse> {
        let request = pb::WatchRequest { prefix: prefix.into(), cursor: cursor.into() };
        self.settings.clone().watch(request).await.unwrap().into_inner()
    }
}

/// The next message of a watch.
pub async fn next(watch: &mut Streaming<pb::WatchResponse>) -> pb::WatchResponse {
    let message = tokio::time::timeout(std::time::Duration::from_secs(20), watch.message()).await;
    message.expect("a message in time").unwrap().expect("the watch goes on")
}

/// What a message tells: keys, each with its value or none when it was deleted.
pub fn told(message: &pb::WatchResponse) -> Vec<(&str, Option<&str>)> {
    message
        .changes
        .iter()
        .map(|change| {
            (change.key.as_str(), change.setting.as_ref().map(|setting| setting.value_json.as_str()))
        })
        .collect()
}
