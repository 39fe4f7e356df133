//! Every query that reads more than one row runs on an index and stops where it has enough: asked of the database itself.

use super::list::{Position, Walk, metadata_query, piece_query};
use super::{conversations, find, index, marks, names, prune, remove, save, stats, tallies};
use crate::services::prompts::domain::NameKind;
use crate::services::prompts::filter::{Filter, Key, KeyValue, Order, OrderBy};
use crate::services::prompts::search::grammar;
use crate::storage::plans::{assert_runs, storage};

/// What a list may be bounded by.
fn filters() -> [Filter; 4] {
    let low = Filter {
        start_us: Some(1),
        confidence_min: Some(0.1),
        latency_us_min: Some(1),
        ..Default::default()
    };
    let high =
        Filter { end_us: Some(9), confidence_max: Some(0.9), latency_us_max: Some(9), ..Default::default() };
    let both =
        Filter { start_us: Some(1), confidence_min: Some(0.1), latency_us_min: Some(1), ..high.clone() };
    [Filter::default(), low, high, both]
}

/// The bounds of `column` that a plan names.
fn bounds(column: &str, id: &str, order: Order, filter: &Filter, position: Position) -> String {
    // Being above NULL is a bound as well.
    let is_above_null = order.by() != OrderBy::Time;
    let (mut low, mut high) = (filter.start_us.is_some() || is_above_null, filter.end_us.is_some());
    match position {
        Position::Start => {}
        Position::Ties(_) => {
            let than = if order.is_ascending() { '>' } else { '<' };
            return format!("{column}=? AND {id}{than}?");
        }
        Position::Behind(_) if order.is_ascending() => low = true,
        Position::Behind(_) => high = true,
    }
    let bounds = [low.then(|| format!("{column}>?")), high.then(|| format!("{column}<?"))];
    bounds.into_iter().flatten().collect::<Vec<_>>().join(" AND ")
}

#[tokio::test]
async fn each_list_runs_on_the_index_of_its_walk_or_its_order_within_its_bounds() {
    let (storage, _directory) = storage().await;
    let walks = [
        (Walk::Conversation(1), "p USING INDEX prompts_by_conversation", "conversation_id=?", "rowid"),
        (Walk::Tag("a".into()), "t USING COVERING INDEX prompt_tags_by_tag", "tag=?", "prompt_id"),
        (Walk::Name(NameKind::Model, 1), "p USING INDEX prompts_by_model", "model_id=?", "rowid"),
        (Walk::Name(NameKind::Framework, 1), "p USING INDEX prompts_by_framework", "framework_id=?", "rowid"),
        (Walk::Name(NameKind::Backend, 1), "p USING INDEX prompts_by_backend", "backend_id=?", "rowid"),
        (Walk::Name(NameKind::Provider, 1), "p USING INDEX prompts_by_provider", "provider_id=?", "rowid"),
        (Walk::All, "p USING INDEX prompts_by_time", "", "rowid"),
    ];
    for order in Order::ALL {
        let (column, index, value) = match order.by() {
            OrderBy::Time => ("prompt_time", "", KeyValue::Us(5)),
            OrderBy::Latency => ("latency_us", "prompts_by_latency", KeyValue::Us(5)),
            OrderBy::Confidence => ("confidence", "prompts_by_confidence", KeyValue::Share(0.5)),
        };
        for filter in filters() {
            for position in [Position::Start, Position::Ties(Key { value, id: 7 }), Position::Behind(value)] {
                for (walk, by, equality, id) in &walks {
                    let is_of_time = order.by() == OrderBy::Time;
                    if !is_of_time && *walk != Walk::All {
                        continue;
                    }
                    let by = if is_of_time { (*by).to_owned() } else { format!("p USING INDEX {index}") };
                    let range = bounds(column, id, order, &filter, position);
                    let parts: Vec<&str> =
                        [*equality, range.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
                    let step = match parts.as_slice() {
                        [] => format!("SCAN {by}"),
                        parts => format!("SEARCH {by} ({})", parts.join(" AND ")),
                    };
                    let of_tag = "SEARCH p USING INTEGER PRIMARY KEY (rowid=?)";
                    let mut steps = vec![step.as_str()];
                    steps.extend(matches!(walk, Walk::Tag(_)).then_some(of_tag));
                    let (query, _) = piece_query(walk, order, &filter, position);
                    assert_runs(&storage, &query, &steps).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_prompts_is_found_by_their_numbers() {
    let (storage, _directory) = storage().await;
    for places in [1, 16, 128] {
        let own = "USING INTEGER PRIMARY KEY (rowid=?)";
        let body = format!("SEARCH prompt_bodies {own}");
        assert_runs(&storage, &find::rows_query(places), &[&format!("SEARCH p {own}")]).await;
        assert_runs(&storage, &find::bodies_query(places), &[&body]).await;
        assert_runs(&storage, &metadata_query(places), &[&body]).await;
        assert_runs(&storage, &remove::lock_query(places), &[&format!("SEARCH p {own}")]).await;
        assert_runs(&storage, &remove::bodiless_query(places), &[&format!("SEARCH prompts {own}")]).await;
        let tags = "SEARCH prompt_tags USING COVERING INDEX sqlite_autoindex_prompt_tags_1 (prompt_id=?)";
        assert_runs(&storage, &marks::tags_query(places), &[tags]).await;
        let scores = "SEARCH prompt_scores USING INDEX sqlite_autoindex_prompt_scores_1 (prompt_id=?)";
        assert_runs(&storage, &marks::scores_query(places), &[scores]).await;
        for (table, column) in remove::TABLES {
            let step = match table {
                "prompts" | "prompt_bodies" => format!("SEARCH {table} {own}"),
                _ => format!("SEARCH {table} USING INDEX sqlite_autoindex_{table}_1 (prompt_id=?)"),
            };
            assert_runs(&storage, &remove::delete_query(table, column, places), &[&step]).await;
        }
        let key = "SEARCH prompts USING COVERING INDEX prompts_by_import_key (import_key=?)";
        assert_runs(&storage, &save::imported_query(places), &[key]).await;
    }
}

#[tokio::test]
async fn conversations_are_listed_and_looked_up_by_their_indexes() {
    let (storage, _directory) = storage().await;
    for places in [1, 16, 128] {
        let own = "USING INTEGER PRIMARY KEY (rowid=?)";
        let of_prompts = [format!("SEARCH p {own}"), format!("SEARCH v {own}")];
        let of_prompts: Vec<&str> = of_prompts.iter().map(String::as_str).collect();
        assert_runs(&storage, &conversations::of_prompts_query(places), &of_prompts).await;
        let by_number = format!("SEARCH prompt_conversations {own}");
        assert_runs(&storage, &conversations::names_query(places), &[&by_number]).await;
    }
    let list = "prompt_conversations USING INDEX prompt_conversations_by_last_time";
    let ties = format!("SEARCH {list} (last_time=? AND rowid<?)");
    assert_runs(&storage, conversations::TIES, &[&ties]).await;
    assert_runs(&storage, conversations::BEHIND, &[&format!("SEARCH {list} (last_time<?)")]).await;
    let first = "SEARCH prompts USING COVERING INDEX prompts_by_conversation (conversation_id=?)";
    assert_runs(&storage, conversations::TIMES, &["SCAN CONSTANT ROW", first, first]).await;
}

#[tokio::test]
async fn names_are_looked_up_counted_and_freed_by_their_indexes() {
    let (storage, _directory) = storage().await;
    for places in [1, 16, 256] {
        let by_key = "SEARCH prompt_names USING COVERING INDEX prompt_names_by_key (key=?)";
        assert_runs(&storage, &names::known_query(places), &[by_key]).await;
        let own = "prompt_names USING INTEGER PRIMARY KEY (rowid=?)";
        assert_runs(&storage, &names::texts_query(places), &[&format!("SEARCH {own}")]).await;
    }
    let by_kind = "SEARCH prompt_names USING COVERING INDEX prompt_names_by_kind (kind=?)";
    assert_runs(&storage, names::COUNT, &[by_kind]).await;
    let next = "SEARCH prompt_names USING INTEGER PRIMARY KEY (rowid>?)";
    assert_runs(&storage, names::NEXT, &[next]).await;
    for kind in NameKind::ALL {
        let (column, _) = names::columns(kind);
        let index = format!("prompts_by_{}", column.trim_end_matches("_id"));
        let other = format!("SEARCH prompts USING COVERING INDEX {index} ({column}=?)");
        assert_runs(&storage, &names::other_query(kind), &[&other]).await;
    }
    let of = |name: &str| format!("SEARCH p USING COVERING INDEX prompts_by_{name} ({name}_id=?)");
    let mut steps = vec!["SEARCH n USING INTEGER PRIMARY KEY (rowid=?)".to_owned()];
    steps.extend(["backend", "model", "framework", "provider"].into_iter().map(of));
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    assert_runs(&storage, &names::unused_query(16), &steps).await;
}

#[tokio::test]
async fn retention_finds_the_oldest_by_time() {
    let (storage, _directory) = storage().await;
    let oldest = "SEARCH prompts USING COVERING INDEX prompts_by_time (prompt_time<?)";
    assert_runs(&storage, prune::OLDEST, &[oldest]).await;
    let oldest = "SEARCH prompt_bodies USING COVERING INDEX prompt_bodies_by_time (prompt_time<?)";
    assert_runs(&storage, prune::OLDEST_BODIES, &[oldest]).await;
    let newest = "SCAN prompts USING COVERING INDEX prompts_by_time";
    assert_runs(&storage, prune::NEWEST_BUT, &[newest]).await;
}

#[tokio::test]
async fn a_search_walks_the_matches_from_the_newest_on_and_ranks_no_others() {
    let (storage, _directory) = storage().await;
    let wanted = grammar::parse("whale \"blue sea\" sing* -cat", 64).unwrap();
    let (query, _) = index::INDEX.query(true, &wanted, 7, 7).unwrap();
    // `M3`: the words are asked of all columns; `<`: up to a number; nothing is sorted.
    assert_runs(&storage, &query, &["SCAN prompt_search VIRTUAL TABLE INDEX 192:M3<"]).await;
    assert_runs(&storage, index::NEWEST, &["SEARCH prompts"]).await;
    let own = "SEARCH prompt_bodies USING INTEGER PRIMARY KEY";
    assert_runs(&storage, index::NEXT, &[&format!("{own} (rowid<?)")]).await;
    assert_runs(&storage, &index::texts_query(16), &[&format!("{own} (rowid=?)")]).await;
    assert_runs(&storage, &index::there_query(16), &[&format!("{own} (rowid=?)")]).await;
    let state = "SEARCH prompt_search_state USING INTEGER PRIMARY KEY (rowid=?)";
    assert_runs(&storage, index::STATE, &[state]).await;
}

#[tokio::test]
async fn statistics_read_the_hours_and_days_of_their_range_and_the_prompts_of_those_that_it_cuts() {
    let (storage, _directory) = storage().await;
    let whole = "SEARCH prompt_stats USING INDEX sqlite_autoindex_prompt_stats_1 (span=? AND start_time>? AND start_time<?)";
    let all = stats::Of::default();
    for of in [all, stats::Of { backend: Some(1), model: Some(2), framework: Some(3) }] {
        for span in crate::services::prompts::statistics::Span::ALL {
            assert_runs(&storage, &of.kept_query(span, &(1..9), 7).0, &[whole]).await;
        }
        // Short: it is added up all the time.
        assert_runs(&storage, &of.changes_query(&(1..9), 7).0, &["SCAN prompt_stat_changes"]).await;
    }
    let of_time = "SEARCH prompts USING INDEX prompts_by_time (prompt_time>? AND prompt_time<?)";
    assert_runs(&storage, &all.prompts_query(&(1..9), 7).0, &[of_time]).await;
    let of_backend =
        "SEARCH prompts USING INDEX prompts_by_backend (backend_id=? AND prompt_time>? AND prompt_time<?)";
    let backend = stats::Of { backend: Some(1), ..all };
    assert_runs(&storage, &backend.prompts_query(&(1..9), 7).0, &[of_backend]).await;
    let own = "SEARCH prompt_stat_changes USING INTEGER PRIMARY KEY (rowid=?)";
    assert_runs(&storage, &tallies::changes_query(16), &[own]).await;
    let row = "SEARCH prompt_stats USING INDEX sqlite_autoindex_prompt_stats_1 (span=? AND start_time=? AND backend_id=? AND model_id=? AND framework_id=?)";
    assert_runs(&storage, &tallies::update_query(), &[row]).await;
}
