//! Queues and limit keys.

use pannier_proto::durability::v1::Durability as PbDurability;
use pannier_proto::queue::v1 as pb;
use prost_types::FieldMask;

use super::super::domain::{Key, KeyLimits, Queue, RulesPatch};
use super::{Parser, duration, timestamp};
use crate::clock::ms_to_us;
use crate::settings::{BACKOFF_MS_MAX, Durability, RETRIES_MAX, TIME_MS_MAX};

/// What an update may write, in the order of the message.
const FIELDS: [&str; 10] = [
    "order",
    "ageing",
    "durability",
    "max_retries",
    "backoff",
    "backoff_max",
    "timeout",
    "retention",
    "failed_retention",
    "key_limits",
];

impl Parser<'_> {
    /// What an update of a queue writes.
    pub(in super::super) fn rules_patch(
        &mut self,
        queue: &pb::Queue,
        mask: Option<&FieldMask>,
    ) -> RulesPatch {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let mut asked = [paths.is_empty(); FIELDS.len()];
        for (index, path) in paths.iter().enumerate() {
            match FIELDS.iter().position(|field| field == path) {
                Some(position) => asked[position] = true,
                None => {
                    let message = format!("{path:?} cannot be written; {} can", FIELDS.join(", "));
                    self.violations.add(format!("update_mask.paths[{index}]"), message);
                }
            }
        }
        let [
            order,
            ageing,
            durability,
            max_retries,
            backoff,
            backoff_max,
            timeout,
            retention,
            failed_retention,
            key_limits,
        ] = asked;
        let mut us = |is_asked: bool, name: &str, value: &Option<prost_types::Duration>, max_ms: u64| {
            let value = value.unwrap_or_default();
            is_asked.then(|| self.duration_us(&format!("queue.{name}"), &value, 0, ms_to_us(max_ms)))
        };
        let patch = RulesPatch {
            ageing_us: us(ageing, "ageing", &queue.ageing, BACKOFF_MS_MAX),
            backoff_us: us(backoff, "backoff", &queue.backoff, BACKOFF_MS_MAX),
            backoff_us_max: us(backoff_max, "backoff_max", &queue.backoff_max, BACKOFF_MS_MAX),
            timeout_us: None,
            retention_us: us(retention, "retention", &queue.retention, TIME_MS_MAX),
            failed_retention_us: us(
                failed_retention,
                "failed_retention",
                &queue.failed_retention,
                TIME_MS_MAX,
            ),
            ..RulesPatch::default()
        };
        let timeout_ms_max = self.settings.timeout_ms_max;
        let timeout_value = queue.timeout.unwrap_or_default();
        RulesPatch {
            is_relaxed: durability
                .then(|| self.durability("queue.durability", queue.durability) == Some(Durability::Relaxed)),
            is_lifo: order.then(|| self.is_lifo(queue.order)),
            retries_max: max_retries.then(|| {
                let retries = i64::from(queue.max_retries);
                if !(0..=RETRIES_MAX as i64).contains(&retries) {
                    self.violations.add("queue.max_retries", format!("must be 0 to {RETRIES_MAX}"));
                }
                retries
            }),
            timeout_us: timeout
                .then(|| self.duration_us("queue.timeout", &timeout_value, 0, ms_to_us(timeout_ms_max))),
            key_limits: key_limits.then(|| match &queue.key_limits {
                Some(limits) => self.key_limits("queue.key_limits", limits),
                None => KeyLimits::default(),
            }),
            ..patch
        }
    }

    fn is_lifo(&mut self, order: i32) -> bool {
        match pb::Order::try_from(order) {
            Ok(order) => order == pb::Order::Lifo,
            Err(_) => {
                self.violations.add("queue.order", format!("{order} is no Order"));
                false
            }
        }
    }

    /// Limits of a key.
    pub(in super::super) fn key_limits(&mut self, field: &str, limits: &pb::KeyLimits) -> KeyLimits {
        for (name, value) in [("held_max", limits.held_max), ("claims_max", limits.claims_max)] {
            if value < 0 {
                self.violations.add(format!("{field}.{name}"), "must not be negative; 0 means no limit");
            }
        }
        let period = limits.claims_period.unwrap_or_default();
        let least = i64::from(limits.claims_max > 0);
        let period_us =
            self.duration_us(&format!("{field}.claims_period"), &period, least, ms_to_us(BACKOFF_MS_MAX));
        KeyLimits {
            held_max: i64::from(limits.held_max),
            claims_max: i64::from(limits.claims_max),
            claims_period_us: if limits.claims_max > 0 { period_us } else { 0 },
        }
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn key_limits(limits: KeyLimits) -> pb::KeyLimits {
    pb::KeyLimits {
        held_max: small(limits.held_max),
        claims_max: small(limits.claims_max),
        claims_period: (limits.claims_max > 0).then(|| duration(limits.claims_period_us)),
    }
}

/// A queue as the wire has it.
pub(in super::super) fn queue(queue: &Queue) -> pb::Queue {
    let rules = &queue.rules;
    pb::Queue {
        name: queue.name.clone(),
        order: if rules.is_lifo { pb::Order::Lifo } else { pb::Order::Fifo }.into(),
        ageing: Some(duration(rules.ageing_us)),
        durability: if rules.is_relaxed { PbDurability::Relaxed } else { PbDurability::Full }.into(),
        max_retries: small(rules.retries_max),
        backoff: Some(duration(rules.backoff_us)),
        backoff_max: Some(duration(rules.backoff_us_max)),
        timeout: Some(duration(rules.timeout_us)),
        retention: Some(duration(rules.retention_us)),
        failed_retention: Some(duration(rules.failed_retention_us)),
        key_limits: Some(key_limits(rules.key_limits)),
        paused: queue.is_paused,
        create_time: Some(timestamp(queue.create_us)),
        update_time: Some(timestamp(queue.update_us)),
    }
}

/// A limit key as the wire has it.
pub(in super::super) fn key(key: Key) -> pb::Key {
    pb::Key { name: key.name, limits: key.limits.map(key_limits), held_count: key.held_count }
}
