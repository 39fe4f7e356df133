//! Queries: filters and orders from the wire, and what was found for it.

use pannier_proto::records::v1 as pb;

use super::replies::record;
use super::requests::Parser;
use crate::json::{self, Filter, Limits, Path, Side, Test, elements, scalar, text_of};
use crate::services::records::query::{Order, Query};
use crate::services::records::store::Found;

/// How deep filters may lie in each other.
const FILTER_DEPTH_MAX: usize = 16;

/// What stands for a filter that is wrong; the request is refused.
const WRONG: Filter = Filter::All(Vec::new());

impl Parser<'_> {
    /// What a request asks for.
    pub(in super::super) fn query(&mut self, request: &pb::QueryRequest) -> Query {
        self.name("collection", &request.collection);
        let mut conditions = 0;
        let filter = request.filter.as_ref();
        let filter = filter.map_or(WRONG, |filter| self.filter("filter", filter, 1, &mut conditions));
        let max = self.settings.query_conditions_max;
        if conditions as u64 > max {
            let message = format!(
                "must have at most {max} conditions (records.query_conditions_max), has {conditions}"
            );
            self.violations.add("filter", message);
        }
        let order = request.order.as_ref();
        Query { filter, order: self.order(order), is_descending: order.is_some_and(|order| order.descending) }
    }

    fn order(&mut self, order: Option<&pb::QueryOrder>) -> Order {
        use pb::query_order::By;
        match order.and_then(|order| order.by.as_ref()) {
            None => Order::Key,
            Some(By::Key(said)) => self.expects("order.key", *said, Order::Key),
            Some(By::Change(said)) => self.expects("order.change", *said, Order::Change),
            Some(By::Path(path)) => self.path("order.path", path).map_or(Order::Key, Order::Path),
        }
    }

    fn path(&mut self, field: &str, path: &str) -> Option<Path> {
        Path::parse(path).map_err(|fault| self.violations.add(field, fault.to_string())).ok()
    }

    fn filter(&mut self, field: &str, filter: &pb::Filter, depth: usize, conditions: &mut usize) -> Filter {
        use pb::filter::What;
        if depth > FILTER_DEPTH_MAX {
            self.violations.add(field, format!("must be put together at most {FILTER_DEPTH_MAX} deep"));
            return WRONG;
        }
        match &filter.what {
            Some(What::Compare(comparison)) => {
                self.comparison(&format!("{field}.compare"), comparison, conditions)
            }
            Some(What::All(list)) => {
                Filter::All(self.filters(&format!("{field}.all"), list, depth, conditions))
            }
            Some(What::Any(list)) => {
                Filter::Any(self.filters(&format!("{field}.any"), list, depth, conditions))
            }
            Some(What::Not(filter)) => {
                Filter::Not(Box::new(self.filter(&format!("{field}.not"), filter, depth + 1, conditions)))
            }
            None => {
                self.violations.add(field, "must be a comparison, all, any or not");
                WRONG
            }
        }
    }

    fn filters(
        &mut self,
        field: &str,
        list: &pb::FilterList,
        depth: usize,
        conditions: &mut usize,
    ) -> Vec<Filter> {
        if list.filters.is_empty() {
            self.violations.add(format!("{field}.filters"), "must have at least one filter");
        }
        let filters = list.filters.iter().enumerate();
        filters
            .map(|(at, filter)| self.filter(&format!("{field}.filters[{at}]"), filter, depth + 1, conditions))
            .collect()
    }

    fn comparison(&mut self, field: &str, comparison: &pb::Comparison, conditions: &mut usize) -> Filter {
        *conditions += 1;
        let path = self.path(&format!("{field}.path"), &comparison.path);
        let test = match pb::Comparator::try_from(comparison.comparator) {
            Ok(pb::Comparator::Unspecified) | Err(_) => {
                self.violations.add(format!("{field}.comparator"), "must be one of the comparators");
                None
            }
            Ok(comparator) => {
                self.test(&format!("{field}.value_json"), comparator, &comparison.value_json, conditions)
            }
        };
        path.zip(test).map_or(WRONG, |(path, test)| Filter::Value(path, test))
    }

    fn test(
        &mut self,
        field: &str,
        comparator: pb::Comparator,
        value: &str,
        conditions: &mut usize,
    ) -> Option<Test> {
        use pb::Comparator as C;
        if comparator == C::Exists {
            if !value.is_empty() {
                self.violations.add(field, "must be empty with EXISTS");
            }
            return Some(Test::exists(true));
        }
        if !self.is_operand(field, value) {
            return None;
        }
        let (test, wanted) = match (comparator, scalar(value)) {
            (C::In, None) => {
                let values: Vec<&str> = elements(value).collect();
                *conditions += values.len();
                let are_scalars = values.iter().all(|value| scalar(value).is_some());
                (
                    are_scalars.then(|| Test::one_of(values)),
                    "an array of strings, numbers, true, false and null",
                )
            }
            (C::In, Some(_)) => (None, "an array of strings, numbers, true, false and null"),
            (C::Prefix, _) => (text_of(value).map(|prefix| Test::prefix(&prefix)), "a string"),
            (C::Equal, Some(_)) => (Some(Test::one_of([value])), ""),
            (C::NotEqual, Some(_)) => (Some(Test::other_than(value)), ""),
            (C::Contains, Some(_)) => (Some(Test::contains(value)), ""),
            (C::Less, _) => (Test::compared(Side::Below, value), ORDERED),
            (C::LessOrEqual, _) => (Test::compared(Side::BelowOrEqual, value), ORDERED),
            (C::Greater, _) => (Test::compared(Side::Above, value), ORDERED),
            (C::GreaterOrEqual, _) => (Test::compared(Side::AboveOrEqual, value), ORDERED),
            (C::Equal | C::NotEqual | C::Contains, None) => (None, "a string, a number, true, false or null"),
            (C::Unspecified | C::Exists, _) => (None, "left out"),
        };
        if test.is_none() {
            self.violations.add(field, format!("must be {wanted}"));
        }
        test
    }

    /// Checks what a value is compared with: a value that holds no others, or an array of such.
    fn is_operand(&mut self, field: &str, value: &str) -> bool {
        let limits = Limits {
            bytes_max: usize::try_from(self.settings.document_bytes_max).unwrap_or(usize::MAX),
            depth_max: 1,
            is_object: false,
        };
        let checked = json::check(value, limits);
        if let Err(fault) = &checked {
            self.violations.add(field, fault.to_string());
        }
        checked.is_ok()
    }
}

/// What can be less or greater.
const ORDERED: &str = "a string, a number, true or false";

/// What was found.
pub(in super::super) fn found(found: Found, next_page_token: String) -> pb::QueryResponse {
    pb::QueryResponse {
        records: found.records.into_iter().map(record).collect(),
        next_page_token,
        plan: Some(pb::QueryPlan {
            index_path: found.index_path.unwrap_or_default(),
            documents_read: i64::try_from(found.documents_read).unwrap_or(i64::MAX),
            sorted: found.is_sorted,
        }),
    }
}
