//! Statistics: whole months, days and hours from their rows, what was not added up yet from the changes, and the prompts of the hours that the
//! range cuts. One snapshot of all: the numbers are exact.

use std::collections::BTreeMap;
use std::ops::Range;

use sea_orm::Value;

use super::names::{self, Texts};
use super::rows::status_number;
use super::tallies::{COLUMNS, NumbersRow, span_number};
use crate::error::{Error, Result};
use crate::services::prompts::domain::{Measures, NameKind, Names, Status};
use crate::services::prompts::statistics::{Counted, Key, Numbers, Pieces, Span, pieces};
use crate::storage::{Db, row};

/// What statistics are asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Prompts made then or later.
    pub start_us: Option<i64>,
    /// Prompts made before.
    pub end_us: Option<i64>,
    /// Of these names; there is no provider.
    pub names: Names,
    /// By what they are grouped.
    pub group_by: GroupBy,
    /// Rows of hours, of days, of months, of changes and of each hour that the range cuts, at most.
    pub rows_max: usize,
    /// Groups at most.
    pub groups_max: usize,
}

/// By what statistics are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupBy {
    /// By day.
    pub day: bool,
    /// By backend.
    pub backend: bool,
    /// By model.
    pub model: bool,
    /// By framework.
    pub framework: bool,
}

impl GroupBy {
    fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// The group of a key.
    fn of(self, key: Key) -> Key {
        let kept = |is_kept: bool, id: i64| if is_kept { id } else { 0 };
        Key {
            start_us: kept(self.day, key.over(Span::Day).start_us),
            backend_id: kept(self.backend, key.backend_id),
            model_id: kept(self.model, key.model_id),
            framework_id: kept(self.framework, key.framework_id),
        }
    }
}

/// Numbers of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// When its day begins, if it is grouped by days.
    pub day_us: Option<i64>,
    /// What its prompts have in common.
    pub names: Names,
    /// Its numbers.
    pub numbers: Numbers,
}

/// Numbers of all that is asked for, and of its groups, by day and names. Error: StatsRangeTooLarge.
pub async fn stats(db: &Db<'_>, asked: &Asked) -> Result<(Numbers, Vec<Group>)> {
    let Some(of) = Of::new(db, &asked.names).await? else { return Ok(Default::default()) };
    let mut sums = Sums { asked, total: Numbers::default(), groups: BTreeMap::new() };
    let range = asked.start_us.unwrap_or(i64::MIN)..asked.end_us.unwrap_or(i64::MAX);
    let longest = if asked.group_by.day { Span::Day } else { Span::Month };
    let Pieces { whole, cuts } = pieces(range, longest);
    for (span, range) in &whole {
        let (query, values) = of.kept_query(*span, range, asked.rows_max);
        sums.add_rows(&db.rows(&query, values).await?, asked.rows_max)?;
    }
    let starts = whole.iter().map(|(_, range)| range.start).min();
    // One range: pieces lie beside one another.
    if let Some((start, end)) = starts.zip(whole.iter().map(|(_, range)| range.end).max()) {
        let (query, values) = of.changes_query(&(start..end), asked.rows_max);
        sums.add_rows(&db.rows(&query, values).await?, asked.rows_max)?;
    }
    for cut in cuts {
        let (query, values) = of.prompts_query(&cut, asked.rows_max);
        let rows: Vec<CountedRow> = db.rows(&query, values).await?;
        if rows.len() > asked.rows_max {
            return Err(Error::StatsRangeTooLarge);
        }
        for row in rows {
            let counted = row.counted();
            let mut numbers = Numbers::default();
            numbers.count(&counted, 1);
            sums.add(counted.key, &numbers)?;
        }
    }
    let Sums { total, groups, .. } = sums;
    Ok((total, named(db, asked.group_by, groups).await?))
}

/// The groups with their names. What is left of one that was taken away is none.
async fn named(db: &Db<'_>, by: GroupBy, groups: BTreeMap<Key, Numbers>) -> Result<Vec<Group>> {
    let groups: Vec<(Key, Numbers)> =
        groups.into_iter().filter(|(_, numbers)| !numbers.is_nothing()).collect();
    let ids = groups.iter().flat_map(|(key, _)| [key.backend_id, key.model_id, key.framework_id]);
    let texts = Texts::of(db, ids.collect()).await?;
    let mut named = Vec::with_capacity(groups.len());
    for (key, numbers) in groups {
        let name = |id: i64| texts.get(Some(id), None);
        named.push(Group {
            day_us: by.day.then_some(key.start_us),
            names: Names {
                backend: name(key.backend_id)?,
                model: name(key.model_id)?,
                framework: name(key.framework_id)?,
                provider: String::new(),
            },
            numbers,
        });
    }
    let order = |group: &Group| {
        let names = &group.names;
        (group.day_us, names.backend.clone(), names.model.clone(), names.framework.clone())
    };
    named.sort_by_cached_key(order);
    Ok(named)
}

struct Sums<'a> {
    asked: &'a Asked,
    total: Numbers,
    groups: BTreeMap<Key, Numbers>,
}

impl Sums<'_> {
    fn add_rows(&mut self, rows: &[NumbersRow], rows_max: usize) -> Result<()> {
        if rows.len() > rows_max {
            return Err(Error::StatsRangeTooLarge);
        }
        rows.iter().try_for_each(|row| {
            let (key, numbers) = row.numbers()?;
            self.add(key, &numbers)
        })
    }

    fn add(&mut self, key: Key, numbers: &Numbers) -> Result<()> {
        self.total.merge(numbers);
        if !self.asked.group_by.is_nothing() {
            self.groups.entry(self.asked.group_by.of(key)).or_default().merge(numbers);
            if self.groups.len() > self.asked.groups_max {
                return Err(Error::StatsRangeTooLarge);
            }
        }
        Ok(())
    }
}

/// The numbers of the names that are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Of {
    pub(super) backend: Option<i64>,
    pub(super) model: Option<i64>,
    pub(super) framework: Option<i64>,
}

impl Of {
    /// None: a name has no number, so nothing has it.
    async fn new(db: &Db<'_>, asked: &Names) -> Result<Option<Self>> {
        let mut numbers = [None; 3];
        let kinds = [
            (NameKind::Backend, &asked.backend),
            (NameKind::Model, &asked.model),
            (NameKind::Framework, &asked.framework),
        ];
        for (number, (kind, name)) in numbers.iter_mut().zip(kinds) {
            if !name.is_empty() {
                *number = names::number(db, kind, name).await?;
                if number.is_none() {
                    return Ok(None);
                }
            }
        }
        let [backend, model, framework] = numbers;
        Ok(Some(Self { backend, model, framework }))
    }

    /// Rows of whole spans.
    pub(super) fn kept_query(self, span: Span, range: &Range<i64>, rows_max: usize) -> (String, Vec<Value>) {
        let from = format!(r#"SELECT {COLUMNS} FROM "prompt_stats" WHERE "span" = $1 AND "#);
        self.query(from, r#""start_time""#, vec![span_number(span).into()], range, rows_max)
    }

    /// Changes of whole hours that are not added up yet.
    pub(super) fn changes_query(self, range: &Range<i64>, rows_max: usize) -> (String, Vec<Value>) {
        let from = format!(r#"SELECT {COLUMNS} FROM "prompt_stat_changes" WHERE "#);
        self.query(from, r#""start_time""#, Vec::new(), range, rows_max)
    }

    /// Prompts of a part of an hour.
    pub(super) fn prompts_query(self, range: &Range<i64>, rows_max: usize) -> (String, Vec<Value>) {
        let columns = r#""prompt_time", "backend_id", "model_id", "framework_id", "status", "confidence", "latency_us", "prompt_tokens",
            "completion_tokens", "cost_micros""#;
        let from = format!(r#"SELECT {columns} FROM "prompts" WHERE "#);
        self.query(from, r#""prompt_time""#, Vec::new(), range, rows_max)
    }

    /// `from` goes on with a range and ends with these names and a limit that shows whether there are more.
    fn query(
        self,
        from: String,
        time: &str,
        mut values: Vec<Value>,
        range: &Range<i64>,
        rows_max: usize,
    ) -> (String, Vec<Value>) {
        values.extend([range.start.into(), range.end.into()]);
        let mut query = format!("{from}{time} >= ${} AND {time} < ${}", values.len() - 1, values.len());
        let names =
            [("backend_id", self.backend), ("model_id", self.model), ("framework_id", self.framework)];
        for (column, number) in names {
            if let Some(number) = number {
                values.push(number.into());
                query.push_str(&format!(r#" AND "{column}" = ${}"#, values.len()));
            }
        }
        values.push(i64::try_from(rows_max).unwrap_or(i64::MAX).saturating_add(1).into());
        query.push_str(&format!(" LIMIT ${}", values.len()));
        (query, values)
    }
}

row! {
    /// A prompt as it is counted.
    struct CountedRow {
        prompt_time: i64,
        backend_id: i64,
        model_id: Option<i64>,
        framework_id: Option<i64>,
        status: i64,
        confidence: Option<f64>,
        latency_us: Option<i64>,
        prompt_tokens: Option<i64>,
        completion_tokens: Option<i64>,
        cost_micros: Option<i64>,
    }
}

impl CountedRow {
    fn counted(&self) -> Counted {
        Counted {
            key: Key {
                start_us: self.prompt_time,
                backend_id: self.backend_id,
                model_id: self.model_id.unwrap_or(0),
                framework_id: self.framework_id.unwrap_or(0),
            },
            is_failed: self.status == status_number(Status::Failed),
            measures: Measures {
                confidence: self.confidence,
                latency_us: self.latency_us,
                prompt_tokens: self.prompt_tokens,
                completion_tokens: self.completion_tokens,
                cost_micros: self.cost_micros,
            },
        }
    }
}
