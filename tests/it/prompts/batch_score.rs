//! Many prompts are scored in one call.

use pannier_proto::errors::v1::ErrorReason;
use pannier_proto::prompts::v1 as pb;
use pannier_proto::transaction::v1::mutation::What;
use pannier_proto::transaction::v1::mutation_result::Result as Outcome;
use tonic::{Code, Status};

use super::calls::{boolean, new_prompt, number};
use crate::harness::{Pannier, assert_status, pannier, pannier_with, violated_fields};

fn scoring(prompt_id: i64, set: Vec<pb::PromptScore>, remove: &[&str]) -> pb::PromptScoring {
    pb::PromptScoring { prompt_id, set, remove: remove.iter().map(ToString::to_string).collect() }
}

async fn score_all(
    pannier: &Pannier,
    items: Vec<pb::PromptScoring>,
    atomic: bool,
) -> Result<Vec<pb::BatchScoreResult>, Status> {
    let request = pb::BatchScoreRequest { items, atomic, ..Default::default() };
    Ok(pannier.prompts().batch_score(request).await?.into_inner().results)
}

/// The names of a prompt's scores.
async fn names(pannier: &Pannier, id: i64) -> Vec<String> {
    pannier.prompt(id).await.scores.into_iter().map(|score| score.name).collect()
}

#[tokio::test]
async fn each_prompt_has_a_result_and_a_wrong_one_fails_alone() {
    let pannier = pannier_with(|settings| settings.prompts.scores_max = 2).await;
    let ids = pannier.save_all((0..3).map(|i| new_prompt(&i.to_string())).collect()).await;
    let many = |names: [&str; 2]| names.map(|name| number(name, 1.0)).to_vec();
    let results = score_all(
        &pannier,
        vec![
            scoring(ids[2], vec![boolean("a", true)], &[]),
            scoring(1 << 60, vec![number("a", 1.0)], &[]),
            scoring(ids[0], vec![number("a\0b", 1.0)], &[]),
            scoring(ids[2], vec![number("b", 2.0)], &["a"]),
            scoring(0, vec![], &[]),
            scoring(ids[1], many(["x", "y"]), &[]),
            scoring(ids[1], vec![number("z", 1.0)], &[]),
        ],
        false,
    )
    .await
    .unwrap();
    let counts: Vec<i32> = results.iter().map(|result| result.score_count).collect();
    assert_eq!(counts, [1, 0, 0, 1, 0, 2, 0]);
    let reasons: Vec<Option<ErrorReason>> =
        results.iter().map(|result| result.error.as_ref().map(pb_reason)).collect();
    let invalid = Some(ErrorReason::InvalidArgument);
    let expected = [
        None,
        Some(ErrorReason::PromptNotFound),
        invalid,
        None,
        invalid,
        None,
        Some(ErrorReason::TooManyPromptMarks),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(names(&pannier, ids[2]).await, ["b"]);
    assert_eq!(names(&pannier, ids[1]).await, ["x", "y"]);
    assert_eq!(names(&pannier, ids[0]).await, [""; 0]);
}

fn pb_reason(error: &pannier_proto::errors::v1::ItemError) -> ErrorReason {
    let has_fields = error.reason() == ErrorReason::InvalidArgument;
    assert!(error.details.is_empty() != has_fields && !error.message.is_empty(), "{error:?}");
    error.reason()
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_none_and_so_is_one_in_a_commit() {
    let pannier = pannier().await;
    let id = pannier.save(new_prompt("a")).await;
    let one = scoring(id, vec![number("a", 1.0)], &[]);
    let missing = scoring(1 << 60, vec![number("a", 1.0)], &[]);
    let refused = score_all(&pannier, vec![one.clone(), missing.clone()], true).await.unwrap_err();
    assert_status(&refused, Code::NotFound, ErrorReason::PromptNotFound);
    let wrong = scoring(0, vec![], &[]);
    let refused = score_all(&pannier, vec![one.clone(), wrong], true).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["items[1].prompt_id", "items[1].set"]);
    let commit = |items: Vec<pb::PromptScoring>| {
        vec![What::PromptsBatchScore(pb::BatchScoreRequest { items, ..Default::default() })]
    };
    let refused = pannier.try_commit(commit(vec![one.clone(), missing])).await.unwrap_err();
    assert_status(&refused, Code::NotFound, ErrorReason::PromptNotFound);
    assert_eq!(names(&pannier, id).await, [""; 0]);
    let results = pannier.commit(commit(vec![one])).await;
    let Outcome::PromptsBatchScore(scored) = &results[0] else { panic!("{results:?}") };
    assert_eq!(scored.results[0].score_count, 1);
    assert_eq!(names(&pannier, id).await, ["a"]);
    for items in [vec![], vec![scoring(id, vec![number("a", 1.0)], &[]); 1_001]] {
        assert_eq!(violated_fields(&score_all(&pannier, items, false).await.unwrap_err()), ["items"]);
    }
}
