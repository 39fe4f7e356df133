//! Records read by key, found by what they hold, and read as changes, with what must come of it.

use std::collections::HashSet;

use pannier_proto::records::v1::*;

use super::Keeper;
use crate::Fallible;
use crate::documents::{Document, INDEXED, OF_CHANNEL, ORDERED, UNINDEXED, channels};
use crate::load::{Done, Worker};
use crate::material::Material;
use crate::workers::refused;

/// Rows of a page of a query, and of changes.
const FOUND: usize = 20;
const CHANGES: i32 = 1_000;

/// Reads records at random.
pub(crate) struct Getter {
    pub(crate) keeper: Keeper,
    pub(crate) material: Material,
}

impl Getter {
    fn any(&mut self) -> Document {
        Document(self.material.below(self.keeper.collection.of as usize) as u64)
    }

    pub(crate) async fn get(&mut self) -> Fallible<GetResponse> {
        let document = self.any();
        self.keeper.get(document).await
    }
}

#[tonic::async_trait]
impl Worker for Getter {
    async fn perform(&mut self) -> Fallible<Done> {
        self.get().await?;
        Ok(Done::rows(1))
    }

    async fn verify(&mut self) -> Fallible<()> {
        let document = self.any();
        self.keeper.find(document).await
    }
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Queried {
    /// All of a channel, by an index.
    Indexed,
    /// The same by a path that has none.
    Unindexed,
    /// Those with the most views, by an index.
    Top,
}

/// Looks for others each time, to the last page.
pub(crate) struct Querier {
    pub(crate) keeper: Keeper,
    pub(crate) material: Material,
    pub(crate) queried: Queried,
}

impl Querier {
    fn request(&self, channel: &str) -> QueryRequest {
        let path = if self.queried == Queried::Indexed { INDEXED } else { UNINDEXED };
        let comparison = Comparison {
            path: path.to_owned(),
            comparator: Comparator::Equal.into(),
            value_json: format!("\"{channel}\""),
        };
        let by_channel = Filter { what: Some(filter::What::Compare(comparison)) };
        let most = QueryOrder { by: Some(query_order::By::Path(ORDERED.to_owned())), descending: true };
        let is_top = self.queried == Queried::Top;
        QueryRequest {
            collection: self.keeper.name(),
            filter: (!is_top).then_some(by_channel),
            order: is_top.then_some(most),
            page_size: FOUND as i32,
            page_token: String::new(),
        }
    }

    /// The documents found; those with the most views are the first page alone.
    async fn find(&mut self, channel: &str) -> Fallible<Vec<Record>> {
        let (mut request, mut found) = (self.request(channel), Vec::new());
        let expected = match self.queried {
            Queried::Indexed => INDEXED,
            Queried::Unindexed => "",
            Queried::Top => ORDERED,
        };
        loop {
            let answer = self.keeper.client.query(request.clone()).await.map_err(refused)?.into_inner();
            let plan = answer.plan.unwrap_or_default();
            if plan.index_path != expected {
                return Err(
                    format!("a query went by the index '{}', not '{expected}'", plan.index_path).into()
                );
            }
            found.extend(answer.records);
            request.page_token = answer.next_page_token;
            if request.page_token.is_empty() || self.queried == Queried::Top {
                return Ok(found);
            }
        }
    }

    fn channel(&mut self) -> String {
        Document::channel(self.material.below(channels(self.keeper.collection.of) as usize) as u64)
    }
}

#[tonic::async_trait]
impl Worker for Querier {
    async fn perform(&mut self) -> Fallible<Done> {
        let channel = self.channel();
        let found = self.find(&channel).await?.len();
        let expected = if self.queried == Queried::Top { FOUND } else { OF_CHANNEL as usize };
        if found == expected {
            Ok(Done::rows(1))
        } else {
            Err(format!("a query found {found} of {expected}").into())
        }
    }

    /// What was found is what was looked for.
    async fn verify(&mut self) -> Fallible<()> {
        let channel = self.channel();
        let mut views_before = u64::MAX;
        for record in self.find(&channel).await? {
            let document: serde_json::Value = serde_json::from_str(&record.document_json)?;
            let views = document["metrics"]["views"].as_u64().unwrap_or(u64::MAX);
            let is_right = if self.queried == Queried::Top {
                views <= std::mem::replace(&mut views_before, views)
            } else {
                document["channel"]["id"].as_str() == Some(&channel)
            };
            if !is_right {
                return Err("a query found what was not looked for, or in another order".into());
            }
        }
        Ok(())
    }
}

/// Reads all changes of a collection that rests, page after page, again and again.
pub(crate) struct ChangesReader {
    keeper: Keeper,
    cursor: String,
    read: u64,
}

impl ChangesReader {
    pub(crate) fn new(keeper: Keeper) -> Self {
        Self { keeper, cursor: String::new(), read: 0 }
    }

    async fn page(&mut self) -> Fallible<ChangesResponse> {
        let cursor = std::mem::take(&mut self.cursor);
        let request = ChangesRequest { collection: self.keeper.name(), cursor, page_size: CHANGES };
        let answer = self.keeper.client.changes(request).await.map_err(refused)?.into_inner();
        self.read += answer.changes.len() as u64;
        if answer.more {
            self.cursor.clone_from(&answer.cursor);
            return Ok(answer);
        }
        // The next page is the first again.
        let read = std::mem::take(&mut self.read);
        let stored = self.keeper.collection.of;
        if read == stored {
            Ok(answer)
        } else {
            Err(format!("Changes told {read} records of {stored}").into())
        }
    }
}

#[tonic::async_trait]
impl Worker for ChangesReader {
    async fn perform(&mut self) -> Fallible<Done> {
        let changes = self.page().await?.changes;
        Ok(Done::rows(changes.len() as u64))
    }

    /// Every record comes once.
    async fn verify(&mut self) -> Fallible<()> {
        (self.cursor, self.read) = (String::new(), 0);
        let mut keys = HashSet::new();
        loop {
            let answer = self.page().await?;
            keys.extend(answer.changes.into_iter().map(|change| change.key));
            if !answer.more {
                break;
            }
        }
        let (told, stored) = (keys.len() as u64, self.keeper.collection.of);
        if told == stored { Ok(()) } else { Err(format!("Changes told {told} keys of {stored}").into()) }
    }
}
