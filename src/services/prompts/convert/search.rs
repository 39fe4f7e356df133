//! Searches: the query and the page, hits and their snippets.

use pannier_proto::prompts::v1 as pb;
use prost::Message as _;

use super::super::domain::Prompt;
use super::super::filter::{Key, KeyValue};
use super::super::search::grammar;
use super::super::search::snippets::{Snippet, snippet, snippet_of};
use super::super::search::substring::Needle;
use super::super::store::{Hit, Place};
use super::replies::prompt;
use super::requests::Parser;
use crate::answer::Budget;
use crate::error::{Error, Result};
use crate::page::Query;
use crate::storage::text_index::Wanted;

const MARKER_BYTES_MAX: u64 = 32;

/// What stands around what was found.
#[derive(Clone, Debug, Default)]
pub struct Markers {
    start: String,
    end: String,
}

impl Parser<'_> {
    /// What a query looks for: any text is one, unless it is too long.
    pub(in super::super) fn wanted(&mut self, query: &str) -> Wanted {
        let (bytes_max, words_max) = (self.settings.search_query_bytes_max, self.settings.search_words_max);
        if query.len() as u64 > bytes_max {
            let length = query.len();
            let message =
                format!("must be at most {bytes_max} bytes (prompts.search_query_bytes_max), is {length}");
            self.violations.add("query", message);
            return Wanted::default();
        }
        grammar::parse(query, usize::try_from(words_max).unwrap_or(usize::MAX)).unwrap_or_else(|| {
            self.violations
                .add("query", format!("must have at most {words_max} words (prompts.search_words_max)"));
            Wanted::default()
        })
    }

    /// A text that is looked for as it is written.
    pub(in super::super) fn needle(&mut self, query: &str) -> Needle {
        let max = self.settings.search_query_bytes_max;
        self.text("query", query, 0, max, "prompts.search_query_bytes_max");
        Needle::new(query)
    }

    /// Whether a query is taken as it is written.
    pub(in super::super) fn is_substring(&mut self, value: i32) -> bool {
        if pb::PromptMatch::try_from(value).is_err() {
            self.violations.add("match", format!("unknown value {value}"));
        }
        value == i32::from(pb::PromptMatch::Substring)
    }

    /// What stands around what was found, in the texts of an answer.
    pub(in super::super) fn markers(&mut self, start: String, end: String) -> Markers {
        self.text("highlight_start", &start, 0, MARKER_BYTES_MAX, "");
        self.text("highlight_end", &end, 0, MARKER_BYTES_MAX, "");
        Markers { start, end }
    }
}

/// What a search asks for, apart from the page.
pub(in super::super) fn search_query(request: &pb::SearchRequest) -> Query {
    let filter = request.filter.as_ref().map(pb::PromptFilter::encode_to_vec).unwrap_or_default();
    // Words are what is searched for if that is not said.
    let by = request.r#match.max(pb::PromptMatch::Words.into());
    Query::of("prompts.Search", &[&request.query, &format!("{filter:?}"), &by.to_string()])
}

/// Where a page of that search begins.
pub(in super::super) fn place_of(query: Query, page_token: &str) -> Result<Option<Place>> {
    let place = |text: String| {
        let [until_id, position, skip] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
        Some(Place {
            until_id: until_id.parse().ok()?,
            position: position.parse().ok()?,
            skip: skip.parse().ok()?,
        })
    };
    query.key_of(page_token)?.map(|text| place(text).ok_or(Error::PageTokenInvalid)).transpose()
}

/// The token of the page that begins there.
pub(in super::super) fn search_token(query: Query, place: Place) -> String {
    query.token(&format!("{}:{}:{}", place.until_id, place.position, place.skip))
}

/// Hits as the wire has them, as many as the budget allows; and the place of the first that is left out.
pub(in super::super) fn hits(
    hits: Vec<Hit>,
    wanted: &Wanted,
    markers: &Markers,
    with_bodies: bool,
    mut budget: Budget,
) -> Result<(Vec<pb::PromptHit>, Option<Place>)> {
    let mut found = Vec::with_capacity(hits.len());
    for Hit { prompt: mut of, rank, place } in hits {
        let snippets = snippets(&of, markers, |text| snippet(text, wanted));
        if !with_bodies {
            of.body = None;
        }
        let hit = pb::PromptHit { prompt: Some(prompt(of)), rank, snippets };
        let name = || hit.prompt.as_ref().map(|prompt| prompt.id.to_string()).unwrap_or_default();
        if !budget.take(hit.encoded_len(), name)? {
            return Ok((found, Some(place)));
        }
        found.push(hit);
    }
    Ok((found, None))
}

/// Prompts that have a text, the newest first, as many as the budget allows; and the key of the last one if some are left out.
pub(in super::super) fn substring_hits(
    prompts: Vec<Prompt>,
    needle: &Needle,
    markers: &Markers,
    with_bodies: bool,
    mut budget: Budget,
) -> Result<(Vec<pb::PromptHit>, Option<Key>)> {
    let mut found = Vec::with_capacity(prompts.len());
    let mut last = None;
    for mut of in prompts {
        let snippets = snippets(&of, markers, |text| snippet_of(text, needle.places(text)));
        if !with_bodies {
            of.body = None;
        }
        let key = Key { value: KeyValue::Us(of.prompt_us), id: of.id };
        let hit = pb::PromptHit { prompt: Some(prompt(of)), rank: 0.0, snippets };
        if !budget.take(hit.encoded_len(), || key.id.to_string())? {
            return Ok((found, last));
        }
        last = Some(key);
        found.push(hit);
    }
    Ok((found, None))
}

fn snippets(
    prompt: &Prompt,
    markers: &Markers,
    snippet: impl Fn(&str) -> Option<Snippet>,
) -> Vec<pb::PromptSnippet> {
    let Some(body) = &prompt.body else { return Vec::new() };
    let texts =
        [("idea", &body.idea), ("improved_prompt", &body.improved_prompt), ("context", &body.context)];
    let of = |(field, text): (&str, &String)| Some(piece(field, snippet(text)?, markers));
    texts.into_iter().filter_map(of).collect()
}

fn piece(field: &str, snippet: Snippet, markers: &Markers) -> pb::PromptSnippet {
    let place = |chars: usize| i32::try_from(chars).unwrap_or(i32::MAX);
    let highlights = snippet.highlights.iter();
    pb::PromptSnippet {
        field: field.to_owned(),
        marked_text: marked(&snippet, markers),
        highlights: highlights
            .map(|chars| pb::PromptHighlight { start: place(chars.start), end: place(chars.end) })
            .collect(),
        text: snippet.text,
    }
}

fn marked(snippet: &Snippet, Markers { start, end }: &Markers) -> String {
    if start.is_empty() && end.is_empty() {
        return String::new();
    }
    let mut text = String::with_capacity(snippet.text.len() * 2);
    let mut highlights = snippet.highlights.iter().peekable();
    for (at, c) in snippet.text.chars().enumerate() {
        if highlights.peek().is_some_and(|next| next.start == at) {
            text.push_str(start);
        }
        text.push(c);
        if highlights.next_if(|next| next.end == at + 1).is_some() {
            text.push_str(end);
        }
    }
    text
}
