//! Statistics: what is asked for, and the numbers.

use pannier_proto::prompts::v1 as pb;

use super::super::domain::Names;
use super::super::statistics::Numbers;
use super::super::store::{Asked, Group, GroupBy};
use super::requests::Parser;
use crate::convert::{duration, timestamp};

impl Parser<'_> {
    /// What statistics are asked for.
    pub(in super::super) fn asked(&mut self, request: pb::StatsRequest) -> Asked {
        let names = Names {
            backend: request.backend,
            model: request.model,
            framework: request.framework,
            provider: String::new(),
        };
        self.names(&|name| name.to_owned(), &names, 0);
        let start_us = request.start_time.map(|time| self.time_us("start_time", &time));
        let end_us = request.end_time.map(|time| self.time_us("end_time", &time));
        if start_us.zip(end_us).is_some_and(|(start, end)| start > end) {
            self.violations.add("end_time", "must not be below start_time");
        }
        let bound = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        Asked {
            start_us,
            end_us,
            names,
            group_by: self.group_by(&request.group_by),
            rows_max: bound(self.settings.stats_rows_max),
            groups_max: bound(self.settings.stats_groups_max),
        }
    }

    fn group_by(&mut self, groups: &[i32]) -> GroupBy {
        let mut found = GroupBy::default();
        for (index, value) in groups.iter().enumerate() {
            let group = match pb::StatsGroup::try_from(*value) {
                Ok(pb::StatsGroup::Day) => &mut found.day,
                Ok(pb::StatsGroup::Backend) => &mut found.backend,
                Ok(pb::StatsGroup::Model) => &mut found.model,
                Ok(pb::StatsGroup::Framework) => &mut found.framework,
                Ok(pb::StatsGroup::Unspecified) | Err(_) => {
                    self.violations
                        .add(format!("group_by[{index}]"), "must be by day, backend, model or framework");
                    return found;
                }
            };
            if std::mem::replace(group, true) {
                self.violations.add(format!("group_by[{index}]"), "comes twice");
                return found;
            }
        }
        found
    }
}

/// Numbers of all as the wire has them.
pub(in super::super) fn total(numbers: &Numbers) -> pb::PromptStats {
    let average = |sum: i128, count: i64| (count > 0).then(|| sum as f64 / count as f64);
    let sum = |sum: i128| i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
    // A microsecond is what is kept.
    let time = |us: f64| duration(us.round() as i64);
    let quantile = |share: f64| numbers.sketch.quantile(share).map(time);
    pb::PromptStats {
        prompt_count: numbers.prompts,
        failed_count: numbers.failed,
        confidence_count: numbers.confidences,
        confidence_average: average(numbers.confidence_micros.into(), numbers.confidences)
            .map(|micros| micros / 1e6),
        latency_count: numbers.latencies,
        latency_average: average(numbers.latency_us, numbers.latencies).map(time),
        latency_p50: quantile(0.50),
        latency_p95: quantile(0.95),
        latency_p99: quantile(0.99),
        prompt_tokens: sum(numbers.prompt_tokens),
        completion_tokens: sum(numbers.completion_tokens),
        cost_micros: sum(numbers.cost_micros),
        ..Default::default()
    }
}

/// Numbers of a group as the wire has them.
pub(in super::super) fn group(group: Group) -> pb::PromptStats {
    pb::PromptStats {
        backend: group.names.backend,
        model: group.names.model,
        framework: group.names.framework,
        day: group.day_us.map(timestamp),
        ..total(&group.numbers)
    }
}
