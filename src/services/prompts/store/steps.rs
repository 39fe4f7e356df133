//! Steps of maintenance end when their time is over, however much there is to do.

use std::time::Duration;

use super::index::{INDEX, fill, merge, unfilled};
use super::names::NameLimits;
use super::prune::prune;
use super::save::{Saving, save};
use super::tallies::{add_up, has_changes};
use crate::services::prompts::domain::{Body, Cut, Goes, Measures, Names, NewPrompt, Status};
use crate::services::prompts::search::grammar;
use crate::storage::plans::storage;
use crate::storage::{Durability, Storage, row};

const LONG: Duration = Duration::from_secs(3_600);

fn prompt(number: i64) -> NewPrompt {
    NewPrompt {
        body: Body { idea: format!("whale {number}"), ..Body::default() },
        prompt_us: number,
        names: Names { backend: "b".into(), ..Names::default() },
        status: Status::Ok,
        error_code: String::new(),
        measures: Measures::default(),
        conversation_id: String::new(),
        tags: Vec::new(),
        scores: Vec::new(),
        import_key: String::new(),
    }
}

/// Saves so many prompts, each in a transaction of its own.
async fn saved(storage: &Storage, count: i64) {
    for number in 0..count {
        let input = (NameLimits::new(10), [Saving::new(prompt(number))]);
        let save = storage.write(Durability::Relaxed, input, move |tx, (limits, prompts)| {
            Box::pin(save(tx, limits, prompts, number))
        });
        assert!(save.await.unwrap().iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn a_step_of_retention_deletes_a_few_rows_at_least_and_ends_when_its_time_is_over() {
    let (storage, _directory) = storage().await;
    saved(&storage, 50).await;
    let step = |length| {
        let cut = Cut::before(i64::MAX);
        storage.write(Durability::Relaxed, (), move |tx, ()| Box::pin(prune(tx, cut, Goes::All, 40, length)))
    };
    let first = step(Duration::ZERO).await.unwrap();
    assert_eq!((first.count, first.has_more), (8, true));
    // By its rows.
    let second = step(LONG).await.unwrap();
    assert_eq!((second.count, second.has_more), (40, true));
    let third = step(LONG).await.unwrap();
    assert_eq!((third.count, third.has_more), (2, false));
}

#[tokio::test]
async fn a_step_of_statistics_adds_a_few_changes_up_and_ends_when_its_time_is_over() {
    let (storage, _directory) = storage().await;
    saved(&storage, 40).await;
    let step = |length| storage.write(Durability::Relaxed, (), move |tx, ()| Box::pin(add_up(tx, length)));
    assert!(step(Duration::ZERO).await.unwrap());
    assert!(storage.read((), |db, ()| Box::pin(has_changes(db))).await.unwrap());
    assert!(!step(LONG).await.unwrap());
    assert!(!storage.read((), |db, ()| Box::pin(has_changes(db))).await.unwrap());
}

row! {
    struct Segments {
        segments: i64,
    }
}

#[tokio::test]
async fn segments_that_saves_have_left_are_merged_in_steps() {
    let (storage, _directory) = storage().await;
    saved(&storage, 50).await;
    let segments = async || {
        let sql = r#"SELECT count(DISTINCT "segid") AS "segments" FROM "prompt_search_idx""#;
        let read = storage.read((), move |db, ()| Box::pin(db.row::<Segments>(sql, Vec::new())));
        read.await.unwrap().unwrap().segments
    };
    let step = |length| storage.write(Durability::Relaxed, (), move |tx, ()| Box::pin(merge(tx, length)));
    let before = segments().await;
    assert!(before >= 40, "a save merges nothing: {before}");
    assert!(step(Duration::ZERO).await.unwrap(), "one step does not merge all");
    while step(LONG).await.unwrap() {}
    let after = segments().await;
    assert!(after < 4, "{after} segments are left of {before}");
    let whale = grammar::parse("whale", 1).unwrap();
    let found = storage.read(whale, |db, wanted| Box::pin(INDEX.matches(db, wanted, i64::MAX, 100)));
    assert_eq!(found.await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_step_of_the_index_puts_one_prompt_in_at_least_and_goes_on_behind_it() {
    let (storage, _directory) = storage().await;
    saved(&storage, 5).await;
    let empty = storage.write(Durability::Relaxed, (), |tx, ()| {
        Box::pin(async move {
            tx.run("DELETE FROM prompt_search_state", Vec::new()).await?;
            tx.run("DELETE FROM prompt_search", Vec::new()).await
        })
    });
    empty.await.unwrap();
    let step = async |length| {
        let next = storage.read((), |db, ()| Box::pin(unfilled(db))).await.unwrap();
        let filling = next.map(|unfilled| unfilled.cut())?;
        let step = storage
            .write(Durability::Relaxed, filling, move |tx, filling| Box::pin(fill(tx, filling, length)));
        step.await.unwrap();
        let wanted = grammar::parse("whale", 1).unwrap();
        let found = storage.read(wanted, |db, wanted| Box::pin(INDEX.matches(db, wanted, i64::MAX, 100)));
        Some(found.await.unwrap().len())
    };
    assert_eq!(step(Duration::ZERO).await, Some(1));
    assert_eq!(step(Duration::ZERO).await, Some(2));
    assert_eq!(step(LONG).await, Some(5));
    assert_eq!(step(LONG).await, None);
}
