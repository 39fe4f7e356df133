//! Prompts read by id, listed, searched and counted, with what must come of it.

use pannier_proto::prompts::v1::*;

use super::{Prompter, timestamp};
use crate::Fallible;
use crate::load::{Done, Worker};
use crate::material::Material;
use crate::prompts::{BACKENDS, CONFIDENT, Entry, MONTH_US, Sought, newest};
use crate::workers::refused;

/// Rows of a list, and of a page of a search.
const RECENT: usize = 100;
const FOUND: usize = 20;

/// What is asked again and again.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// A prompt by its id.
    Prompt,
    /// The newest of a backend.
    Recent,
    /// The newest of a backend of which the model was sure: no index has that.
    Confident,
    /// Numbers of all.
    Stats,
    /// Numbers of the last 30 days, by backend.
    MonthStats,
    /// The best that a query finds.
    Search(Sought),
}

/// Asks the same of others each time.
pub(crate) struct Reader {
    pub(crate) prompter: Prompter,
    pub(crate) material: Material,
    pub(crate) asked: Asked,
}

impl Reader {
    fn any_number(&mut self) -> Fallible<u64> {
        let stored = self.prompter.history.filled()?.ids.len();
        Ok(self.material.below(stored) as u64)
    }

    /// A prompt by its id.
    pub(crate) async fn get(&mut self) -> Fallible<GetResponse> {
        let number = self.any_number()?;
        let id = self.prompter.history.filled()?.ids[number as usize];
        self.prompter.get(id).await
    }

    /// The newest of a backend, which must be all of one backend and as many as were asked for.
    pub(crate) async fn list(&mut self, backend: &str) -> Fallible<ListResponse> {
        let confidence_min = (self.asked == Asked::Confident).then_some(CONFIDENT);
        let filter = PromptFilter { backend: backend.to_owned(), confidence_min, ..PromptFilter::default() };
        let request =
            ListRequest { filter: Some(filter), page_size: RECENT as i32, ..ListRequest::default() };
        let answer = self.prompter.client.list(request).await.map_err(refused)?.into_inner();
        let first = answer.prompts.first().map(|prompt| prompt.backend.clone()).unwrap_or_default();
        if answer.prompts.len() == RECENT && answer.prompts.iter().all(|prompt| prompt.backend == first) {
            Ok(answer)
        } else {
            Err(format!("List answered {} of {RECENT} prompts, or of several backends", answer.prompts.len())
                .into())
        }
    }

    /// Numbers, which must be of as many prompts as there are.
    pub(crate) async fn stats(&mut self) -> Fallible<StatsResponse> {
        let history = &self.prompter.history;
        let filled = history.filled()?;
        let (expected, request) = if self.asked == Asked::MonthStats {
            let start_time = Some(timestamp(history.start_us - MONTH_US));
            let group_by = vec![StatsGroup::Backend.into()];
            (filled.of_month, StatsRequest { group_by, start_time, ..StatsRequest::default() })
        } else {
            (filled.ids.len() as u64, StatsRequest::default())
        };
        let is_grouped = !request.group_by.is_empty();
        let answer = self.prompter.stats(request).await?;
        let counted = answer.total.as_ref().map_or(0, |total| total.prompt_count) as u64;
        let in_groups = answer.groups.iter().map(|group| group.prompt_count as u64).sum::<u64>();
        if counted == expected && in_groups == if is_grouped { expected } else { 0 } {
            Ok(answer)
        } else {
            Err(format!("Stats says {counted} prompts, {in_groups} in groups; there are {expected}").into())
        }
    }

    async fn search(
        &mut self,
        sought: Sought,
        page_size: usize,
        page_token: String,
    ) -> Fallible<SearchResponse> {
        let request = SearchRequest {
            query: sought.query().to_owned(),
            highlight_start: "<b>".to_owned(),
            highlight_end: "</b>".to_owned(),
            page_size: page_size as i32,
            page_token,
            ..SearchRequest::default()
        };
        Ok(self.prompter.client.search(request).await.map_err(refused)?.into_inner())
    }

    /// The first page of a search, which must be full and say what it has found.
    async fn find(&mut self, sought: Sought) -> Fallible<()> {
        let stored = self.prompter.history.filled()?.ids.len() as u64;
        let expected = sought.count(stored).map_or(FOUND, |count| FOUND.min(count as usize));
        let answer = self.search(sought, FOUND, String::new()).await?;
        let is_marked = |hit: &PromptHit| hit.snippets.iter().any(|snippet| !snippet.highlights.is_empty());
        if answer.hits.len() == expected && answer.hits.iter().all(is_marked) && !answer.indexing {
            Ok(())
        } else {
            Err(format!("a search found {} of {expected}, or did not say where", answer.hits.len()).into())
        }
    }

    /// Page after page, a search finds all that there is to find, if that is known.
    async fn find_all(&mut self, sought: Sought) -> Fallible<()> {
        let stored = self.prompter.history.filled()?.ids.len() as u64;
        let Some(expected) = sought.count(stored) else { return Ok(()) };
        let (mut found, mut token) = (std::collections::HashSet::new(), String::new());
        loop {
            let answer = self.search(sought, RECENT, token).await?;
            if answer.truncated {
                return Ok(());
            }
            found.extend(answer.hits.into_iter().filter_map(|hit| Some(hit.prompt?.id)));
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        if found.len() as u64 == expected {
            Ok(())
        } else {
            Err(format!("a search found {} prompts, {expected} have what was sought", found.len()).into())
        }
    }

    /// The list has the newest and no others, in their order.
    async fn compare_list(&mut self) -> Fallible<()> {
        let is_confident = self.asked == Asked::Confident;
        let choose = |entry: Entry| {
            entry.backend() == BACKENDS[0]
                && (!is_confident || entry.confidence().is_some_and(|confidence| confidence >= CONFIDENT))
        };
        let history = &self.prompter.history;
        let expected = newest(history.filled()?.ids.len() as u64, history.start_us, RECENT, choose);
        let listed = self.list(BACKENDS[0]).await?.prompts;
        let is_same = listed
            .iter()
            .map(|prompt| prompt.prompt_time)
            .eq(expected.into_iter().map(|us| Some(timestamp(us))));
        if is_same { Ok(()) } else { Err("List has others than the newest prompts".into()) }
    }
}

#[tonic::async_trait]
impl Worker for Reader {
    async fn perform(&mut self) -> Fallible<Done> {
        match self.asked {
            Asked::Prompt => self.get().await.map(drop)?,
            Asked::Recent | Asked::Confident => {
                let backend = BACKENDS[self.material.below(BACKENDS.len())];
                self.list(backend).await.map(drop)?;
            }
            Asked::Stats | Asked::MonthStats => self.stats().await.map(drop)?,
            Asked::Search(sought) => self.find(sought).await?,
        }
        Ok(Done::rows(1))
    }

    async fn verify(&mut self) -> Fallible<()> {
        match self.asked {
            Asked::Prompt => {
                let number = self.any_number()?;
                let id = self.prompter.history.filled()?.ids[number as usize];
                self.prompter.find(id, Entry(number)).await
            }
            Asked::Recent | Asked::Confident => self.compare_list().await,
            Asked::Stats | Asked::MonthStats => self.stats().await.map(drop),
            Asked::Search(sought) => self.find_all(sought).await,
        }
    }
}
