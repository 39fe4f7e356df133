//! Filters and orders of lists.

use pannier_proto::prompts::v1 as pb;
use prost::Message as _;

use super::super::domain::{Names, Status};
use super::super::filter::{Filter, Next, Order};
use super::requests::{ID_BYTES_MAX, Parser};
use crate::error::{Error, Result};
use crate::json::{self, Limits, Path, Test};
use crate::page::Query;

const TAGS_MAX: usize = 10;
const CONDITIONS_MAX: usize = 10;
const VALUE_BYTES_MAX: usize = 4_096;

impl Parser<'_> {
    /// Which prompts are asked for.
    pub(in super::super) fn filter(&mut self, filter: Option<pb::PromptFilter>) -> Filter {
        let filter = filter.unwrap_or_default();
        let at = |name: &str| format!("filter.{name}");
        let names = Names {
            backend: filter.backend.clone(),
            model: filter.model.clone(),
            framework: filter.framework.clone(),
            provider: filter.provider.clone(),
        };
        self.names(&at, &names, 0);
        self.short(&|| at("conversation_id"), &filter.conversation_id, 0, ID_BYTES_MAX);
        if filter.tags.len() > TAGS_MAX {
            let count = filter.tags.len();
            self.violations.add(at("tags"), format!("must have at most {TAGS_MAX}, has {count}"));
        }
        let found = Filter {
            names,
            conversation_id: filter.conversation_id,
            tags: self.tags(&|| at("tags"), filter.tags.into_iter().take(TAGS_MAX).collect()),
            status: self.status(&at("status"), filter.status),
            start_us: filter.start_time.map(|time| self.time_us(&at("start_time"), &time)),
            end_us: filter.end_time.map(|time| self.time_us(&at("end_time"), &time)),
            confidence_min: self.confidence(&|| at("confidence_min"), filter.confidence_min),
            confidence_max: self.confidence(&|| at("confidence_max"), filter.confidence_max),
            latency_us_min: self.latency_us(&|| at("latency_min"), filter.latency_min.as_ref()),
            latency_us_max: self.latency_us(&|| at("latency_max"), filter.latency_max.as_ref()),
            metadata: self.conditions(&at("metadata"), filter.metadata),
            substring: None,
        };
        self.in_order(&at("end_time"), found.start_us, found.end_us, "start_time");
        self.in_order(&at("confidence_max"), found.confidence_min, found.confidence_max, "confidence_min");
        self.in_order(&at("latency_max"), found.latency_us_min, found.latency_us_max, "latency_min");
        found
    }

    fn in_order<T: PartialOrd>(&mut self, field: &str, min: Option<T>, max: Option<T>, other: &str) {
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            self.violations.add(field, format!("must not be below {other}"));
        }
    }

    fn status(&mut self, field: &str, value: i32) -> Option<Status> {
        match pb::PromptStatus::try_from(value) {
            Ok(pb::PromptStatus::Unspecified) => None,
            Ok(pb::PromptStatus::Ok) => Some(Status::Ok),
            Ok(pb::PromptStatus::Failed) => Some(Status::Failed),
            Err(_) => {
                self.violations.add(field, format!("{value} is no PromptStatus"));
                None
            }
        }
    }

    fn conditions(&mut self, field: &str, conditions: Vec<pb::MetadataCondition>) -> Vec<json::Filter> {
        if conditions.len() > CONDITIONS_MAX {
            let count = conditions.len();
            self.violations.add(field, format!("must have at most {CONDITIONS_MAX}, has {count}"));
            return Vec::new();
        }
        let mut found = Vec::with_capacity(conditions.len());
        for (index, condition) in conditions.into_iter().enumerate() {
            let at = |name: &str| format!("{field}[{index}].{name}");
            let path = Path::parse(&condition.path);
            if let Err(fault) = &path {
                self.violations.add(at("path"), fault.to_string());
            }
            let value = condition.value_json.as_str();
            let limits = Limits { bytes_max: VALUE_BYTES_MAX, depth_max: 1, is_object: false };
            let checked = json::check(value, limits);
            match &checked {
                Err(fault) => self.violations.add(at("value_json"), fault.to_string()),
                Ok(()) if json::scalar(value).is_none() => {
                    self.violations.add(at("value_json"), "must be a string, a number, true, false or null");
                }
                Ok(()) => {}
            }
            if let (Ok(path), Ok(())) = (path, checked) {
                found.push(json::Filter::Value(path, Test::one_of([value])));
            }
        }
        found
    }

    /// How many prompts are left out from the beginning.
    pub(in super::super) fn offset(&mut self, offset: i32, page_token: &str) -> usize {
        let max = self.settings.offset_max;
        let found = u64::try_from(offset).ok().filter(|offset| *offset <= max);
        if found.is_none() {
            self.violations.add("offset", format!("must be 0 to {max} (prompts.offset_max), is {offset}"));
        }
        if offset != 0 && !page_token.is_empty() {
            self.violations.add("offset", "must be 0 with a page_token, which says where the page begins");
        }
        usize::try_from(found.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// In which order prompts are asked for; `otherwise` if that is not said.
    pub(in super::super) fn order(&mut self, value: i32, otherwise: Order) -> Order {
        use pb::PromptOrder as O;
        match O::try_from(value) {
            Ok(O::Unspecified) => otherwise,
            Ok(O::NewestFirst) => Order::Newest,
            Ok(O::OldestFirst) => Order::Oldest,
            Ok(O::SlowestFirst) => Order::Slowest,
            Ok(O::FastestFirst) => Order::Fastest,
            Ok(O::MostConfidentFirst) => Order::MostConfident,
            Ok(O::LeastConfidentFirst) => Order::LeastConfident,
            Err(_) => {
                self.violations.add("order", format!("{value} is no PromptOrder"));
                otherwise
            }
        }
    }
}

/// What a method asks for by a filter and an order, apart from the page.
pub(in super::super) fn query(method: &str, filter: Option<&pb::PromptFilter>, order: Order) -> Query {
    let filter = filter.map(pb::PromptFilter::encode_to_vec).unwrap_or_default();
    Query::of(method, &[&format!("{filter:?}"), order.name()])
}

/// Where a page of that query begins.
pub(in super::super) fn next_of(query: Query, page_token: &str, order: Order) -> Result<Option<Next>> {
    let text = query.key_of(page_token)?;
    text.map(|text| Next::parse(&text, order.by()).ok_or(Error::PageTokenInvalid)).transpose()
}
